//! The copying of figures: however much a shard knows of, a turn copies so much of it and no more.
//!
//! Owns: copies under way. Never: has an upstream twice in one, or not at all: what goes while a copy is made counts among the
//! totals of those that have gone. One that was given up is told in the totals alone, on every shard from the same moment on.

use super::core::Core;
use super::figures::{ShardFigures, UpstreamPart};
use super::upstream::{UpstreamId, UpstreamState};
use crate::driver::Driver;
use crate::slab::Key;
use crate::time::Time;
use futures_channel::oneshot;
use std::ops::Bound;

/// How much of upstreams a turn copies, in endpoints; an upstream itself is as much as four. A unit takes some 0.5 µs. An upstream is copied
/// whole: one with all the endpoints that are told apart is some 170.
const UNITS_PER_TURN: usize = 160;

/// Slots of upstreams that a turn looks at.
const UPSTREAMS_PER_TURN: usize = 1024;

/// Slots of connections that a turn counts: some 50 ns each.
const CONNECTIONS_PER_TURN: usize = 1024;

/// A copy under way.
pub(crate) struct FiguresCopy {
    figures: ShardFigures,
    reply: oneshot::Sender<ShardFigures>,
    at: Step,
}

/// How far it is: slots before these are done.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// What a lost shard left of upstreams that are not met yet: behind this one.
    Inherited(Option<UpstreamId>),
    Upstreams(usize),
    Connections(usize),
}

impl<D: Driver> Core<D> {
    /// Begins a copy. Where there is little to copy it is made at once.
    pub(super) fn begin_copy(
        &mut self,
        tasks: usize,
        task_panics: u64,
        reply: oneshot::Sender<ShardFigures>,
    ) {
        let figures = ShardFigures {
            driver: self.tally.driver(self.driver.counters()),
            buffers_free: self.driver.buffers_free(),
            connections: self.connections.len(),
            timers: self.timers.len(),
            waiters: self.waiters.len(),
            tasks,
            task_panics: self.tally.task_panics + task_panics,
            lag: self.lag.get(),
            ..ShardFigures::begun(self.index, self.now, &self.tally)
        };
        let at = Step::Inherited(None);
        self.copies.push_back(FiguresCopy { figures, reply, at });
        if self.copies.len() == 1 {
            self.go_on_copying();
        }
    }

    /// Whether there is more to copy. The shard does not sleep then; but it is not late for anybody.
    pub(super) fn is_copying(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Copies what one turn copies; replies if that was all. Others wait until then.
    pub(super) fn go_on_copying(&mut self) {
        let Some(mut copy) = self.copies.pop_front() else {
            return;
        };
        if copy.reply.is_canceled() {
            return;
        }
        let mut left = Budget(UNITS_PER_TURN);
        if let Step::Inherited(after) = copy.at {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            copy.at = Step::Upstreams(0);
            for (&id, (shared, meters)) in self.tally.inherited.range((from, Bound::Unbounded)) {
                let part = UpstreamPart::inherited(shared, meters, self.now);
                copy.figures.add(part);
                if !left.spend(1 + meters.endpoints()) {
                    copy.at = Step::Inherited(Some(id));
                    break;
                }
            }
        }
        if let Step::Upstreams(from) = copy.at {
            let mut next = from + UPSTREAMS_PER_TURN;
            for (key, upstream) in self.upstreams.iter_within(from, UPSTREAMS_PER_TURN) {
                copy.take(upstream, self.now);
                if !left.spend(UpstreamPart::cost(upstream)) {
                    next = key.index() as usize + 1;
                    break;
                }
            }
            copy.at = match next < self.upstreams.slots() {
                true => Step::Upstreams(next),
                false => Step::Connections(0),
            };
        }
        if let Step::Connections(from) = copy.at {
            let connections = self.connections.iter_within(from, CONNECTIONS_PER_TURN);
            for (_, connection) in connections {
                let upstream = self.upstreams.get(connection.upstream);
                let told = upstream.filter(|upstream| !upstream.forgotten);
                let name = told.map(|upstream| &upstream.shared.name);
                if let Some(part) = name.and_then(|name| copy.figures.upstreams.get_mut(name)) {
                    let endpoint = connection.place.and_then(|id| part.endpoints.get_mut(&id));
                    let figures = endpoint.map(|(_, figures)| figures);
                    let figures = figures.unwrap_or(&mut part.meters.elsewhere);
                    figures.connections.count(connection.state());
                }
            }
            let next = from + CONNECTIONS_PER_TURN;
            if next >= self.connections.slots() {
                // A caller who has gone does not want them any more.
                let _ = copy.reply.send(copy.figures);
                return;
            }
            copy.at = Step::Connections(next);
        }
        self.copies.push_front(copy);
    }

    /// An upstream has gone: copies that had not come to it count it as that.
    pub(super) fn copies_miss(&mut self, key: Key, upstream: &UpstreamState) {
        for copy in &mut self.copies {
            if let Step::Upstreams(next) = copy.at
                && key.index() as usize >= next
            {
                copy.total(upstream);
            }
        }
    }
}

/// What a turn may still copy.
struct Budget(usize);

impl Budget {
    /// Whether something is left.
    fn spend(&mut self, units: usize) -> bool {
        self.0 = self.0.saturating_sub(units);
        self.0 > 0
    }
}

impl FiguresCopy {
    fn take(&mut self, upstream: &UpstreamState, now: Time) {
        self.total(upstream);
        if !upstream.forgotten {
            self.figures.add(UpstreamPart::of(upstream, now));
        }
    }

    fn total(&mut self, upstream: &UpstreamState) {
        let counters = upstream.pool.counters();
        let avoided = upstream.meters.avoided_here();
        self.figures.totals.add(&counters, avoided);
    }
}
