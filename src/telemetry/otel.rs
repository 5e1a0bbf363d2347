//! To OpenTelemetry: instruments that are observed whenever a reader collects.
//!
//! Owns: one snapshot for all instruments of a collection. Never: a provider, an exporter or a thread: those are the service's.

use super::catalogue::{Kind, METRICS, Metric, Value};
use super::within::within;
use crate::client::snapshot::Snapshot;
use crate::client::snapshots::Snapshots;
use crate::time::Time;
use crate::time::clock::Clock;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{
    AsyncInstrument, Meter, ObservableCounter, ObservableGauge, ObservableUpDownCounter,
};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a snapshot serves: the callbacks of one collection come one after the other.
const FRESH: Duration = Duration::from_millis(200);

/// How much longer a collection waits than a snapshot takes at most.
const GRACE: Duration = Duration::from_secs(1);

/// The registered instruments, to be kept as long as they are to be observed.
#[derive(Default)]
pub struct Instruments {
    counters: Vec<ObservableCounter<u64>>,
    sums: Vec<ObservableCounter<f64>>,
    levels: Vec<ObservableUpDownCounter<i64>>,
    gauges: Vec<ObservableGauge<f64>>,
}

/// Registers every metric with `meter`, by its own name.
///
/// The API has no histogram that is observed: each is told as three counters, `….bucket` with the attribute `le` (cumulative, as
/// Prometheus has it), `….sum` and `….count`. Exported to Prometheus, those are the names of a histogram's series.
///
/// A collection waits until the shards have told their figures, between two of their turns, and at most as long as `snapshots` gives them
/// ([`Snapshots::within`]; one second by default): of a shard that has not by then comes what it told last. It always takes that long on a shard's own
/// thread.
pub fn register(meter: &Meter, snapshots: Snapshots) -> Instruments {
    let source = Arc::new(Source {
        snapshots,
        clock: Clock::system(),
        last: Mutex::default(),
    });
    let mut instruments = Instruments::default();
    for metric in METRICS {
        instruments.add(meter, metric, &source);
    }
    instruments
}

struct Source {
    snapshots: Snapshots,
    clock: Clock,
    /// The last one, and when it came; or when none did.
    last: Mutex<Option<(Time, Option<Arc<Snapshot>>)>>,
}

impl Source {
    /// The snapshot of this collection; `None` if the engine has ended, or does not answer in time.
    fn snapshot(&self) -> Option<Arc<Snapshot>> {
        // One store under the lock, and what makes it cannot leave it half done.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, snapshot)) = &*last
            && self.clock.now().since(*at) < FRESH
        {
            return snapshot.clone();
        }
        let until = self.clock.now() + self.snapshots.patience() + GRACE;
        let snapshot = within(self.snapshots.take(), &self.clock, until);
        let snapshot = snapshot.and_then(Result::ok).map(Arc::new);
        // A failure serves as well: not every instrument is to wait anew.
        *last = Some((self.clock.now(), snapshot.clone()));
        snapshot
    }

    fn each(&self, metric: &Metric, mut each: impl FnMut(Vec<KeyValue>, Value<'_>)) {
        let Some(snapshot) = self.snapshot() else {
            return;
        };
        metric.read(&snapshot, &mut |sample| {
            let said = metric.labels.iter().zip(sample.labels);
            let attributes = said
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| KeyValue::new(*name, (*value).to_owned()))
                .collect();
            each(attributes, sample.value);
        });
    }
}

impl Instruments {
    fn add(&mut self, meter: &Meter, metric: &'static Metric, source: &Arc<Source>) {
        let Metric {
            name, unit, help, ..
        } = *metric;
        let part = |part: &str| format!("{name}.{part}");
        match metric.kind {
            Kind::Counter if metric.is_whole() => {
                let counter = meter.u64_observable_counter(name).with_unit(unit);
                let counter = counter.with_callback(observed(metric, source, one(count)));
                self.counters.push(counter.with_description(help).build());
            }
            Kind::Counter => {
                let sum = meter.f64_observable_counter(name).with_unit(unit);
                let sum = sum.with_callback(observed(metric, source, one(number)));
                self.sums.push(sum.with_description(help).build());
            }
            Kind::Gauge if metric.is_whole() => {
                let level = meter.i64_observable_up_down_counter(name).with_unit(unit);
                let level = level.with_callback(observed(metric, source, one(level_of)));
                self.levels.push(level.with_description(help).build());
            }
            Kind::Gauge => {
                let gauge = meter.f64_observable_gauge(name).with_unit(unit);
                let gauge = gauge.with_callback(observed(metric, source, one(number)));
                self.gauges.push(gauge.with_description(help).build());
            }
            Kind::Histogram => {
                let buckets = meter.u64_observable_counter(part("bucket"));
                let buckets = buckets.with_callback(observed(metric, source, each_bucket));
                self.counters.push(buckets.with_description(help).build());
                let all = meter.u64_observable_counter(part("count"));
                let all = all.with_callback(observed(metric, source, one(count)));
                self.counters.push(all.with_description(help).build());
                let sum = meter.f64_observable_counter(part("sum")).with_unit(unit);
                let sum = sum.with_callback(observed(metric, source, one(number)));
                self.sums.push(sum.with_description(help).build());
            }
        }
    }
}

/// Tells an instrument what `read` makes of each value, with the end of the bucket that it is for, if any.
fn observed<M>(
    metric: &'static Metric,
    source: &Arc<Source>,
    read: impl Fn(Value<'_>, &mut dyn FnMut(M, Option<String>)) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<M>) + Send + Sync + 'static {
    let source = source.clone();
    move |to| {
        source.each(metric, |attributes, value| {
            read(value, &mut |number, end| {
                let mut attributes = attributes.clone();
                attributes.extend(end.map(|end| KeyValue::new("le", end)));
                to.observe(number, &attributes);
            });
        });
    }
}

/// What is one number, whatever the value.
fn one<M: 'static>(
    read: fn(Value<'_>) -> Option<M>,
) -> impl Fn(Value<'_>, &mut dyn FnMut(M, Option<String>)) + Send + Sync {
    move |value, to| {
        if let Some(number) = read(value) {
            to(number, None);
        }
    }
}

/// How many.
fn count(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Count(count) => Some(count),
        Value::Durations(all) => Some(all.count()),
        Value::Number(_) => None,
    }
}

fn level_of(value: Value<'_>) -> Option<i64> {
    Some(i64::try_from(count(value)?).unwrap_or(i64::MAX))
}

/// Seconds that add up, or what is no whole number.
fn number(value: Value<'_>) -> Option<f64> {
    match value {
        Value::Number(number) => Some(number),
        Value::Durations(all) => Some(all.sum().as_secs_f64()),
        Value::Count(_) => None,
    }
}

/// A histogram's buckets, each with all that are below its end.
fn each_bucket(value: Value<'_>, to: &mut dyn FnMut(u64, Option<String>)) {
    if let Value::Durations(all) = value {
        for (end, count) in all.up_to() {
            to(count, Some(end.as_secs_f64().to_string()));
        }
        to(all.count(), Some("+Inf".to_owned()));
    }
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.counters.len() + self.sums.len() + self.levels.len() + self.gauges.len();
        write!(f, "Instruments({all})")
    }
}
