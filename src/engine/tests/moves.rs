//! Calls on their way from one shard to another while the engine drains, or one of the two is lost.
//!
//! Each move is begun anew and interrupted after one turn more, in several orders of turns: whoever was let in
//! is served or told, once, and counted once, wherever it is just then.

use super::rig::{Call, Rig};
use super::tasks::{Task, Whole, get};
use super::{SECOND, config};
use crate::error::{Error, ErrorKind};
use crate::shard::desk::{CutUpstream, Drained};
use crate::shard::mailbox::Control;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Turns of shards, in these orders.
const ORDERS: [[usize; 2]; 4] = [[0, 1], [1, 0], [0, 0], [1, 1]];
/// By then every move is over.
const TURNS: usize = 12;

/// Calls that are about to move from shard 0 to shard 1.
struct Scene {
    rig: Rig,
    calls: Vec<Call>,
    tasks: Vec<Task<Result<Whole, Error>>>,
}

type Begin = fn() -> Scene;

/// Calls that wait on shard 0 while either shard's connection comes free.
fn offered() -> Scene {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.connections_max = 2;
        upstream.idle_min = 2;
    }));
    rig.web.serve(1, 4);
    rig.settle();
    let mut calls: Vec<Call> = (0..2).map(|n| rig.call(n, "a", "/hold/busy")).collect();
    rig.settle();
    calls.extend(["/x", "/y", "/z"].map(|path| rig.call(0, "a", path)));
    rig.settle();
    assert_eq!(rig.figures(0).tally.offers, 3);
    rig.web.let_go();
    let tasks = Vec::new();
    Scene { rig, calls, tasks }
}

/// Calls on shard 0, whose loop is late; both are homes.
fn passed_on() -> Scene {
    let mut rig = Rig::new(config(1, |upstream| upstream.idle_min = 2));
    rig.web.serve(1, 32);
    rig.settle();
    let busy = Task::new(&rig, 0, |_| {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
    });
    for _ in 0..20 {
        rig.step();
        rig.clock.advance(MS * 4);
    }
    assert!(rig.shared.mailboxes[0].lag() > MS);
    let calls = ["/x", "/y", "/z"].map(|path| rig.call(0, "a", path));
    drop(busy);
    let (calls, tasks) = (calls.into(), Vec::new());
    Scene { rig, calls, tasks }
}

/// Calls of a task on shard 0, of which shard 1 is the home, and of one whose connections are all in use.
fn forwarded() -> Scene {
    // The name decides where its home is.
    let mut rig = Rig::new(config(8, |upstream| upstream.connections_max = 2));
    for host in 1..=8 {
        rig.web.serve(host, 4);
    }
    let names = ('a'..='h').map(String::from);
    let mut at_1 = names.filter(|name| rig.upstream(name).homes.first() == 1);
    let name = at_1.next().expect("half of them are");
    let tasks = ["/x", "/y", "/z"].map(|path| {
        let upstream = rig.upstream(&name);
        Task::new(&rig, 0, move |local| async move {
            get(local.shard.upstream(upstream), path).await
        })
    });
    rig.step();
    let (calls, tasks) = (Vec::new(), tasks.into());
    Scene { rig, calls, tasks }
}

impl Scene {
    fn turn(&mut self, order: [usize; 2], turns: usize) {
        for turn in 0..turns {
            self.rig.network.step();
            self.rig.shards[order[turn % 2]].turn(true).unwrap();
        }
    }

    /// Calls that a shard counts as under way.
    fn under_way(&self) -> usize {
        let depths = self.rig.shared.mailboxes.iter();
        depths.map(|mailbox| mailbox.depth()).sum()
    }

    /// What became of each call: its error, if it is one.
    fn ends(&mut self) -> Vec<Option<Error>> {
        let mut ends = Vec::new();
        for call in &mut self.calls {
            assert!(call.is_answered(), "a call never ended");
            ends.push(call.error().map(Error::duplicate));
        }
        // A task that was dropped has nothing to tell.
        let told = self
            .tasks
            .iter_mut()
            .filter_map(|task| task.told.try_recv().ok().flatten());
        ends.extend(told.map(Result::err));
        ends
    }

    fn reports(&self) -> Vec<Arc<Drained>> {
        let reports = self.rig.shared.drained();
        assert_eq!(reports.len(), 2, "the drain is over");
        reports
    }
}

fn for_each_step(begin: Begin, mut interrupt: impl FnMut(Scene, [usize; 2], &str)) {
    for order in ORDERS {
        for turns in 0..TURNS {
            let mut scene = begin();
            scene.turn(order, turns);
            interrupt(scene, order, &format!("{order:?}, {turns} turns"));
        }
    }
}

