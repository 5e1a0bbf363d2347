//! OpenTelemetry's semantic conventions, as far as they name what the engine tells: names, units, kinds and attributes are theirs.
//!
//! What is written here is taken from the conventions (HTTP metrics, DNS metrics), not from the catalogue.

use crate::common::bounded::{engine, run};
use crate::common::peer::{OK, Peer};
use ringpool::config::UpstreamConfig;
use ringpool::telemetry::{Kind, METRICS, Metric, Value};
use std::collections::BTreeMap;
use std::thread;

struct Convention {
    name: &'static str,
    unit: &'static str,
    kind: Kind,
    /// That there must be.
    required: &'static [&'static str],
    /// That there may be beside them, or must where something is so.
    others: &'static [&'static str],
}

const CONVENTIONS: [Convention; 4] = [
    Convention {
        name: "http.client.request.duration",
        unit: "s",
        kind: Kind::Histogram,
        required: &["http.request.method", "server.address", "server.port"],
        others: &["error.type", "http.response.status_code", "url.scheme"],
    },
    Convention {
        name: "http.client.open_connections",
        unit: "{connection}",
        kind: Kind::Gauge,
        required: &["http.connection.state", "server.address", "server.port"],
        others: &["network.peer.address", "url.scheme"],
    },
    Convention {
        name: "http.client.connection.duration",
        unit: "s",
        kind: Kind::Histogram,
        required: &["server.address", "server.port"],
        others: &["network.peer.address", "url.scheme"],
    },
    Convention {
        name: "dns.lookup.duration",
        unit: "s",
        kind: Kind::Histogram,
        required: &["dns.question.name"],
        others: &["error.type"],
    },
];

/// Attributes of the engine's own beside those: which upstream it is, what tells endpoints of one host apart, and that there were
/// too many values.
const OURS: [&str; 3] = ["upstream", "network.peer.port", "otel.metric.overflow"];

fn metric(name: &str) -> &'static Metric {
    let found = METRICS.iter().find(|metric| metric.name == name);
    found.unwrap_or_else(|| panic!("{name} is not in the catalogue"))
}

#[test]
fn what_the_conventions_name_is_told_as_they_say() {
    for one in &CONVENTIONS {
        let metric = metric(one.name);
        assert_eq!(
            (metric.unit, metric.kind),
            (one.unit, one.kind),
            "{metric:?}"
        );
        for label in one.required.iter().chain(one.others) {
            assert!(metric.labels.contains(label), "{}: {label}", one.name);
        }
        for label in metric.labels {
            let theirs = one.required.contains(label) || one.others.contains(label);
            assert!(theirs || OURS.contains(label), "{}: {label}", one.name);
        }
    }
    // Whatever else there is has the engine's own name.
    for metric in METRICS.iter().filter(|m| !m.name.starts_with("ringpool.")) {
        assert!(CONVENTIONS.iter().any(|one| one.name == metric.name));
    }
}

/// Values of a metric, by the labels of that name.
fn read(metric: &Metric, snapshot: &ringpool::Snapshot, by: &[&str]) -> BTreeMap<String, u64> {
    let mut values = BTreeMap::new();
    metric.read(snapshot, &mut |sample| {
        let said = metric.labels.iter().zip(sample.labels);
        let said = said.filter(|(name, _)| by.contains(name));
        let key: Vec<&str> = said.map(|(_, value)| *value).collect();
        let value = match sample.value {
            Value::Count(count) => count,
            Value::Durations(all) => all.count(),
            Value::Number(number) => panic!("{number} is no count"),
        };
        *values.entry(key.join(" ")).or_default() += value;
    });
    values
}

#[test]
fn attributes_have_the_values_that_the_conventions_ask_for() {
    let peer = Peer::start();
    let engine = engine(1, UpstreamConfig::at(&peer.http()).unwrap());
    let upstream = engine.upstream("backend").unwrap();
    thread::scope(|scope| {
        let calls = scope.spawn(|| {
            for method in ["GET", "BREW"] {
                let request = http::Request::builder().method(method).uri("/");
                let response = run(upstream.call(request.body(()).unwrap())).unwrap();
                run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
            }
        });
        let mut conn = peer.accept();
        for answer in [OK, "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"] {
            conn.request_head();
            conn.send(answer);
        }
        calls.join().unwrap();
        let snapshot = run(engine.snapshot()).unwrap();
        let port = peer.endpoint().rsplit(':').next().unwrap().to_owned();
        let wanted = |text: &str| text.replace("PORT", &port);
        let by = [
            "server.address",
            "server.port",
            "url.scheme",
            "http.request.method",
            "http.response.status_code",
            "error.type",
        ];
        let told = read(metric("http.client.request.duration"), &snapshot, &by);
        let all = [
            ("127.0.0.1 PORT http GET 200 ", 1),
            ("127.0.0.1 PORT http _OTHER 404 404", 1),
        ];
        assert_eq!(told, all.map(|(key, n)| (wanted(key), n)).into());
        let by = ["http.connection.state", "network.peer.address"];
        let lease = run(upstream.checkout()).unwrap();
        let snapshot = run(engine.snapshot()).unwrap();
        let told = read(metric("http.client.open_connections"), &snapshot, &by);
        let all = [("127.0.0.1 active", 1), ("127.0.0.1 idle", 0)];
        assert_eq!(told, all.map(|(key, n)| (key.to_owned(), n)).into());
        lease.release();
    });
}
