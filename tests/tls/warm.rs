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
