//! What a shard counts, and the copy of it that others may look at.
//!
//! Owns: plain counters, written by the shard alone. Never: an atomic, or a clock.

use super::core::Core;
use super::upstream::UpstreamState;
use crate::driver::{Counters, Driver};
use crate::pool::{Census, CloseReason, PoolCounters};
use crate::stats::Latencies;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Totals since the shard began, beside those that pools and driver keep themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections_opened: u64,
    /// How long it took to be connected, look-up included; and then to have shaken hands.
    pub(crate) connects: Latencies,
    pub(crate) handshakes_full: Latencies,
    pub(crate) handshakes_resumed: Latencies,
    pub(crate) avoided_by_resumption: Duration,
    /// Requests sent along with a handshake, taken and refused.
    pub(crate) early_taken: u64,
    pub(crate) early_refused: u64,
    pub(crate) dial_nanos: u64,
    pub(crate) avoided_nanos: u64,
    pub(crate) wait_nanos: u64,
    pub(crate) discards: u64,
    pub(crate) evicted_peer_closed: u64,
    pub(crate) evicted_stray_bytes: u64,
    pub(crate) evicted_failed: u64,
    pub(crate) evicted_by_policy: u64,
    /// Calls that wait here, offered to siblings; taken by them; and taken back.
    pub(crate) offers: u64,
    pub(crate) offers_taken: u64,
    pub(crate) offers_returned: u64,
    /// Calls of siblings taken to run here.
    pub(crate) steals: u64,
    pub(crate) pauses: u64,
    pub(crate) turns: u64,
    /// Looks at the kernel within a turn, before what had to wait for one was granted.
    pub(crate) looks: u64,
    /// Calls of tasks here that were sent to a home.
    pub(crate) forwarded: u64,
    /// Calls from elsewhere that were passed on to another home, because this shard's loop was behind.
    pub(crate) passed_on: u64,
    /// Tasks of the shards before this one, lost, that ended by a panic.
    pub(crate) task_panics: u64,
    /// Counters of upstreams that were given up.
    departed: Totals,
}

/// What is added up over upstreams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) waits: u64,
    pub(crate) wait_timeouts: u64,
    pub(crate) refused: u64,
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
}

impl Tally {
    pub(super) fn closed(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::IdleTimeout
            | CloseReason::Age
            | CloseReason::Uses
            | CloseReason::Capacity
            | CloseReason::Drained
            | CloseReason::Reconfigured
            | CloseReason::Surplus
            | CloseReason::Endpoint
            | CloseReason::Retired
            | CloseReason::Trust => self.evicted_by_policy += 1,
        }
    }

    /// Somebody has waited so long.
    pub(super) fn waited(&mut self, time: Duration) {
        self.wait_nanos += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    }

    /// Keeps the counters of an upstream that is about to be removed.
    pub(super) fn keep(&mut self, upstream: &UpstreamState) {
        self.departed.add(&upstream.pool.counters());
    }
}

impl Totals {
    fn add(&mut self, counters: &PoolCounters) {
        self.hits += counters.hits;
        self.misses += counters.misses;
        self.waits += counters.waits;
        self.wait_timeouts += counters.wait_timeouts;
        self.refused += counters.refused;
        self.dials += counters.dials;
        self.dials_failed += counters.dials_failed;
    }
}

/// A copy of one shard's figures, taken between two turns.
pub(crate) struct ShardFigures {
    pub(crate) shard: usize,
    pub(crate) tally: Tally,
    pub(crate) totals: Totals,
    pub(crate) driver: Counters,
    pub(crate) upstreams: BTreeMap<Arc<str>, UpstreamPart>,
    /// Slots in use: connections in any state, closing ones included.
    pub(crate) connections: usize,
    pub(crate) timers: usize,
    pub(crate) waiters: usize,
    pub(crate) tasks: usize,
    pub(crate) task_panics: u64,
    /// How far the loop is behind.
    pub(crate) lag: Duration,
}

/// What one shard tells of an upstream.
#[derive(Debug)]
pub(crate) struct UpstreamPart {
    pub(crate) census: Census,
    pub(crate) counters: PoolCounters,
    /// Connections to it that count against its cap, over all shards.
    pub(crate) permits: u32,
    /// How many homes it has.
    pub(crate) homes: usize,
}

impl<D: Driver> Core<D> {
    /// The totals, for a successor to go on from.
    pub(super) fn legacy(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        for (_, upstream) in self.upstreams.iter() {
            tally.keep(upstream);
        }
        tally
    }

    pub(super) fn figures(&self, tasks: usize, task_panics: u64) -> ShardFigures {
        let mut totals = self.tally.departed;
        let mut upstreams = BTreeMap::new();
        for (_, upstream) in self.upstreams.iter() {
            let counters = upstream.pool.counters();
            totals.add(&counters);
            upstreams.insert(
                upstream.shared.name.clone(),
                UpstreamPart {
                    census: upstream.pool.census(),
                    counters,
                    permits: upstream.shared.connections.in_use(),
                    homes: upstream.shared.homes.len(),
                },
            );
        }
        ShardFigures {
            shard: self.index,
            tally: self.tally.clone(),
            totals,
            driver: self.driver.counters(),
            upstreams,
            connections: self.connections.len(),
            timers: self.timers.len(),
            waiters: self.waiters.len(),
            tasks,
            task_panics: self.tally.task_panics + task_panics,
            lag: self.lag.get(),
        }
    }
}
