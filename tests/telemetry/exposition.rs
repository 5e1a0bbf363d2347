//! The figures as Prometheus takes them: its own tool finds nothing wrong, a real one stores them and answers the dashboard's
//! queries from them, and dashboard and alerts ask for nothing that there is not.

use crate::common::answering::Answering;
use crate::common::bounded::{engine, run};
use crate::common::servers::prometheus::{Prometheus, promtool};
use ringpool::config::UpstreamConfig;
use ringpool::telemetry::{
    Kind, METRICS, Metric, PrometheusEndpoint, write_openmetrics, write_prometheus,
};
use ringpool::{Engine, block_on};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs/observability")
        .join(name)
}

/// Every expression of the dashboard, for every upstream, by rates over some seconds.
fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(file("dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    targets
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .map(|expr| {
            expr.replace("$__rate_interval", "10s")
                .replace("$upstream", ".*")
        })
        .collect()
}

/// Names of metrics, and of labels, in what Prometheus evaluates: every word that is not within quotes or brackets.
fn words(expr: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let (mut word, mut end) = (String::new(), None);
    for c in expr.chars().chain([' ']) {
        match (end, c) {
            (Some(close), c) if c == close => end = None,
            (Some(_), _) => {}
            (None, '"') => end = Some('"'),
            (None, '[') => end = Some(']'),
            (None, c) if c.is_alphanumeric() || c == '_' => word.push(c),
            (None, _) => {
                words.insert(std::mem::take(&mut word));
            }
        }
    }
    words
}

/// The metric that a series belongs to.
fn metric_of(series: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| {
        let name = metric.prometheus_name();
        match series.strip_prefix(&name) {
            Some("") => metric.kind != Kind::Histogram,
            Some("_bucket" | "_sum" | "_count") => metric.kind == Kind::Histogram,
            Some(_) | None => false,
        }
    })
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let alerts = fs::read_to_string(file("alerts.yml")).unwrap();
    let lines = alerts
        .lines()
        .filter(|line| !line.trim_start().starts_with(['#', 'd', 's']));
    let alerts = lines.collect::<Vec<_>>().join("\n");
    let ours = |word: &&String| {
        let begins = ["ringpool_", "http_client_", "dns_lookup_"];
        begins.iter().any(|begin| word.starts_with(begin))
    };
    let mut seen = BTreeSet::new();
    for expr in dashboard().into_iter().chain([alerts]) {
        for series in words(&expr).iter().filter(ours) {
            let metric = metric_of(series);
            seen.insert(metric.unwrap_or_else(|| panic!("{series} in {expr}")).name);
        }
    }
    let unseen: Vec<_> = METRICS
        .iter()
        .filter(|metric| !seen.contains(metric.name))
        .collect();
    assert!(unseen.is_empty(), "shown nowhere: {unseen:#?}");
}

#[test]
fn rules_pass_promtool() {
    let path = file("alerts.yml");
    if let Some(said) = promtool(&["check", "rules", path.to_str().unwrap()], b"") {
        assert!(
            said.as_ref().is_ok_and(|said| said.contains("SUCCESS")),
            "{said:?}"
        );
    }
}

fn call(engine: &Engine, path: &str) {
    let upstream = engine.upstream("backend").unwrap();
    let request = http::Request::get(path).body(()).unwrap();
    let response = block_on(upstream.call(request)).unwrap();
    block_on(http_body_util::BodyExt::collect(response.into_body())).unwrap();
}

fn called(shards: usize) -> (Answering, Engine) {
    let server = Answering::start();
    let url = format!("http://localhost:{}", server.port());
    let engine = engine(shards, UpstreamConfig::at(&url).unwrap());
    for _ in 0..10 {
        call(&engine, "/");
    }
    (server, engine)
}

#[test]
fn the_exposition_passes_promtool() {
    let (_server, engine) = called(2);
    let snapshot = run(engine.snapshot()).unwrap();
    let mut page = Vec::new();
    write_prometheus(&snapshot, &mut page).unwrap();
    if let Some(said) = promtool(&["check", "metrics"], &page) {
        assert_eq!(
            said,
            Ok(String::new()),
            "{}",
            String::from_utf8_lossy(&page)
        );
    }
    let mut open = Vec::new();
    write_openmetrics(&snapshot, &mut open).unwrap();
    let (page, open) = (
        String::from_utf8(page).unwrap(),
        String::from_utf8(open).unwrap(),
    );
    let samples = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        samples(&page),
        samples(&open),
        "they differ in comments alone"
    );
    assert!(page.contains("ringpool_pool_acquires_total{upstream=\"backend\",outcome=\"hit\"} 9"));
    let lookups =
        "dns_lookup_duration_seconds_count{upstream=\"backend\",dns_question_name=\"localhost\"} 1";
    assert!(page.contains(lookups), "{page}");
}

