//! Caps over both shards, and connections that change hands between them.

use super::rig::{Call, Rig};
use super::{SECOND, config};
use crate::config::UpstreamConfig;

/// One connection, and calls that stay where they came in.
fn single_unshared(upstream: &mut UpstreamConfig) {
    upstream.connections_max = 1;
    upstream.sharing.steal = false;
}

#[test]
fn an_upstreams_cap_holds_over_both_shards() {
    for (cap, seed) in [1, 3]
        .into_iter()
        .flat_map(|cap| (0..20).map(move |seed| (cap, seed)))
    {
        let policy = config(1, |upstream| upstream.connections_max = cap);
        let mut rig = Rig::shuffled(policy, seed);
        rig.web.serve(1, cap as usize);
        let mut calls: Vec<Call> = (0..60)
            .map(|n| {
                let call = rig.call(n % 2, "a", &format!("/{n}"));
                if n % 5 == 0 {
                    rig.step();
                }
                call
            })
            .collect();
        rig.finish(&mut calls);
        for (n, call) in calls.iter_mut().enumerate() {
            assert!(
                call.body().starts_with(&format!("{n}@")),
                "cap {cap}, seed {seed}: call {n}"
            );
        }
        rig.stop();
    }
}

/// Over the engine within one turn of the sibling after the need flag: no idle connection stands
/// beside a waiter, and no time goes by.
#[test]
fn a_sibling_gives_its_idle_connection_up() {
    let mut rig = Rig::new(config(1, single_unshared));
    rig.web.serve(1, 1);
    for (n, shard) in [0, 1, 0, 0, 1].into_iter().enumerate() {
        let mut call = rig.call(shard, "a", &format!("/{n}"));
        rig.settle();
        assert!(call.body().starts_with(&format!("{n}@")));
    }
    assert_eq!(rig.figures(0).tally.evicted_by_policy, 2);
    assert_eq!(rig.clock.now(), crate::time::Time::ZERO);
    rig.stop();
}

/// A shard that once starved, and whose own release has met that, is asked like any other.
#[test]
fn one_that_starved_before_gives_up_as_well() {
    let mut rig = Rig::new(config(1, single_unshared));
    rig.web.serve(1, 1);
    // Two callers on shard 0, one connection: the second one makes the pool ask for another.
    let mut calls = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/y")];
    rig.settle();
    assert_eq!(rig.web.let_go(), 1);
    rig.settle();
    assert!(calls.iter_mut().all(Call::is_answered));
    // Now it idles there, and shard 1 wants it.
    let mut call = rig.call(1, "a", "/z");
    rig.settle();
    assert_eq!(call.body(), "z@1");
    assert_eq!(rig.clock.now(), crate::time::Time::ZERO);
    rig.stop();
}

/// The sibling is still dialling when it is asked, and its caller goes: what comes of the dial is
/// of use here.
#[test]
fn a_dial_that_nobody_waits_for_any_more_is_given_up_as_well() {
    for turns in 1..5 {
        let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 1));
        rig.web.serve(1, 1);
        let gone = rig.call(0, "a", "/x");
        for _ in 0..turns {
            rig.shards[0].turn(true).unwrap();
        }
        let mut call = rig.call(1, "a", "/y");
        rig.shards[1].turn(true).unwrap();
        drop(gone);
        rig.shards[0].turn(true).unwrap();
        rig.settle();
        assert!(call.body().starts_with("y@"), "after {turns} turns");
        assert_eq!(rig.clock.now(), crate::time::Time::ZERO);
        rig.stop();
    }
}

/// A caller who goes takes the need along: nothing is closed for nobody.
#[test]
fn a_need_goes_with_the_caller_who_had_it() {
    let mut rig = Rig::new(config(1, single_unshared));
    rig.web.serve(1, 1);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    let gone = rig.call(1, "a", "/gone");
    rig.shards[1].turn(true).unwrap();
    assert!(rig.upstream("a").connections.need());
    drop(gone);
    rig.shards[1].turn(true).unwrap();
    assert!(!rig.upstream("a").connections.need());
    rig.settle();
    let mut calls = [rig.call(0, "a", "/y")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "y@0", "it was left open");
    rig.stop();
}

#[test]
fn over_the_engines_cap_another_upstream_gives_up() {
    for shard in 0..2 {
        let mut policy = config(2, |_| {});
        policy.connections_max = 1;
        let mut rig = Rig::new(policy);
        rig.web.serve(1, 1);
        rig.web.serve(2, 1);
        for n in 0..3 {
            let mut call = rig.call(0, "a", &format!("/{n}"));
            rig.settle();
            assert_eq!(call.body(), format!("{n}@{n}"));
            let mut call = rig.call(shard, "b", &format!("/{n}"));
            rig.settle();
            assert_eq!(call.body(), format!("{n}@{n}"), "on shard {shard}");
            assert_eq!(rig.web.open(), 1, "the engine's cap is one");
        }
        assert_eq!(rig.clock.now(), crate::time::Time::ZERO);
        rig.stop();
    }
}

/// Both shards, two upstreams, engine cap 2: everything changes hands all the time.
/// The same on one shard, where the connection is in use when the other one's caller begins to wait: no time goes by
/// once it is not.
#[test]
fn what_comes_to_idle_is_given_up_for_another_upstream() {
    for shards in [1, 2] {
        let mut policy = config(2, |_| {});
        policy.connections_max = 1;
        let mut rig = Rig::of(shards, policy);
        rig.web.serve(1, 1);
        rig.web.serve(2, 1);
        let mut first = rig.call(0, "a", "/hold/first");
        rig.settle();
        let mut second = rig.call(0, "b", "/second");
        rig.settle();
        assert!(!second.is_answered());
        assert_eq!(rig.web.let_go(), 1);
        rig.settle();
        assert!(first.is_answered() && second.is_answered(), "{shards}");
        rig.stop();
    }
}

#[test]
fn the_engines_cap_holds_under_bursts() {
    for seed in 0..20 {
        let mut policy = config(2, |upstream| upstream.connections_max = 2);
        policy.connections_max = 2;
        let mut rig = Rig::shuffled(policy, seed);
        rig.web.serve(1, 2);
        rig.web.serve(2, 2);
        let mut calls = Vec::new();
        for n in 0..80usize {
            calls.push(rig.call(n % 2, ["a", "b"][n / 3 % 2], &format!("/{n}")));
            rig.step();
            assert!(rig.web.open() <= 2, "seed {seed}");
        }
        let start = rig.clock.now();
        rig.finish(&mut calls);
        for (n, call) in calls.iter_mut().enumerate() {
            assert!(call.body().starts_with(&format!("{n}@")), "seed {seed}");
        }
        // Nobody waited for a timer that stands in for a lost message.
        let took = rig.clock.now().since(start);
        assert!(took < 4 * SECOND, "seed {seed}: {took:?}");
        rig.stop();
    }
}
