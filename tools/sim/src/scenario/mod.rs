//! What can be run: a name, and how a seed becomes a run.
//!
//! | file | what |
//! |---|---|
//! | `storm` | everything at once, as the seed picks it |
//! | `spike`, `outage`, `overload`, `skew_cpu` | one thing at a time, with figures and criteria of its own |
//! | `quiet` | the world of those: nothing goes wrong in it unless they say so |

mod outage;
mod overload;
mod quiet;
mod skew_cpu;
mod spike;
mod storm;

use crate::oracle::{Invariant, Violation};
use crate::run::Outcome;
use crate::trace::Trace;
use scenarios::Findings;

/// Something to be run by name.
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// How many seeds of it are run, if nobody says.
    pub seeds: u64,
    /// Runs one seed of it.
    pub run: fn(u64, Trace) -> Outcome,
}

/// All of them; the first is run unless another is named.
pub const SCENARIOS: &[Scenario] = &[
    storm::STORM,
    spike::WARM,
    spike::COLD,
    outage::OUTAGE,
    overload::OVERLOAD,
    skew_cpu::SKEW_CPU,
];

/// The one of this name.
pub fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// One of those that have figures and criteria.
    const fn of(name: scenarios::Name, run: fn(u64, Trace) -> Outcome) -> Scenario {
        Scenario {
            name: name.name,
            about: name.about,
            seeds: 20,
            run,
        }
    }
}

/// What came of runs that were compared, and of the comparison: a criterion that does not hold is one
/// more violation, unless an invariant broke before.
fn concluded(runs: Vec<Outcome>, findings: impl FnOnce() -> Findings) -> Outcome {
    let mut runs = runs.into_iter();
    let mut whole = runs.next().expect("a scenario runs something");
    for run in runs {
        whole.events += run.events;
        whole.lasted += run.lasted;
        whole.coverage.add(&run.coverage);
        whole.violation = whole.violation.or(run.violation);
    }
    if whole.violation.is_some() {
        return whole;
    }
    let findings = findings();
    let broken = findings.criteria.iter().find(|one| !one.holds());
    whole.violation = broken.map(|criterion| Violation {
        invariant: Invariant::Scenario,
        at: whole.lasted,
        what: criterion.line(),
    });
    whole.findings = Some(findings);
    whole
}
