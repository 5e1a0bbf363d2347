//! HTTP/1.1 messages in both directions: lengths, chunks, trailers, interim responses, expectations,
//! upgrades, tunnels; whole, in pieces, and byte by byte.

mod common;

use bytes::Bytes;
use common::body::Steps;
use common::client::{
    Answer, Client, NAME, Running, WAYS, Way, collect, get, request, spawn, with_body,
};
use common::peer::Peer;
use http::Method;
use http_body::Body as _;
use http_body_util::BodyExt;
use ringpool::{Body, Error, ErrorKind, Phase, RequestSent};
use std::sync::atomic::Ordering;
use std::time::Duration;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Bytes whose place in the stream shows.
fn pattern(len: usize) -> Bytes {
    let word = |n: usize| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes();
    let words = (0..len.div_ceil(4)).flat_map(word);
    words.take(len).collect::<Vec<u8>>().into()
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x};ext=1\r\n", chunk.len()).bytes());
        out.extend(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Sends a request with any body, either way.
fn upload(
    client: &Client,
    on_shard: bool,
    request: http::Request<Body>,
) -> Running<Result<Answer, Error>> {
    if !on_shard {
        let upstream = client.upstream();
        return spawn(async move { collect(upstream.call(request).await?).await });
    }
    // A task on the shard is made by a closure that could be called more than once.
    let request = std::sync::Arc::new(std::sync::Mutex::new(Some(request)));
    client.on_shard(move |shard| {
        let request = request.lock().unwrap().take().unwrap();
        async move { collect(shard.upstream(NAME)?.call(request).await?).await }
    })
}

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

#[test]
fn an_upload_is_held_back_by_a_peer_that_does_not_read() {
    const PIECE: usize = 16 * 1024;
    const PIECES: usize = 4096;
    for on_shard in [false, true] {
        for length in [None, Some(PIECE * PIECES)] {
            let peer = Peer::with_receive_buffer(4096);
            let client = Client::with(&peer.http(), |config| {
                config.call_timeout = Duration::from_millis(500);
            });
            let mut steps = length.map_or_else(Steps::chunked, Steps::promising);
            for _ in 0..PIECES {
                steps = steps.data(vec![0; PIECE]);
            }
            let polled = steps.polled();
            let call = upload(&client, on_shard, request("POST", "/", Body::stream(steps)));
            let conn = peer.accept();
            let error = call.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Send), "{error}");
            assert_eq!(error.request_sent(), RequestSent::Partly);
            assert!(!error.is_retryable());
            // The kernel's send buffer may take 4 MiB (tcp_wmem), the engine a little.
            let polled = polled.load(Ordering::SeqCst);
            assert!(polled < 8 << 20, "{polled} bytes were asked for");
            drop(conn);
            client.until_empty();
        }
    }
}

#[test]
fn a_download_is_held_back_while_nobody_reads() {
    const MOST: usize = 64 << 20;
    let peer = Peer::start();
    let client = Client::new(&peer);
    for on_shard in [false, true] {
        let (go_on, wait) = futures_channel::oneshot::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(Some(wait)));
        let task = if on_shard {
            client.on_shard(move |shard| {
                let wait = wait.lock().unwrap().take().unwrap();
                async move {
                    let head = ringpool::on_shard::Head::get("/");
                    let mut exchange = shard.upstream(NAME)?.exchange(head).await?;
                    wait.await.unwrap();
                    let mut read = 0;
                    while let Some(chunk) = exchange.chunk().await? {
                        read += chunk.len();
                    }
                    Ok::<_, Error>(read)
                }
            })
        } else {
            let upstream = client.upstream();
            spawn(async move {
                let mut body = upstream.call(get("/")).await?.into_body();
                let wait = wait.lock().unwrap().take().unwrap();
                wait.await.unwrap();
                let mut read = 0;
                while let Some(frame) = body.frame().await {
                    read += frame?.data_ref().map_or(0, Bytes::len);
                }
                Ok(read)
            })
        };
        let mut conn = peer.accept();
        conn.answer("HTTP/1.1 200 OK\r\n\r\n");
        let sent = conn.send_until_stalled(MOST, Duration::from_millis(300));
        assert!(sent < MOST / 2, "{sent} bytes were taken in unread");
        go_on.send(()).unwrap();
        conn.send("end");
        conn.fin();
        assert_eq!(task.wait().unwrap(), sent + 3);
    }
}

