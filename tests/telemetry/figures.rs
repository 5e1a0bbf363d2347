//! Figures by upstream and endpoint, as calls make them.

use crate::common::bounded::{engine, run, until};
use crate::common::peer::{OK, Peer, Reserved};
use ringpool::audit::CloseCause;
use ringpool::config::UpstreamConfig;
use ringpool::{Engine, Error, Outcome};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

async fn call(engine: &Engine, method: &str) -> Result<u16, Error> {
    let upstream = engine.upstream("backend")?;
    let request = http::Request::builder()
        .method(method)
        .uri("/")
        .body(())
        .unwrap();
    let response = upstream.call(request).await?;
    let status = response.status().as_u16();
    http_body_util::BodyExt::collect(response.into_body()).await?;
    Ok(status)
}

#[test]
fn what_calls_come_to_is_counted_once_each() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    settings.retry.attempts_max = 1;
    let engine = engine(1, settings);
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for (method, status) in [("GET", 200), ("GET", 200), ("PUT", 200), ("BREW", 503)] {
                assert_eq!(run(call(&engine, method)).unwrap(), status);
            }
            run(call(&engine, "GET")).unwrap_err();
        });
        let mut conn = peer.accept();
        for nth in 0..4 {
            conn.request_head();
            conn.send(match nth {
                3 => "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
                _ => OK,
            });
        }
        conn.request_head();
        drop(conn);
        calls.join().unwrap();
    });
    let told = until(&engine, "the end", |told| told.now.sockets == 0);
    let upstream = &told.upstreams["backend"];
    let mut requests: Vec<_> = upstream
        .requests
        .iter()
        .map(|one| (one.method, one.outcome, one.duration.count()))
        .collect();
    requests.sort();
    assert_eq!(
        requests,
        [
            ("GET", Outcome::Status(200), 2),
            ("GET", Outcome::Error("closed"), 1),
            ("PUT", Outcome::Status(200), 1),
            ("_OTHER", Outcome::Status(503), 1),
        ]
    );
    assert_eq!(
        (upstream.requests_ended(), upstream.requests_failed()),
        (5, 1)
    );
    let acquires = upstream.acquires;
    assert_eq!((acquires.created, acquires.hit), (1, 4));
    assert_eq!(acquires.iter().map(|(_, count)| count).sum::<u64>(), 5);
    assert_eq!((upstream.wait.count(), upstream.scheme), (1, "http"));
    assert_eq!(upstream.connections_max, 128);
    let (address, at) = upstream.endpoints.first_key_value().unwrap();
    assert_eq!(*address, peer.endpoint());
    assert_eq!(at, &upstream.all, "there is one");
    assert_eq!((at.dials, at.dials_failed, at.opened), (1, 0, 1));
    assert_eq!(
        (
            at.connect.count(),
            at.dial.count(),
            at.handshake_full.count()
        ),
        (1, 1, 0)
    );
    assert_eq!((at.hold.count(), at.lifetime.count()), (5, 1));
    assert_eq!((at.closed.total(), at.breaker.closed), (1, 1));
    assert_eq!(upstream.closed(CloseCause::PeerClosed), 1);
    assert_eq!(at.connections, ringpool::ConnectionStates::default());
    assert_eq!(upstream.handshake_time_avoided, told.handshake_time_avoided);
    assert!(upstream.handshake_time_avoided > Duration::ZERO);
    let shard = &told.by_shard[0];
    assert_eq!(shard.driver, told.driver);
    assert!(shard.buffers_free > 0 && shard.driver.submissions > 0);
}

/// A task that blocks a shard's thread hides that shard, and nobody else.
#[test]
fn a_shard_that_is_kept_busy_is_missing_and_the_others_tell() {
    let peer = Peer::start();
    let engine = engine(2, UpstreamConfig::at(&peer.http()).unwrap());
    let before = until(&engine, "both tell", |snapshot| snapshot.shards == 2);
    let (release, blocked) = mpsc::channel::<()>();
    let (blocks, blocking) = mpsc::channel();
    let blocked = Arc::new(Mutex::new(blocked));
    let tasks = engine.spawn_on_each(move |shard| {
        let (blocked, blocks) = (blocked.clone(), blocks.clone());
        async move {
            if shard.index() == 0 {
                blocks.send(()).unwrap();
                // Until the test lets it go.
                let _ = blocked.lock().unwrap().recv();
            }
        }
    });
    blocking.recv().unwrap();
    let within = engine.snapshots().within(Duration::from_millis(50));
    for _ in 0..3 {
        let snapshot = run(within.take()).unwrap();
        assert_eq!((snapshot.shards, &*snapshot.missing), (1, &[0][..]));
        let [busy, other] = &snapshot.by_shard[..] else {
            panic!("there are two");
        };
        assert!(busy.missing && !busy.is_up() && other.is_up());
        assert!(busy.driver.turns >= before.by_shard[0].driver.turns);
        assert!(busy.age > Duration::ZERO);
    }
    drop(release);
    run(tasks);
    let after = until(&engine, "both tell again", |snapshot| {
        snapshot.missing.is_empty()
    });
    assert!(after.by_shard[0].is_up() && after.by_shard[0].age == Duration::ZERO);
}

