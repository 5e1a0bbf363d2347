//! Runs ringpool's production engine on a simulated network and clock, and tries to break it.
//!
//! | module | concept |
//! |---|---|
//! | `knobs` | what a seed picks |
//! | `world` | servers, what they do wrong, and what befalls them |
//! | `load` | callers, from outside and on the shards |
//! | `oracle` | the invariants, checked after every turn |
//! | `run` | one run, turn by turn |
//! | `scenario` | what can be run by name |
//! | `canaries` | known bugs, to see that they are found |
//! | `coverage`, `trace` | what was met; the story |

#![warn(missing_docs)]

pub mod campaign;
pub mod canaries;
pub mod cli;
pub mod coverage;
pub mod dice;
pub mod knobs;
pub mod load;
pub mod oracle;
pub mod panics;
pub mod run;
pub mod scenario;
mod stage;
pub mod trace;
pub mod world;
