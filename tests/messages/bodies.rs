//! Bodies of every framing, whole, in pieces, and byte by byte; trailers.

use super::*;

#[test]
fn responses_of_every_framing_are_read_to_their_end() {
    // Name, response, its body, whether the connection serves on.
    let table: [(&str, &str, &str, bool); 10] = [
        ("length", OK, "ok", true),
        (
            "no body",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "",
            true,
        ),
        (
            "no reason",
            "HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok",
            "ok",
            true,
        ),
        (
            "chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n01;x=y\r\nk\r\n0\r\n\r\n",
            "ok",
            true,
        ),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n", "", true),
        (
            "304",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
            "",
            true,
        ),
        (
            "until close",
            "HTTP/1.1 200 OK\r\n\r\nuntil close",
            "until close",
            false,
        ),
        (
            "1.0 until close",
            "HTTP/1.0 200 OK\r\n\r\nuntil close",
            "until close",
            false,
        ),
        (
            "1.0 kept alive",
            "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
            "ok",
            true,
        ),
        (
            "equal lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
            "ok",
            true,
        ),
    ];
    for way in WAYS {
        for (what, response, body, serves_on) in table {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let call = client.get(way, "/x?y=z");
            let mut conn = peer.accept();
            conn.answer(response);
            if what.ends_with("until close") {
                conn.fin();
            }
            let answer = call.wait().unwrap();
            assert_eq!(answer.body, body.as_bytes(), "{what}, {way:?}");
            if serves_on {
                let call = client.get(way, "/again");
                conn.answer(OK);
                assert!(call.wait().unwrap().trip.reused, "{what}, {way:?}");
            } else {
                assert_eq!(conn.closed(), b"", "{what}, {way:?}");
            }
        }
    }
}

#[test]
fn a_response_to_head_has_no_body() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let call = client.send(way, with_body(Method::HEAD, "/", ""));
        let mut conn = peer.accept();
        let head = conn
            .answer("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            .head;
        assert!(head.starts_with("HEAD / HTTP/1.1\r\n"), "{head}");
        assert_eq!(call.wait().unwrap().body, b"", "{way:?}");
        let call = client.get(way, "/");
        conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused, "{way:?}");
    }
}

#[test]
fn what_goes_out_is_what_was_asked() {
    for way in WAYS {
        for peer in [Peer::start(), Peer::at("[::1]:0"), Peer::unix()] {
            let client = Client::new(&peer);
            let mut request = with_body(Method::POST, "/put", "hello");
            request.headers_mut().insert("x-test", "1".parse().unwrap());
            let call = client.send(way, request);
            let got = peer.accept().answer(OK);
            call.wait().unwrap();
            assert_eq!(got.line(), "POST /put HTTP/1.1", "{way:?}");
            assert_eq!(got.header("x-test"), Some("1"));
            assert_eq!(got.header("content-length"), Some("5"));
            let host = match peer.http().strip_prefix("http://") {
                Some(host) => host.to_owned(),
                None => "localhost".to_owned(),
            };
            assert_eq!(got.header("host"), Some(&*host));
            assert_eq!(got.body, b"hello");
        }
    }
}

#[test]
fn a_response_may_come_byte_by_byte() {
    let responses: [&[u8]; 2] = [
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a=\"b\"\r\nhe\r\n3\r\nllo\r\n0\r\nx-end: 1\r\n\r\n",
    ];
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let mut conn = None;
        for response in responses {
            // Cut at every place, and everywhere at once.
            let cuts = (1..response.len()).map(Some).chain([None]);
            for cut in cuts {
                let call = client.get(way, "/");
                let conn = conn.get_or_insert_with(|| peer.accept());
                conn.request();
                match cut {
                    Some(at) => {
                        conn.send(&response[..at]);
                        conn.send(&response[at..]);
                    }
                    None => response.iter().for_each(|byte| conn.send([*byte])),
                }
                let answer = call.wait().unwrap();
                assert_eq!(answer.body, b"hello", "{way:?}, cut at {cut:?}");
            }
        }
        assert_eq!(peer.accepted(), 1);
    }
}