/// The gates close, and shards learn of it one after the other, with turns of either between.
fn drain(scene: &mut Scene, within: Duration, first: usize, order: [usize; 2], between: usize) {
    let begun = scene.rig.clock.now();
    let mailboxes = scene.rig.shared.mailboxes.clone();
    mailboxes.iter().for_each(|mailbox| mailbox.drain());
    let tell = |shard: usize| {
        let by = begun + within;
        mailboxes[shard].control(Control::Drain { begun, by });
    };
    tell(first);
    scene.turn(order, between);
    tell(1 - first);
}

fn sums(reports: &[Arc<Drained>]) -> (u64, u64) {
    let cut = reports.iter().flat_map(|report| report.upstreams.values());
    let finished = reports.iter().map(|report| report.finished).sum();
    (finished, cut.map(CutUpstream::held).sum())
}

/// Whoever was let in is served, and counted once.
fn drained_in_time(begin: Begin) {
    for first in 0..2 {
        for between in 0..3 {
            for_each_step(begin, |mut scene, order, at| {
                let at = format!("{at}; {first} first, {between} between");
                let before = scene.under_way();
                drain(&mut scene, 60 * SECOND, first, order, between);
                scene.rig.settle();
                let let_go = scene.rig.web.let_go();
                assert_eq!(let_go, 0, "{at}");
                let errors: Vec<Error> = scene.ends().into_iter().flatten().collect();
                // A task that had no turn before was not let in.
                let refused = |error: &Error| error.kind() == ErrorKind::Draining;
                assert!(errors.iter().all(refused), "{at}: {errors:?}");
                assert!(scene.calls.is_empty() || errors.is_empty(), "{at}");
                let (finished, cut) = sums(&scene.reports());
                // Ended before its shard knew of the drain, it was not under way in it.
                let most = before as u64;
                assert!(
                    finished <= most && (between > 0 || finished == most),
                    "{at}: {finished}, not {most}"
                );
                assert_eq!(cut, 0, "{at}");
                scene.rig.stop();
            });
        }
    }
}

/// Cut in the same turn: each is told, and counted as one or the other.
fn drained_at_once(begin: Begin) {
    for first in 0..2 {
        for_each_step(begin, |mut scene, order, at| {
            let at = format!("{at}; {first} first");
            let before = scene.under_way();
            drain(&mut scene, Duration::ZERO, first, order, 0);
            scene.rig.settle();
            let ends = scene.ends();
            let failed: Vec<&Error> = ends.iter().flatten().collect();
            for error in &failed {
                assert_eq!(error.kind(), ErrorKind::Draining, "{at}: {error}");
            }
            let (finished, cut) = sums(&scene.reports());
            assert_eq!(
                finished + cut,
                before as u64,
                "{at}: {finished} finished, {cut} cut"
            );
            if scene.tasks.is_empty() {
                assert_eq!(cut, failed.len() as u64, "{at}");
            }
            scene.rig.stop();
        });
    }
}

/// The other shard's calls do not fail, and its own are told by what.
fn lost(begin: Begin) {
    for shard in 0..2 {
        for_each_step(begin, |mut scene, _, at| {
            let at = format!("{at}; shard {shard} is lost");
            scene.rig.lose(shard);
            scene.rig.settle();
            scene.rig.pass(SECOND);
            let by_loss = format!("shard {shard} was lost");
            for error in scene.ends().into_iter().flatten() {
                assert_eq!(error.kind(), ErrorKind::Closed, "{at}: {error}");
                assert!(error.to_string().contains(&by_loss), "{at}: {error}");
            }
            assert_eq!(scene.under_way(), 0, "{at}");
            let mut again = [0, 1].map(|shard| scene.rig.call(shard, "a", "/again"));
            scene.rig.finish(&mut again);
            for call in &mut again {
                assert!(call.body().starts_with("again@"), "{at}");
            }
            scene.rig.stop();
        });
    }
}

#[test]
fn they_move_indeed() {
    let tally = |begin: Begin| {
        let mut scene = begin();
        scene.turn([0, 1], TURNS);
        [0, 1].map(|shard| scene.rig.figures(shard).tally)
    };
    assert!(tally(offered)[1].steals > 0);
    assert_eq!(tally(passed_on)[0].passed_on, 3);
    assert_eq!(tally(forwarded)[0].forwarded, 3);
}

#[test]
fn a_drain_meets_calls_that_siblings_take() {
    drained_in_time(offered);
    drained_at_once(offered);
}

#[test]
fn a_drain_meets_calls_that_are_passed_on() {
    drained_in_time(passed_on);
    drained_at_once(passed_on);
}

#[test]
fn a_drain_meets_calls_that_are_forwarded() {
    drained_in_time(forwarded);
    drained_at_once(forwarded);
}

#[test]
fn a_loss_meets_calls_that_siblings_take() {
    lost(offered);
}

#[test]
fn a_loss_meets_calls_that_are_passed_on() {
    lost(passed_on);
}

#[test]
fn a_loss_meets_calls_that_are_forwarded() {
    lost(forwarded);
}