#[test]
fn interim_responses_are_passed_over() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let call = client.get(way, "/");
        let mut conn = peer.accept();
        conn.request();
        conn.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
        for _ in 0..5 {
            conn.send("HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n");
        }
        conn.send(OK);
        let answer = call.wait().unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]), "{way:?}");
        let call = client.get(way, "/");
        conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused);
    }
}

fn expecting(body: impl Into<Body>) -> http::Request<Body> {
    let mut request = request("POST", "/", body);
    let headers = request.headers_mut();
    headers.insert("expect", "100-continue".parse().unwrap());
    request
}

#[test]
fn an_expectation_holds_the_body_back_until_the_peer_agrees() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.continue_timeout = Duration::from_secs(60);
        });
        let mut conn = None;
        for body in [
            Body::from("hello"),
            Body::stream(Steps::promising(5).data("hello")),
        ] {
            let call = upload(&client, on_shard, expecting(body));
            let conn = conn.get_or_insert_with(|| peer.accept());
            assert!(conn.request_head().contains("expect: 100-continue\r\n"));
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(conn.take(5), b"hello");
            conn.send(OK);
            assert_eq!(call.wait().unwrap().body, b"ok");
        }
        assert_eq!(peer.accepted(), 1);
    }
}

#[test]
fn an_expectation_that_is_refused_keeps_the_body_here() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.continue_timeout = Duration::from_secs(60);
        });
        let call = upload(&client, on_shard, expecting("hello"));
        let mut conn = peer.accept();
        conn.request_head();
        // In pieces, so that the response goes on after its head is known.
        conn.send("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 3\r\n\r\nn");
        conn.send("o");
        conn.send("!");
        let answer = call.wait().unwrap();
        assert_eq!((answer.status, &*answer.body), (417, &b"no!"[..]));
        // Nothing of the body, and no second request behind it.
        assert_eq!(conn.closed(), b"");
        client.until_empty();
    }
}

#[test]
fn a_refused_body_stays_here_while_the_refusal_is_read() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.continue_timeout = Duration::from_secs(60);
        });
        let steps = Steps::chunked().data("hello");
        let polled = steps.polled();
        let (go, told) = std::sync::mpsc::channel();
        let request = std::sync::Mutex::new(Some(expecting(Body::stream(steps))));
        let request = std::sync::Arc::new(request);
        let call = if on_shard {
            client.on_shard(move |shard| {
                let (go, request) = (go.clone(), request.lock().unwrap().take().unwrap());
                async move {
                    let response = shard.upstream(NAME)?.call(request).await?;
                    go.send(()).unwrap();
                    collect(response).await
                }
            })
        } else {
            let upstream = client.upstream();
            let request = request.lock().unwrap().take().unwrap();
            spawn(async move {
                let response = upstream.call(request).await?;
                go.send(()).unwrap();
                collect(response).await
            })
        };
        let mut conn = peer.accept();
        conn.request_head();
        conn.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nn");
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        conn.send("o!");
        assert_eq!(call.wait().unwrap().body, b"no!");
        assert_eq!(conn.closed(), b"", "on the shard: {on_shard}");
        if on_shard {
            assert_eq!(polled.load(Ordering::SeqCst), 0);
        }
    }
}

#[test]
fn a_peer_that_ignores_an_expectation_gets_the_body_after_a_while() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.continue_timeout = Duration::from_millis(20);
        });
        let call = upload(&client, on_shard, expecting("hello"));
        let mut conn = peer.accept();
        assert_eq!(conn.answer(OK).body, b"hello");
        assert_eq!(call.wait().unwrap().body, b"ok");
        let call = client.get(Way::Anywhere, "/");
        conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused);
    }
}

const TOO_LARGE: &str =
    "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig";

#[test]
fn an_early_refusal_is_heard_though_the_peer_closes() {
    for on_shard in [false, true] {
        let peer = Peer::with_receive_buffer(4096);
        let client = Client::new(&peer);
        let mut steps = Steps::chunked();
        for _ in 0..1024 {
            steps = steps.data(vec![0; 65_536]);
        }
        let call = upload(&client, on_shard, request("POST", "/", Body::stream(steps)));
        let mut conn = peer.accept();
        conn.request_head();
        conn.send(TOO_LARGE);
        // With so much unread, a close is a reset.
        drop(conn);
        let answer = call.wait().unwrap();
        assert_eq!((answer.status, &*answer.body), (413, &b"big"[..]));
        client.until_empty();
    }
}

