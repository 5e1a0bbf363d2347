//! The server of figures ends even where the process has no descriptor left. A test binary of its own: it takes them from all.

mod common;

use common::answering::Answering;
use common::bounded::engine;
use ringpool::config::UpstreamConfig;
use ringpool::telemetry::PrometheusEndpoint;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[test]
fn the_endpoint_ends_without_a_descriptor_to_spare() {
    let server = Answering::start();
    let url = format!("http://127.0.0.1:{}", server.port());
    let engine = engine(1, UpstreamConfig::at(&url).unwrap());
    let endpoint = PrometheusEndpoint::start("127.0.0.1:0", engine.snapshots()).unwrap();
    // It waits for a visitor by then; if it does not, the test shows less.
    thread::sleep(Duration::from_millis(100));
    let (ended, end) = mpsc::channel();
    let before = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    thread::spawn(move || {
        drop(endpoint);
        let _ = ended.send(());
    });
    let result = end.recv_timeout(Duration::from_secs(10));
    setrlimit(Resource::Nofile, before).unwrap();
    result.expect("it hangs");
}
