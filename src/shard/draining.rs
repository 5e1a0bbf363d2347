//! The end that waits: what is under way is served until a deadline, what is left then is cut.
//!
//! Owns: the steps of a shard's drain, and the count of what it cut. Never: lets anyone in, or waits for
//! what has left the engine (detached sockets).
//!
//! ```text
//! Finishing ─ nothing is under way, or the deadline ─→ Closing ─ every descriptor is closed ─→ Over
//! ```
//! Who was let in before is under way, a caller in a queue too: he is served until the deadline. The tasks
//! of the service learn of it, and are waited for as well. Afterwards the shard still tells its figures.

use super::Shard;
use super::connection::{Holder, State};
use super::core::Core;
use super::desk::{CutUpstream, Drained};
use super::entrance::Count;
use super::upstream::UpstreamState;
use super::{STOP_MAX, local::LocalShard};
use crate::driver::Driver;
use crate::pool::Input;
use crate::slab::Key;
use crate::time::Time;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

/// A drain under way, or over.
pub(super) struct Drain {
    begun: Time,
    by: Time,
    /// How many calls and leases there were when it began.
    under_way: u64,
    /// What the entrance counted then.
    count: Count,
    phase: Phase,
}

enum Phase {
    Finishing,
    Closing { since: Time, drained: Drained },
    Over,
}

impl<D: Driver> Shard<D> {
    /// Begins to drain; told again, the earlier deadline counts.
    pub(super) fn begin_drain(&mut self, core: &mut Core<D>, begun: Time, by: Time) {
        if let Some(drain) = &mut self.drain {
            drain.by = drain.by.min(by);
            return;
        }
        // Whoever waits for warm connections waits in vain.
        self.watches.clear();
        let here: u64 = core.on_shard().values().map(CutUpstream::held).sum();
        core.begin_drain();
        // At one moment: a call that a sibling takes just now is counted here or there, and once.
        let count = self.mailbox.entrance().count();
        self.drain = Some(Drain {
            begun,
            by,
            under_way: here + u64::from(count.depth),
            count,
            phase: Phase::Finishing,
        });
    }

    /// Goes on with a drain, once a turn.
    pub(super) fn go_on_draining(&mut self) {
        if self.drain.is_none() {
            return;
        }
        let now = self.local.core.borrow().now();
        if self.is_due_to_cut(now) {
            self.cut(now);
        }
        // Where there was nothing to close, in the same turn: no event would bring another one.
        if self.is_due_to_report(now) {
            self.report(now);
        }
    }

    fn is_due_to_cut(&self, now: Time) -> bool {
        match &self.drain {
            Some(Drain {
                phase: Phase::Finishing,
                by,
                ..
            }) => now >= *by || self.has_finished(&self.local.core.borrow()),
            Some(_) | None => false,
        }
    }

    fn is_due_to_report(&self, now: Time) -> bool {
        match &self.drain {
            Some(Drain {
                phase: Phase::Closing { since, .. },
                ..
            }) => self.local.core.borrow().is_quiet() || now.since(*since) > STOP_MAX,
            Some(_) | None => false,
        }
    }

    /// When a drain has to be looked at, if nothing comes before.
    pub(super) fn drain_deadline(&self) -> Option<Time> {
        let drain = self.drain.as_ref()?;
        match drain.phase {
            Phase::Finishing => Some(drain.by),
            Phase::Closing { since, .. } => Some(since + STOP_MAX),
            Phase::Over => None,
        }
    }

    /// Whether the drain goes on at once: the last call may have ended on its caller's thread.
    pub(super) fn drain_is_due(&self, core: &Core<D>) -> bool {
        let finishing =
            |drain: &Drain| matches!(drain.phase, Phase::Finishing) && self.has_finished(core);
        self.drain.as_ref().is_some_and(finishing)
    }

    fn has_finished(&self, core: &Core<D>) -> bool {
        self.mailbox.depth() == 0 && self.local.executor.len() == 0 && core.holds_nothing()
    }

    /// Ends what is left.
    fn cut(&mut self, now: Time) {
        // Those who were let in and had no turn yet: they are counted like the others.
        while let Some(work) = self.mailbox.take_work() {
            self.local.take(work);
        }
        let executor = self.local.executor.clone();
        {
            let _turn = executor.begin_turn();
            executor.run();
        }
        let core = self.local.core.borrow();
        let mut upstreams = core.on_shard();
        core.add_outside(&mut upstreams);
        drop(core);
        let tasks = executor.own() as u64;
        self.local.core.borrow_mut().interrupt();
        executor.finish();
        self.local.core.borrow_mut().begin_stop();
        let Some(drain) = &mut self.drain else {
            return;
        };
        // A sibling that took one counts it, or has taken over its count.
        let moved = self.mailbox.entrance().count().moved_since(drain.count);
        let cut: u64 = upstreams.values().map(CutUpstream::held).sum();
        upstreams.retain(|_, cut| *cut != CutUpstream::default());
        let drained = Drained {
            shard: self.mailbox.index(),
            took: now.since(drain.begun),
            finished: (drain.under_way.saturating_add_signed(moved)).saturating_sub(cut),
            tasks,
            upstreams,
            fault: None,
        };
        drain.phase = Phase::Closing {
            since: now,
            drained,
        };
    }

