//! The copying of figures: however much a shard knows of, a turn copies so much of it and no more.
//!
//! Owns: copies under way. Never: has an upstream twice in one, or not at all: what goes while a copy is made counts among the
//! totals of those that have gone.

use super::core::Core;
use super::figures::{ShardFigures, UpstreamPart};
use super::upstream::UpstreamState;
use crate::driver::Driver;
use crate::slab::Key;
use futures_channel::oneshot;
use std::collections::BTreeMap;

/// What a turn copies of upstreams: each is one, and each endpoint that is told apart one more; some 1 to 3 µs each. The last
/// upstream is copied whole, so that it may be exceeded by the endpoints of one.
const PARTS_PER_TURN: usize = 64;

/// Slots of upstreams that a turn looks at, vacant ones included.
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
        // What nobody has asked for since a loss is not told, and need not be copied.
        let inherited = std::mem::take(&mut self.tally.inherited);
        let tally = self.tally.clone();
        self.tally.inherited = inherited;
        let figures = ShardFigures {
            shard: self.index,
            tally,
            totals: self.tally.departed,
            driver: self.driver.counters(),
            buffers_free: self.driver.buffers_free(),
            upstreams: BTreeMap::new(),
            connections: self.connections.len(),
            timers: self.timers.len(),
            waiters: self.waiters.len(),
            tasks,
            task_panics: self.tally.task_panics + task_panics,
            lag: self.lag.get(),
        };
        let at = Step::Upstreams(0);
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
        if let Step::Upstreams(from) = copy.at {
            let next = self.copy_upstreams(&mut copy, from);
            copy.at = match next < self.upstreams.slots() {
                true => Step::Upstreams(next),
                false => Step::Connections(0),
            };
        }
        if let Step::Connections(from) = copy.at {
            let connections = self.connections.iter_within(from, CONNECTIONS_PER_TURN);
            for (_, connection) in connections {
                let upstream = self.upstreams.get(connection.upstream);
                let name = upstream.map(|upstream| &upstream.shared.name);
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

    /// Copies a turn's worth of upstreams, from that slot on; returns the one to go on with.
    fn copy_upstreams(&self, copy: &mut FiguresCopy, from: usize) -> usize {
        let mut parts = 0;
        for (key, upstream) in self.upstreams.iter_within(from, UPSTREAMS_PER_TURN) {
            parts += copy.take(upstream);
            if parts >= PARTS_PER_TURN {
                return key.index() as usize + 1;
            }
        }
        from + UPSTREAMS_PER_TURN
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

impl FiguresCopy {
    /// Returns how many parts it had.
    fn take(&mut self, upstream: &UpstreamState) -> usize {
        self.total(upstream);
        let part = UpstreamPart::of(upstream);
        let parts = 1 + part.endpoints.len();
        let name = upstream.shared.name.clone();
        match self.figures.upstreams.get_mut(&name) {
            // One of that name was given up, and is not gone yet.
            Some(other) => other.add(part),
            None => {
                self.figures.upstreams.insert(name, part);
            }
        }
        parts
    }

    fn total(&mut self, upstream: &UpstreamState) {
        let counters = upstream.pool.counters();
        let avoided = upstream.meters.avoided_here();
        self.figures.totals.add(&counters, avoided);
    }
}
