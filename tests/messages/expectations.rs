//! Interim responses; bodies held back until the peer agrees; responses that come before the request is whole.

use super::*;

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
