//! What a recorder of the `metrics` facade gets.

mod common;

use common::answering::Answering;
use common::bounded::{engine, run};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use ringpool::config::UpstreamConfig;
use ringpool::telemetry::{METRICS, MetricsPublisher};
use ringpool::{Engine, Snapshot};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Recorded {
    numbers: BTreeMap<String, f64>,
    /// How many values, and their sum.
    histograms: BTreeMap<String, (usize, f64)>,
    described: usize,
}

#[derive(Clone, Default)]
struct Record(Arc<Mutex<Recorded>>);

struct Cell(Record, String);

impl CounterFn for Cell {
    fn increment(&self, _: u64) {
        panic!("counters are absolute");
    }

    fn absolute(&self, value: u64) {
        self.0
            .0
            .lock()
            .unwrap()
            .numbers
            .insert(self.1.clone(), value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.0
            .0
            .lock()
            .unwrap()
            .numbers
            .insert(self.1.clone(), value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        self.record_many(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        let mut recorded = self.0.0.lock().unwrap();
        let (all, sum) = recorded.histograms.entry(self.1.clone()).or_default();
        *all += count;
        *sum += value * count as f64;
    }
}

impl Record {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels: Vec<String> = key
            .labels()
            .map(|l| format!("{}={}", l.key(), l.value()))
            .collect();
        Arc::new(Cell(
            self.clone(),
            format!("{} {}", key.name(), labels.join(" ")),
        ))
    }

    fn number(&self, key: &str) -> f64 {
        self.0.lock().unwrap().numbers[key]
    }

    /// How many requests were recorded, and their durations' sum.
    fn requests(&self) -> Option<(usize, f64)> {
        let recorded = self.0.lock().unwrap();
        let name = "http_client_request_duration_seconds upstream=backend";
        let mut all = recorded.histograms.iter();
        all.find(|(key, _)| key.starts_with(name))
            .map(|(_, &found)| found)
    }

    fn describe(&self) {
        self.0.lock().unwrap().described += 1;
    }
}

impl Recorder for Record {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe();
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe();
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

fn publish_after_calls(
    engine: &Engine,
    calls: usize,
    publisher: &mut MetricsPublisher,
    record: &Record,
) -> Snapshot {
    for _ in 0..calls {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).unwrap();
        run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
    }
    let snapshot = run(engine.snapshot()).unwrap();
    metrics::with_local_recorder(record, || publisher.publish(&snapshot));
    snapshot
}

#[test]
fn snapshots_are_published_and_durations_once_each() {
    let server = Answering::start();
    let url = format!("http://127.0.0.1:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    let record = Record::default();
    let mut publisher = MetricsPublisher::new();
    // Of durations it begins here.
    let begin = publish_after_calls(&engine, 5, &mut publisher, &record);
    assert_eq!(record.requests(), None);
    let before = begin.upstreams["backend"].requests[0].duration.sum();
    for round in 2..=3 {
        let snapshot = publish_after_calls(&engine, 5, &mut publisher, &record);
        let hits = record.number("ringpool_pool_acquires_total upstream=backend outcome=hit");
        assert_eq!(hits, f64::from(5 * round - 1));
        let (count, sum) = record.requests().expect("requests");
        let recorded = record.0.lock().unwrap();
        assert_eq!(count, 5 * (round as usize - 1));
        // The end of each one's bucket: so much more than it took, at most.
        let took = snapshot.upstreams["backend"].requests[0].duration.sum() - before;
        let took = took.as_secs_f64();
        assert!((took..=took * 2.5 + 1e-5).contains(&sum), "{sum} of {took}");
        assert_eq!(recorded.described, METRICS.len());
    }
}

#[test]
fn what_has_gone_is_zero_and_nothing_is_recorded_twice() {
    let server = Answering::start();
    let url = format!("http://127.0.0.1:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    let record = Record::default();
    let mut publisher = MetricsPublisher::new();
    publish_after_calls(&engine, 3, &mut publisher, &record);
    let there = publish_after_calls(&engine, 3, &mut publisher, &record);
    let max = "ringpool_pool_connection_max upstream=backend";
    let hits = "ringpool_pool_acquires_total upstream=backend outcome=hit";
    let before = (record.number(max), record.number(hits), record.requests());
    assert!(before.0 > 0.0 && before.2.is_some_and(|(count, _)| count == 3));
    let mut gone = there.clone();
    gone.upstreams.clear();
    let mut publish = |snapshot: &Snapshot| {
        metrics::with_local_recorder(&record, || publisher.publish(snapshot));
    };
    for _ in 0..16 {
        publish(&gone);
        assert_eq!((record.number(max), record.number(hits)), (0.0, before.1));
    }
    publish(&there);
    assert_eq!(
        (record.number(max), record.number(hits), record.requests()),
        before
    );
    for _ in 0..17 {
        publish(&gone);
    }
    publish(&there);
    let anew = record.requests().map(|(count, _)| count);
    assert_eq!(anew, Some(3 + 6), "nothing is remembered for ever");
}
