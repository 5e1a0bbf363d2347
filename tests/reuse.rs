//! When a connection is used again, and when it must not be: against a peer that closes, resets,
//! babbles and cheats at every inconvenient moment.

mod common;

use common::body::Steps;
use common::client::{Client, NAME, WAYS, Way, collect, get, request, spawn, with_body};
use common::idle::{idle, next_is_fresh};
use common::peer::{Conn, OK, Peer};
use http::Method;
use ringpool::{Body, ErrorKind, RequestSent, Snapshot};
use std::time::Duration;

#[test]
fn a_clean_connection_is_used_again_and_says_so() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let mut conn = idle(&peer, &client, way);
        for _ in 0..3 {
            let call = client.get(way, "/again");
            conn.answer(OK);
            let trip = call.wait().unwrap().trip;
            assert_eq!((trip.attempts, trip.reused, trip.shard), (1, true, 0));
            assert_eq!(trip.endpoint.unwrap().to_string(), peer.endpoint());
        }
        let snapshot = client.snapshot();
        assert_eq!((snapshot.hits, snapshot.misses), (3, 1));
        assert_eq!((peer.accepted(), snapshot.evictions()), (1, 0));
        assert!(snapshot.handshake_time_avoided > Duration::ZERO);
    }
}

/// What a peer does to an idle connection.
type Spoil = fn(Conn) -> Option<Conn>;
/// What the engine counts it as.
type Counted = fn(&Snapshot) -> u64;

const SPOILS: [(&str, Spoil, Counted); 4] = [
    (
        "closes",
        |conn| {
            conn.fin();
            Some(conn)
        },
        |snapshot| snapshot.evicted_peer_closed,
    ),
    (
        "resets",
        |conn| {
            conn.reset();
            None
        },
        |snapshot| snapshot.evicted_peer_closed,
    ),
    (
        "sends a stray byte",
        |mut conn| {
            conn.send("\n");
            Some(conn)
        },
        |snapshot| snapshot.evicted_stray_bytes,
    ),
    (
        "sends 408 and closes",
        |mut conn| {
            conn.send(
                "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
            conn.fin();
            Some(conn)
        },
        |snapshot| snapshot.evicted_stray_bytes,
    ),
];

#[test]
fn a_spoiled_idle_connection_is_evicted_and_closed() {
    for (what, spoil, counted) in SPOILS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let spoiled = spoil(idle(&peer, &client, Way::Anywhere));
        let snapshot = client.until(what, |snapshot| counted(snapshot) == 1);
        assert_eq!(snapshot.evictions(), 1, "{what}");
        client.until_empty();
        if let Some(conn) = spoiled {
            assert_eq!(conn.closed(), b"", "{what}");
        }
        next_is_fresh(&peer, &client, Way::Anywhere, what);
        assert_eq!(peer.accepted(), 2, "{what}");
    }
}

/// The engine is given no time to notice: the news is in the kernel, and the checkout has to see it.
#[test]
fn no_checkout_ever_sees_a_spoiled_connection() {
    for (what, spoil, counted) in SPOILS {
        for way in WAYS {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let mut seen = 0;
            for round in 1..=20 {
                let spoiled = spoil(idle(&peer, &client, way));
                let fresh = next_is_fresh(&peer, &client, way, what);
                let news = counted(&client.snapshot()) - seen;
                assert_eq!(news, 1, "{what}, {way:?}, round {round}");
                drop(spoiled);
                // The fresh one goes as well: each round begins without.
                drop(fresh);
                let empty = |s: &Snapshot| s.upstreams[NAME].idle == 0;
                seen = counted(&client.until("no idle connection", empty));
            }
        }
    }
}

#[test]
fn a_checkout_of_an_idle_connection_makes_no_system_call() {
    const TIMES: u64 = 1000;
    let peer = Peer::start();
    let client = Client::new(&peer);
    let _conn = idle(&peer, &client, Way::OnShard);
    let before = client.snapshot();
    client
        .on_shard(|shard| async move {
            let upstream = shard.upstream(NAME).unwrap();
            for _ in 0..TIMES {
                let lease = upstream.checkout().await.unwrap();
                assert!(lease.reused());
                lease.release();
            }
        })
        .wait();
    let after = client.snapshot();
    assert_eq!(after.hits - before.hits, TIMES);
    // What is left is the task's own coming and going, and the asking for figures.
    let enters = after.driver.enters - before.driver.enters;
    assert!(enters <= 10, "{enters} system calls for {TIMES} checkouts");
    assert!(after.driver.submissions - before.driver.submissions <= 10);
}

#[test]
fn an_idempotent_request_that_met_a_close_is_sent_once_more() {
    for way in WAYS {
        for (method, body) in [
            (Method::GET, ""),
            (Method::PUT, "state"),
            (Method::DELETE, ""),
        ] {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let mut stale = idle(&peer, &client, way);
            let call = client.send(way, with_body(method.clone(), "/x", body));
            let first = stale.request();
            stale.fin();
            let mut fresh = peer.accept();
            let second = fresh.answer(OK);
            assert_eq!((&first.head, &first.body), (&second.head, &second.body));
            assert_eq!(second.body, body.as_bytes());
            let trip = call.wait().unwrap().trip;
            assert_eq!((trip.attempts, trip.reused), (2, false), "{way:?} {method}");
            assert_eq!(peer.accepted(), 2);
        }
    }
}