#[test]
fn a_mebibyte_goes_either_way_unchanged() {
    const MUCH: usize = 1 << 20;
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let mut conn = None;
        for chunked in [false, true] {
            let call = client.send(way, with_body(Method::PUT, "/", pattern(MUCH)));
            let conn = conn.get_or_insert_with(|| peer.accept());
            assert!(
                conn.request().body == pattern(MUCH),
                "{way:?}: sent differs"
            );
            if chunked {
                conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                conn.send(in_chunks(&pattern(MUCH), 10_007));
            } else {
                conn.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {MUCH}\r\n\r\n"));
                conn.send(pattern(MUCH));
            }
            let answer = call.wait().unwrap();
            assert!(answer.body == pattern(MUCH), "{way:?}: received differs");
        }
        assert_eq!(peer.accepted(), 1);
    }
}

#[test]
fn streamed_bodies_are_framed_by_what_is_known_of_them() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let pieces = |steps: Steps| steps.data("he").data("").data(pattern(100_000)).data("llo");
        let mut whole = b"he".to_vec();
        whole.extend(pattern(100_000));
        whole.extend(b"llo");

        let known = Body::stream(pieces(Steps::promising(whole.len())));
        let call = upload(&client, on_shard, request("POST", "/", known));
        let mut conn = peer.accept();
        let got = conn.answer(OK);
        call.wait().unwrap();
        let length = whole.len().to_string();
        assert_eq!(got.header("content-length"), Some(&*length));
        assert!(got.body == whole, "the body differs");

        let unknown = Body::stream(pieces(Steps::chunked()).trailer("x-sum", "42"));
        let call = upload(&client, on_shard, request("POST", "/", unknown));
        let got = conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused);
        assert_eq!(got.header("transfer-encoding"), Some("chunked"));
        assert!(got.body == whole, "the body differs");
        assert_eq!(got.trailers, ["x-sum: 42"]);
    }
}

/// The peer has all of it before the source says so: its answer is not an early one.
#[test]
fn a_request_is_whole_when_its_length_is_reached() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let mut conn = None;
        for length in [2, 0] {
            let steps = Steps::promising(length).data(pattern(length));
            let (steps, _open) = steps.gate();
            let body = Body::stream(steps);
            let call = upload(&client, on_shard, request("POST", "/", body));
            conn.get_or_insert_with(|| peer.accept()).answer(OK);
            assert_eq!(call.wait().unwrap().body, b"ok");
        }
        let call = client.get(Way::Anywhere, "/");
        conn.unwrap().answer(OK);
        assert!(call.wait().unwrap().trip.reused);
        assert_eq!(peer.accepted(), 1);
    }
}

#[test]
fn trailers_come_after_the_body() {
    for way in [Way::Anywhere, Way::OnShard] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let call = client.get(way, "/");
        let mut conn = peer.accept();
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n");
        conn.send("x-sum: 42\r\ncontent-length: 7\r\n\r\n");
        let answer = call.wait().unwrap();
        let trailers = answer.trailers.unwrap();
        assert_eq!(trailers["x-sum"], "42");
        // What frames a message cannot come after it (RFC 9110 §6.5.1).
        assert_eq!(trailers.len(), 1, "{trailers:?}");
        let call = client.get(way, "/");
        conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused);
    }
}

#[test]
fn trailers_after_a_promised_length_are_an_error() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let body = Steps::promising(2).data("ab").trailer("x-sum", "42");
        let call = upload(&client, on_shard, request("PUT", "/", Body::stream(body)));
        let error = call.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RequestBody, "{error}");
        assert_eq!((error.attempts(), error.is_retryable()), (1, false));
        client.until_empty();
    }
}
