//! The registry of scenarios. Later work adds a file here and a line to [`SCENARIOS`].

pub(crate) mod all;
mod beside;
mod cap;
mod demo;
mod first_burst;
mod floor;
mod local;
mod lost_shard;
mod moves;
mod one_pool;
mod outage;
mod overload;
mod paired;
mod planned;
mod quiet;
mod resumption;
mod rotation;
mod shipped;
mod skew;
mod spike;

use std::path::Path;
use std::time::Duration;

use scenarios::{Findings, Shot};

use crate::drive::Played;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::{OutputOptions, Report};

pub(crate) use planned::Planned;

/// All scenarios, in the order in which they are listed.
pub(crate) const SCENARIOS: &[Scenario] = &[
    demo::SCENARIO,
    floor::SCENARIO,
    spike::WARM,
    spike::COLD,
    outage::SCENARIO,
    overload::SCENARIO,
    one_pool::SCENARIO,
    quiet::SCENARIO,
    resumption::SCENARIO,
    first_burst::SCENARIO,
    rotation::SCENARIO,
    local::SCENARIO,
    cap::SCENARIO,
    skew::SCENARIO,
    lost_shard::SCENARIO,
    moves::SCENARIO,
];

/// Those in code whose report has phases. All others there tell criteria and figures only.
const WITH_PHASES: [&str; 3] = [
    demo::SCENARIO.name,
    floor::SCENARIO.name,
    local::SCENARIO.name,
];

/// As finely as scenarios that are judged call by call can tell time here: timers of 1 ms at both ends, a step of the
/// pace, and threads that share cores.
const GRAIN: Duration = Duration::from_millis(5);

/// A run of several phases that is known by name.
pub(crate) struct Scenario {
    /// What the user types.
    pub(crate) name: &'static str,
    /// One line for the list.
    pub(crate) about: &'static str,
    /// Runs it.
    pub(crate) run: fn(&Stage) -> Result<Report, Failure>,
}

/// What a scenario is given.
pub(crate) struct Stage {
    /// How long to measure in each phase, where the scenario has no length of its own.
    pub(crate) duration: Duration,
    /// How many rounds, if the user says so.
    pub(crate) rounds: Option<usize>,
    /// How many calls, if the user says so.
    pub(crate) calls: Option<u64>,
    pub(crate) progress: Progress,
    pub(crate) interrupt: Interrupt,
}

impl Stage {
    /// Where calls are counted for whoever watches, and how the user ends them.
    fn watched(&self) -> (&Progress, &Interrupt) {
        (&self.progress, &self.interrupt)
    }
}

impl Scenario {
    /// One that the simulator has as well.
    const fn of(name: scenarios::Name, run: fn(&Stage) -> Result<Report, Failure>) -> Self {
        Self {
            name: name.name,
            about: name.about,
            run,
        }
    }
}

/// Adds why a run does not count, where it does not: calls began later than `lag_max`, or not at all.
fn validate(
    findings: &mut Findings,
    (what, played): (&str, &Played),
    lag_max: Duration,
    interrupt: &Interrupt,
) {
    let lags = played.evidence.shots.iter().map(Shot::lag);
    let lag = scenarios::quantile(lags, 0.99);
    let invalid = &mut findings.invalid;
    if lag > lag_max {
        invalid.push(format!(
            "{what}: one call in a hundred began {:.1} ms late or more; at most {:.1} ms would do",
            lag.as_secs_f64() * 1e3,
            lag_max.as_secs_f64() * 1e3
        ));
    }
    if played.missed > 0 {
        invalid.push(format!("{what}: {} calls were never begun", played.missed));
    }
    if interrupt.requested() {
        invalid.push("interrupted".to_owned());
        invalid.dedup();
    }
}

/// A scenario that was asked for.
pub(crate) enum Named {
    /// One in code.
    Code(&'static Scenario),
    /// One in a file.
    File(Box<Planned>),
}

impl Named {
    /// Runs it.
    pub(crate) fn run(&self, stage: &Stage) -> Result<Report, Failure> {
        match self {
            Self::Code(scenario) => (scenario.run)(stage),
            Self::File(planned) => planned.run(stage),
        }
    }

    /// Refuses outputs that would have nothing in them: all but JSON show phases.
    pub(crate) fn check(&self, outputs: &OutputOptions) -> Result<(), Failure> {
        let has_phases = match self {
            Self::Code(scenario) => WITH_PHASES.contains(&scenario.name),
            Self::File(_) => true,
        };
        let asked = [
            ("--report", &outputs.report),
            ("--csv", &outputs.csv),
            ("--hlog", &outputs.hlog),
        ];
        match asked.iter().find(|(_, file)| file.is_some()) {
            Some((option, _)) if !has_phases => Err(Failure::Usage(format!(
                "{option}: this scenario has no run to write there, only criteria and figures; --json keeps them. Those with runs: all files, {}",
                WITH_PHASES.join(", ")
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// Its file.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        match self {
            Self::File(planned) => Ok(planned.text()),
            Self::Code(scenario) => Err(Failure::Usage(format!(
                "`{}` has no file: it is written in code",
                scenario.name
            ))),
        }
    }
}

/// The scenario of this name.
pub(crate) fn find(name: &str) -> Result<Named, Failure> {
    if let Some(scenario) = SCENARIOS.iter().find(|s| s.name == name) {
        return Ok(Named::Code(scenario));
    }
    match shipped::FILES.iter().find(|file| file.0 == name) {
        Some((name, text)) => Planned::read(name, "the shipped file", text)
            .map(|planned| Named::File(Box::new(planned))),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Failure {
    Failure::Usage(format!(
        "there is no scenario `{name}`; those that exist:\n{}",
        list()
    ))
}

/// The scenario of a file.
pub(crate) fn read_file(path: &Path) -> Result<Planned, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::Usage(format!("cannot read {shown}: {e}")))?;
    let name = path
        .file_stem()
        .map_or(shown.as_str().into(), |stem| stem.to_string_lossy());
    Planned::read(&name, &shown, &text)
}

/// The names and what they mean, one a line.
pub(crate) fn list() -> String {
    let line = |(name, about)| format!("{name:<19} {about}\n");
    names().into_iter().map(line).collect()
}

/// The names of all that ship, and what they mean.
fn names() -> Vec<(&'static str, String)> {
    let code = SCENARIOS.iter().map(|s| (s.name, s.about.to_owned()));
    let files = shipped::FILES
        .iter()
        .map(|(name, text)| (*name, planned::about(text)));
    code.chain(files).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_typable() {
        let code = SCENARIOS.iter().map(|scenario| scenario.name);
        let names: Vec<&str> = code
            .chain(shipped::FILES.iter().map(|file| file.0))
            .collect();
        for (i, name) in names.iter().enumerate() {
            let letters = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(!name.is_empty() && name.chars().all(letters));
            assert!(!names[..i].contains(name), "{name}");
        }
    }
}
