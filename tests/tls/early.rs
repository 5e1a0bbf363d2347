//! Requests that are sent along with a handshake.

use super::*;
use common::body::Steps;
use common::tls_peer::config_taking_early;
use ringpool::CallOptions;

/// A server that says which requests came early, in their responses, each with a connection of its own. It turns early ones under
/// `/picky` away, and those after them on the same connection not.
fn telling_peer(certificate: &Certificate, takes: u32) -> Peer {
    let config = Arc::new(config_taking_early(certificate, takes));
    Peer::tls(config, |mut stream: TlsStream| {
        if stream.conn.complete_io(&mut stream.sock).is_err() {
            return;
        }
        let mut early = Vec::new();
        if let Some(mut data) = stream.conn.early_data() {
            data.read_to_end(&mut early).expect("it is there");
        }
        let early = String::from_utf8(early).expect("text");
        if early.contains("/picky") {
            let answer = b"HTTP/1.1 425 Too Early\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).expect("sent");
        }
        let word = match early.ends_with("\r\n\r\n") && !early.contains("/picky") {
            true => "early",
            false if read_head(&mut stream).is_some() => "later",
            false => return,
        };
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{word}");
        stream.write_all(answer.as_bytes()).expect("sent");
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

fn engine_with_early_data(url: &str, authority: &Authority) -> Engine {
    let mut upstream = backend(url, authority);
    upstream.tls.early_data = true;
    engine(1, upstream)
}

fn ask(engine: &Engine, method: &str, path: &str, options: CallOptions) -> String {
    run(async {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::builder().method(method).uri(path);
        let mut request = request.body(()).unwrap();
        request.extensions_mut().insert(options);
        let response = upstream.call(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.expect("a body");
        String::from_utf8_lossy(&body.to_bytes()).into_owned()
    })
}

fn get(engine: &Engine, path: &str) -> String {
    ask(engine, "GET", path, CallOptions::default())
}

/// The same by a task on the shard.
fn exchange(engine: &Engine, path: &'static str) -> Bytes {
    let told = run(engine.spawn_on_each(move |shard| async move {
        let upstream = shard.upstream("backend").unwrap();
        let mut exchange = upstream.exchange(Head::get(path)).await.unwrap();
        assert_eq!(exchange.status(), 200);
        let mut body = Vec::new();
        while let Some(chunk) = exchange.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        Bytes::from(body)
    }));
    told.into_iter().next().unwrap().unwrap()
}

#[test]
fn idempotent_requests_of_resumed_sessions_are_sent_early() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 10_000);
    let engine = engine_with_early_data(&peer.url("https"), &authority);
    let by_method = CallOptions::default();
    let word = |idempotent| CallOptions {
        idempotent: Some(idempotent),
        ..by_method
    };
    assert_eq!(get(&engine, "/"), "later", "there is no ticket yet");
    assert_eq!(get(&engine, "/"), "early");
    assert_eq!(ask(&engine, "POST", "/", by_method), "later");
    assert_eq!(ask(&engine, "POST", "/", word(true)), "early");
    assert_eq!(ask(&engine, "GET", "/", word(false)), "later");
    assert_eq!(exchange(&engine, "/"), "early");
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.early_taken, seen.early_refused), (3, 0));
    assert_eq!((seen.handshakes_full, seen.handshakes_resumed), (1, 5));
}

#[test]
fn what_is_turned_away_as_too_early_comes_once_more() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 10_000);
    let engine = engine_with_early_data(&peer.url("https"), &authority);
    assert_eq!(get(&engine, "/picky"), "later");
    for taken in 1..=3 {
        assert_eq!(get(&engine, "/picky"), "later");
        assert_eq!(run(engine.snapshot()).unwrap().early_taken, taken);
    }
    assert_eq!(exchange(&engine, "/picky"), "later");
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.early_taken, seen.connections_opened), (4, 5));
    let requests = seen.upstreams["backend"].requests.iter();
    let told: Vec<u64> = requests.map(|one| one.duration.count()).collect();
    assert_eq!(told, [5], "each call once, by its last answer");
}

