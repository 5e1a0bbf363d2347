//! What each metric reads out of a snapshot.
//!
//! Owns: the way from a figure to its labels. Never: makes a series for what was never there, where there may be many.

pub(super) mod http;
pub(super) mod pools;
pub(super) mod shards;

use super::catalogue::{Sample, Value};
use crate::client::figures::UpstreamFigures;
use crate::client::snapshot::{DriverFigures, ShardState, Snapshot};
use crate::shard::meters::EndpointFigures;
use crate::stats::Durations;
use std::time::Duration;

/// Where values go.
pub(super) struct Out<'a>(pub(super) &'a mut dyn FnMut(Sample<'_>));

impl Out<'_> {
    fn count(&mut self, labels: &[&str], count: u64) {
        let value = Value::Count(count);
        (self.0)(Sample { labels, value });
    }

    fn number(&mut self, labels: &[&str], number: f64) {
        let value = Value::Number(number);
        (self.0)(Sample { labels, value });
    }

    fn seconds(&mut self, labels: &[&str], time: Duration) {
        self.number(labels, time.as_secs_f64());
    }

    /// Those of which there are none are left out: most of what could be measured never happens.
    fn durations(&mut self, labels: &[&str], durations: &Durations) {
        if !durations.is_empty() {
            let value = Value::Durations(durations);
            (self.0)(Sample { labels, value });
        }
    }
}

fn each_upstream(all: &Snapshot, mut each: impl FnMut(&str, &UpstreamFigures)) {
    for (name, figures) in &all.upstreams {
        each(name, figures);
    }
}

fn each_endpoint(all: &Snapshot, mut each: impl FnMut(&str, &str, &EndpointFigures)) {
    each_upstream(all, |name, upstream| {
        for (address, figures) in &upstream.endpoints {
            each(name, address, figures);
        }
    });
}

fn of_upstreams(all: &Snapshot, out: &mut Out<'_>, count: fn(&UpstreamFigures) -> u64) {
    each_upstream(all, |name, figures| out.count(&[name], count(figures)));
}

fn of_endpoints(all: &Snapshot, out: &mut Out<'_>, count: fn(&EndpointFigures) -> u64) {
    each_endpoint(all, |name, at, figures| {
        out.count(&[name, at], count(figures))
    });
}

fn each_shard(all: &Snapshot, mut each: impl FnMut(&str, &ShardState)) {
    for shard in &all.by_shard {
        each(&shard.shard.to_string(), shard);
    }
}

fn of_shards(all: &Snapshot, out: &mut Out<'_>, count: fn(&ShardState) -> u64) {
    each_shard(all, |name, shard| out.count(&[name], count(shard)));
}

fn of_drivers(all: &Snapshot, out: &mut Out<'_>, count: fn(&DriverFigures) -> u64) {
    each_shard(all, |name, shard| out.count(&[name], count(&shard.driver)));
}
