//! Snapshots of an engine of which a shard does not answer, is lost, or knows other endpoints than the others.

use super::rig::Rig;
use crate::client::snapshot::Snapshot;
use crate::client::snapshots::take;
use crate::config::{Config, UpstreamConfig};
use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn rig() -> Rig {
    let mut settings = UpstreamConfig::at("http://192.0.2.1").unwrap();
    // Each shard serves its own callers.
    settings.sharing.steal = false;
    let rig = Rig::of(2, Config::with_upstream("a", settings));
    rig.web.serve(1, 9);
    rig.web.serve(2, 9);
    rig
}

/// A snapshot while only `turning` shards turn.
fn snapshot(rig: &mut Rig, turning: &[usize]) -> Snapshot {
    let shared = rig.shared.clone();
    let mut taken = pin!(take(&shared, SECOND));
    let mut cx = TaskContext::from_waker(Waker::noop());
    assert!(taken.as_mut().poll(&mut cx).is_pending());
    for _ in 0..10 {
        for &shard in turning {
            rig.shards[shard].turn(false).unwrap();
        }
    }
    if turning.len() < rig.shards.len() {
        assert!(taken.as_mut().poll(&mut cx).is_pending(), "it has time");
        rig.clock.advance(SECOND);
    }
    match taken.as_mut().poll(&mut cx) {
        Poll::Ready(snapshot) => snapshot.expect("it runs"),
        Poll::Pending => panic!("its time is over"),
    }
}

fn call(rig: &mut Rig, shard: usize) {
    let mut calls = [rig.call(shard, "a", "/x")];
    rig.finish(&mut calls);
}

#[test]
fn a_shard_that_does_not_turn_is_missing_and_no_counter_falls() {
    let mut rig = rig();
    for shard in [0, 1, 1] {
        call(&mut rig, shard);
    }
    let all = snapshot(&mut rig, &[0, 1]);
    assert_eq!((all.shards, all.missing.len()), (2, 0));
    let begun = |snapshot: &Snapshot| snapshot.upstreams["a"].acquires.begun;
    assert_eq!(begun(&all), 3);
    call(&mut rig, 0);
    for round in 1..4 {
        let some = snapshot(&mut rig, &[0]);
        assert_eq!((some.shards, &*some.missing), (1, &[1][..]));
        let state = &some.by_shard[1];
        assert!(state.missing && !state.is_up() && state.down.is_none());
        assert_eq!(state.age, round * SECOND);
        assert_eq!(state.driver.turns, all.by_shard[1].driver.turns);
        assert!(some.by_shard[0].is_up() && some.by_shard[0].age == Duration::ZERO);
        assert_eq!(begun(&some), 4);
        assert_eq!(some.now.connections, 2, "they are there still");
    }
    // Those who gave up have left one question, and not three.
    let mut answered = 0;
    while let Some(answer) = rig.shared.told.owed(1) {
        drop(answer);
        answered += 1;
    }
    assert_eq!(answered, 1);
    let all = snapshot(&mut rig, &[0, 1]);
    assert_eq!((all.shards, begun(&all)), (2, 4));
    rig.stop();
}

#[test]
fn a_lost_shard_s_figures_are_told_before_its_successor_meets_the_upstream() {
    let mut rig = rig();
    for shard in [0, 1, 1] {
        call(&mut rig, shard);
    }
    let before = snapshot(&mut rig, &[0, 1]);
    rig.lose(1);
    for turning in [&[0][..], &[0, 1][..]] {
        let after = snapshot(&mut rig, turning);
        let (was, is) = (&before.upstreams["a"], &after.upstreams["a"]);
        assert_eq!(is.acquires, was.acquires);
        let at = "192.0.2.1:80";
        #[cfg(feature = "telemetry")]
        assert_eq!(is.endpoints[at].hold, was.endpoints[at].hold);
        assert_eq!(is.endpoints[at].dials, was.endpoints[at].dials);
        for shard in 0..2 {
            let enters = |of: &Snapshot| of.by_shard[shard].driver.submissions;
            assert!(enters(&after) >= enters(&before), "shard {shard}");
        }
    }
    // And when it has met it.
    call(&mut rig, 1);
    let after = snapshot(&mut rig, &[0, 1]);
    let (was, is) = (&before.upstreams["a"], &after.upstreams["a"]);
    assert_eq!(is.acquires.begun, was.acquires.begun + 1);
    let dials = |of: &Snapshot| of.upstreams["a"].endpoints["192.0.2.1:80"].dials;
    #[cfg(feature = "telemetry")]
    assert_eq!(dials(&after), dials(&before) + 1);
    #[cfg(not(feature = "telemetry"))]
    assert_eq!(dials(&after), dials(&before));
    rig.stop();
}

