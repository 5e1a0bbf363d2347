//! For whoever steps shards by hand: tests, and the simulator.
//!
//! Never: compiled into a service.

use super::Shard;
#[cfg(feature = "simulation")]
use super::Turn;
#[cfg(test)]
use super::local::LocalShard;
use crate::driver::{Driver, Wait};
use crate::time::Time;
#[cfg(feature = "simulation")]
use std::io;

impl<D: Driver> Shard<D> {
    #[cfg(test)]
    pub(crate) fn local(&self) -> &LocalShard<D> {
        &self.local
    }

    /// A turn up to where the kernel hears of it; [`finish_turn`](Shard::finish_turn) is the rest. Time may go
    /// by between the two.
    ///
    /// # Errors
    /// As [`turn`](Shard::turn).
    #[cfg(feature = "simulation")]
    pub(crate) fn work(&mut self) -> io::Result<()> {
        self.begin_turn()
    }

    /// See [`work`](Shard::work).
    ///
    /// # Errors
    /// As [`turn`](Shard::turn).
    #[cfg(feature = "simulation")]
    pub(crate) fn finish_turn(&mut self) -> io::Result<Turn> {
        self.end_turn(true)
    }

    /// How many calls, ever, this shard has handed to another one or taken from it.
    #[cfg(feature = "simulation")]
    pub(crate) fn moved(&self) -> u64 {
        let core = self.local.core.borrow();
        let tally = &core.tally;
        tally.passed_on + tally.forwarded + tally.offers_taken + tally.steals
    }

    /// Until when the shard would sleep if it turned no more: for whoever steps shards by hand, and
    /// wants to see one that sleeps over work.
    pub(crate) fn rests_until(&self) -> Time {
        let core = self.local.core.borrow();
        let awake = self.local.executor.has_carried()
            || !self.mailbox.is_empty()
            || core.driver.pending()
            || core.has_left()
            || !core.untimed.is_empty()
            || core.is_copying()
            // What was left may have been a wake-up, which the kernel took back: it ends the sleep all the same.
            || core.lag.is_behind()
            || self.drain_is_due(&core);
        match self.wait(&core) {
            _ if awake => core.clock_now(),
            Wait::No => core.clock_now(),
            Wait::EventOr(left) => core.clock_now() + left,
            Wait::Event => Time::NEVER,
        }
    }

    /// After the stop: names each slot, waiter, timer, task, socket or buffer that is left.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let core = self.local.core.borrow();
        let counters = core.driver.counters();
        let mut left = Vec::new();
        let mut count = |what: &str, count: u64| {
            if count > 0 {
                left.push(format!("shard {}: {count} {what} left", core.index()));
            }
        };
        count("connections", core.connections.len() as u64);
        count("streams", core.streams.len() as u64);
        count("waiters", core.waiters.len() as u64);
        count("sleeps", core.sleeps.len() as u64);
        count("upstreams", core.upstreams.len() as u64);
        count("timers", core.timers.len() as u64);
        count("tasks", self.local.executor.len() as u64);
        count("sockets", counters.sockets);
        count("buffers", counters.buffers_held);
        left
    }
}
