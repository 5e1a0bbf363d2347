//! Upstreams that cannot be found or connected to.

use super::*;

/// A call that fails before it has a connection.
fn never_connected(client: &Client, kind: ErrorKind, attempts: u32) {
    for way in WAYS {
        let error = client.get(way, "/").wait().unwrap_err();
        check(&error, kind, attempts, RequestSent::No, &format!("{way:?}"));
        assert!(error.is_retryable(), "{error}");
        client.until_empty();
    }
}

#[test]
fn a_refused_connect_is_a_failed_dial() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Client::with(&format!("http://{address}"), |_| {});
    never_connected(&client, ErrorKind::Dial, 3);
    let error = client.get(Way::Anywhere, "/").wait().unwrap_err();
    assert_eq!(error.endpoint().unwrap().to_string(), address.to_string());
    assert!(error.source().is_some());
}

#[test]
fn a_socket_that_is_not_there_is_a_failed_dial() {
    let client = Client::with("http+unix:/nonexistent/ringpool.sock", |_| {});
    never_connected(&client, ErrorKind::Dial, 3);
}

#[test]
fn a_connect_into_a_black_hole_times_out() {
    // A listener whose backlog is full swallows every further SYN.
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let listener = stream().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    for _ in 0..4 {
        let filler = stream().unwrap();
        filler.set_nonblocking(true).unwrap();
        // In progress, or made: either way it takes a place.
        let _ = filler.connect(&address);
        fillers.push(filler);
    }
    let port = address.as_socket().unwrap().port();
    let client = Client::with(&format!("http://127.0.0.1:{port}"), |config| {
        config.dial_timeout = Duration::from_millis(100);
    });
    never_connected(&client, ErrorKind::Timeout(Phase::Dial), 1);
}

#[test]
fn a_name_without_an_address_cannot_be_resolved() {
    // No label may be longer than 63 bytes (RFC 1035 §2.3.4): refused without asking anybody.
    let client = Client::with(&format!("http://{}.invalid", "x".repeat(64)), |_| {});
    never_connected(&client, ErrorKind::Resolve, 0);
}

#[test]
fn names_and_urls_that_lead_nowhere() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    let unknown = client.engine.upstream("nobody").unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Config);
    assert!(unknown.to_string().contains("nobody"), "{unknown}");
    let on_shard = client.on_shard(|shard| async move { shard.upstream("nobody").map(drop) });
    assert_eq!(on_shard.wait().unwrap_err().kind(), ErrorKind::Config);

    let engine = client.engine;
    within(async move {
        for url in ["/only/a/path", "ftp://example.com/", "example.com:80"] {
            let request = http::Request::get(url).body(()).unwrap();
            let error = engine.call(request).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{url}: {error:?}");
            assert_eq!(error.attempts(), 0);
            assert!(!error.is_retryable());
        }
        engine.stop();
    });
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn an_absolute_url_finds_its_way() {
    let peer = Peer::start();
    let client = Client::with("http://127.0.0.1:1", |_| {});
    let engine = client.engine;
    let url = format!("{}/path?query", peer.http());
    let call = spawn(async move {
        let request = http::Request::get(url).body(Bytes::new()).unwrap();
        collect(engine.call(request).await?).await
    });
    let got = peer.accept().answer("HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(call.wait().unwrap().status, 204);
    assert_eq!(got.line(), "GET /path?query HTTP/1.1");
}

#[test]
fn an_absolute_url_that_names_no_upstream_is_refused() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    let mut tried = 0;
    for url in [
        "http://host:99999/",
        "http://host:0/",
        "http://user@host/",
        "http://user:password@host/",
        "ftp://host/",
        "/no/host",
    ] {
        // Some are refused before they can be a request.
        let Ok(url) = url.parse::<http::Uri>() else {
            continue;
        };
        tried += 1;
        let request = http::Request::get(url.clone()).body(Bytes::new()).unwrap();
        let engine = &client.engine;
        let error = bounded::run(engine.call(request)).expect_err("nowhere to go");
        assert_eq!(error.kind(), ErrorKind::Request, "{url}: {error:?}");
        assert!(!error.is_retryable(), "{url}");
    }
    assert!(tried >= 3, "{tried}");
    client.until_empty();
}
