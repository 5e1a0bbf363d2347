//! To the recorder of the `metrics` facade.
//!
//! Owns: what was published last, since the facade wants histograms value by value. Never: publishes by itself: whoever has a
//! timer does.

use super::catalogue::{Kind, METRICS, Value};
use crate::client::snapshot::Snapshot;
use crate::stats::Durations;
use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};
use std::collections::{HashMap, HashSet};

static METADATA: Metadata<'static> = Metadata::new("ringpool", Level::INFO, Some(module_path!()));

/// For so many snapshots a series is remembered that is not in them: that of a shard that was lost may come back.
const MISSING_MAX: u32 = 16;

/// Publishes snapshots to whatever recorder is installed, by the names that they have in Prometheus.
///
/// Counters of a whole number are absolute; seconds that add up are gauges, since the facade's counters have no fractions. A duration is
/// recorded as the end of the bucket that it was in, as often as there were any since the snapshot before.
///
/// A gauge that is in a snapshot no more is set to 0, once.
#[derive(Debug, Default)]
pub struct MetricsPublisher {
    described: bool,
    /// Gauges that the last snapshot had.
    gauges: HashSet<Key>,
    histograms: HashMap<Key, Published>,
}

/// What is published of a histogram.
#[derive(Debug, Default)]
struct Published {
    /// Bucket by bucket, not cumulative: the most that any snapshot had.
    buckets: Vec<u64>,
    /// How many snapshots have come without it.
    missing: u32,
}

impl MetricsPublisher {
    /// One that has published nothing yet.
    pub fn new() -> MetricsPublisher {
        MetricsPublisher::default()
    }

    /// Publishes a snapshot: every few seconds, say.
    ///
    /// Of durations the first snapshot is where it begins: those that it has are not recorded, be they ever so many. What a histogram counts
    /// less than before, because a shard was lost, is not taken back, and not recorded again until there is more than there was. One that is missing from
    /// more than 16 snapshots begins anew.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        let begins = !std::mem::replace(&mut self.described, true);
        if begins {
            describe();
        }
        let mut gauges = HashSet::new();
        for published in self.histograms.values_mut() {
            published.missing += 1;
        }
        for metric in METRICS {
            let name = metric.prometheus_name();
            metric.read(snapshot, &mut |sample| {
                let labels: Vec<Label> = (metric.labels.iter().zip(sample.labels))
                    .filter(|(_, value)| !value.is_empty())
                    .map(|(name, value)| Label::new(name.replace('.', "_"), (*value).to_owned()))
                    .collect();
                let key = Key::from_parts(name.clone(), labels);
                match (metric.kind, sample.value) {
                    (Kind::Counter, Value::Count(count)) => with_recorder(|to| {
                        to.register_counter(&key, &METADATA).absolute(count);
                    }),
                    (Kind::Gauge | Kind::Histogram, Value::Count(count)) => set(&key, count as f64),
                    (_, Value::Number(number)) => set(&key, number),
                    (_, Value::Durations(durations)) => {
                        let published = self.histograms.entry(key.clone()).or_default();
                        published.missing = 0;
                        published.advance(durations, |bound, more| {
                            if !begins {
                                record(&key, bound, more);
                            }
                        });
                    }
                }
                if metric.kind == Kind::Gauge {
                    gauges.insert(key);
                }
            });
        }
        for gone in self.gauges.difference(&gauges) {
            set(gone, 0.0);
        }
        self.gauges = gauges;
        self.histograms
            .retain(|_, published| published.missing <= MISSING_MAX);
    }
}

impl Published {
    /// Takes what there is now, and gives `more` the bound of each bucket that has grown, and by how much.
    fn advance(&mut self, durations: &Durations, mut more: impl FnMut(f64, u64)) {
        // What took longer than the last bound took that long at least.
        let (mut below, mut bound) = (0, 0.0);
        let rest = (None, durations.count());
        let bounded = durations.up_to().map(|(end, count)| (Some(end), count));
        for (at, (end, count)) in bounded.chain([rest]).enumerate() {
            bound = end.map_or(bound, |end| end.as_secs_f64());
            let now = count.saturating_sub(below);
            below = count;
            if at == self.buckets.len() {
                self.buckets.push(0);
            }
            let before = &mut self.buckets[at];
            if now > *before {
                more(bound, now - *before);
                *before = now;
            }
        }
    }
}

fn set(key: &Key, number: f64) {
    with_recorder(|to| to.register_gauge(key, &METADATA).set(number));
}

fn record(key: &Key, duration: f64, times: u64) {
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    with_recorder(|to| {
        to.register_histogram(key, &METADATA)
            .record_many(duration, times);
    });
}

fn describe() {
    for metric in METRICS {
        let name = KeyName::from(metric.prometheus_name());
        let unit = match metric.unit {
            "s" => Some(Unit::Seconds),
            _ => Some(Unit::Count),
        };
        let help = SharedString::from(metric.help);
        with_recorder(|to| match metric.kind {
            Kind::Counter if metric.unit == "s" => to.describe_gauge(name, unit, help),
            Kind::Counter => to.describe_counter(name, unit, help),
            Kind::Gauge => to.describe_gauge(name, unit, help),
            Kind::Histogram => to.describe_histogram(name, unit, help),
        });
    }
}
