//! Responses that nobody should believe.

use super::*;

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
