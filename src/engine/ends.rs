//! How an engine ends, and how it goes on without a shard that was lost.
//!
//! Owns: the order in which everyone learns of a drain; what is put right after a loss. Never: waits.

use super::EngineShared;
use crate::driver::Driver;
use crate::error::Error;
use crate::shard::Parts;
use crate::shard::desk::Drained;
use crate::shard::figures::Tally;
use crate::shard::mailbox::{Control, Errand, Gate};
use crate::shard::sharing::room::Free;
use crate::time::Time;
use futures_channel::oneshot;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl<D: Driver> EngineShared<D> {
    /// Lets nothing new in, and has every shard finish what is under way `within` that time. Ready when
    /// all have; their reports are there then. Begun again, the earlier deadline counts.
    pub(crate) fn drain(&self, within: Duration) -> oneshot::Receiver<()> {
        let begun = self.clock.now();
        let by = begun + within;
        // First all of them: who is refused by one is not to be let in by the next.
        for mailbox in self.mailboxes.iter() {
            mailbox.drain();
        }
        for mailbox in self.mailboxes.iter() {
            mailbox.control(Control::Drain { begun, by });
        }
        self.desk.wait()
    }

    /// What the shards that have drained had to cut.
    pub(crate) fn drained(&self) -> Vec<Arc<Drained>> {
        self.desk.reports()
    }

    /// Whether nothing new is let in any more.
    pub(crate) fn is_ending(&self) -> bool {
        let drains = |gate| gate == Gate::Draining;
        self.is_stopping() || self.mailboxes.iter().any(|mailbox| drains(mailbox.gate()))
    }

    /// Every shard has ended: whoever still holds a handle keeps no thread.
    pub(crate) fn on_all_ended(&self) {
        self.resolver.end();
        self.alarms.end();
    }

    /// Whether every shard was told to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// A shard has failed, and nothing is left of it: its permits are back.
    pub(crate) fn on_shard_lost(&self, shard: usize) {
        let named = self.directory.values().cloned();
        for upstream in named.chain(self.registry.all()) {
            let Some(offers) = upstream.offers() else {
                continue;
            };
            // Siblings need not count on it any more, and what only it was told of is for others now.
            offers.room(shard).announce(Free::default());
            if offers.open().is_empty() {
                continue;
            }
            for mailbox in self.mailboxes.iter().filter(|other| other.index() != shard) {
                mailbox.announce_offers(upstream.id);
            }
        }
        for mailbox in self.mailboxes.iter() {
            mailbox.announce_capacity();
        }
    }

    /// A lost shard is about to turn again: what it is to keep warm comes back to it. Returns what begins
    /// the tasks that run on every shard.
    pub(crate) fn restore(&self, shard: usize) -> Vec<Errand<D>> {
        let mailbox = &self.mailboxes[shard];
        for upstream in self.directory.values() {
            if upstream.warm_on(shard, &upstream.settings()) > 0 {
                mailbox.control(Control::Warm(upstream.clone()));
            }
        }
        mailbox.reopen();
        self.standing.anew(shard)
    }

    /// A shard has ended, for good: with `fault` not of the engine's wish.
    pub(crate) fn on_shard_ended(&self, shard: usize, fault: Option<Error>) {
        let mailbox = &self.mailboxes[shard];
        match &fault {
            Some(fault) => mailbox.stay_down(fault.duplicate()),
            None => mailbox.close(),
        }
        self.standing.end(shard);
        // If it had drained, its own report came first.
        self.desk.deliver(Drained {
            shard,
            took: Duration::ZERO,
            finished: 0,
            tasks: 0,
            upstreams: BTreeMap::new(),
            fault,
        });
    }

    /// What a shard is made of that follows a lost one with these totals.
    pub(crate) fn successor(&self, index: usize, driver: D, tally: Tally) -> Parts<D> {
        Parts {
            tally,
            ..self.parts(index, driver)
        }
    }
}