    fn report(&mut self, now: Time) {
        let Some(drain) = &mut self.drain else {
            return;
        };
        let begun = drain.begun;
        match std::mem::replace(&mut drain.phase, Phase::Over) {
            Phase::Closing { drained, .. } => self.desk.deliver(Drained {
                took: now.since(begun),
                ..drained
            }),
            Phase::Finishing | Phase::Over => unreachable!("reported before it was cut"),
        }
    }
}

impl<D: Driver> Core<D> {
    fn begin_drain(&mut self) {
        self.draining = true;
        let upstreams: Vec<Key> = self.upstreams.iter().map(|(key, _)| key).collect();
        for upstream in upstreams {
            self.pool_input(upstream, Input::Finish);
            // Siblings need not count on this shard any more.
            self.touch(upstream);
        }
        for (_, waker) in self.drain_watches.iter() {
            waker.wake_by_ref();
        }
    }

    /// Whether nobody holds a connection or waits for one.
    fn holds_nothing(&self) -> bool {
        let leased = |state| state == State::Leased;
        self.waiters.is_empty()
            && !self
                .connections
                .iter()
                .any(|(_, connection)| leased(connection.state()))
    }

    /// What tasks of this shard have under way.
    fn on_shard(&self) -> BTreeMap<Arc<str>, CutUpstream> {
        let mut upstreams = BTreeMap::new();
        for (_, state) in self.upstreams.iter() {
            of(&mut upstreams, state).calls += u64::from(state.between);
        }
        // What was granted to a waiter who has not run yet is his, and he is counted below.
        let granted = self.waiters.iter().filter_map(|(_, waiter)| {
            let answer = waiter.answer.as_ref()?;
            answer.as_ref().ok().map(|grant| grant.conn)
        });
        let granted: Vec<Key> = granted.collect();
        let leased = self.connections.iter();
        for (key, connection) in leased.filter(|(_, c)| c.state() == State::Leased) {
            let Some(state) = self.upstreams.get(connection.upstream) else {
                continue;
            };
            let slots = connection.streams.as_deref();
            let slots = slots.map_or(1, |streams| u64::from(streams.leases()));
            let awaited = granted.iter().filter(|&&granted| granted == key).count();
            let held = slots.saturating_sub(awaited as u64);
            let cut = of(&mut upstreams, state);
            match connection.holder {
                Holder::Task if connection.streams.is_none() => cut.leases += held,
                Holder::Task | Holder::Call => cut.calls += held,
                Holder::Outside => {}
            }
        }
        for (_, waiter) in self
            .waiters
            .iter()
            .filter(|(_, waiter)| !waiter.wish.outside)
        {
            let failed = matches!(waiter.answer, Some(Err(_)));
            if let Some(state) = self.upstreams.get(waiter.wish.upstream).filter(|_| !failed) {
                let cut = of(&mut upstreams, state);
                // What it waits to do is told by what the upstream speaks.
                match state.shared.url.is_http() || state.shared.url.is_multiplexed() {
                    true => cut.calls += 1,
                    false => cut.leases += 1,
                }
            }
        }
        upstreams
    }

    /// Adds what callers elsewhere have by way of this shard.
    fn add_outside(&self, upstreams: &mut BTreeMap<Arc<str>, CutUpstream>) {
        for (_, state) in self.upstreams.iter() {
            let outside = state.shared.outside(self.index);
            let cut = of(upstreams, state);
            cut.calls += outside.calls.load(Ordering::Relaxed) as u64;
            cut.leases += outside.leases.load(Ordering::Relaxed) as u64;
            cut.detached += outside.detached.load(Ordering::Relaxed) as u64;
        }
    }
}

fn of<'a>(
    upstreams: &'a mut BTreeMap<Arc<str>, CutUpstream>,
    state: &UpstreamState,
) -> &'a mut CutUpstream {
    upstreams.entry(state.shared.name.clone()).or_default()
}

impl<D: Driver> LocalShard<D> {
    /// Whether the engine drains.
    pub(crate) fn is_draining(&self) -> bool {
        self.core.borrow().draining
    }

    /// Waits until the engine drains.
    pub(crate) fn draining(&self) -> LocalDraining<D> {
        LocalDraining {
            shard: self.clone(),
            watch: None,
        }
    }
}

/// Ready when the engine drains.
pub(crate) struct LocalDraining<D: Driver> {
    shard: LocalShard<D>,
    watch: Option<Key>,
}

impl<D: Driver> Future for LocalDraining<D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let shard = self.shard.clone();
        let mut core = shard.core.borrow_mut();
        if core.draining {
            return Poll::Ready(());
        }
        match self.watch.and_then(|key| core.drain_watches.get_mut(key)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => self.watch = Some(core.drain_watches.insert(cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl<D: Driver> Drop for LocalDraining<D> {
    fn drop(&mut self) {
        if let Some(key) = self.watch {
            self.shard.core.borrow_mut().drain_watches.remove(key);
        }
    }
}
