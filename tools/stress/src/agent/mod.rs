//! Several hosts that load together: `stress agent` on each, and one `stress run --agents a,b` that conducts them.
//!
//! Each agent gets the arguments of the run with its share of the rate, the connections and the callers. When all have it they
//! prepare: engines start and connect. When all are ready clocks are compared by round trips, and one moment is set at which all begin. Their
//! reports come back with their histograms whole, and are added up; even starts of one agent lie between those of the others. Both
//! sides say every second that they are there. An agent that is lost makes the run INVALID, and never makes it hang: every message
//! has a time limit, and the run as a whole. A conductor that is lost ends the load.
//!
//! An agent does what whoever reaches it says, which is to send load. So it listens on loopback, or asks for a token
//! (`STRESS_TOKEN`, on both sides), which both prove to know and none says (`proof`). Nothing is encrypted, and what is said
//! after the proofs is not signed: use it in a network that is trusted, or through a tunnel (ssh). It writes no file, and reads
//! none for a conductor.
//!
//! | file | concept |
//! |---|---|
//! | `wire` | the messages |
//! | `proof` | who knows the token |
//! | `serve` | the agent: who is let in |
//! | `perform` | the agent: its part of the run |
//! | `greet` | the conductor's first words |
//! | `conduct` | the conductor |
//! | `clocks` | how clocks stand to each other |
//! | `share` | how a run is divided |
//! | `merge` | how results are put together |

mod clocks;
mod conduct;
mod greet;
mod merge;
mod perform;
mod proof;
mod serve;
mod share;
mod wire;

pub(crate) use conduct::{Conducted, conduct};
pub(crate) use serve::serve;

/// Where both sides have the token from.
const TOKEN: &str = "STRESS_TOKEN";

/// The token of this process; an empty one is none.
fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}
