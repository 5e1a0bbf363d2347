//! What a subscriber is told.

use crate::common::bounded::{run, until};
use crate::common::peer::{OK, Peer};
use ringpool::audit::CloseCause;
use ringpool::config::UpstreamConfig;
use ringpool::{Config, Engine, Lifecycle, LifecycleEvent};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

fn subscribed(
    settings: UpstreamConfig,
    tell: impl Fn(&LifecycleEvent<'_>) + Send + Sync + 'static,
) -> Engine {
    let config = Config {
        shards: 1,
        pin: false,
        ..Config::with_upstream("backend", settings)
    };
    Engine::builder(config).lifecycle(tell).start().unwrap()
}

fn two_calls(engine: &Engine, peer: &Peer) {
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for _ in 0..2 {
                let upstream = engine.upstream("backend").unwrap();
                let request = http::Request::get("/").body(()).unwrap();
                assert_eq!(run(upstream.call(request)).unwrap().status(), 200);
            }
        });
        let mut conn = peer.accept();
        for _ in 0..2 {
            conn.request_head();
            conn.send(OK);
        }
        calls.join().unwrap();
        until(engine, "its rest", |told| {
            told.upstreams["backend"].idle == 1
        });
        conn.fin();
        // The peer's last word: it waits until the engine closes, too.
        conn.closed();
    });
}

#[test]
fn each_moment_of_a_connection_is_told_in_order() {
    let peer = Peer::start();
    let seen: Arc<Mutex<Vec<(u64, Lifecycle)>>> = Arc::default();
    let told = seen.clone();
    let address = peer.endpoint();
    let engine = subscribed(UpstreamConfig::at(&peer.http()).unwrap(), move |event| {
        assert_eq!((event.upstream, event.shard), ("backend", 0));
        assert_eq!(event.endpoint.unwrap().to_string(), address);
        told.lock().unwrap().push((event.connection, event.what));
    });
    two_calls(&engine, &peer);
    until(&engine, "the end", |told| told.now.connections == 0);
    let seen = seen.lock().unwrap();
    assert!(
        seen.iter().all(|(number, _)| *number == seen[0].0),
        "{seen:?}"
    );
    let names: Vec<String> = seen
        .iter()
        .map(|(_, what)| match what {
            Lifecycle::Leased { reused, .. } => format!("leased, reused: {reused}"),
            Lifecycle::Retired { why, .. } => format!("retired: {}", why.name()),
            Lifecycle::Closed { why, uses, .. } => format!("closed: {}, {uses}", why.name()),
            Lifecycle::Opened { .. } => "opened".to_owned(),
            other => format!("{other:?}").to_lowercase(),
        })
        .collect();
    assert_eq!(
        names,
        [
            "opened",
            "leased, reused: false",
            "idle",
            "leased, reused: true",
            "idle",
            "retired: peer_closed",
            "closed: peer_closed, 2",
        ]
    );
    let why = CloseCause::PeerClosed;
    let upstreams = run(engine.snapshot()).unwrap().upstreams;
    assert_eq!(upstreams["backend"].closed(why), 1);
}

#[test]
fn a_subscriber_that_panics_is_left_alone() {
    let peer = Peer::start();
    let times = Arc::new(AtomicUsize::new(0));
    let called = times.clone();
    let engine = subscribed(UpstreamConfig::at(&peer.http()).unwrap(), move |_| {
        called.fetch_add(1, Ordering::SeqCst);
        panic!("no");
    });
    two_calls(&engine, &peer);
    let told = until(&engine, "the end", |told| told.now.connections == 0);
    let shard = &told.by_shard[0];
    assert_eq!((shard.losses, shard.task_panics), (0, 0));
    assert_eq!(times.load(Ordering::SeqCst), 1, "by its shard, once");
}
