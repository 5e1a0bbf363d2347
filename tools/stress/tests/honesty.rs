//! What the tool says of itself: waits are never left out, and a run can be made again. That one in which it was the limit does
//! not count is `starved`'s.

mod common;

use common::{Served, json, run};
use serde_json::Value;

fn latency_ms(report: &Value, quantile: &str) -> f64 {
    report["latency_us"][quantile].as_f64().expect("a latency") / 1e3
}

/// Of 4,000 calls in 4 s, those of one second are meant to begin while nobody answers: the one in a thousand waits all of it,
/// the one in ten 0.6 s. Whoever counts from the send has 64 slow calls, and none in ten; whoever waits for an answer before it
/// asks again has as few. A busy machine makes both longer, never shorter; the window begins up to 2 s later on it.
#[test]
fn a_stall_of_a_second_is_a_second_in_the_report() {
    let served = Served::start("--service fixed:1ms --fault stall@2500ms..3500ms");
    let url = format!("http://{}/", served.plain);
    let output = run(&format!(
        "run {url} --connections 64 --rate 1000 --duration 4s --warmup 200ms --json -"
    ));
    let report = json(&output);
    let p999 = latency_ms(&report, "p999");
    assert!(p999 > 900.0, "{p999} ms");
    let p90 = latency_ms(&report, "p90");
    assert!(p90 > 400.0, "{p90} ms");
    assert_eq!(report["requests"]["failed"], 0, "{}", report["requests"]);
}

#[test]
fn what_a_run_is_repeated_by_is_recorded() {
    let served = Served::start("");
    let url = format!("http://{}/", served.plain);
    let line = format!(
        "run {url} --rate 500 --arrivals poisson --size exp:1KiB --upload 2KiB --uploads 30% --churn 5% --seed 42 \
         --connections 8 --duration 500ms --warmup 0s --json -"
    );
    let report = json(&run(&line));
    assert_eq!(report["seed"], 42);
    let command = report["command"].as_str().expect("the command");
    assert!(command.contains("--arrivals poisson") && command.contains("--seed 42"));
    assert_eq!(report["plan"]["arrivals"], "poisson");
    assert!(report["requests"]["ok"].as_u64() > Some(0), "{report}");
    assert!(
        report["connections_opened"].as_u64() > Some(8),
        "some were closed"
    );
}

#[test]
fn the_highest_rate_is_found_and_told() {
    let served = Served::start("--service fixed:5ms --fault limit:4");
    let url = format!("http://{}/", served.plain);
    let output = run(&format!(
        "find-max {url} --connections 4 --slo p99<50ms,errors<1% --start 100 --duration 500ms --warmup 100ms --json -"
    ));
    let found = json(&output);
    assert_eq!(found["slo"], "p99<50ms,errors<1%");
    let trials = found["trials"].as_array().expect("trials");
    assert!(trials.len() > 1, "{found}");
    // Four connections of 5 ms each can do no more than 800 a second, whatever the machine.
    if let Some(rate) = found["rate"].as_f64() {
        assert!(rate < 900.0, "{rate}");
    }
    let output = run(&format!(
        "curve {url} --connections 4 --rates 100,200 --duration 200ms --warmup 0s --json -"
    ));
    let curve = json(&output);
    assert_eq!(curve["rates"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        run("find-max http://h/ --slo p99<x,errors<2").status.code(),
        Some(2)
    );
}
