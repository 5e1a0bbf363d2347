//! Calls that wait on one shard and run on another one.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::{Class, Config, UpstreamConfig};
use crate::error::{ErrorKind, Phase, RequestSent};
use crate::shard::mailbox::Control;
use crate::shard::sharing::room::Free;
use crate::time::Time;
use std::time::Duration;

/// As many connections as `count`, warm, spread over the shards.
fn warm(count: u32) -> Config {
    config(1, |upstream| {
        upstream.connections_max = count;
        upstream.idle_min = count;
    })
}

fn warmed(shards: usize, count: u32, change: impl Fn(&mut UpstreamConfig)) -> Rig {
    let mut policy = warm(count);
    change(policy.upstreams.get_mut("a").expect("it is there"));
    let mut rig = Rig::of(shards, policy);
    rig.web.serve(1, count as usize);
    rig.settle();
    assert_eq!(rig.web.open(), count as usize);
    rig
}

/// One connection on each of two shards, in the middle of an exchange.
fn occupied() -> (Rig, Vec<Call>) {
    let mut rig = warmed(2, 2, |_| {});
    let held = (0..2).map(|shard| rig.call(shard, "a", "/hold/busy"));
    let held = held.collect();
    rig.settle();
    (rig, held)
}

fn shards_of(calls: &mut [Call]) -> Vec<usize> {
    calls.iter_mut().map(|call| call.trip().shard).collect()
}

/// Offers made, taken and taken back by shard 0; calls taken by the others.
fn figures(rig: &mut Rig) -> [u64; 4] {
    let all: Vec<_> = (0..rig.shards.len())
        .map(|shard| rig.figures(shard).tally)
        .collect();
    let own = &all[0];
    let steals = all.iter().map(|tally| tally.steals).sum();
    [own.offers, own.offers_taken, own.offers_returned, steals]
}

#[test]
fn a_saturated_shards_calls_run_on_its_siblings_connections() {
    for shards in [2, 3] {
        let mut rig = warmed(shards, 6, |_| {});
        let path = |n| format!("/hold/{n}");
        let mut calls: Vec<Call> = (0..6).map(|n| rig.call(0, "a", &path(n))).collect();
        rig.settle();
        assert_eq!(rig.web.let_go(), 6, "all of them are under way");
        assert_eq!(rig.clock.now(), Time::ZERO);
        rig.settle();
        let ran_on = shards_of(&mut calls);
        for shard in 0..shards {
            let count = ran_on.iter().filter(|&&one| one == shard).count();
            assert_eq!(count, 6 / shards, "{ran_on:?}");
        }
        assert!(calls.iter_mut().all(Call::is_answered));
        let moved = 6 - 6 / shards as u64;
        assert_eq!(figures(&mut rig), [moved, moved, 0, moved]);
        let [hits, misses, dials] = rig.counts("a");
        assert_eq!((hits + misses, dials), (6, 6), "only those for warmth");
        for shard in 0..shards {
            assert_eq!(rig.figures(shard).tally.evicted_by_policy, 0);
            assert_eq!(rig.figures(shard).waiters, 0);
        }
        rig.stop();
    }
}

#[test]
fn without_stealing_or_giving_up_shards_live_on_their_own() {
    let mut rig = warmed(2, 2, |upstream| {
        upstream.sharing.steal = false;
        upstream.sharing.give_up = false;
    });
    let mut calls = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/y")];
    rig.pass(2 * SECOND);
    assert_eq!(rig.web.asked(), ["/hold/x"], "the other connection idles");
    rig.web.let_go();
    rig.settle();
    assert_eq!(shards_of(&mut calls), [0, 0]);
    assert_eq!(figures(&mut rig), [0; 4]);
    rig.stop();
}

/// Whose own connections are busy while a sibling's idle does not dial, though it may.
#[test]
fn nothing_is_dialled_beside_a_siblings_idle_connection() {
    let mut rig = warmed(2, 2, |upstream| upstream.connections_max = 9);
    rig.web.watch(1, 9);
    // The first call to wait makes the shards say what they have.
    let mut first: Vec<Call> = (0..3).map(|_| rig.call(0, "a", "/x")).collect();
    rig.finish(&mut first);
    let [.., dials] = rig.counts("a");
    for _ in 0..5 {
        let mut calls = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/hold/y")];
        rig.settle();
        rig.web.let_go();
        rig.settle();
        assert!(calls.iter_mut().all(Call::is_answered));
    }
    assert_eq!(rig.counts("a")[2], dials);
    rig.stop();
}

