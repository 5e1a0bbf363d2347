//! Connections kept warm over TLS: whoever comes finds one, however long nobody came.

use super::*;

/// The engine's own time limit and the server's both pass many times over. Each call finds a connection that was
/// handshaken before it came.
#[test]
fn the_first_call_after_a_long_idle_time_meets_no_handshake() {
    let directives = "keepalive_timeout 2s;";
    let Some((nginx, authority)) = telling_nginx(directives) else {
        return;
    };
    let mut upstream = backend(&nginx.url("https"), &authority);
    upstream.idle_min = 2;
    upstream.idle_timeout = Some(Duration::from_millis(300));
    let engine = engine(1, upstream);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    for _ in 0..4 {
        let before = run(engine.snapshot()).unwrap();
        let seen = until(&engine, "both were replaced", |seen| {
            seen.connections_opened >= before.connections_opened + 2
                && seen.upstreams["backend"].idle >= 2
        });
        let (status, _) = told(&engine);
        assert_eq!(status, 200);
        let after = run(engine.snapshot()).unwrap();
        let met = |seen: &ringpool::Snapshot| (seen.hits, seen.misses);
        assert_eq!(met(&after), (seen.hits + 1, seen.misses));
    }
}

/// Nobody calls while nginx is gone, nor when it is back: the first who does finds all as it was.
#[test]
fn the_floor_is_back_after_a_restart_before_anyone_calls() {
    let Some((mut nginx, authority)) = telling_nginx("") else {
        return;
    };
    let mut upstream = backend(&nginx.url("https"), &authority);
    upstream.idle_min = 4;
    upstream.dial_backoff_max = Duration::from_millis(50);
    let engine = engine(2, upstream);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    for _ in 0..2 {
        nginx.kill();
        until(&engine, "all are gone", |seen| seen.now.connections == 0);
        let error = run(engine.ready(Duration::from_millis(10))).expect_err("it is down");
        let report = ringpool::NotReady::of(&error).expect("it says what is missing");
        let missing: u32 = report.upstreams.iter().map(|cold| cold.wanted).sum();
        assert_eq!(missing, 4, "{error}");
        nginx.restart();
        run(engine.ready(Duration::from_secs(5))).expect("warm again");
        let before = run(engine.snapshot()).unwrap();
        for _ in 0..4 {
            assert_eq!(told(&engine).0, 200);
        }
        let after = run(engine.snapshot()).unwrap();
        let met = |seen: &ringpool::Snapshot| (seen.hits, seen.misses);
        assert_eq!(met(&after), (before.hits + 4, before.misses));
    }
}

/// A successor has been dialled and has shaken hands before a connection goes for its age.
#[test]
fn no_call_meets_a_handshake_across_age_limits() {
    let Some((nginx, authority)) = telling_nginx("") else {
        return;
    };
    let mut upstream = backend(&nginx.url("https"), &authority);
    // Enough that a machine that stands still for a moment does not see all of them go before their successors are there.
    upstream.idle_min = 8;
    upstream.age_max = Some(Duration::from_secs(1));
    let engine = engine(1, upstream);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    until(&engine, "each has been replaced twice", |seen| {
        assert_eq!(told(&engine).0, 200);
        seen.upstreams["backend"].evicted_age >= 16
    });
    let seen = run(engine.snapshot()).unwrap();
    assert_eq!((seen.misses, seen.waits), (0, 0), "{seen:?}");
    assert!(seen.connections_opened >= 24);
}
