//! Homes: which shards keep an upstream's connections, as demand comes and goes.

use super::rig::{Call, Rig};
use super::tasks::{Task, get};
use super::{SECOND, config};
use crate::time::Time;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Calls of a task on `shard`, one every `pause`; how many of the last `count` stayed there.
fn steady(rig: &mut Rig, shard: usize, count: u32, pause: Duration) -> u32 {
    let mut task = Task::new(rig, shard, |upstream| async move {
        let mut stayed = 0;
        for _ in 0..count {
            let whole = get(upstream.clone(), "/x").await.expect("answered");
            stayed += u32::from(whole.trip.shard == shard);
            upstream.shard.sleep(pause).await;
        }
        stayed
    });
    rig.pass(pause * count * 2 + SECOND);
    task.told().expect("they have ended")
}

#[test]
fn a_shard_with_demand_of_its_own_becomes_a_home_and_ceases_to_be_one() {
    let mut rig = Rig::new(config(1, |upstream| upstream.idle_timeout = Some(SECOND)));
    rig.web.serve(1, 9);
    let homes = |rig: &Rig| rig.upstream("a").homes.len();
    let guest = 1 - rig.upstream("a").homes.first();
    // 50 a second: no.
    assert_eq!(steady(&mut rig, guest, 100, MS * 20), 0);
    assert_eq!(homes(&rig), 1);
    // 500 a second: after a second nearly all of them stay.
    steady(&mut rig, guest, 500, MS * 2);
    assert_eq!(homes(&rig), 2);
    let figures = rig.figures(guest);
    let idle = figures.upstreams["a"].census.idle;
    let others = rig.figures(1 - guest).upstreams["a"].census.idle;
    assert_eq!(rig.upstream("a").connections.in_use(), idle + others);
    assert_eq!(figures.lag, Duration::ZERO);
    assert_eq!(steady(&mut rig, guest, 1000, MS * 2), 1000);
    // 10 a second: for a while, and then no more.
    steady(&mut rig, guest, 60, MS * 100);
    assert_eq!(homes(&rig), 1);
    // Its own connections have idled out.
    rig.pass(SECOND * 3);
    assert_eq!(steady(&mut rig, guest, 1, MS), 0);
    rig.stop();
}

#[test]
fn local_load_stays_local() {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 32);
    let end = Time::ZERO + SECOND * 4;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let shard = n % 2;
            Task::new(&rig, shard, move |upstream| async move {
                let (mut stayed, mut all) = (0, 0);
                while upstream.shard.now() < end {
                    let whole = get(upstream.clone(), "/x").await.expect("answered");
                    if upstream.shard.now() > Time::ZERO + SECOND {
                        all += 1;
                        stayed += u32::from(whole.trip.shard == shard);
                    }
                    upstream.shard.sleep(MS * 3).await;
                }
                (stayed, all)
            })
        })
        .collect();
    rig.pass(SECOND * 5);
    for mut task in tasks {
        let (stayed, all) = task.told().expect("it has ended");
        assert!(all > 500 && stayed * 100 >= all * 99, "{stayed} of {all}");
    }
    rig.stop();
}

/// 8 shards, 100 requests a second from tasks on all of them.
#[test]
fn a_quiet_upstream_keeps_few_connections() {
    let mut rig = Rig::of(8, config(1, |_| {}));
    rig.web.serve(1, 2);
    for n in 0..600 {
        let path = format!("/{n}");
        let task = Task::new(
            &rig,
            n % 8,
            |upstream| async move { get(upstream, &path).await },
        );
        let whole = task.settled(&mut rig).expect("answered");
        assert!(whole.text().starts_with(&format!("{n}@")));
        rig.pass(MS * 10);
    }
    let [hits, misses, dials] = rig.counts("a");
    assert_eq!(hits + misses, 600);
    assert!(misses <= 6 && dials <= 2, "{misses} misses, {dials} dials");
    assert_eq!(rig.upstream("a").homes.len(), 1);
    rig.stop();
}