/// Where a sibling turns out to have no room, there is a dial all the same.
#[test]
fn a_dial_is_put_off_for_a_moment_only() {
    let (mut rig, mut held) = occupied();
    let mut other = config(1, |upstream| upstream.connections_max = 3);
    let settings = other.upstreams.remove("a").expect("it is there");
    rig.web.watch(1, 3);
    let upstream = rig.upstream("a");
    rig.shared.reconfigure(&upstream, settings).expect("valid");
    let offers = upstream.make_offers().0;
    rig.shards[0].turn(true).unwrap();
    // A promise that nobody keeps.
    let free = Free {
        open: 1,
        reserved: 0,
    };
    offers.room(1).announce(free);
    let mut waiting = [rig.call(0, "a", "/x")];
    rig.pass(Duration::from_millis(3));
    assert_eq!(waiting[0].body(), "x@2");
    rig.web.let_go();
    rig.finish(&mut held);
    rig.stop();
}

#[test]
fn what_came_first_goes_first_class_by_class() {
    let (mut rig, mut held) = occupied();
    let of = |class: Class, path: &str| {
        let mut request = http::Request::get(path).body(()).expect("a request");
        request.extensions_mut().insert(class);
        request
    };
    let mut calls = Vec::new();
    for n in 0..2 {
        for class in [Class::Sheddable, Class::Normal, Class::Critical] {
            let request = of(class, &format!("/{}{n}", class as u8));
            calls.push(rig.call_with(0, "a", request));
        }
    }
    rig.settle();
    let connection = rig.network.connection(&endpoint(1), 1);
    // Only the sibling's connection comes free.
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
    rig.finish(&mut calls);
    assert_eq!(
        rig.web.asked()[2..],
        ["/00", "/01", "/10", "/11", "/20", "/21"]
    );
    assert_eq!(shards_of(&mut calls), [1; 6]);
    connection_of_shard_0_answers(&rig);
    rig.finish(&mut held);
    rig.stop();
}

fn connection_of_shard_0_answers(rig: &Rig) {
    let connection = rig.network.connection(&endpoint(1), 0);
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
}

/// In whichever order shards turn, and however far the call has come: one who goes leaves nothing, and
/// the next one is served.
#[test]
fn a_caller_may_go_at_any_step_of_the_move() {
    for order in [[0, 1], [1, 0], [1, 1], [0, 0]] {
        for turns in 0..10 {
            let (mut rig, mut held) = occupied();
            let gone = rig.call(0, "a", "/gone");
            let mut last = [rig.call(0, "a", "/last")];
            rig.settle();
            rig.web.let_go();
            for turn in 0..turns {
                if turn % 2 == 0 {
                    rig.network.step();
                }
                rig.shards[order[turn % 2]].turn(true).unwrap();
            }
            drop(gone);
            rig.settle();
            assert!(last[0].body().starts_with("last@"), "{order:?} {turns}");
            assert!(held.iter_mut().all(Call::is_answered));
            assert_eq!(rig.clock.now(), Time::ZERO);
            for shard in 0..2 {
                let figures = rig.figures(shard);
                assert_eq!((figures.tasks, figures.waiters), (0, 0));
            }
            let [offers, taken, returned, steals] = figures(&mut rig);
            assert_eq!((offers, taken), (taken + returned, steals), "{turns}");
            rig.stop();
        }
    }
}

