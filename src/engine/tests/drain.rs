//! The end that waits: who is served still, who is not let in, and what the report says.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::{Class, Config};
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::Head;
use crate::shard::desk::{CutUpstream, Drained};
use crate::shard::forward;
use crate::shard::local::LocalUpstream;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

fn serving(config: Config) -> Rig {
    let rig = Rig::new(config);
    rig.web.serve(1, 128);
    rig
}

fn local(rig: &Rig, shard: usize) -> LocalUpstream<crate::driver::sim::Sim> {
    let local = rig.shards[shard].local().clone();
    local.upstream(rig.upstream("a"))
}

/// The reports, if all are there.
fn reports(rig: &Rig) -> Option<Vec<Arc<Drained>>> {
    let reports = rig.shared.drained();
    (reports.len() == 2).then_some(reports)
}

fn cut(reports: &[Arc<Drained>]) -> CutUpstream {
    let mut sum = CutUpstream::default();
    for cut in reports.iter().flat_map(|report| report.upstreams.values()) {
        sum.calls += cut.calls;
        sum.leases += cut.leases;
        sum.detached += cut.detached;
    }
    sum
}

fn kind(call: &mut Call) -> Option<ErrorKind> {
    call.error().map(Error::kind)
}

#[test]
fn with_nothing_under_way_it_is_over_at_once() {
    let mut rig = serving(config(1, |upstream| upstream.idle_min = 4));
    rig.settle();
    assert_eq!(rig.web.open(), 4);
    let _over = rig.shared.drain(60 * SECOND);
    rig.settle();
    assert_eq!(rig.web.open(), 0, "idle connections close at once");
    let reports = reports(&rig).expect("no time has to go by");
    assert!(
        reports
            .iter()
            .all(|report| report.finished == 0 && report.tasks == 0)
    );
    assert_eq!(cut(&reports), CutUpstream::default());
    let mut late = rig.call(0, "a", "/x");
    assert_eq!(kind(&mut late), Some(ErrorKind::Draining));
    rig.pass(3600 * SECOND);
    assert_eq!(rig.web.open(), 0, "nothing is kept warm any more");
    assert_eq!(rig.figures(0).connections, 0, "it still tells its figures");
    rig.stop();
}

