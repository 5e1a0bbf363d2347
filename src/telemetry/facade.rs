//! To the recorder of the `metrics` facade.
//!
//! Owns: what was published last, since the facade wants histograms value by value. Never: publishes by itself: whoever has a
//! timer does.

use super::catalogue::{Kind, METRICS, Value};
use crate::client::snapshot::Snapshot;
use crate::stats::Durations;
use metrics::{Key, KeyName, Label, Level, Metadata, SharedString, Unit, with_recorder};
use std::collections::HashMap;

static METADATA: Metadata<'static> = Metadata::new("ringpool", Level::INFO, Some(module_path!()));

/// Publishes snapshots to whatever recorder is installed, by the names that they have in Prometheus.
///
/// Counters of a whole number are absolute; seconds that add up are gauges, since the facade's counters have no fractions. A duration is
/// recorded as the end of the bucket that it was in, as often as there were any since the snapshot before.
#[derive(Debug, Default)]
pub struct MetricsPublisher {
    described: bool,
    /// Buckets of each series, cumulative, as they were published last.
    published: HashMap<Key, Vec<u64>>,
}

impl MetricsPublisher {
    /// One that has published nothing yet.
    pub fn new() -> MetricsPublisher {
        MetricsPublisher::default()
    }

    /// Publishes a snapshot: every few seconds, say. The first one tells everything since the engine's start.
    pub fn publish(&mut self, snapshot: &Snapshot) {
        if !std::mem::replace(&mut self.described, true) {
            describe();
        }
        let mut seen = HashMap::new();
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
                        let before = self.published.get(&key).map_or(&[][..], Vec::as_slice);
                        let now = record(&key, durations, before);
                        seen.insert(key, now);
                    }
                }
            });
        }
        // What is not there any more begins anew if it comes back.
        self.published = seen;
    }
}

fn set(key: &Key, number: f64) {
    with_recorder(|to| to.register_gauge(key, &METADATA).set(number));
}

/// Records what has come since `before`, and returns what there is now.
fn record(key: &Key, durations: &Durations, before: &[u64]) -> Vec<u64> {
    let mut now: Vec<u64> = durations.up_to().map(|(_, count)| count).collect();
    now.push(durations.count());
    let mut bounds: Vec<f64> = durations
        .up_to()
        .map(|(end, _)| end.as_secs_f64())
        .collect();
    // What took longer than the last bound took that long at least.
    bounds.push(bounds.last().copied().unwrap_or_default());
    let single = |all: &[u64], at: usize| {
        let below = at.checked_sub(1).map_or(0, |below| all[below]);
        all.get(at).map_or(0, |count| count - below)
    };
    with_recorder(|to| {
        let histogram = to.register_histogram(key, &METADATA);
        for (at, bound) in bounds.iter().enumerate() {
            let before = if before.is_empty() {
                0
            } else {
                single(before, at)
            };
            let more = single(&now, at).saturating_sub(before);
            if more > 0 {
                histogram.record_many(*bound, usize::try_from(more).unwrap_or(usize::MAX));
            }
        }
    });
    now
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
