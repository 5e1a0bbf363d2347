//! The bare io_uring loop with a timer that is always near, as the production driver has while it sleeps often.

use super::Peer;
use super::floor::{refuses, run_as};
use crate::cli::ClientOptions;
use crate::measure::Outcome;

pub(super) const PEER: Peer = Peer {
    name: "floor-pulse",
    about: "the bare loop with a timer each millisecond, as the driver's while it sleeps often",
    refuses,
    run,
};

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    run_as(options, "tick".parse()?)
}
