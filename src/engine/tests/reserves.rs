//! Reserved permits, and needs that end.

use super::config;
use super::rig::{Call, Rig};
use super::web::endpoint;
use crate::config::Config;
use crate::time::Time;

/// An engine of three connections, two of which are for `a` alone.
fn reserved() -> Config {
    let mut policy = config(2, |_| {});
    policy.connections_max = 3;
    policy.upstreams.get_mut("a").unwrap().connections_reserved = 2;
    policy
}

fn held(rig: &Rig, upstream: &str, count: usize) -> Vec<Call> {
    let path = |n| format!("/hold/{n}");
    (0..count)
        .map(|n| rig.call(n % 2, upstream, &path(n)))
        .collect()
}

#[test]
fn another_upstream_cannot_fill_the_engine() {
    let mut rig = Rig::new(reserved());
    rig.web.serve(1, 2);
    rig.web.serve(2, 1);
    let mut others = held(&rig, "b", 6);
    rig.settle();
    assert_eq!(rig.network.open_connections(&endpoint(2)), 1);
    // Though others wait, and have waited longer.
    let mut own = [rig.call(0, "a", "/x"), rig.call(1, "a", "/y")];
    rig.settle();
    assert_eq!(own[0].body(), "x@0");
    assert_eq!(own[1].body(), "y@1");
    assert_eq!(rig.clock.now(), Time::ZERO);
    // What idles within its reserve is no use to others: it stays.
    rig.settle();
    assert_eq!(rig.network.open_connections(&endpoint(1)), 2);
    while others.iter_mut().any(|call| !call.is_answered()) {
        assert!(rig.web.let_go() > 0, "those left wait in vain");
        rig.settle();
    }
    assert!(others.iter_mut().all(|call| call.error().is_none()));
    rig.stop();
}

#[test]
fn what_is_beyond_the_reserve_is_shared() {
    let mut rig = Rig::new(reserved());
    rig.web.serve(1, 3);
    rig.web.serve(2, 1);
    let mut own = held(&rig, "a", 3);
    rig.pass(super::SECOND);
    assert_eq!(rig.network.open_connections(&endpoint(1)), 3);
    rig.web.let_go();
    rig.finish(&mut own);
    // One of three idle ones was borrowed, and goes for another upstream; no more than that.
    let mut others = held(&rig, "b", 1);
    rig.settle();
    assert_eq!(rig.network.open_connections(&endpoint(1)), 2);
    assert_eq!(rig.network.open_connections(&endpoint(2)), 1);
    rig.web.let_go();
    rig.finish(&mut others);
    rig.stop();
}

/// A need goes with the caller who had it: no connection is closed for one who has gone.
#[test]
fn nothing_is_given_up_for_a_caller_who_has_gone() {
    for over_engine in [false, true] {
        let mut policy = config(2, |upstream| {
            upstream.connections_max = 1;
            // Where the call itself can move, there is no need.
            upstream.sharing.steal = false;
        });
        policy.connections_max = 1;
        let mut rig = Rig::new(policy);
        rig.web.serve(1, 1);
        rig.web.serve(2, 1);
        let mut held = [rig.call(0, "a", "/hold/x")];
        rig.settle();
        let gone = rig.call(1, if over_engine { "b" } else { "a" }, "/y");
        rig.settle();
        let upstream = rig.upstream("a");
        let needed = || {
            [
                upstream.connections.need(),
                upstream.permits.engine().need(),
            ]
        };
        assert_eq!(needed(), [!over_engine, over_engine]);
        drop(gone);
        rig.settle();
        assert_eq!(needed(), [false, false]);
        rig.web.let_go();
        rig.finish(&mut held);
        rig.settle();
        assert_eq!(rig.web.open(), 1, "it stays for whoever comes next");
        assert_eq!(rig.figures(0).tally.evicted_by_policy, 0);
        rig.stop();
    }
}
