//! What an OpenTelemetry reader collects, and whose context goes out.

mod common;

use common::answering::Answering;
use common::bounded::{engine, run};
use common::peer::{OK, Peer};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use ringpool::config::UpstreamConfig;
use ringpool::telemetry::register;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Values by name and attributes, of the last export.
#[derive(Clone, Default)]
struct Exported(Arc<Mutex<BTreeMap<String, f64>>>);

impl PushMetricExporter for Exported {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut values = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut put = |attributes: Vec<String>, value: f64| {
                let mut attributes = attributes;
                attributes.sort();
                values.insert(format!("{} {}", metric.name(), attributes.join(" ")), value);
            };
            macro_rules! points {
                ($data:expr) => {
                    match $data {
                        MetricData::Sum(sum) => sum.data_points().for_each(|point| {
                            let said = point
                                .attributes()
                                .map(|kv| format!("{}={}", kv.key, kv.value));
                            put(said.collect(), point.value() as f64);
                        }),
                        MetricData::Gauge(gauge) => gauge.data_points().for_each(|point| {
                            let said = point
                                .attributes()
                                .map(|kv| format!("{}={}", kv.key, kv.value));
                            put(said.collect(), point.value() as f64);
                        }),
                        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => {
                            panic!("none is registered")
                        }
                    }
                };
            }
            match metric.data() {
                AggregatedMetrics::U64(data) => points!(data),
                AggregatedMetrics::I64(data) => points!(data),
                AggregatedMetrics::F64(data) => points!(data),
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[test]
fn a_collection_has_the_figures_of_its_moment() {
    let server = Answering::start();
    let url = format!("http://127.0.0.1:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    for _ in 0..3 {
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).unwrap();
        run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
    }
    let exported = Exported::default();
    let reader = PeriodicReader::builder(exported.clone())
        .with_interval(Duration::from_secs(3600))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let instruments = register(&provider.meter("ringpool"), engine.snapshots());
    provider.force_flush().unwrap();
    let values = exported.0.lock().unwrap().clone();
    assert_eq!(
        values["ringpool.pool.acquires outcome=hit upstream=backend"],
        2.0
    );
    assert_eq!(values["ringpool.engine.sockets "], 1.0);
    // How late a busy machine makes it is not asked.
    assert!(values.contains_key("ringpool.shard.loop_lag shard=0"));
    let of = |name: &str| -> Vec<f64> {
        let all = values.iter().filter(|(key, _)| key.starts_with(name));
        all.map(|(_, value)| *value).collect()
    };
    assert_eq!(of("http.client.request.duration.count"), [3.0]);
    assert!(of("http.client.request.duration.sum")[0] > 0.0);
    let buckets = of("http.client.request.duration.bucket");
    assert_eq!(
        (buckets.len(), buckets.iter().copied().fold(0.0, f64::max)),
        (23, 3.0)
    );
    drop(engine);
    provider.force_flush().unwrap();
    provider.shutdown().unwrap();
    drop(instruments);
}

#[test]
fn a_collection_that_keeps_a_shard_from_its_turn_ends_and_says_so() {
    let server = Answering::start();
    let url = format!("http://127.0.0.1:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    let exported = Exported::default();
    let reader = PeriodicReader::builder(exported.clone())
        .with_interval(Duration::from_secs(3600))
        .build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let instruments = register(&provider.meter("ringpool"), engine.snapshots());
    let flushed = provider.clone();
    let results = run(engine.spawn_on_each(move |_| {
        let flushed = flushed.clone();
        async move { flushed.force_flush().is_ok() }
    }));
    assert!(*results[0].as_ref().unwrap());
    assert_eq!(exported.0.lock().unwrap()["ringpool.shard.up shard=0"], 0.0);
    thread::sleep(Duration::from_millis(300));
    provider.force_flush().unwrap();
    let values = exported.0.lock().unwrap().clone();
    assert_eq!(values["ringpool.shard.up shard=0"], 1.0, "it tells again");
    provider.shutdown().unwrap();
    drop(instruments);
}

#[test]
fn the_current_context_goes_out_if_the_upstream_wants_it() {
    for (wanted, own_state) in [(true, false), (true, true), (false, false)] {
        let peer = Peer::start();
        let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
        settings.trace_context = wanted;
        let engine = engine(1, settings);
        let request = thread::scope(|scope| {
            let call = scope.spawn(|| {
                let span = SpanContext::new(
                    TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
                    SpanId::from(0x00f0_67aa_0ba9_02b7),
                    TraceFlags::SAMPLED,
                    true,
                    TraceState::from_key_value([("vendor", "1")]).unwrap(),
                );
                let context = opentelemetry::Context::new().with_remote_span_context(span);
                let _within = context.attach();
                let upstream = engine.upstream("backend").unwrap();
                let mut request = http::Request::get("/").body(()).unwrap();
                if own_state {
                    let own = "own=2".parse().unwrap();
                    request.headers_mut().insert("tracestate", own);
                }
                run(upstream.call(request)).unwrap();
            });
            let mut conn = peer.accept();
            let request = conn.request();
            conn.send(OK);
            call.join().unwrap();
            request
        });
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(request.header("traceparent"), wanted.then_some(text));
        let state = if own_state { "own=2" } else { "vendor=1" };
        assert_eq!(request.header("tracestate"), wanted.then_some(state));
    }
}
