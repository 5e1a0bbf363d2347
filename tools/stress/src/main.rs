//! `stress`: loads an HTTP server through ringpool and says what connection reuse is worth.
//!
//! Owns the dispatch of commands and the exit codes: 0 fine, 1 requests or a scenario failed, 2
//! usage, 3 the machine cannot run it, or was too busy for what came of it to count, 130 interrupted. It must never
//! measure anything itself: that is `measure`, and the engine is reached only through `drive`.

mod agent;
mod arrivals;
mod backend;
mod certificates;
mod chance;
mod cli;
mod compare;
mod contacts;
mod curve;
mod doctor;
mod drive;
mod failure;
mod find_max;
mod interrupt;
mod load;
mod measure;
mod member;
mod packed;
mod plan;
mod progress;
mod record;
mod report;
mod review;
mod scenario;
mod series;
mod slo;
mod traffic;
mod trial;
mod validity;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use cli::{Arguments, Command, RunOptions, ScenarioOptions, ShowOptions};
use failure::Failure;
use host::Host;
use interrupt::Interrupt;
use load::LoadPlan;
use progress::Progress;
use record::Kept;
use report::{OutputOptions, Outputs, Phase, Report};
use scenario::Named;
use traffic::Traffic;

fn main() -> ExitCode {
    let command = Arguments::parse().command.unwrap_or_default();
    let outcome = match command {
        Command::Run(options) => run(options),
        Command::Serve(options) => backend::serve(&options).map(|()| ExitCode::SUCCESS),
        Command::Scenario(options) => scenario(options),
        Command::FindMax(options) => find_max::run(&options),
        Command::Curve(options) => curve::run(&options),
        Command::Show(options) => show(options),
        Command::Compare(options) => compare::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Review(options) => review::run(&options),
        Command::Agent(options) => agent::serve(&options),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("stress: {failure}");
        failure.exit_code()
    })
}

/// Loads the one URL that the user named.
fn run(options: RunOptions) -> Result<ExitCode, Failure> {
    let outputs = Outputs::open(options.outputs.clone())?;
    let host = Host::look();
    measure::raise_descriptor_limit();
    let interrupt = Interrupt::install()?;
    let progress = Progress::on_stderr();
    let (agents, ca) = (options.agents.clone(), options.insecure_ca.clone());
    let plan = plan_of(options);
    let outcome = match agents {
        None => Phase::measure("run", plan, &progress, &interrupt),
        Some(agents) => {
            let words: Vec<OsString> = std::env::args_os().skip(2).collect();
            let conduct = |plan: &LoadPlan| {
                let run = agent::Conducted {
                    agents: &agents,
                    words: &words,
                    ca: ca.as_deref(),
                    lasts: plan.warmup + plan.duration,
                };
                let shown = progress.phase("agents", run.lasts);
                let result = agent::conduct(&run, &progress, &interrupt);
                drop(shown);
                result
            };
            Phase::of("run", plan, conduct)
        }
    };
    let phase = match outcome {
        // Whatever came of it is what the user asked for.
        Err(failure) if interrupt.requested() => {
            eprintln!("stress: {failure}");
            return Ok(interrupt.exit_or(failure.exit_code()));
        }
        outcome => outcome?,
    };
    let code = finish(&Report::of_run(phase), outputs, &host)?;
    Ok(interrupt.exit_or(code))
}

/// What the user asked for.
fn plan_of(options: RunOptions) -> LoadPlan {
    let traffic = Traffic {
        seed: options.seed,
        arrivals: options.arrivals,
        callers: options.callers,
        think: options.calls.think,
        calls: options.calls.kinds(&cli::path_of(&options.url)),
        ..Traffic::default()
    };
    LoadPlan {
        url: options.url,
        connections: options.connections,
        shards: options.shards.unwrap_or_else(measure::shards_default),
        duration: options.duration,
        warmup: options.warmup,
        reuse: options.reuse.is_on(),
        warm: true,
        resume: true,
        rate: options.rate,
        ca: options.insecure_ca.map(Vec::from),
        way: options.from,
        traffic,
    }
}

/// Runs a scenario: of the registry, or of a file; or lists the registry where none is named.
fn scenario(options: ScenarioOptions) -> Result<ExitCode, Failure> {
    if options.all.all {
        return scenario::all::run(&options.all);
    }
    let named = match (&options.file, &options.name) {
        (Some(file), _) => Named::File(Box::new(scenario::read_file(file)?)),
        (None, Some(name)) => scenario::find(name)?,
        (None, None) => {
            report::write(std::io::stdout(), &scenario::list())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if options.print {
        report::write(std::io::stdout(), named.text()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    named.check(&options.outputs)?;
    let outputs = Outputs::open(options.outputs)?;
    if let Some(file) = &options.file {
        outputs.spare(file)?;
    }
    let host = Host::look();
    measure::raise_descriptor_limit();
    let stage = scenario::Stage {
        duration: options.duration.unwrap_or(Duration::from_secs(3)),
        rounds: options.rounds,
        calls: options.calls,
        progress: Progress::on_stderr(),
        interrupt: Interrupt::install()?,
    };
    let report = named.run(&stage)?;
    let code = finish(&report, outputs, &host)?;
    Ok(stage.interrupt.exit_or(code))
}

/// Shows a run that was kept.
fn show(options: ShowOptions) -> Result<ExitCode, Failure> {
    let kept = Kept::open(&options.run, options.phase.as_deref())?;
    let outputs = Outputs::open(OutputOptions {
        json: None,
        report: options.report,
        csv: options.csv,
        hlog: options.hlog,
    })?;
    outputs.spare(&options.run)?;
    report::show_kept(&kept, outputs)?;
    Ok(ExitCode::SUCCESS)
}

/// Shows the report, and turns what it says into the exit code.
fn finish(report: &Report, outputs: Outputs, host: &Host) -> Result<ExitCode, Failure> {
    report::show(report, outputs, host)?;
    Ok(if report.is_invalid() {
        ExitCode::from(failure::EXIT_MACHINE)
    } else if report.is_fine() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(failure::EXIT_REQUESTS_FAILED)
    })
}
