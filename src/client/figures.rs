//! One upstream's figures, added up over shards.

#[cfg(doc)]
use super::snapshot::Snapshot;
use crate::audit::CloseCause;
use crate::pool::PoolCounters;
use crate::shard::figures::UpstreamPart;
use crate::shard::meters::{Asking, EndpointFigures, Outcome, RequestFigures};
use crate::stats::Durations;
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of those who asked for a connection to an upstream.
///
/// Between two turns of each shard it adds up: [`begun`](Acquires::begun) and [`stale`](Acquires::stale) together are all the others and those
/// who [wait still](Acquires::in_progress). Calls that found a shard's mailbox full, or closed, have asked no pool:
/// [`ShardState::refused_full`](crate::ShardState::refused_full).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acquires {
    /// Who asked: each attempt of a call, and each checkout, once.
    pub begun: u64,
    /// Connections that had gone bad by the time that those looked who got them; they asked again. Each is among the others too, by how it
    /// was granted.
    pub stale: u64,
    /// Got an idle connection at once.
    pub hit: u64,
    /// Waited, and got a connection that somebody gave back.
    pub waited: u64,
    /// Waited, and got one straight from its dial.
    pub created: u64,
    /// Waited here, and were served by another shard.
    pub stolen: u64,
    /// Waited until their time ran out.
    pub timed_out: u64,
    /// Sent away because everybody waited too long.
    pub shed: u64,
    /// Refused because the queue was full.
    pub refused: u64,
    /// Refused because no endpoint was worth a call.
    pub broken: u64,
    /// Failed with the dial that they waited for, or because all that they were granted had gone bad.
    pub failed: u64,
    /// Refused because the engine drains, or ends, or was lost on the shard that they waited on.
    pub draining: u64,
    /// Went away before they had an answer.
    pub cancelled: u64,
}

impl Acquires {
    fn add(&mut self, counters: &PoolCounters, asking: &Asking) {
        let at_once = counters.hits - asking.hits_late;
        self.begun += at_once + asking.asked - asking.stale;
        self.stale += asking.stale;
        self.hit += counters.hits;
        self.waited += counters.waits_reused;
        self.created += counters.waits_dialed;
        self.stolen += counters.moved;
        self.timed_out += counters.wait_timeouts;
        self.shed += counters.shed;
        self.refused += counters.refused;
        self.broken += counters.broken;
        self.failed += asking.failed;
        self.draining += asking.draining;
        self.cancelled += asking.cancelled;
    }

    /// Who waits still.
    pub fn in_progress(&self) -> u64 {
        let over: u64 = self.iter().map(|(_, count)| count).sum();
        (self.begun + self.stale).saturating_sub(over)
    }

    /// Each outcome's name in metrics, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("hit", self.hit),
            ("waited", self.waited),
            ("created", self.created),
            ("stolen", self.stolen),
            ("timed_out", self.timed_out),
            ("shed", self.shed),
            ("refused", self.refused),
            ("broken", self.broken),
            ("failed", self.failed),
            ("draining", self.draining),
            ("cancelled", self.cancelled),
        ]
        .into_iter()
    }
}

/// For how long after it has left an endpoint is told apart: so long that no `rate` over five minutes misses its end.
const GONE_TOLD: Duration = Duration::from_secs(600);