/// A call half-way, one in the queue, and one that is to be tried again: all were begun before.
#[test]
fn what_was_begun_is_finished() {
    let mut rig = serving(config(1, |upstream| {
        upstream.connections_max = 1;
        upstream.retry.backoff_min = 2 * SECOND;
        upstream.retry.backoff_max = 2 * SECOND;
    }));
    let mut half_way = rig.call(0, "a", "/hold/x");
    rig.settle();
    let mut queued = rig.call(0, "a", "/y");
    let mut again = rig.call(1, "a", "/cut/2/z");
    rig.settle();
    let _over = rig.shared.drain(60 * SECOND);
    rig.settle();
    let mut late = [rig.call(0, "a", "/late"), rig.call(1, "a", "/late")];
    assert!(
        late.iter_mut()
            .all(|late| kind(late) == Some(ErrorKind::Draining))
    );
    assert!(reports(&rig).is_none(), "three calls are under way");
    rig.web.let_go();
    let mut calls = [again, queued];
    rig.finish(&mut calls);
    [again, queued] = calls;
    assert_eq!(half_way.body(), "x@0");
    assert!(queued.body().starts_with("y@"));
    assert_eq!(again.attempts(), 3, "an attempt is no new call");
    rig.settle();
    let reports = reports(&rig).expect("nothing is left to wait for");
    assert_eq!(reports.iter().map(|report| report.finished).sum::<u64>(), 3);
    assert_eq!(cut(&reports), CutUpstream::default());
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

/// A connection that comes back goes on to whoever waits, and closes when nobody does.
#[test]
fn a_queue_is_served_to_its_end_by_what_is_there() {
    let mut rig = serving(config(1, |upstream| upstream.connections_max = 2));
    let mut calls: Vec<Call> = (0..8).map(|_| rig.call(0, "a", "/hold/x")).collect();
    rig.settle();
    let _over = rig.shared.drain(60 * SECOND);
    for _ in 0..4 {
        rig.settle();
        assert_eq!(rig.web.let_go(), 2);
    }
    rig.settle();
    assert!(calls.iter_mut().all(|call| call.body().starts_with("x@")));
    assert_eq!(rig.network.connections_accepted(&endpoint(1)), 2);
    assert!(reports(&rig).is_some());
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

/// However far calls and leases have come: what is left at the deadline is cut and counted, each once.
#[test]
fn what_is_left_at_the_deadline_is_cut_and_counted() {
    for turns in 0..24 {
        let mut rig = serving(config(1, |upstream| {
            upstream.connections_max = 4;
            upstream.call_timeout = 3600 * SECOND;
            upstream.wait_timeout = 3600 * SECOND;
        }));
        let mut calls: Vec<Call> = (0..6).map(|n| rig.call(n % 2, "a", "/never/x")).collect();
        let mut leases = [rig.checkout(0, "a"), rig.checkout(1, "a")];
        for shard in 0..2 {
            let upstream = local(&rig, shard);
            rig.shards[shard].local().spawn(async move {
                let _ = forward::exchange(&upstream, &Head::get("/never/y"), None).await;
            });
        }
        for turn in 0..turns {
            rig.network.step();
            rig.shards[turn % 2].turn(true).unwrap();
        }
        let _over = rig.shared.drain(10 * SECOND);
        rig.pass(9 * SECOND);
        assert!(reports(&rig).is_none());
        assert!(!calls.iter_mut().any(Call::is_answered));
        rig.pass(2 * SECOND);
        let reports = reports(&rig).expect("the time is over");
        let CutUpstream {
            calls: cut_calls,
            leases: cut_leases,
            detached,
        } = cut(&reports);
        // Tasks that had no turn before the drain were not let in: they ended by themselves.
        let tasks: u64 = reports.iter().map(|report| report.tasks).sum();
        assert_eq!(
            (cut_calls, cut_leases, detached),
            (6 + tasks, 2, 0),
            "after {turns} turns"
        );
        for call in &mut calls {
            assert_eq!(kind(call), Some(ErrorKind::Draining), "after {turns} turns");
        }
        for lease in &mut leases {
            assert!(!matches!(lease.try_recv(), Ok(None)), "handed over, or cut");
        }
        assert_eq!(rig.web.open(), 0);
        rig.stop();
    }
}

#[test]
fn tasks_learn_of_it_and_end_in_their_time() {
    let mut rig = serving(config(1, |_| {}));
    let ended = Rc::new(Cell::new(0));
    for shard in 0..2 {
        let (upstream, ended) = (local(&rig, shard), ended.clone());
        let local = rig.shards[shard].local().clone();
        rig.shards[shard].local().spawn(async move {
            assert!(!local.is_draining());
            local.draining().await;
            assert!(local.is_draining());
            let refused = forward::exchange(&upstream, &Head::get("/x"), None).await;
            assert_eq!(refused.err().map(|e| e.kind()), Some(ErrorKind::Draining));
            local.sleep(5 * SECOND).await;
            ended.set(ended.get() + 1);
        });
        // One that is dropped before leaves nothing behind.
        let local = rig.shards[shard].local().clone();
        let task = rig.shards[shard].local().clone();
        task.spawn(async move {
            let mut watch = std::pin::pin!(local.draining());
            std::future::poll_fn(|cx| {
                assert!(watch.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        });
    }
    rig.settle();
    let _over = rig.shared.drain(60 * SECOND);
    rig.pass(4 * SECOND);
    assert!(reports(&rig).is_none(), "tasks are under way");
    rig.pass(2 * SECOND);
    let reports = reports(&rig).expect("they have ended");
    assert_eq!(ended.get(), 2);
    assert!(reports.iter().all(|report| report.tasks == 0));
    assert!(reports.iter().all(|report| report.fault.is_none()));
    rig.stop();
}

#[test]
fn a_task_that_does_not_end_is_dropped_with_its_lease_and_counted() {
    let mut rig = serving(config(1, |_| {}));
    let upstream = local(&rig, 0);
    rig.shards[0].local().spawn(async move {
        let deadline = upstream.shard.now() + SECOND;
        let _lease = upstream.checkout(Class::Normal, deadline, false).await;
        std::future::pending::<()>().await;
    });
    rig.settle();
    assert_eq!(rig.web.open(), 1);
    let _over = rig.shared.drain(SECOND);
    rig.pass(2 * SECOND);
    let reports = reports(&rig).expect("the time is over");
    assert_eq!((reports[0].tasks, reports[1].tasks), (1, 0));
    assert_eq!((cut(&reports).calls, cut(&reports).leases), (0, 1));
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

#[test]
fn a_second_drain_joins_the_first_and_may_bring_its_deadline_nearer() {
    let mut rig = serving(config(1, |upstream| upstream.call_timeout = 3600 * SECOND));
    let mut call = rig.call(0, "a", "/never/x");
    rig.settle();
    let mut first = rig.shared.drain(60 * SECOND);
    rig.settle();
    let mut later = rig.shared.drain(600 * SECOND);
    rig.pass(SECOND);
    assert!(matches!(first.try_recv(), Ok(None)));
    let mut sooner = rig.shared.drain(2 * SECOND);
    rig.pass(3 * SECOND);
    for over in [&mut first, &mut later, &mut sooner] {
        assert_eq!(over.try_recv(), Ok(Some(())));
    }
    let mut after = rig.shared.drain(SECOND);
    assert_eq!(after.try_recv(), Ok(Some(())), "it is over");
    assert_eq!(kind(&mut call), Some(ErrorKind::Draining));
    assert_eq!(cut(&rig.shared.drained()).calls, 1);
    rig.stop();
}

/// A call that is refused, or given up, on its caller's thread between the shard's last look and its
/// sleep.
#[test]
fn the_last_call_to_go_ends_the_drain() {
    let mut rig = serving(config(1, |_| {}));
    let mailbox = rig.shared.mailboxes[0].clone();
    let counted = crate::shard::sharing::movable::Underway::new(&mailbox, &rig.upstream("a"));
    let _over = rig.shared.drain(60 * SECOND);
    rig.settle();
    assert!(reports(&rig).is_none(), "a caller is on his way");
    drop(counted);
    rig.settle();
    assert!(reports(&rig).is_some(), "no time has to go by");
    rig.stop();
}

#[test]
fn stopping_in_the_middle_of_a_drain_ends_everything() {
    for turns in 0..12 {
        let mut rig = serving(config(1, |upstream| upstream.connections_max = 1));
        let mut calls: Vec<Call> = (0..4).map(|n| rig.call(n % 2, "a", "/hold/x")).collect();
        rig.settle();
        let _over = rig.shared.drain(SECOND);
        for turn in 0..turns {
            rig.shards[turn % 2].turn(true).unwrap();
        }
        rig.stop();
        assert!(calls.iter_mut().all(Call::is_answered));
    }
}
