//! What a shard counts, and the copy of it that others may look at.
//!
//! Owns: plain counters, written by the shard alone. Never: an atomic, or a clock.

use super::core::Core;
use super::meters::{EndpointFigures, Gone, Meters, PLACES_MAX};
use super::upstream::{UpstreamId, UpstreamShared, UpstreamState};
use crate::config::UpstreamUrl;
use crate::driver::{Counters, Driver};
use crate::endpoint::Endpoint;
use crate::pool::{Census, CloseReason, EndpointId, PoolCounters};
use crate::stats::Latencies;
use crate::time::Time;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

/// What an upstream costs to copy: as much as so many endpoints.
const UNITS_OF_UPSTREAM: usize = 4;

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
    pub(super) inherited: BTreeMap<UpstreamId, (Arc<UpstreamShared>, Box<Meters>)>,
    /// What the drivers of the shards before this one counted.
    pub(super) driver_before: Counters,
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

    /// What `driver` counts, and those before it did.
    pub(super) fn driver(&self, driver: Counters) -> Counters {
        let before = &self.driver_before;
        let mut all = driver;
        all.enters += before.enters;
        all.enters_extra += before.enters_extra;
        all.submissions += before.submissions;
        all.completions += before.completions;
        all.messages += before.messages;
        all.out_of_buffers += before.out_of_buffers;
        all.faults += before.faults;
        all
    }

    /// All that is left of lost shard `index`.
    pub(crate) fn figures(&self, index: usize, at: Time) -> ShardFigures {
        let mut figures = ShardFigures::begun(index, at, self);
        for (shared, meters) in self.inherited.values() {
            let part = UpstreamPart::inherited(shared, meters, at);
            figures.add(part);
        }
        figures
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
#[derive(Clone)]
pub(crate) struct ShardFigures {
    pub(crate) shard: usize,
    /// When it was begun.
    pub(crate) at: Time,
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

impl ShardFigures {
    /// The totals of `tally`, and nothing that is there now.
    pub(super) fn begun(shard: usize, at: Time, tally: &Tally) -> ShardFigures {
        ShardFigures {
            shard,
            at,
            tally: Tally {
                connects: tally.connects.clone(),
                handshakes_full: tally.handshakes_full.clone(),
                handshakes_resumed: tally.handshakes_resumed.clone(),
                // Told by upstream.
                inherited: BTreeMap::new(),
                ..*tally
            },
            totals: tally.departed,
            driver: tally.driver(Counters::default()),
            buffers_free: 0,
            upstreams: BTreeMap::new(),
            connections: 0,
            timers: 0,
            waiters: 0,
            tasks: 0,
            task_panics: tally.task_panics,
            lag: Duration::ZERO,
        }
    }

    /// Adds an upstream.
    pub(super) fn add(&mut self, part: UpstreamPart) {
        let name = part.name.clone();
        match self.upstreams.get_mut(&name) {
            // It was met after what is left of a lost shard was copied.
            Some(same) if same.id == part.id => *same = part,
            // One of that name was given up, and is not known to be yet.
            Some(other) => other.add(part),
            None => {
                self.upstreams.insert(name, part);
            }
        }
    }

    /// What has been counted, without what was there: of a shard of which nothing is left.
    pub(crate) fn counters_only(&self) -> ShardFigures {
        let mut all = ShardFigures {
            buffers_free: 0,
            connections: 0,
            timers: 0,
            waiters: 0,
            tasks: 0,
            lag: Duration::ZERO,
            ..self.clone()
        };
        (all.driver.sockets, all.driver.buffers_held) = (0, 0);
        for part in all.upstreams.values_mut() {
            part.census = Census::default();
            part.retry_budget = 0.0;
            part.meters.elsewhere.at_rest();
            for (_, figures) in part.endpoints.values_mut() {
                figures.at_rest();
            }
        }
        all
    }
}

/// What one shard tells of an upstream.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamPart {
    pub(crate) id: UpstreamId,
    pub(crate) name: Arc<str>,
    pub(crate) url: Arc<UpstreamUrl>,
    pub(crate) census: Census,
    pub(crate) counters: PoolCounters,
    pub(crate) meters: Meters,
    pub(crate) retry_budget: f64,
    /// Whether it is the URL's own host that names are looked up for.
    pub(crate) own_name: bool,
    /// Where each endpoint is that has figures of its own, and what it has.
    pub(crate) endpoints: BTreeMap<EndpointId, (Endpoint, EndpointFigures)>,
    /// Those that have left, with the time since.
    pub(crate) gone: Vec<(Duration, Gone)>,
}

impl UpstreamPart {
    /// `upstream`, as it is now; of its connections nothing yet.
    pub(super) fn of(upstream: &UpstreamState, now: Time) -> UpstreamPart {
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
            figures.ejections += ejections;
        }
        let own_name = upstream.policy.current().endpoints.is_empty();
        let mut part = UpstreamPart::counted(&upstream.shared, &upstream.meters, own_name, now);
        part.census = upstream.pool.census();
        part.counters.add(&upstream.pool.counters());
        part.retry_budget = upstream.account.retry_budget();
        part.endpoints = endpoints;
        part
    }

    /// What a lost shard had counted of an upstream.
    pub(super) fn inherited(shared: &UpstreamShared, meters: &Meters, now: Time) -> UpstreamPart {
        let own_name = shared.settings().endpoints.is_empty();
        UpstreamPart::counted(shared, meters, own_name, now)
    }

    fn counted(
        shared: &UpstreamShared,
        meters: &Meters,
        own_name: bool,
        now: Time,
    ) -> UpstreamPart {
        let gone = meters.gone().iter();
        UpstreamPart {
            id: shared.id,
            name: shared.name.clone(),
            url: shared.url.clone(),
            census: Census::default(),
            counters: meters.before.clone(),
            meters: meters.without_places(),
            retry_budget: 0.0,
            own_name,
            endpoints: BTreeMap::new(),
            gone: gone
                .map(|gone| (now.since(gone.since), gone.clone()))
                .collect(),
        }
    }

    /// How much there is to copy of an upstream.
    pub(super) fn cost(upstream: &UpstreamState) -> usize {
        let known = upstream.pool.endpoints().take(PLACES_MAX).count();
        UNITS_OF_UPSTREAM + known + upstream.meters.endpoints()
    }

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
        for (_, gone) in other.gone {
            self.meters.elsewhere.add(&gone.figures);
        }
    }
}

impl<D: Driver> Core<D> {
    /// The totals, for a successor to go on from.
    pub(super) fn legacy(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.driver_before = tally.driver(self.driver.counters());
        for (_, upstream) in self.upstreams.iter() {
            tally.keep(upstream);
            if upstream.forgotten {
                continue;
            }
            let mut meters = Meters::clone(&upstream.meters);
            for (id, _, ejections) in upstream.pool.endpoints() {
                meters.keep_ejections(id, ejections);
            }
            let address = |id| upstream.addresses.get(id);
            let meters = meters.bequeath(self.now, &upstream.pool.counters(), address);
            let shared = upstream.shared.clone();
            (tally.inherited).insert(shared.id, (shared, Box::new(meters)));
        }
        tally
    }
}
