//! What can be run: a name, and how a seed becomes a run.

mod storm;

use crate::run::Outcome;
use crate::trace::Trace;

/// Something to be run by name.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// Runs one seed of it.
    pub run: fn(u64, Trace) -> Outcome,
}

/// All of them; the first is run unless another is named.
pub const SCENARIOS: &[Scenario] = &[storm::STORM];

/// The one of this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}
