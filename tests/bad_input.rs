//! Whatever a peer, a network or a caller does wrong comes back as one typed error, and leaves
//! nothing behind.

mod common;

use bytes::Bytes;
use common::body::Steps;
use common::bounded;
use common::client::{Client, NAME, WAYS, Way, collect, get, request, spawn, with_body, within};
use common::peer::Peer;
use http::Method;
use ringpool::on_shard::Head;
use ringpool::{Body, Error, ErrorKind, Phase, RequestSent};
use std::error::Error as _;
use std::net::TcpListener;
use std::time::Duration;

/// What every error has to hold: one line, the upstream's name, and the figures.
fn check(error: &Error, kind: ErrorKind, attempts: u32, sent: RequestSent, what: &str) {
    assert_eq!(error.kind(), kind, "{what}: {error:?}");
    assert_eq!(error.upstream(), Some(NAME), "{what}: {error}");
    assert_eq!(error.attempts(), attempts, "{what}: {error}");
    assert_eq!(error.request_sent(), sent, "{what}: {error}");
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 300, "{what}: {line}");
    assert!(line.starts_with("peer: "), "{what}: {line}");
}

/// Responses that nobody should believe. Most are followed by the peer's silence: the error must not
/// wait for more.
const MALFORMED: [(&str, &str); 32] = [
    ("not HTTP", "220 ready\r\n"),
    ("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("no version", "HTTP 200 OK\r\n\r\n"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\n\r\n"),
    ("HTTP/1.2", "HTTP/1.2 200 OK\r\n\r\n"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
    ("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
    ("a status of letters", "HTTP/1.1 2OO OK\r\n\r\n"),
    ("a status below 100", "HTTP/1.1 099 No\r\n\r\n"),
    (
        "lines that end with LF",
        "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    ),
    (
        "a space before the colon",
        "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
    ),
    ("a folded line", "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n"),
    ("no colon", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
    ("a NUL", "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n"),
    ("a CR within", "HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n"),
    (
        "a negative length",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    ),
    (
        "a length with a sign",
        "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    ),
    (
        "a length in hex",
        "HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
    ),
    (
        "an empty length",
        "HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
    ),
    (
        "a length over 64 bits",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616\r\n\r\n",
    ),
    (
        "two lengths",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
    ),
    (
        "a list of lengths",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok",
    ),
    (
        "length and chunks",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "another encoding",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    ),
    (
        "chunks in 1.0",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "101 unasked",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ),
    (
        "a chunk size of letters",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    ),
    (
        "no chunk size",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
    ),
    (
        "a chunk size over 64 bits",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n",
    ),
    (
        "a chunk longer than it said",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ),
    (
        "a chunk size that ends with LF",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n",
    ),
    (
        "malformed trailers",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
    ),
];

#[test]
fn malformed_responses_are_refused() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        for (what, response) in MALFORMED {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.answer(response);
            let error = call.wait().expect_err(what);
            check(&error, ErrorKind::Protocol, 1, RequestSent::Whole, what);
            assert_eq!(error.endpoint().unwrap().to_string(), peer.endpoint());
            assert!(!error.is_retryable(), "{what}");
            assert!(error.source().is_some(), "{what}");
            assert_eq!(conn.closed(), b"", "{what}, {way:?}");
        }
        client.until_empty();
    }
}

#[test]
fn a_response_cut_short_is_never_taken_for_whole() {
    let table = [
        ("in the status line", "HTTP/1.1 20"),
        ("in the head", "HTTP/1.1 200 OK\r\ncontent-le"),
        (
            "before a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        ),
        (
            "in a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        ),
        (
            "in a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhell",
        ),
        (
            "before the last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        ),
        (
            "in the last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
        ),
        (
            "after an interim response",
            "HTTP/1.1 103 Early Hints\r\n\r\n",
        ),
    ];
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        for (what, response) in table {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.answer(response);
            conn.fin();
            let error = call.wait().expect_err(what);
            check(&error, ErrorKind::Protocol, 1, RequestSent::Whole, what);
            conn.closed();
            // The same by a reset is the connection's failure, not the protocol's.
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.answer(response);
            conn.reset();
            let error = call.wait().expect_err(what);
            check(&error, ErrorKind::Closed, 1, RequestSent::Whole, what);
        }
        client.until_empty();
    }
}

#[test]
fn limits_bound_what_a_response_may_claim() {
    let headers = "x: y\r\n".repeat(9);
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1024));
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20));
    let table = [
        (
            "too many headers",
            format!("HTTP/1.1 200 OK\r\n{headers}\r\n"),
        ),
        ("a head too long", long),
        ("a head without an end", endless),
        (
            "too many interim responses",
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000),
        ),
        (
            "trailers without an end",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {}",
                "y".repeat(1 << 20)
            ),
        ),
        (
            "a chunk extension without an end",
            format!(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x={}",
                "y".repeat(1 << 20)
            ),
        ),
    ];
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.headers_max = 8;
            config.head_bytes_max = 1024;
            config.informational_max = 3;
        });
        for (what, response) in &table {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.request();
            // The engine hangs up in the middle of it.
            let _ = conn.try_send(response);
            let error = call.wait().expect_err(what);
            check(&error, ErrorKind::Limit, 1, RequestSent::Whole, what);
            assert!(!error.is_retryable());
            conn.closed();
        }
        // What is just within passes.
        let call = client.get(way, "/");
        let mut conn = peer.accept();
        let headers = "x: y\r\n".repeat(7);
        conn.answer(format!(
            "HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n"
        ));
        call.wait().unwrap();
    }
}