#[test]
fn a_request_that_is_not_idempotent_is_sent_once_only() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let mut stale = idle(&peer, &client, way);
        let call = client.send(way, with_body(Method::POST, "/pay", "5"));
        stale.request();
        stale.fin();
        let error = call.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{way:?}");
        assert_eq!(error.request_sent(), RequestSent::Whole, "{way:?}");
        assert_eq!((error.attempts(), error.is_retryable()), (1, false));
        client.until_empty();
        assert_eq!(peer.accepted(), 1, "{way:?}");
    }
}

#[test]
fn a_request_cut_short_by_a_reset_says_that_some_of_it_left() {
    for way in WAYS {
        let peer = Peer::with_receive_buffer(4096);
        let client = Client::new(&peer);
        let call = client.send(way, with_body(Method::POST, "/pay", vec![0; 32 << 20]));
        let mut conn = peer.accept();
        conn.request_head();
        conn.reset();
        let error = call.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{way:?}");
        assert_eq!(error.request_sent(), RequestSent::Partly, "{way:?}");
        assert_eq!((error.attempts(), error.is_retryable()), (1, false));
        client.until_empty();
    }
}

#[test]
fn attempts_end_where_the_settings_say() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| config.retry.attempts_max = 2);
        let mut stale = idle(&peer, &client, way);
        let call = client.get(way, "/x");
        stale.request();
        stale.fin();
        let mut fresh = peer.accept();
        fresh.request();
        fresh.fin();
        let error = call.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{way:?}");
        // Safe to repeat, but by whoever has a reason to.
        assert_eq!((error.attempts(), error.is_retryable()), (2, true));
        let history: Vec<_> = error
            .history()
            .iter()
            .map(|a| (a.reused, a.failure))
            .collect();
        let closed = ErrorKind::Closed;
        assert_eq!(history, [(true, closed), (false, closed)], "{way:?}");
        client.until_empty();
        assert_eq!(peer.accepted(), 2, "{way:?}");
    }
}

#[test]
fn a_request_whose_response_has_begun_is_not_sent_again() {
    for way in WAYS {
        for begun in ["H", "HTTP/1.1 100 Continue\r\n\r\n"] {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let mut conn = idle(&peer, &client, way);
            let call = client.get(way, "/x");
            conn.answer(begun);
            conn.fin();
            let error = call.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{way:?} {begun:?}");
            assert_eq!((error.attempts(), error.is_retryable()), (1, false));
            client.until_empty();
            assert_eq!(peer.accepted(), 1, "{way:?} {begun:?}");
        }
    }
}

/// Responses that are fine as such, and after which the connection is not to be trusted.
const CONDEMNING: [(&str, Method, &str, &str); 8] = [
    (
        "bytes after the body",
        Method::GET,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokX",
        "ok",
    ),
    (
        "a second response",
        Method::GET,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        "ok",
    ),
    (
        "bytes after the last chunk",
        Method::GET,
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\n",
        "ok",
    ),
    (
        "a body on 204",
        Method::GET,
        "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
        "",
    ),
    (
        "a body on 304",
        Method::GET,
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok",
        "",
    ),
    (
        "a body on HEAD",
        Method::HEAD,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "",
    ),
    (
        "connection: close",
        Method::GET,
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
        "ok",
    ),
    (
        "HTTP/1.0",
        Method::GET,
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "ok",
    ),
];

#[test]
fn a_connection_in_doubt_is_closed_after_its_response() {
    for (what, method, response, body) in CONDEMNING {
        for way in WAYS {
            let peer = Peer::start();
            let client = Client::new(&peer);
            let call = client.send(way, with_body(method.clone(), "/x", ""));
            let mut conn = peer.accept();
            conn.answer(response);
            assert_eq!(
                call.wait().unwrap().body,
                body.as_bytes(),
                "{what}, {way:?}"
            );
            assert_eq!(conn.closed(), b"", "{what}, {way:?}");
            next_is_fresh(&peer, &client, way, what);
        }
    }
}

#[test]
fn a_connection_whose_request_is_unfinished_is_closed() {
    let peer = Peer::start();
    let client = Client::new(&peer);
    let (body, open) = Steps::promising(4).data("ab").gate();
    let upstream = client.upstream();
    let call = spawn(async move {
        let request = request("POST", "/x", Body::stream(body.data("cd")));
        collect(upstream.call(request).await?).await
    });
    let mut conn = peer.accept();
    conn.request_head();
    assert_eq!(conn.take(2), b"ab");
    conn.send(OK);
    assert_eq!(call.wait().unwrap().body, b"ok");
    assert_eq!(conn.closed(), b"");
    drop(open);
    next_is_fresh(&peer, &client, Way::Anywhere, "an early response");
}

#[test]
fn a_body_that_is_dropped_unread_closes_its_connection() {
    const LONG: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nbegin";
    let peer = Peer::start();
    let client = Client::new(&peer);

    let upstream = client.upstream();
    let call = spawn(async move { upstream.call(get("/x")).await.map(drop) });
    let mut conn = peer.accept();
    conn.answer(LONG);
    call.wait().unwrap();
    assert_eq!(conn.closed(), b"");

    let call = client.on_shard(|shard| async move {
        let upstream = shard.upstream(NAME).unwrap();
        drop(upstream.call(get("/x")).await.unwrap());
        let mut exchange = upstream
            .exchange(ringpool::on_shard::Head::get("/x"))
            .await
            .unwrap();
        assert_eq!(&*exchange.chunk().await.unwrap().unwrap(), b"begin");
    });
    for _ in 0..2 {
        let mut conn = peer.accept();
        conn.answer(LONG);
        assert_eq!(conn.closed(), b"");
    }
    call.wait();
    assert_eq!(client.until_empty().discarded, 3);
}