/// What was asked, however it ended, adds up with its outcomes.
#[test]
fn acquires_add_up_with_those_who_asked() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    (settings.connections_max, settings.waiters_max) = (1, 1);
    let engine = engine(1, settings);
    let upstream = engine.upstream("backend").unwrap();
    let first = run(upstream.checkout()).unwrap();
    let conn = peer.accept();
    // One waits, one more finds the queue full, and the first one goes away.
    let waits = thread::spawn({
        let upstream = upstream.clone();
        move || run(upstream.checkout()).is_ok()
    });
    until(&engine, "one waits", |snapshot| {
        let backend = &snapshot.upstreams["backend"];
        (backend.waiters, backend.acquires.in_progress()) == (1, 1)
    });
    assert!(run(upstream.checkout()).is_err());
    first.release();
    assert!(waits.join().unwrap());
    // Its lease was dropped, which closes the connection.
    drop(conn);
    let told = until(&engine, "all are over", |snapshot| {
        let now = &snapshot.upstreams["backend"];
        now.acquires.in_progress() == 0 && now.permits == 0
    });
    let backend = &told.upstreams["backend"];
    let acquires = backend.acquires;
    assert_eq!((acquires.begun, acquires.stale), (3, 0));
    let outcomes = (acquires.created, acquires.waited, acquires.refused);
    assert_eq!(outcomes, (1, 1, 1));
    // Who was refused at once did not wait.
    assert_eq!(backend.wait.count(), 2);
}

#[test]
fn states_of_connections_are_told_by_endpoint() {
    let peers = [Peer::start(), Peer::start()];
    let mut settings = UpstreamConfig::at("http://backend.test").unwrap();
    settings.endpoints = peers
        .iter()
        .map(|peer| peer.endpoint().parse().unwrap())
        .collect();
    settings.idle_min = 4;
    let engine = engine(1, settings);
    let told = until(&engine, "warmth", |told| {
        told.upstreams.get("backend").is_some_and(|it| it.idle == 4)
    });
    let upstream = &told.upstreams["backend"];
    let idle: u64 = upstream
        .endpoints
        .values()
        .map(|at| at.connections.idle)
        .sum();
    assert_eq!((idle, upstream.all.connections.idle), (4, 4));
    assert_eq!(
        upstream.endpoints.len(),
        2,
        "each that is known is told, used or not"
    );
}

#[test]
fn a_dial_in_vain_counts_at_its_endpoint() {
    let reserved = Reserved::new();
    let address = reserved.address;
    let mut settings = UpstreamConfig::at(&format!("http://{address}")).unwrap();
    settings.retry.attempts_max = 2;
    let engine = engine(1, settings);
    run(call(&engine, "GET")).unwrap_err();
    let told = run(engine.snapshot()).unwrap();
    let upstream = &told.upstreams["backend"];
    let at = &upstream.endpoints[&address.to_string()];
    assert_eq!((at.dials, at.dials_failed, at.opened), (2, 2, 0));
    assert_eq!((upstream.retries, upstream.acquires.failed), (1, 2));
    assert_eq!(upstream.requests[0].outcome, Outcome::Error("dial"));
    assert!(upstream.retry_budget > 50.0);
}

/// One holds the only connection, one waits until it goes away, and there is no room for a third.
#[test]
fn to_be_refused_at_once_is_no_wait_and_to_go_away_is_one() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    (settings.connections_max, settings.waiters_max) = (1, 1);
    settings.retry.attempts_max = 1;
    settings.shed.sojourn_target = None;
    let engine = engine(1, settings);
    thread::scope(|scope| {
        let holds = scope.spawn(|| run(call(&engine, "GET")));
        let mut conn = peer.accept();
        conn.request_head();
        run(async {
            let waits = call(&engine, "GET");
            let refused = async {
                let queued = |told: &ringpool::Snapshot| told.now.waiters == 1;
                while !queued(&engine.snapshot().await.unwrap()) {
                    tokio::task::yield_now().await;
                }
                call(&engine, "GET").await
            };
            tokio::select! {
                refused = refused => refused.unwrap_err(),
                _ = waits => panic!("there is one connection"),
            }
        });
        until(&engine, "its going", |told| told.now.waiters == 0);
        conn.send(OK);
        assert_eq!(holds.join().unwrap().unwrap(), 200);
    });
    let told = run(engine.snapshot()).unwrap();
    let upstream = &told.upstreams["backend"];
    let acquires = upstream.acquires;
    assert_eq!(
        (acquires.created, acquires.refused, acquires.cancelled),
        (1, 1, 1)
    );
    assert_eq!(acquires.iter().map(|(_, count)| count).sum::<u64>(), 3);
    assert_eq!(upstream.wait.count(), 2, "for a dial, and in vain");
}