/// A task that keeps its shard's loop busy: it wants to run again each time it ran.
fn busy(rig: &Rig, shard: usize) -> Task<()> {
    Task::new(rig, shard, |_| {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
}

/// Rounds of 4 ms each, in which the busy shards are late.
fn rounds(rig: &mut Rig, count: u32, mut each: impl FnMut(&mut Rig)) {
    for _ in 0..count {
        each(rig);
        rig.step();
        rig.clock.advance(MS * 4);
    }
}

#[test]
fn a_home_that_lags_passes_calls_on_and_is_spared() {
    let mut rig = Rig::of(3, config(1, |upstream| upstream.idle_min = 2));
    rig.web.serve(1, 32);
    rig.settle();
    let shared = rig.upstream("a");
    let homes: Vec<usize> = (0..3)
        .filter(|&shard| shared.homes.contains(shard))
        .collect();
    let guest = (0..3)
        .find(|shard| !homes.contains(shard))
        .expect("one of three");
    let busy = busy(&rig, homes[0]);
    rounds(&mut rig, 20, |_| {});
    assert!(rig.shared.mailboxes[homes[0]].lag() > MS);
    let mut calls: Vec<Call> = (0..5).map(|_| rig.call(homes[0], "a", "/x")).collect();
    let mut tasks: Vec<_> = (0..5)
        .map(|_| {
            Task::new(
                &rig,
                guest,
                |upstream| async move { get(upstream, "/y").await },
            )
        })
        .collect();
    rounds(&mut rig, 20, |_| {});
    for call in &mut calls {
        assert!(call.is_answered());
        assert_eq!(call.trip().shard, homes[1]);
    }
    for task in &mut tasks {
        let whole = task.told().expect("it has ended").expect("answered");
        assert_ne!(whole.trip.shard, homes[0]);
    }
    drop(busy);
    assert_eq!(rig.figures(homes[0]).tally.passed_on, 5);
    rig.stop();
}

/// Its own tasks' calls as well, though a connection is free there; unless what comes in somewhere is to stay there.
#[test]
fn tasks_on_a_shard_that_lags_call_elsewhere() {
    for steal in [true, false] {
        let mut rig = Rig::new(config(1, |upstream| {
            upstream.idle_min = 2;
            upstream.sharing.steal = steal;
        }));
        rig.web.serve(1, 32);
        rig.settle();
        let busy = busy(&rig, 0);
        rounds(&mut rig, 20, |_| {});
        assert!(rig.shared.mailboxes[0].lag() > MS);
        let one =
            |rig: &Rig| Task::new(rig, 0, |upstream| async move { get(upstream, "/x").await });
        let mut late = one(&rig);
        rounds(&mut rig, 20, |_| {});
        let ran_on = late
            .told()
            .expect("it has ended")
            .expect("answered")
            .trip
            .shard;
        assert_eq!(ran_on, usize::from(steal));
        drop(busy);
        rig.settle();
        let again = one(&rig).settled(&mut rig).expect("answered");
        assert_eq!(again.trip.shard, 0, "it has caught up");
        rig.stop();
    }
}

/// A shard that stays down is no home, and does not keep the place of another.
#[test]
fn a_shard_that_is_down_is_not_invited() {
    let mut rig = Rig::of(
        3,
        config(1, |upstream| upstream.sharing.homes_max = Some(2)),
    );
    rig.web.serve(1, 9);
    let shared = rig.upstream("a");
    let [first, down, other] = [0, 1, 2].map(|place| shared.homes.order()[place]);
    let fault = crate::shard::lost::lost(down, "a test");
    rig.shared.mailboxes[down].stay_down(fault);
    let busy = busy(&rig, first);
    let mut calls = Vec::new();
    rounds(&mut rig, 500, |rig| calls.push(rig.call(first, "a", "/x")));
    assert!(shared.homes.contains(other) && !shared.homes.contains(down));
    drop((busy, calls));
    rig.settle();
}

#[test]
fn a_home_that_cannot_keep_up_invites_another_which_leaves_when_all_is_calm() {
    let mut rig = Rig::of(
        3,
        config(1, |upstream| upstream.sharing.homes_max = Some(2)),
    );
    rig.web.serve(1, 9);
    let shared = rig.upstream("a");
    let first = shared.homes.first();
    let busy = busy(&rig, first);
    let mut calls = Vec::new();
    let mut call = |rig: &mut Rig| calls.push(rig.call(first, "a", "/x"));
    rounds(&mut rig, 100, &mut call);
    assert_eq!(shared.homes.len(), 1, "that is not for long yet");
    rounds(&mut rig, 400, &mut call);
    assert_eq!(shared.homes.len(), 2, "and no more than may be");
    drop(busy);
    rig.settle();
    let second = (0..3).find(|&shard| shard != first && shared.homes.contains(shard));
    let second = second.expect("somebody was invited");
    for _ in 0..50 {
        let mut call = rig.call(second, "a", "/x");
        rig.pass(MS * 100);
        assert!(call.is_answered());
    }
    assert_eq!(shared.homes.len(), 1);
    rig.stop();
}
