//! Several hosts that load together: `stress agent` on each, and one `stress run --agents a,b` that conducts them.
//!
//! Each agent gets the arguments of the run with its share of the rate, the connections and the callers; when all are
//! ready they are told to begin; their reports come back with their histograms whole, and are added up. An agent that is lost
//! makes the run INVALID, and never makes it hang: every message has a time limit.
//!
//! An agent does what whoever reaches it says, which is to send load. So it listens on loopback, or asks for a token
//! (`STRESS_TOKEN`, on both sides), which crosses the network as it is: use it where nobody listens, or through a tunnel. It
//! writes no file, and reads none for a conductor.
//!
//! | file | concept |
//! |---|---|
//! | `wire` | the messages |
//! | `serve` | the agent |
//! | `conduct` | the conductor |
//! | `share` | how a run is divided |
//! | `merge` | how results are put together |

mod conduct;
mod merge;
mod serve;
mod share;
mod wire;

pub(crate) use conduct::conduct;
pub(crate) use serve::serve;

/// Where both sides have the token from.
const TOKEN: &str = "STRESS_TOKEN";

/// The token of this process; an empty one is none.
fn token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}
