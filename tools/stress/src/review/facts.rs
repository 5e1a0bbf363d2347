//! What a review goes by: the figures of a run that say something of its pool.
//!
//! Owns how they are taken from a run. What was not recorded is `None`. Never: judges.

use std::collections::BTreeMap;

use crate::contacts::Contacts;
use crate::record::Kept;

/// Figures of one run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Why the run does not count, if it does not.
    pub(super) invalid: Vec<String>,
    pub(super) answered: u64,
    /// Failed requests by kind.
    pub(super) failed: BTreeMap<String, u64>,
    /// How long it was measured.
    pub(super) seconds: f64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) waits: u64,
    pub(super) dials: u64,
    pub(super) dials_failed: u64,
    pub(super) evictions: u64,
    /// From the start of the load.
    pub(super) opened: u64,
    pub(super) handshakes_full: u64,
    pub(super) handshakes_resumed: u64,
    /// What reuse and resumption saved.
    pub(super) seconds_avoided: f64,
    /// What the plan allowed.
    pub(super) connections_max: Option<u64>,
    /// Whether the plan lets connections be used again.
    pub(super) reuse: bool,
    pub(super) shards: Option<u64>,
    /// Requests per second that the plan asked for; `None` in a closed loop.
    pub(super) rate: Option<f64>,
    /// The most connections in use at the end of any interval.
    pub(super) leased_most: Option<u64>,
    /// The share of intervals that ended with callers waiting.
    pub(super) waiting: Option<f64>,
    /// Shards that could not be seen.
    pub(super) unseen: Unseen,
    /// CPU time that this process used, in cores.
    pub(super) cores_used: f64,
    /// At p99, in seconds: from the intended start, from the send, the tool's own lag.
    pub(super) p99: [Option<f64>; 3],
    /// Requests beyond p99.9.
    pub(super) beyond_p999: Option<u64>,
    /// Look-ups, closes, endpoints.
    pub(super) contacts: Contacts,
    /// Intervals between the first and the last in which nothing was answered, and how long one is.
    pub(super) silent: u64,
    pub(super) interval: f64,
}

/// Shards that did not tell their figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Unseen {
    /// Intervals that ended with some that had not answered in time, of how many; and the most of them at once.
    pub(super) missing: [u64; 2],
    pub(super) missing_most: u64,
    /// The most that were down, lost too often.
    pub(super) down: u64,
    /// Of a scrape, which cannot tell the one from the other: which are not up, and how old their figures are, in seconds.
    pub(super) not_up: BTreeMap<String, f64>,
}

impl Facts {
    /// Whether the pool could have held more connections than were ever seen in use; `None` if that is not known.
    pub(super) fn has_room(&self) -> Option<bool> {
        Some(self.leased_most? < self.connections_max?)
    }

    pub(super) fn of(kept: &Kept) -> Self {
        let (result, plan) = (&kept.result, &kept.plan);
        let samples = &result.series.samples;
        let pools: Vec<_> = samples.iter().filter_map(|sample| sample.pool).collect();
        let waiting = pools.iter().filter(|pool| pool.waiters > 0).count();
        let seconds = result.elapsed.as_secs_f64();
        let cpu = (result.cpu.user + result.cpu.system).as_secs_f64();
        let p99 = [&result.latency, &result.service, &result.lag].map(|histogram| {
            let value = histogram.value_at_quantile(0.99) as f64 / 1e9;
            (!histogram.is_empty()).then_some(value)
        });
        let answered = |sample: &&crate::series::Sample| sample.ok > 0;
        let first = samples.iter().position(|sample| sample.ok > 0).unwrap_or(0);
        let last = samples
            .iter()
            .rposition(|sample| sample.ok > 0)
            .unwrap_or(0);
        let between = samples.get(first..=last).unwrap_or_default();
        Self {
            invalid: result.invalid.clone(),
            answered: result.ok,
            failed: result.failed.clone(),
            seconds,
            hits: result.hits,
            misses: result.misses,
            waits: result.waits,
            dials: result.dials,
            dials_failed: samples.iter().map(|s| s.counters.dials_failed).sum(),
            evictions: result.evictions,
            opened: result.connections_opened,
            handshakes_full: result.handshakes_full,
            handshakes_resumed: result.handshakes_resumed,
            seconds_avoided: result.handshake_seconds_avoided,
            connections_max: plan["connections"].as_u64(),
            reuse: plan["reuse"].as_bool().unwrap_or(true),
            shards: plan["shards"].as_u64(),
            rate: plan["rate"].as_f64(),
            leased_most: pools.iter().map(|pool| pool.leased).max(),
            waiting: (!pools.is_empty()).then(|| waiting as f64 / pools.len() as f64),
            unseen: Unseen {
                missing: [
                    pools.iter().filter(|pool| pool.missing > 0).count() as u64,
                    pools.len() as u64,
                ],
                missing_most: pools.iter().map(|pool| pool.missing).max().unwrap_or(0),
                down: pools.iter().map(|pool| pool.down).max().unwrap_or(0),
                not_up: BTreeMap::new(),
            },
            cores_used: if seconds > 0.0 { cpu / seconds } else { 0.0 },
            p99,
            beyond_p999: Some(result.latency.len() / 1000),
            contacts: result.contacts.clone(),
            silent: (between.len() - between.iter().filter(answered).count()) as u64,
            interval: result.series.interval.as_secs_f64(),
        }
    }
}