fn visit(endpoint: &PrometheusEndpoint, request: &str) -> String {
    let mut stream = TcpStream::connect(endpoint.address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_endpoint_answers_and_ends() {
    let (_server, engine) = called(1);
    let endpoint = PrometheusEndpoint::start("127.0.0.1:0", engine.snapshots()).unwrap();
    let get = |target: &str, accept: &str| {
        visit(
            &endpoint,
            &format!("GET {target} HTTP/1.1\r\nHost: x\r\naccept: {accept}\r\n\r\n"),
        )
    };
    let plain = get("/metrics", "*/*");
    assert!(plain.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"));
    assert!(plain.contains("ringpool_engine_sockets 1\n"));
    let open = get(
        "/metrics?x=1",
        "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
    );
    assert!(open.contains("application/openmetrics-text") && open.ends_with("# EOF\n"));
    assert!(get("/", "*/*").starts_with("HTTP/1.1 404"));
    assert!(visit(&endpoint, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    let head = visit(&endpoint, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.ends_with("\r\n\r\n") && head.contains("200 OK"));
    // Bound: too long a head, and one that ends early, are let go of.
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(9000));
    assert_eq!(
        TcpStream::connect(endpoint.address())
            .unwrap()
            .write(long.as_bytes())
            .unwrap(),
        long.len()
    );
    drop(TcpStream::connect(endpoint.address()).unwrap());
    assert!(get("/metrics", "*/*").starts_with("HTTP/1.1 200"));
    drop(engine);
    assert!(get("/metrics", "*/*").starts_with("HTTP/1.1 503"));
    let address = endpoint.address();
    drop(endpoint);
    assert!(
        TcpStream::connect(address).is_err(),
        "nobody listens any more"
    );
}

/// What the dashboard shows of a quiet engine: what never happened has no series.
fn is_quiet(expr: &str) -> bool {
    let never = [
        "tls_",
        "state!=\"closed\"",
        "connection_duration",
        "endpoint_closed",
    ];
    never.iter().any(|never| expr.contains(never))
}

#[test]
fn a_real_prometheus_stores_the_series_and_answers_the_dashboard() {
    let (_server, engine) = called(2);
    let endpoint = PrometheusEndpoint::start("127.0.0.1:0", engine.snapshots()).unwrap();
    let rules = file("alerts.yml");
    let Some(prometheus) = Prometheus::start(endpoint.address(), &rules) else {
        return;
    };
    prometheus.wait("a scrape", |it| {
        !it.query("ringpool_shard_up == 1").is_empty()
    });
    // Several scrapes, with calls in between: rates have something to go by.
    let calls = "rate(http_client_request_duration_seconds_count[10s]) > 0";
    prometheus.wait("a rate", |it| {
        call(&engine, "/");
        !it.query(calls).is_empty()
    });
    for expr in dashboard() {
        let series = prometheus.query(&expr);
        assert!(is_quiet(&expr) || !series.is_empty(), "no answer to {expr}");
    }
    let hits = "ringpool_pool_acquires_total{upstream=\"backend\",outcome=\"hit\"}";
    prometheus.wait("what the engine counts", |it| {
        let counted = run(engine.snapshot()).unwrap().hits.to_string();
        let told = it.query(hits);
        told.len() == 1 && told[0]["value"][1] == counted
    });
    let rate =
        "sum(ringpool_pool_acquires_total{outcome=\"hit\"}) / sum(ringpool_pool_acquires_total)";
    let rate = prometheus.query(rate)[0]["value"][1]
        .as_str()
        .unwrap()
        .parse::<f64>()
        .unwrap();
    assert!((0.5..1.0).contains(&rate), "{rate}");
    assert!(prometheus.query("ALERTS").is_empty(), "nothing is wrong");
}
