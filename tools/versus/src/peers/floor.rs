//! The bare io_uring loop of `tools/floor`.

use super::ringpool::UPLOAD;
use super::tokio_uring::request;
use super::{Peer, refuses_tokio};
use crate::backend::response_len;
use crate::cli::ClientOptions;
use crate::instructions::Marks;
use crate::measure::{self, Outcome, TIMED_EVERY};
use crate::process;
use crate::scenario::{Pace, Place, Scenario, Transport};
use floor::{FloorRun, Until, Variant, run_observed};
use std::net::TcpStream;
use std::time::Duration;

pub(super) const PEER: Peer = Peer {
    name: "floor",
    about: "a bare io_uring loop: what the kernel takes, without a client",
    refuses,
    run,
};

/// One request in so many is told of where instructions are counted.
const MARKED_EVERY: u64 = 64;

pub(super) fn refuses(scenario: &Scenario) -> Option<String> {
    let lacks = |what: &str| Some(what.to_owned());
    // That nobody calls it is the point: it stands beside calls from tokio as well.
    let scenario = &Scenario {
        place: Place::Home,
        ..*scenario
    };
    refuses_tokio(scenario).or_else(|| match scenario {
        Scenario {
            transport: Transport::Unix,
            ..
        } => lacks("the bare loop connects over TCP only"),
        Scenario {
            transport: Transport::Tls,
            ..
        } => lacks("the bare loop speaks no TLS"),
        Scenario {
            pace: Pace::Burst, ..
        } => lacks("the bare loop has no bursts"),
        one if !one.reuses() => lacks("the bare loop keeps its connections"),
        _ => None,
    })
}

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    run_as(options, Variant::default())
}

/// Runs the loop as `variant`.
pub(super) fn run_as(options: &ClientOptions, variant: Variant) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let mut bytes = request(scenario).into_bytes();
    bytes.extend_from_slice(&UPLOAD[..scenario.work.request_body()]);
    let idle: Result<Vec<_>, _> = (0..scenario.idle)
        .map(|_| TcpStream::connect(options.tcp))
        .collect();
    let idle = idle.map_err(|why| why.to_string())?;
    let mut latencies = measure::latencies();
    let plan = FloorRun {
        address: options.tcp,
        connections: scenario.callers,
        request: bytes,
        response_len: Some(response_len(scenario.work)),
        warmup: measure::WARMUP,
        until: Until::Elapsed(Duration::from_secs(options.seconds)),
        core: None,
        variant,
    };
    // It tells of those that it times alone: as few as do for the marks.
    let every = options.marked.map_or(TIMED_EVERY, |_| MARKED_EVERY);
    let (marks, mut observed) = (Marks::of_this_client(), 0);
    let observe = |latency: Duration| match marks {
        None => latencies.saturating_record(latency.as_nanos() as u64),
        Some(marks) => {
            observed += every;
            marks.pass(observed);
        }
    };
    let report = run_observed(plan, every, observe).map_err(|why| why.to_string())?;
    drop(idle);
    Ok(Outcome {
        requests: report.requests,
        seconds: report.seconds,
        user_us: report.cpu_user_us,
        system_us: report.cpu_system_us,
        p50_us: measure::quantile_us(&latencies, 0.5),
        p99_us: measure::quantile_us(&latencies, 0.99),
        // It does not count what came before.
        answered: None,
        peak_rss_bytes: process::peak_rss_bytes("self").unwrap_or(0),
    })
}