#[test]
fn an_early_response_may_go_on_beside_the_upload() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let (steps, open) = Steps::chunked().data("ab").gate();
        let body = Body::stream(steps.data("cd"));
        let call = upload(&client, on_shard, request("POST", "/", body));
        let mut conn = peer.accept();
        conn.request_head();
        conn.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nAB\r\n");
        assert_eq!(conn.take(7), b"2\r\nab\r\n");
        open.send(()).unwrap();
        assert_eq!(conn.take(12), b"2\r\ncd\r\n0\r\n\r\n");
        conn.send("2\r\nCD\r\n0\r\n\r\n");
        assert_eq!(call.wait().unwrap().body, b"ABCD");
        // All is well, but the response was early: whoever answers so may have missed the rest.
        assert_eq!(conn.closed(), b"");
    }
}

#[test]
fn an_upgrade_makes_a_raw_stream() {
    const SWITCH: &str =
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: raw\r\nconnection: upgrade\r\n\r\nfirst";
    let ask = || {
        let mut ask = get("/chat");
        let headers = ask.headers_mut();
        headers.insert("upgrade", "raw".parse().unwrap());
        headers.insert("connection", "upgrade".parse().unwrap());
        ask
    };
    becomes_raw(ask, SWITCH, 101);
}

#[test]
fn connect_makes_a_tunnel() {
    let ask = || {
        let ask = http::Request::connect("example.com:443");
        ask.body(Bytes::new()).unwrap()
    };
    becomes_raw(ask, "HTTP/1.1 200 OK\r\n\r\nfirst", 200);
}

/// `ask` is answered by `answer`, after which the connection is a raw stream that begins with "first".
fn becomes_raw(ask: impl Fn() -> http::Request<Bytes>, answer: &str, status: u16) {
    let peer = Peer::start();
    let client = Client::new(&peer);
    for on_shard in [false, true] {
        let asked = ask();
        // The types differ, the steps do not.
        macro_rules! talk {
            ($upstream:expr, $asked:expr) => {{
                let response = $upstream.call($asked).await?;
                assert_eq!(response.status(), status);
                let mut lease = response.into_body().into_upgraded().expect("a raw stream");
                let mut read = Vec::new();
                while let Some(piece) = lease.read().await? {
                    read.extend_from_slice(&piece);
                    if read.len() == 5 {
                        lease.write_all(b"over to you\n").await?;
                    }
                }
                lease.flush().await?;
                Ok::<_, Error>(read)
            }};
        }
        let talk = if on_shard {
            client.on_shard(move |shard| {
                let asked = asked.clone();
                async move { talk!(shard.upstream(NAME)?, asked) }
            })
        } else {
            let upstream = client.upstream();
            spawn(async move { talk!(upstream, asked) })
        };
        let mut conn = peer.accept();
        let head = conn.answer(answer).head;
        if status == 200 {
            assert!(
                head.starts_with("CONNECT example.com:443 HTTP/1.1\r\n"),
                "{head}"
            );
        }
        assert_eq!(conn.take(12), b"over to you\n");
        conn.send(" and last");
        conn.fin();
        assert_eq!(talk.wait().unwrap(), b"first and last");
        assert_eq!(conn.closed(), b"");
        client.until_empty();
    }
}

#[test]
fn a_response_tells_how_much_is_to_come() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    let upstream = client.upstream();
    let call = spawn(async move { upstream.call(get("/")).await });
    let mut conn = peer.accept();
    conn.answer("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    let body = call.wait().unwrap().into_body();
    assert_eq!(body.size_hint().exact(), Some(10));
    let read = spawn(async move {
        let mut body = body;
        let first = body.frame().await.unwrap()?.into_data().unwrap();
        Ok::<_, Error>((first, body))
    });
    let (first, body) = read.wait().unwrap();
    assert_eq!(first, "hello");
    assert_eq!(body.size_hint().exact(), Some(5));
    conn.send("world");
    let rest = spawn(async move { body.collect().await.map(|rest| rest.to_bytes()) });
    assert_eq!(rest.wait().unwrap(), "world");
}
