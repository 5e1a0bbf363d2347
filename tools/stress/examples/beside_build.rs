//! Two builds of `stress` beside each other: what a request costs one, over what it costs the other, in CPU time.
//!
//! `cargo run --release -p stress --example beside_build -- THIS OTHER [ROUNDS]`: two executables, one built without the
//! feature `telemetry`, say. Each round runs both for half a second, by the scenario `floor` (one shard, 64 connections, tasks on the
//! shard); which goes first alternates. The factor of a round is the first one's CPU per request over the other's; the interval is
//! Student's over the rounds' logarithms. Exit codes: 0 if with 95 % confidence the first costs at most 2 % more, 1 if not.

use serde_json::Value;
use std::error::Error;
use std::process::{Command, ExitCode};

#[path = "../src/scenario/paired.rs"]
mod paired;

const ROUNDS: usize = 40;
const EXCESS_MAX: f64 = 0.02;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [this, other] => compare(this, other, ROUNDS),
        [this, other, rounds] => match rounds.parse() {
            Ok(rounds) => compare(this, other, rounds),
            Err(_) => Err("ROUNDS is a number".into()),
        },
        _ => Err("usage: beside_build THIS OTHER [ROUNDS]".into()),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("beside_build: {failure}");
        ExitCode::from(3)
    })
}

fn compare(this: &str, other: &str, rounds: usize) -> Result<ExitCode, Failure> {
    let (mut all, mut factors) = ((Vec::new(), Vec::new()), Vec::new());
    for round in 0..rounds {
        // One after the other, and the other after the one, as often.
        let (a, b) = if round % 2 == 0 {
            let a = cpu(this)?;
            (a, cpu(other)?)
        } else {
            let b = cpu(other)?;
            (cpu(this)?, b)
        };
        all.0.push(a);
        all.1.push(b);
        factors.push(a / b);
    }
    let median = |of: Vec<f64>| paired::median(of.into_iter()).unwrap_or_default();
    println!(
        "CPU a request: {:.3} and {:.3} µs",
        median(all.0),
        median(all.1)
    );
    let interval = paired::Interval::of(&factors).ok_or("two rounds at least")?;
    let [low, mean, high] = [interval.low, interval.mean, interval.high].map(|f| (f - 1.0) * 100.0);
    println!("{mean:+.2} %, with 95 % confidence {low:+.2} to {high:+.2} % ({rounds} rounds)");
    let within = interval.high <= 1.0 + EXCESS_MAX;
    println!(
        "{}  at most {:.0} % more",
        if within { "PASS" } else { "FAIL" },
        EXCESS_MAX * 100.0
    );
    Ok(ExitCode::from(u8::from(!within)))
}

/// Microseconds of CPU for a request of the engine, by one run of a build.
fn cpu(build: &str) -> Result<f64, Failure> {
    let output = Command::new(build)
        .args([
            "scenario",
            "floor",
            "--rounds",
            "1",
            "--duration",
            "500ms",
            "--json",
            "-",
        ])
        .output()
        .map_err(|error| format!("cannot run {build}: {error}"))?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).into_owned())?;
    let phases = report["phases"]
        .as_object()
        .ok_or("no phases in the report")?;
    let engine = phases.iter().find(|(name, _)| name.contains("engine"));
    let (_, engine) = engine.ok_or("no engine among the phases")?;
    let cpu = &engine["cpu_us_per_request"];
    let part = |name: &str| cpu[name].as_f64().ok_or("no CPU time in the report");
    Ok(part("user")? + part("system")?)
}
