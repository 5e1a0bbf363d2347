//! The registry of scenarios. Later work adds a file here and a line to [`SCENARIOS`].

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
mod quiet;
mod resumption;
mod rotation;
mod skew;
mod spike;

use std::time::Duration;

use scenarios::{Findings, Shot};

use crate::drive::Played;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::Report;

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

/// The names and what they mean, one a line.
pub(crate) fn list() -> String {
    SCENARIOS
        .iter()
        .map(|s| format!("{:<12} {}\n", s.name, s.about))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_typable() {
        for (i, scenario) in SCENARIOS.iter().enumerate() {
            let letters = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(!scenario.name.is_empty() && scenario.name.chars().all(letters));
            assert!(
                SCENARIOS[..i]
                    .iter()
                    .all(|earlier| earlier.name != scenario.name)
            );
        }
    }
}
