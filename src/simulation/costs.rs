//! What a shard's work costs of its thread's time, where a simulation wants turns to take any.
//!
//! Owns: the price of what a turn did. Never: lets the clock go by; a turn is in two halves, and whoever steps
//! the engine lets it go by between them.

use crate::driver::sim::Sim;
use crate::shard::Shard;
use std::time::Duration;

/// What a shard's work costs. A call costs one send and one receive, where its request and its response come in
/// one piece; nothing else does, but for what is handed from shard to shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Making and sending a request, or a piece of one.
    pub send: Duration,
    /// Taking up a response, or a piece of one.
    pub receive: Duration,
    /// Handing a call over to another shard, and taking one over.
    pub hand_over: Duration,
}

/// How much a shard has done, ever.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    sent: u64,
    received: u64,
    moved: u64,
}

impl Done {
    pub(super) fn by(shard: &Shard<Sim>) -> Done {
        let (mut sent, mut received) = (0, 0);
        shard.with_driver(|driver| (sent, received) = driver.transfers());
        Done {
            sent,
            received,
            moved: shard.moved(),
        }
    }

    /// What that cost which was not yet done at `before`.
    pub(super) fn cost_since(self, before: Done, costs: Costs) -> Duration {
        let times = |cost: Duration, count: u64| cost * u32::try_from(count).unwrap_or(u32::MAX);
        times(costs.send, self.sent - before.sent)
            + times(costs.receive, self.received - before.received)
            + times(costs.hand_over, self.moved - before.moved)
    }
}
