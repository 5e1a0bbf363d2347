//! `sim`: runs seeds and says what came of them. Exit codes: 0 fine, 1 a violation or something never met,
//! 2 usage.

use clap::Parser;
use sim::campaign::{self, Sums};
use sim::cli::Arguments;
use sim::knobs::speaks_tls;
use sim::run::Outcome;
use sim::scenario::{self, SCENARIOS, Scenario};
use sim::trace::Trace;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    sim::panics::keep();
    let Some(scenario) = scenario::named(&arguments.scenario) else {
        eprintln!(
            "sim: there is no scenario {:?}; there are:",
            arguments.scenario
        );
        for scenario in SCENARIOS {
            eprintln!("  {:12} {}", scenario.name, scenario.about);
        }
        return ExitCode::from(2);
    };
    match arguments.seed {
        Some(seed) => one(scenario, seed, arguments.trace),
        None => many(scenario, &arguments),
    }
}

fn one(scenario: &Scenario, seed: u64, traced: bool) -> ExitCode {
    let trace = match traced {
        true => {
            let mut out = std::io::BufWriter::new(std::io::stdout());
            // A reader who has seen enough closes the pipe: the run goes on without him.
            Trace::to(move |line| drop(writeln!(out, "{line}")))
        }
        false => Trace::none(),
    };
    let outcome = (scenario.run)(seed, trace);
    match &outcome.violation {
        Some(_) => {
            tell_failure(scenario, &outcome);
            ExitCode::FAILURE
        }
        None => {
            let (events, lasted) = (outcome.events, outcome.lasted);
            println!("seed {seed}: fine, {events} events in {lasted:?} of virtual time");
            ExitCode::SUCCESS
        }
    }
}

fn many(scenario: &Scenario, arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let seeds = arguments.from..arguments.from.saturating_add(arguments.seeds);
    let sums = campaign::run(
        scenario,
        seeds,
        |seed| arguments.tls.wants(speaks_tls(seed)),
        arguments.threads,
        arguments.failures_max,
        |outcome| tell_failure(scenario, outcome),
    );
    let took = begun.elapsed();
    tell_sums(&sums, took);
    let missing = match arguments.coverage {
        true => {
            print!("{}", sums.coverage.table());
            sums.coverage.missing()
        }
        false => Vec::new(),
    };
    for one in &missing {
        println!("never met: {one}");
    }
    if let Some(path) = &arguments.json {
        let text = json(scenario, &sums, took, &missing);
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("sim: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    match sums.failed.is_empty() && missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn tell_failure(scenario: &Scenario, outcome: &Outcome) {
    let Some(violation) = &outcome.violation else {
        return;
    };
    let (seed, name) = (outcome.seed, scenario.name);
    println!("seed {seed}: {violation}");
    println!("  cargo run --release -p sim -- --scenario {name} --seed {seed} --trace");
}

fn tell_sums(sums: &Sums, took: Duration) {
    let seconds = took.as_secs_f64().max(1e-9);
    let runs = sums.runs.max(1) as f64;
    println!(
        "{} seeds in {seconds:.1} s: {:.0} a second, {:.0} events a seed, {:.1} s of virtual time a seed; {} failed",
        sums.runs,
        runs / seconds,
        sums.events as f64 / runs,
        sums.seconds / runs,
        sums.failed.len(),
    );
    if sums.tls_runs > 0 {
        let took = sums.tls_took.as_secs_f64();
        println!(
            "TLS was spoken in {} of them, which took {took:.1} s: {:.1} ms each",
            sums.tls_runs,
            took * 1000.0 / sums.tls_runs as f64,
        );
    }
}

fn json(scenario: &Scenario, sums: &Sums, took: Duration, missing: &[String]) -> String {
    let failed = sums.failed.iter().filter_map(|outcome| {
        let violation = outcome.violation.as_ref()?;
        Some(serde_json::json!({
            "seed": outcome.seed,
            "invariant": format!("{:?}", violation.invariant),
            "at_seconds": violation.at.as_secs_f64(),
            "what": violation.what,
        }))
    });
    let report = serde_json::json!({
        "scenario": scenario.name,
        "seeds": sums.runs,
        "seconds": took.as_secs_f64(),
        "events": sums.events,
        "tls_seeds": sums.tls_runs,
        "tls_seconds": sums.tls_took.as_secs_f64(),
        "virtual_seconds": sums.seconds,
        "failed": failed.collect::<Vec<_>>(),
        "never_met": missing,
    });
    format!("{report:#}\n")
}
