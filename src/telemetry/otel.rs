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
use opentelemetry::metrics::{Meter, ObservableCounter, ObservableGauge, ObservableUpDownCounter};
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
        match (metric.kind, metric.unit) {
            (Kind::Counter, "s") => self.sums.push(number(meter, metric, metric.name, source)),
            (Kind::Counter, _) => {
                let source = source.clone();
                let counter = meter
                    .u64_observable_counter(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        source.each(metric, |attributes, value| {
                            if let Value::Count(count) = value {
                                to.observe(count, &attributes);
                            }
                        });
                    });
                self.counters.push(counter.build());
            }
            (Kind::Gauge, unit) if unit == "s" || metric.name.ends_with("retry_budget") => {
                let source = source.clone();
                let gauge = meter
                    .f64_observable_gauge(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        source.each(metric, |attributes, value| {
                            if let Value::Number(number) = value {
                                to.observe(number, &attributes);
                            }
                        });
                    });
                self.gauges.push(gauge.build());
            }
            (Kind::Gauge, _) => {
                let source = source.clone();
                let level = meter
                    .i64_observable_up_down_counter(metric.name)
                    .with_unit(metric.unit)
                    .with_description(metric.help)
                    .with_callback(move |to| {
                        source.each(metric, |attributes, value| {
                            if let Value::Count(count) = value {
                                to.observe(i64::try_from(count).unwrap_or(i64::MAX), &attributes);
                            }
                        });
                    });
                self.levels.push(level.build());
            }
            (Kind::Histogram, _) => {
                let (buckets, count) = counts(meter, metric, source);
                self.counters.extend([buckets, count]);
                let name = format!("{}.sum", metric.name);
                self.sums.push(number(meter, metric, name, source));
            }
        }
    }
}

/// Seconds that add up: a counter's own, or a histogram's.
fn number(
    meter: &Meter,
    metric: &'static Metric,
    name: impl Into<std::borrow::Cow<'static, str>>,
    source: &Arc<Source>,
) -> ObservableCounter<f64> {
    let source = source.clone();
    meter
        .f64_observable_counter(name)
        .with_unit(metric.unit)
        .with_description(metric.help)
        .with_callback(move |to| {
            source.each(metric, |attributes, value| match value {
                Value::Number(number) => to.observe(number, &attributes),
                Value::Durations(all) => to.observe(all.sum().as_secs_f64(), &attributes),
                Value::Count(_) => {}
            });
        })
        .build()
}

/// Gives each count that a value has, with the bound that it is for.
type Counting = fn(Value<'_>, &mut dyn FnMut(u64, Option<String>));

/// A histogram's buckets, and how many it counts.
fn counts(
    meter: &Meter,
    metric: &'static Metric,
    source: &Arc<Source>,
) -> (ObservableCounter<u64>, ObservableCounter<u64>) {
    let of = |name: &str, each: Counting| {
        let source = source.clone();
        meter
            .u64_observable_counter(format!("{}.{name}", metric.name))
            .with_description(metric.help)
            .with_callback(move |to| {
                source.each(metric, |attributes, value| {
                    each(value, &mut |count, bound| {
                        let mut attributes = attributes.clone();
                        attributes.extend(bound.map(|bound| KeyValue::new("le", bound)));
                        to.observe(count, &attributes);
                    });
                });
            })
            .build()
    };
    let buckets = of("bucket", |value, to| {
        if let Value::Durations(all) = value {
            for (bound, count) in all.up_to() {
                to(count, Some(bound.as_secs_f64().to_string()));
            }
            to(all.count(), Some("+Inf".to_owned()));
        }
    });
    let count = of("count", |value, to| {
        if let Value::Durations(all) = value {
            to(all.count(), None);
        }
    });
    (buckets, count)
}

impl fmt::Debug for Instruments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.counters.len() + self.sums.len() + self.levels.len() + self.gauges.len();
        write!(f, "Instruments({all})")
    }
}
