//! `sim`: runs seeds and says what came of them. Exit codes: 0 fine, 1 a violation or something never met,
//! 2 usage.

use clap::Parser;
use scenarios::Findings;
use sim::campaign::{self, Sums};
use sim::canaries;
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
    if let Some(wanted) = &arguments.canaries {
        return hunt(wanted, &arguments);
    }
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
        Some(seed) => one(scenario, seed, &arguments),
        None => many(scenario, &arguments),
    }
}

fn hunt(wanted: &str, arguments: &Arguments) -> ExitCode {
    let canaries = match canaries::all(Some(wanted).filter(|name| !name.is_empty())) {
        Ok(canaries) => canaries,
        Err(error) => {
            eprintln!("sim: {error}");
            return ExitCode::from(2);
        }
    };
    let complaints = if arguments.check {
        canaries::check(&canaries)
    } else {
        println!("{}", canaries::head());
        let verdicts = canaries::hunt(&canaries, arguments.windows, |verdict| {
            println!("{}", canaries::row(verdict));
        });
        let report = canaries::json(&verdicts, arguments.windows);
        let complaints = verdicts.iter().filter_map(canaries::Verdict::complaint);
        complaints.chain(write(arguments, report).err()).collect()
    };
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => {
            println!("{} canaries: fine", canaries.len());
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

/// Writes a report to where it is wanted.
fn write(arguments: &Arguments, report: String) -> Result<(), String> {
    let Some(path) = &arguments.json else {
        return Ok(());
    };
    let written = std::fs::write(path, report);
    written.map_err(|error| format!("sim: cannot write {}: {error}", path.display()))
}

fn one(scenario: &Scenario, seed: u64, arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let trace = match arguments.trace {
        true => {
            let mut out = std::io::BufWriter::new(std::io::stdout());
            // A reader who has seen enough closes the pipe: the run goes on without him.
            Trace::to(move |line| drop(writeln!(out, "{line}")))
        }
        false => Trace::none(),
    };
    let outcome = (scenario.run)(seed, trace);
    if let Some(findings) = &outcome.findings {
        print!("{}", findings.table());
    }
    match &outcome.violation {
        Some(_) => tell_failure(scenario, &outcome),
        None => {
            let (events, lasted) = (outcome.events, outcome.lasted);
            println!("seed {seed}: fine, {events} events in {lasted:?} of virtual time");
        }
    }
    let (findings, passed) = (outcome.findings.clone(), outcome.violation.is_none());
    let (mut sums, took) = (Sums::default(), begun.elapsed());
    sums.add(outcome, took);
    let report = json(scenario, &sums, took, &[], findings.as_ref());
    if let Err(error) = write(arguments, report) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match passed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn many(scenario: &Scenario, arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let count = arguments.seeds.unwrap_or(scenario.seeds);
    let seeds = arguments.from..arguments.from.saturating_add(count);
    let sums = campaign::run(
        scenario,
        seeds,
        |seed| arguments.tls.wants(speaks_tls(seed)),
        arguments.threads,
        arguments.failures_max,
        |outcome| tell_failure(scenario, outcome),
    );
    let took = begun.elapsed();
    let findings = Findings::over(&sums.findings.values().cloned().collect::<Vec<_>>());
    if let Some(findings) = &findings {
        tell_findings(findings, &sums);
    }
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
    if let Err(error) = write(
        arguments,
        json(scenario, &sums, took, &missing, findings.as_ref()),
    ) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match sums.failed.is_empty() && missing.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Of one seed as it was; of several, medians and what was worst.
fn tell_findings(findings: &Findings, sums: &Sums) {
    let seeds = sums.findings.len();
    if seeds > 1 {
        let first = sums.findings.keys().next().copied().unwrap_or_default();
        println!(
            "Of {seeds} seeds: medians of figures, the worst of what has to hold; what is shown over \
             time is of seed {first}.\n"
        );
    }
    print!("{}\n{}: ", findings.table(), findings.outcome().name());
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

fn json(
    scenario: &Scenario,
    sums: &Sums,
    took: Duration,
    missing: &[String],
    findings: Option<&Findings>,
) -> String {
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
        "findings": findings.map(Findings::json),
        // Seconds of real time are the host's; what is virtual is nobody's.
        "host": host::Host::look().json(),
    });
    format!("{report:#}\n")
}
