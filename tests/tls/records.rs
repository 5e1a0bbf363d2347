//! Records after the handshake: cut short, broken, tiny.

use super::*;

#[test]
fn a_body_that_ends_with_the_connection_needs_close_notify() {
    let authority = Authority::new();
    let tls = Arc::new(config(&authority.sign()));
    for polite in [true, false] {
        let peer = Peer::tls(tls.clone(), move |mut stream: TlsStream| {
            if read_head(&mut stream).is_none() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf of it, or all?");
            let _ = stream.flush();
            if polite {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            let _ = stream.sock.shutdown(Shutdown::Write);
            let _ = stream.sock.read(&mut [0; 1024]);
        });
        let engine = engine(1, backend(&peer.url("https"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        let from_outside = run(get(&upstream, "/"));
        let tasks = engine.spawn_on_each(|shard| async move {
            let upstream = shard.upstream("backend").unwrap();
            let mut exchange = upstream.exchange(Head::get("/")).await.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = exchange.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok::<_, Error>(Bytes::from(body))
        });
        let on_shard = run(tasks).remove(0).unwrap();
        for result in [from_outside, on_shard] {
            if polite {
                assert_eq!(result.expect("all of it"), "half of it, or all?");
            } else {
                let error = result.expect_err("who knows whether that was all");
                assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Truncated));
            }
        }
    }
}

/// Closes each connection when its second request comes, without close_notify; answers the first.
fn closes_at_the_second(tls: Arc<ServerConfig>) -> Peer {
    Peer::tls(tls, |mut stream: TlsStream| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            let _ = stream.flush();
            let _ = read_head(&mut stream);
        }
    })
}

#[test]
fn a_reused_connection_closed_without_close_notify_is_tried_again() {
    let authority = Authority::new();
    let peer = closes_at_the_second(Arc::new(config(&authority.sign())));
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    assert_eq!(run(get(&upstream, "/")).unwrap(), "ok");
    for _ in 0..2 {
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).expect("idempotent: once more");
        let trip = Trip::of(&response).unwrap();
        assert_eq!((trip.attempts, trip.reused), (2, false));
        assert_eq!(
            run(response.into_body().collect()).unwrap().to_bytes(),
            "ok"
        );
    }
    // What may not be repeated is not.
    let request = http::Request::post("/").body("once").unwrap();
    let error = run(upstream.call(request)).expect_err("the peer closed");
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Truncated));
    assert!(!error.is_retryable());
}

#[test]
fn what_came_before_a_broken_record_is_read_first() {
    let authority = Authority::new();
    let peer = Peer::tls(
        Arc::new(config(&authority.sign())),
        |mut stream: TlsStream| {
            if read_head(&mut stream).is_none() {
                return;
            }
            // A whole response, and a record that decrypts to nothing good, in one segment.
            let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            stream.conn.writer().write_all(response).unwrap();
            let mut bytes = Vec::new();
            while stream.conn.wants_write() {
                stream.conn.write_tls(&mut bytes).unwrap();
            }
            bytes.extend_from_slice(&[23, 3, 3, 0, 20]);
            bytes.extend_from_slice(&[7; 20]);
            let _ = stream.sock.write_all(&bytes);
            let _ = stream.sock.read_to_end(&mut Vec::new());
        },
    );
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    assert_eq!(run(get(&upstream, "/")).unwrap(), "ok");
    until(&engine, "no such connection is kept", |seen| {
        seen.now.connections == 0
    });
}

#[test]
fn records_of_one_byte() {
    let authority = Authority::new();
    let body: Bytes = (0..4096u32).map(|n| (n * 7 % 251) as u8).collect();
    let sent = body.clone();
    let peer = Peer::tls(
        Arc::new(config(&authority.sign())),
        move |mut stream: TlsStream| {
            while read_head(&mut stream).is_some() {
                let mut response =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len())
                        .into_bytes();
                response.extend_from_slice(&sent);
                for byte in response {
                    if stream
                        .write_all(&[byte])
                        .and_then(|()| stream.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            }
        },
    );
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for _ in 0..3 {
        assert!(run(get(&upstream, "/")).unwrap() == body);
    }
    assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
}