#[test]
fn a_request_body_that_breaks_its_promise_is_an_error() {
    type Broken = fn() -> Steps;
    let table: [(&str, Broken); 4] = [
        ("too long", || Steps::promising(2).data("abc")),
        ("too long by a second piece", || {
            Steps::promising(2).data("ab").data("c")
        }),
        ("too short", || Steps::promising(4).data("abc")),
        ("failing", || Steps::chunked().data("abc").fail()),
    ];
    for (what, steps) in table {
        for on_shard in [false, true] {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let call = if on_shard {
                client.on_shard(move |shard| async move {
                    let request = request("POST", "/", Body::stream(steps()));
                    shard.upstream(NAME)?.call(request).await.map(drop)
                })
            } else {
                let upstream = client.upstream();
                spawn(async move {
                    let request = request("POST", "/", Body::stream(steps()));
                    upstream.call(request).await.map(drop)
                })
            };
            let conn = peer.accept();
            let error = call.wait().expect_err(what);
            assert_eq!(error.kind(), ErrorKind::RequestBody, "{what}: {error:?}");
            assert!(!error.is_retryable());
            // What was promised is whole; only the surplus stays here.
            if what != "too long by a second piece" {
                assert_ne!(error.request_sent(), RequestSent::Whole, "{what}");
            }
            // The peer never sees a whole request: what came is cut short.
            let sent = String::from_utf8(conn.closed()).unwrap();
            assert!(!sent.ends_with("0\r\n\r\n"), "{what}: {sent}");
            assert!(!sent.contains("abcd"), "{what}: {sent}");
            client.until_empty();
        }
    }
}

#[test]
fn nothing_can_be_smuggled_into_a_request() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    type Smuggling = fn() -> Head<'static>;
    let heads: [(&str, Smuggling); 9] = [
        ("a target with a space", || Head::get("/a b")),
        ("a target with a line", || Head::get("/ HTTP/1.1\r\nx: y")),
        ("no target", || Head::get("")),
        ("a method with a space", || Head::new("GET /", "/")),
        ("no method", || Head::new("", "/")),
        ("a name with a colon", || Head::get("/").header("a: b", "c")),
        ("a value with a line", || {
            Head::get("/").header("a", "b\r\nc: d")
        }),
        ("two hosts", || {
            Head::get("/").header("host", "a").header("Host", "b")
        }),
        ("a length without a body", || {
            Head::get("/").header("content-length", "5")
        }),
    ];
    for (what, head) in heads {
        let call = client.on_shard(move |shard| async move {
            shard.upstream(NAME)?.exchange(head()).await.map(drop)
        });
        let error = call.wait().expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Request, "{what}: {error:?}");
        assert_eq!(error.upstream(), Some(NAME));
        assert_eq!(
            (error.request_sent(), error.is_retryable()),
            (RequestSent::No, false)
        );
    }
    // The http crate refuses most of that by itself; what is left is framing.
    for name in ["content-length", "transfer-encoding"] {
        for way in [Way::Anywhere, Way::OnShard] {
            let mut wrong = with_body(Method::POST, "/", "hello");
            wrong.headers_mut().insert(name, "4".parse().unwrap());
            let error = client.send(way, wrong).wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Request, "{name}: {error:?}");
        }
    }
    // The connection was made for these, and nothing was ever written to it.
    let call = client.get(Way::Anywhere, "/");
    let got = peer.accept().answer("HTTP/1.1 204 No Content\r\n\r\n");
    call.wait().unwrap();
    assert_eq!(got.line(), "GET / HTTP/1.1");
    assert_eq!(peer.accepted(), 1);
}

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
fn a_peer_that_says_nothing_times_out() {
    let table = [
        ("no head", "", Phase::Head),
        ("half a head", "HTTP/1.1 200 OK\r\n", Phase::Head),
        (
            "interim only",
            "HTTP/1.1 102 Processing\r\n\r\n",
            Phase::Head,
        ),
        (
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Phase::Body,
        ),
        (
            "half a body",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            Phase::Body,
        ),
        (
            "no last chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            Phase::Body,
        ),
    ];
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.call_timeout = Duration::from_millis(100);
        });
        for (what, response, phase) in table {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.answer(response);
            let error = call.wait().expect_err(what);
            check(
                &error,
                ErrorKind::Timeout(phase),
                1,
                RequestSent::Whole,
                what,
            );
            assert!(error.is_retryable(), "GET may be repeated");
            assert_eq!(conn.closed(), b"", "{what}, {way:?}");
        }
        client.until_empty();
    }
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
fn an_engine_that_stops_fails_what_is_under_way() {
    for way in [Way::Anywhere, Way::OnShard] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let upstream = client.upstream();
        let call = match way {
            Way::Anywhere => spawn({
                let upstream = upstream.clone();
                async move { upstream.call(get("/")).await.map(drop).unwrap_err().kind() }
            }),
            Way::OnShard | Way::Exchange => {
                let each = client.engine.spawn_on_each(|shard| async move {
                    let upstream = shard.upstream(NAME).unwrap();
                    upstream.call(get("/")).await.map(drop)
                });
                spawn(async move { each.await.remove(0).unwrap_err().kind() })
            }
        };
        let mut conn = peer.accept();
        conn.request();
        client.engine.stop();
        assert_eq!(call.wait(), ErrorKind::Draining, "{way:?}");
        assert_eq!(conn.closed(), b"");
        let late = within(async move { upstream.call(get("/")).await.map(drop) });
        assert_eq!(late.unwrap_err().kind(), ErrorKind::Draining);
    }
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