/// Nobody can send such a request again: the answer is the caller's, and counts.
#[test]
fn what_cannot_be_sent_again_is_answered_as_too_early() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 10_000);
    let engine = engine_with_early_data(&peer.url("https"), &authority);
    assert_eq!(get(&engine, "/"), "later");
    let body = ringpool::Body::stream(Steps::chunked().data("body"));
    let request = http::Request::put("/picky").body(body).unwrap();
    let upstream = engine.upstream("backend").unwrap();
    let response = run(upstream.call(request)).unwrap();
    assert_eq!(response.status(), 425);
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!(seen.early_taken, 1);
    let requests = seen.upstreams["backend"].requests.iter();
    let told: Vec<u64> = requests.map(|one| one.duration.count()).collect();
    assert_eq!(told, [1, 1]);
}

#[test]
fn what_does_not_fit_waits_for_the_handshake() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 20);
    let engine = engine_with_early_data(&peer.url("https"), &authority);
    for _ in 0..3 {
        assert_eq!(get(&engine, "/"), "later");
    }
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.early_taken, seen.early_refused), (0, 0));
    assert_eq!(seen.handshakes_resumed, 2);
}

#[test]
fn nothing_is_sent_early_unless_asked_for() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 10_000);
    let engine = engine(1, backend(&peer.url("https"), &authority));
    for _ in 0..3 {
        assert_eq!(get(&engine, "/"), "later");
    }
    assert_eq!(run(engine.snapshot()).unwrap().handshakes_resumed, 2);
}

#[test]
fn warm_connections_are_handshaken_before_they_are_given_out() {
    let authority = Authority::new();
    let peer = telling_peer(&authority.sign(), 10_000);
    let mut upstream = backend(&peer.url("https"), &authority);
    upstream.tls.early_data = true;
    upstream.idle_min = 2;
    let engine = engine(1, upstream);
    for _ in 0..3 {
        until(&engine, "both are there", |seen| {
            seen.upstreams["backend"].idle == 2
        });
        assert_eq!(get(&engine, "/"), "later");
    }
    assert_eq!(run(engine.snapshot()).unwrap().early_taken, 0);
}

/// A server that takes tickets and hangs up, or falls silent, in the middle of the handshake.
#[test]
fn a_handshake_that_fails_behind_an_early_request_is_told() {
    let authority = Authority::new();
    let config = Arc::new(config_taking_early(&authority.sign(), 10_000));
    let peer = Peer::tcp(move |mut stream| {
        let connection = rustls::ServerConnection::new(config.clone()).expect("a session");
        let mut tls = rustls::StreamOwned::new(connection, stream.try_clone().expect("a copy"));
        tls.conn.read_tls(&mut stream).expect("a ClientHello");
        tls.conn.process_new_packets().expect("a good one");
        if tls.conn.early_data().is_some() {
            // It was resumed, and is dropped.
            return;
        }
        if read_head(&mut tls).is_some() {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            let _ = tls.write_all(answer);
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    let mut upstream = backend(&peer.url("https"), &authority);
    upstream.tls.early_data = true;
    upstream.retry.attempts_max = 1;
    let engine = engine(1, upstream);
    assert_eq!(get(&engine, "/"), "ok");
    let upstream = engine.upstream("backend").unwrap();
    let request = http::Request::get("/").body(()).unwrap();
    let error = run(upstream.call(request)).map(drop).unwrap_err();
    // An end, or a reset if the early request was still unread.
    let kinds = [ErrorKind::Tls(TlsFailure::Truncated), ErrorKind::Closed];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    assert!(error.is_retryable());
    assert!(error.request_sent() > ringpool::RequestSent::No);
    until(&engine, "nothing is left", |seen| seen.now.sockets == 0);
}

/// nginx takes early data as OpenSSL does.
#[test]
fn nginx_takes_requests_early() {
    let authority = Authority::new();
    let server = "ssl_protocols TLSv1.3; ssl_early_data on; keepalive_timeout 0; \
                  location / { return 200 \"here\"; }";
    let Some(nginx) = nginx(&authority.sign(), server) else {
        return;
    };
    let engine = engine_with_early_data(&nginx.url("https"), &authority);
    until(&engine, "some were taken early", |seen| {
        assert_eq!(get(&engine, "/"), "here");
        seen.early_taken >= 3
    });
}