/// The moment its time is over is the moment a sibling could run it: it ends once, either way.
#[test]
fn a_deadline_meets_a_thief() {
    for first in [0, 1] {
        let (mut rig, mut held) = occupied();
        let mut request = http::Request::get("/x").body(()).expect("a request");
        request.extensions_mut().insert(crate::config::CallOptions {
            timeout: Some(SECOND),
            ..Default::default()
        });
        let mut call = [rig.call_with(0, "a", request)];
        rig.settle();
        rig.pass(SECOND - Duration::from_millis(1));
        assert!(!call[0].is_answered());
        let connection = rig.network.connection(&endpoint(1), 1);
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
        rig.clock.advance(Duration::from_millis(3));
        rig.network.step();
        for turn in 0..4 {
            rig.shards[(first + turn) % 2].turn(true).unwrap();
        }
        rig.settle();
        // Too late wherever it is looked at.
        let kind = call[0].error().map(crate::Error::kind);
        assert!(matches!(
            kind,
            Some(ErrorKind::Timeout(Phase::Wait | Phase::Head))
        ));
        connection_of_shard_0_answers(&rig);
        rig.finish(&mut held);
        rig.stop();
    }
}

/// A sibling that has claimed a call and not said so yet: what its own shard grants it passes on.
#[test]
fn a_grant_that_loses_the_claim_passes_on() {
    let (mut rig, mut held) = occupied();
    let mut first = [rig.call(0, "a", "/first")];
    let mut second = [rig.call(0, "a", "/second")];
    rig.settle();
    let upstream = rig.upstream("a");
    let offers = upstream.offers().expect("two calls are offered");
    let (_, call) = offers.take(Class::Normal).expect("the first of them");
    assert_eq!(call.request.path(), Some("/first"));
    connection_of_shard_0_answers(&rig);
    rig.settle();
    assert_eq!(second[0].body(), "second@0");
    assert_eq!(rig.figures(0).waiters, 0);
    assert!(!first[0].is_answered());
    // And if that sibling is never heard of again, the caller is told.
    drop(call.caller);
    let error = first[0].error().expect("it was dropped");
    assert_eq!(error.kind(), ErrorKind::Draining);
    assert_eq!(error.request_sent(), RequestSent::No);
    rig.web.let_go();
    rig.finish(&mut held);
    rig.stop();
}

/// One shard stops, with calls of its own offered, or with calls of the other one under way.
#[test]
fn a_shard_that_stops_ends_what_it_has_and_nothing_else() {
    for stopped in [0, 1] {
        let (mut rig, mut held) = occupied();
        let mut offered = [rig.call(0, "a", "/hold/offered")];
        rig.settle();
        if stopped == 1 {
            let connection = rig.network.connection(&endpoint(1), 1);
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
            rig.settle();
            assert_eq!(rig.web.asked().len(), 3, "the sibling runs it");
        }
        rig.shared.mailboxes[stopped].control(Control::Stop);
        rig.shards[stopped].turn(true).unwrap();
        let error = offered[0].error().expect("its shard has stopped");
        assert_eq!(error.kind(), ErrorKind::Draining);
        let sent = error.request_sent();
        assert_eq!(sent == RequestSent::No, stopped == 0, "{sent:?}");
        let other = 1 - stopped;
        if stopped == 0 {
            rig.web.let_go();
        }
        rig.network.step();
        for _ in 0..4 {
            rig.shards[other].turn(true).unwrap();
            rig.network.step();
        }
        assert!(held[other].is_answered() || stopped == 1);
        let upstream = rig.upstream("a");
        let offers = upstream.offers().expect("one was offered");
        assert!(offers.open().is_empty());
        assert_eq!(offers.room(stopped).free(), Free::default());
    }
}

/// New settings while calls are offered: they go by them from then on.
#[test]
fn stealing_may_be_turned_off_and_on_while_calls_wait() {
    for steal in [true, false] {
        let (mut rig, mut held) = occupied();
        let upstream = rig.upstream("a");
        let mut settings = (*upstream.settings()).clone();
        settings.idle_min = 0;
        settings.sharing.steal = !steal;
        rig.shared
            .reconfigure(&upstream, settings.clone())
            .expect("valid");
        let mut call = [rig.call(0, "a", "/x")];
        rig.settle();
        settings.sharing.steal = steal;
        rig.shared.reconfigure(&upstream, settings).expect("valid");
        rig.settle();
        let connection = rig.network.connection(&endpoint(1), 1);
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
        rig.settle();
        assert_eq!(call[0].trip().shard, usize::from(steal));
        assert_eq!(rig.clock.now(), Time::ZERO);
        // A connection is closed for it where it cannot move.
        assert_eq!(rig.figures(1).tally.evicted_by_policy, u64::from(!steal));
        connection_of_shard_0_answers(&rig);
        rig.finish(&mut held);
        rig.stop();
    }
}

