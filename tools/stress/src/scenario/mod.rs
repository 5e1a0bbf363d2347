//! The registry of scenarios. Later work adds a file here and a line to [`SCENARIOS`].

mod demo;
mod floor;

use std::time::Duration;

use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::Report;

/// All scenarios, in the order in which they are listed.
pub(crate) const SCENARIOS: &[Scenario] = &[demo::SCENARIO, floor::SCENARIO];

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
    /// How long to measure in each phase.
    pub(crate) duration: Duration,
    pub(crate) progress: Progress,
    pub(crate) interrupt: Interrupt,
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