#[cfg(feature = "telemetry")]
#[test]
fn an_endpoint_that_leaves_one_shard_first_falls_on_none() {
    use crate::shard::mailbox::Control;
    use futures_channel::oneshot;
    use std::sync::Arc;

    let mut rig = rig();
    for shard in [0, 1] {
        call(&mut rig, shard);
    }
    let at = "192.0.2.1:80";
    let before = snapshot(&mut rig, &[0, 1]).upstreams["a"].endpoints[at].clone();
    assert_eq!(before.dials, 2);
    // Only shard 0 hears of it so far.
    let upstream = rig.upstream("a");
    let configure = |rig: &mut Rig, shard: usize, to: &str| {
        let mut settings = (*rig.upstream("a").settings()).clone();
        settings.endpoints = vec![to.parse().unwrap()];
        let (done, _) = oneshot::channel();
        let settings = Arc::new(settings);
        let message = Control::Configure(upstream.clone(), settings, done);
        rig.shared.mailboxes[shard].control(message);
        rig.pass(40 * SECOND);
    };
    let hold = |snapshot: &Snapshot| {
        let found = snapshot.upstreams["a"].endpoints.get(at);
        found.map(|figures| (figures.dials, figures.hold.count()))
    };
    let was = Some((before.dials, before.hold.count()));
    configure(&mut rig, 0, "192.0.2.2:80");
    call(&mut rig, 0);
    assert_eq!(hold(&snapshot(&mut rig, &[0, 1])), was);
    rig.pass(900 * SECOND);
    assert_eq!(
        hold(&snapshot(&mut rig, &[0, 1])),
        was,
        "shard 1 has it still"
    );
    configure(&mut rig, 1, "192.0.2.2:80");
    assert_eq!(hold(&snapshot(&mut rig, &[0, 1])), was, "it has just left");
    rig.pass(900 * SECOND);
    let gone = snapshot(&mut rig, &[0, 1]);
    assert_eq!(hold(&gone), None, "its series end");
    assert!(gone.upstreams["a"].all.dials >= 3, "the upstream's do not");
    configure(&mut rig, 0, at);
    assert_eq!(hold(&snapshot(&mut rig, &[0, 1])), was, "it goes on");
    rig.stop();
}

/// Of so many connections, all warm.
fn warm(shards: usize, count: u32, steal: bool) -> Rig {
    let mut settings = UpstreamConfig::at("http://192.0.2.1").unwrap();
    (settings.connections_max, settings.idle_min) = (count, count);
    settings.sharing.steal = steal;
    let mut rig = Rig::of(shards, Config::with_upstream("a", settings));
    rig.web.serve(1, count as usize);
    rig.settle();
    rig
}

#[test]
fn a_call_that_a_sibling_runs_is_stolen_and_counted_once() {
    let mut rig = warm(2, 2, true);
    let mut calls = ["/hold/1", "/hold/2"].map(|path| rig.call(0, "a", path));
    rig.settle();
    assert_eq!(rig.web.let_go(), 2, "both are under way");
    rig.finish(&mut calls);
    let told = snapshot(&mut rig, &[0, 1]);
    let acquires = told.upstreams["a"].acquires;
    assert_eq!((acquires.begun, acquires.stale), (2, 0));
    assert_eq!((acquires.hit, acquires.stolen), (1, 1));
    assert_eq!(acquires.in_progress(), 0);
    let steals: u64 = told.by_shard.iter().map(|shard| shard.steals).sum();
    assert_eq!(steals, 1);
    rig.stop();
}

#[test]
fn who_waits_when_a_drain_is_over_is_told_as_draining() {
    let mut rig = warm(1, 1, false);
    let calls = ["/hold/1", "/hold/2"].map(|path| rig.call(0, "a", path));
    rig.settle();
    let _over = rig.shared.drain(SECOND);
    rig.pass(2 * SECOND);
    let told = snapshot(&mut rig, &[0]);
    let acquires = told.upstreams["a"].acquires;
    assert_eq!((acquires.begun, acquires.hit), (2, 1));
    assert_eq!((acquires.draining, acquires.in_progress()), (1, 0));
    drop(calls);
    rig.stop();
}