/// What cannot move still has a connection given up for it.
#[test]
fn a_lease_does_not_move() {
    let mut rig = warmed(2, 2, |_| {});
    let mut held = [rig.call(0, "a", "/hold/x")];
    rig.settle();
    let mut lease = rig.checkout(0, "a");
    rig.settle();
    assert_eq!(rig.clock.now(), Time::ZERO);
    let lease = lease.try_recv().expect("the shard lives");
    assert!(lease.expect("it was granted").is_ok());
    assert_eq!(rig.figures(1).tally.evicted_by_policy, 1);
    rig.web.let_go();
    rig.finish(&mut held);
    rig.stop();
}

/// Seed 3384: a sibling's connection that only critical calls may have is no room for others, and no reason
/// not to ask for a permit.
#[test]
fn what_is_kept_for_critical_calls_is_no_room_for_others() {
    let mut policy = config(2, |_| {});
    policy.connections_max = 3;
    let first = policy.upstreams.get_mut("a").expect("it is there");
    (first.critical_reserved, first.uses_max) = (1, Some(1));
    let mut rig = Rig::new(policy);
    rig.web.serve(1, 3);
    rig.web.serve(2, 3);
    rig.settle();
    let keeps = |shard: usize, rig: &mut Rig| {
        let figures = rig.figures(shard);
        let census = figures.upstreams.get("a").map(|part| part.census);
        census.is_some_and(|census| census.idle == 1)
    };
    let keeper = usize::from(!keeps(0, &mut rig));
    let other = 1 - keeper;
    let mut calls = [rig.call(other, "a", "/x")];
    rig.finish(&mut calls);
    let mut idle = [0, 1].map(|n| rig.call(keeper, "b", &format!("/hold/{n}")));
    rig.pass(SECOND);
    rig.web.let_go();
    rig.finish(&mut idle);
    let now = rig.clock.now();
    let mut calls = [rig.call(other, "a", "/y")];
    rig.finish(&mut calls);
    assert!(calls[0].body().starts_with("y@"));
    assert_eq!(rig.clock.now(), now);
    rig.stop();
}

/// Everything at once, in any order of turns: each call gets its own answer, once.
#[test]
fn bursts_on_one_shard_are_answered_each_with_its_own() {
    for seed in 0..30 {
        let policy = config(1, |upstream| upstream.connections_max = 4);
        let mut rig = Rig::shuffled(policy, seed);
        rig.web.serve(1, 4);
        let mut calls = Vec::new();
        for n in 0..200 {
            // Mostly on shard 0; some go right away, or soon.
            let call = rig.call(usize::from(n % 9 == 0), "a", &format!("/{n}"));
            if n % 7 != 3 {
                calls.push((n, call));
            }
            if n % 3 == 0 {
                rig.step();
            }
        }
        let (numbers, mut calls): (Vec<usize>, Vec<Call>) = calls.into_iter().unzip();
        rig.finish(&mut calls);
        for (n, call) in numbers.iter().zip(&mut calls) {
            assert!(call.body().starts_with(&format!("{n}@")), "seed {seed}");
        }
        let asked = rig.web.asked();
        let mut once = asked.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), asked.len(), "seed {seed}: one was sent twice");
        rig.stop();
    }
}

/// Else a shard that is never idle would take twice as many turns, and take itself for late.
#[test]
fn a_turn_that_gives_a_connection_back_needs_no_other_turn() {
    let mut rig = warmed(2, 2, |_| {});
    // The first call to wait makes the shards say what they have.
    let mut first: Vec<Call> = (0..3).map(|_| rig.call(0, "a", "/x")).collect();
    rig.finish(&mut first);
    let mut call = rig.call(0, "a", "/hold/x");
    rig.settle();
    rig.web.let_go();
    while !call.is_answered() {
        rig.step();
    }
    assert_eq!(call.trip().shard, 0);
    assert!(rig.shards[0].rests_until() > rig.clock.now());
    rig.stop();
}
