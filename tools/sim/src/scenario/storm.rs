//! Everything at once, as the seed picks it: safety while it lasts, liveness when it is over.

use super::Scenario;
use crate::knobs::Knobs;
use crate::run;

/// The random one.
pub const STORM: Scenario = Scenario {
    name: "storm",
    about: "whatever the seed picks goes wrong; then faults stop, and calls have to succeed",
    seeds: 1000,
    run: |seed, trace| run::run(Knobs::of(seed), trace),
};