/// One upstream's figures, added up over shards.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct UpstreamFigures {
    /// Idle connections now.
    pub idle: u64,
    /// Leased connections now.
    pub leased: u64,
    /// Connections being dialled now.
    pub dialing: u64,
    /// Callers waiting now.
    pub waiters: u64,
    /// Connections that count against `connections_max` now: the above, and those that are being closed.
    pub permits: u64,
    /// Shards that calls from elsewhere go to.
    pub homes: u64,
    /// Checkouts answered at once, since the start.
    pub hits: u64,
    /// Checkouts that were not.
    pub misses: u64,
    /// Callers that waited on one shard and were served on another.
    pub moved: u64,
    /// Dials begun.
    pub dials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Idle connections closed so that their permits serve others: another shard, another upstream, or a caller who
    /// wants a new one.
    pub given_up: u64,
    /// Connections closed because they were idle too long.
    pub evicted_idle: u64,
    /// Connections closed because of their age.
    pub evicted_age: u64,
    /// Connections closed because of their number of uses.
    pub evicted_uses: u64,
    /// Connections closed because what their server had proven did not count for longer: its certificate ended, or was checked
    /// `tls.verified_max` ago.
    pub evicted_trust: u64,
    /// Times that files which its `tls` settings name were read anew and brought something new into force.
    pub reloads: u64,
    /// Times that they could not be used: what was read before stayed in force.
    pub reloads_failed: u64,
    /// Its URL's scheme: `https`, say.
    pub scheme: &'static str,
    /// Its URL's host, or path.
    pub address: String,
    /// Its URL's port, where it has one.
    pub port: Option<u16>,
    /// Whether it is that host that is looked up, and not names of its `endpoints`.
    pub own_name: bool,
    /// Its `connections_max`.
    pub connections_max: u64,
    /// What became of those who asked for a connection.
    pub acquires: Acquires,
    /// How long those waited who were queued, whatever came of it; an answer at once is none of them.
    pub wait: Durations,
    /// How long look-ups of its names took that brought an address.
    pub lookup: Durations,
    /// How long those took that brought none.
    pub lookup_in_vain: Durations,
    /// Look-ups that failed.
    pub lookups_failed: u64,
    /// How long calls took, by method and outcome.
    pub requests: Vec<RequestFigures>,
    /// See [`Snapshot::handshake_time_avoided`].
    pub handshake_time_avoided: Duration,
    /// See [`Snapshot::handshake_time_avoided_by_resumption`].
    pub handshake_time_avoided_by_resumption: Duration,
    /// Calls that were tried again.
    pub retries: u64,
    /// Calls that were not, because too many were (the retry budget).
    pub retries_refused: u64,
    /// How many retries the budgets of all shards have left now.
    pub retry_budget: f64,
    /// What was counted at all its endpoints, those that have left included.
    pub all: EndpointFigures,
    /// What was counted at each of its endpoints, by address, and at those that have left within the last ten minutes. On each shard 64 are
    /// told apart, and 32 that have left.
    pub endpoints: BTreeMap<String, EndpointFigures>,
    /// Those of endpoints that have left one shard long ago.
    long_gone: BTreeMap<String, EndpointFigures>,
}

impl UpstreamFigures {
    /// Connections that ended because of `why`.
    pub fn closed(&self, why: CloseCause) -> u64 {
        self.all.closed.of(why)
    }

    /// Adds what a shard counted beside its pool.
    pub(super) fn add_meters(&mut self, part: &UpstreamPart) {
        let (url, meters) = (&part.url, &part.meters);
        self.scheme = url.scheme().as_str();
        self.address = match (url.host(), url.path()) {
            (Some(host), _) => host.to_owned(),
            (None, path) => path.map_or_else(String::new, |path| path.display().to_string()),
        };
        self.port = url.port();
        self.own_name = part.own_name;
        (self.acquires).add(&part.counters, &meters.asking);
        self.wait.add(&meters.waits);
        self.lookup.add(&meters.lookups);
        self.lookup_in_vain.add(&meters.lookups_in_vain);
        self.lookups_failed += meters.lookups_failed;
        for one in meters.requests().told() {
            self.add_requests(one);
        }
        self.handshake_time_avoided += Duration::from_nanos(meters.avoided_by_reuse);
        self.handshake_time_avoided_by_resumption +=
            Duration::from_nanos(meters.avoided_by_resumption);
        self.retries += meters.retries;
        self.retries_refused += meters.retries_refused;
        self.retry_budget += part.retry_budget;
        self.all.add(&meters.elsewhere);
        for (address, figures) in part.endpoints.values() {
            self.all.add(figures);
            let endpoint = self.endpoints.entry(address.to_string()).or_default();
            endpoint.add(figures);
        }
        for (since, gone) in &part.gone {
            self.all.add(&gone.figures);
            let address = gone.address.to_string();
            let told = match *since <= GONE_TOLD {
                true => &mut self.endpoints,
                false => &mut self.long_gone,
            };
            told.entry(address).or_default().add(&gone.figures);
        }
    }

    /// All shards have told. An endpoint is told apart as long as one of them knows it, or did lately: its series end at once, and none
    /// falls before.
    pub(super) fn settle(&mut self) {
        for (address, figures) in std::mem::take(&mut self.long_gone) {
            if let Some(known) = self.endpoints.get_mut(&address) {
                known.add(&figures);
            }
        }
    }

    fn add_requests(&mut self, more: RequestFigures) {
        let alike = |known: &&mut RequestFigures| {
            (known.method, known.outcome) == (more.method, more.outcome)
        };
        match self.requests.iter_mut().find(alike) {
            Some(known) => known.duration.add(&more.duration),
            None => self.requests.push(more),
        }
    }

    /// Calls that ended, whatever came of them.
    pub fn requests_ended(&self) -> u64 {
        self.requests.iter().map(|one| one.duration.count()).sum()
    }

    /// Calls that ended by an error, without a response's head.
    pub fn requests_failed(&self) -> u64 {
        let failed = |one: &&RequestFigures| matches!(one.outcome, Outcome::Error(_));
        let all = self.requests.iter().filter(failed);
        all.map(|one| one.duration.count()).sum()
    }
}
