//! What a shard counts, and the copy of it that others may look at.
//!
//! Owns: plain counters, written by the shard alone. Never: an atomic, or a clock.

use super::core::Core;
use super::meters::{EndpointFigures, Meters, PLACES_MAX};
use super::upstream::{UpstreamId, UpstreamShared, UpstreamState};
use crate::driver::{Counters, Driver};
use crate::endpoint::Endpoint;
use crate::pool::{Census, CloseReason, EndpointId, PoolCounters};
use crate::stats::Latencies;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    pub(super) departed: Totals,
    /// What the shard before this one, lost, had counted of upstreams that this one has not met yet.
    pub(super) inherited: BTreeMap<UpstreamId, Meters>,
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
    pub(crate) shed: u64,
    pub(crate) avoided_by_reuse: u64,
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
        self.departed
            .add(&upstream.pool.counters(), upstream.meters.avoided_here());
    }
}

impl Totals {
    /// Adds an upstream's own, and what its reuse avoided since the shard that met it began.
    pub(super) fn add(&mut self, counters: &PoolCounters, avoided_by_reuse: u64) {
        self.avoided_by_reuse += avoided_by_reuse;
        self.shed += counters.shed;
        self.hits += counters.hits;
        self.misses += counters.misses;
        self.waits += counters.waits;
        self.wait_timeouts += counters.wait_timeouts;
        self.refused += counters.refused;
        self.dials += counters.dials;
        self.dials_failed += counters.dials_failed;
    }
}

/// A copy of one shard's figures, taken between turns.
pub(crate) struct ShardFigures {
    pub(crate) shard: usize,
    pub(crate) tally: Tally,
    pub(crate) totals: Totals,
    pub(crate) driver: Counters,
    pub(crate) buffers_free: u32,
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
    pub(crate) shared: Arc<UpstreamShared>,
    pub(crate) census: Census,
    pub(crate) counters: PoolCounters,
    pub(crate) meters: Meters,
    pub(crate) retry_budget: f64,
    /// Whether it is the URL's own host that names are looked up for.
    pub(crate) own_name: bool,
    /// Where each endpoint is that has figures of its own, and what it has.
    pub(crate) endpoints: BTreeMap<EndpointId, (Endpoint, EndpointFigures)>,
    /// Connections to it that count against its cap, over all shards.
    pub(crate) permits: u32,
    /// How many homes it has.
    pub(crate) homes: usize,
}

impl UpstreamPart {
    /// `upstream`, as it is now; of its connections nothing yet.
    pub(super) fn of(upstream: &UpstreamState) -> UpstreamPart {
        let mut endpoints = BTreeMap::new();
        for (id, figures) in upstream.meters.places() {
            if let Some(address) = upstream.addresses.get(id) {
                endpoints.insert(id, (address.clone(), figures.clone()));
            }
        }
        for (id, breaker, ejections) in upstream.pool.endpoints().take(PLACES_MAX) {
            let (_, figures) = match endpoints.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => match upstream.addresses.get(id) {
                    Some(address) => new.insert((address.clone(), EndpointFigures::default())),
                    None => continue,
                },
            };
            figures.breaker.count(breaker);
            figures.ejections = ejections;
        }
        let mut counters = upstream.pool.counters();
        counters.add(&upstream.meters.before);
        UpstreamPart {
            shared: upstream.shared.clone(),
            census: upstream.pool.census(),
            counters,
            meters: upstream.meters.without_places(),
            retry_budget: upstream.account.retry_budget(),
            own_name: upstream.policy.current().endpoints.is_empty(),
            endpoints,
            permits: upstream.shared.connections.in_use(),
            homes: upstream.shared.homes.len(),
        }
    }
}

impl UpstreamPart {
    /// Adds another one of the same name, on the same shard.
    pub(super) fn add(&mut self, other: UpstreamPart) {
        let (census, more) = (&mut self.census, other.census);
        census.idle += more.idle;
        census.spare += more.spare;
        census.leased += more.leased;
        census.dialing += more.dialing;
        census.waiters += more.waiters;
        census.ejected += more.ejected;
        self.counters.add(&other.counters);
        self.meters.add(&other.meters);
        for (_, (_, figures)) in other.endpoints {
            self.meters.elsewhere.add(&figures);
        }
    }
}

impl<D: Driver> Core<D> {
    /// The totals, for a successor to go on from.
    pub(super) fn legacy(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        for (_, upstream) in self.upstreams.iter() {
            tally.keep(upstream);
            let meters = Meters::clone(&upstream.meters);
            let meters = meters.bequeath(&upstream.pool.counters());
            tally.inherited.insert(upstream.shared.id, meters);
        }
        tally
    }
}
