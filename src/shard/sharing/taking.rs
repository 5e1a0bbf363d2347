//! Calls that wait on other shards, taken to run here; and what is said of room for them.
//!
//! Owns: the end of a turn, as far as siblings go. Never: takes a call without a connection for it, or while
//! somebody waits here whom that connection would serve.

use super::movable::Movable;
use super::offer::Offer;
use super::room::Free;
use crate::config::Class;
use crate::driver::{Driver, Wait};
use crate::lifecycle::Lifecycle;
use crate::pool::{Grant, Input};
use crate::shard::connection::Holder;
use crate::shard::core::Core;
use crate::slab::Key;
use std::io;

/// The most calls that a shard takes in one turn, so that they do not keep its ring waiting.
const TAKEN_MAX: usize = 64;

/// A call of a sibling, and the connection that it runs on.
pub(crate) struct Taken {
    pub(in crate::shard) call: Box<Movable>,
    pub(in crate::shard) grant: Grant,
}

impl<D: Driver> Core<D> {
    /// The end of a turn, as far as siblings go: offers calls that wait, takes theirs where connections are
    /// free, and says how many more could come.
    ///
    /// # Errors
    /// If the driver is unusable.
    pub(in crate::shard) fn share(&mut self) -> io::Result<()> {
        self.offer_overflow();
        self.hear_siblings();
        if self.touched.is_empty() {
            return Ok(());
        }
        // As for any grant: not past unread news.
        if self.has_news() && self.may_take_any() {
            self.driver.enter(Wait::No)?;
            self.translate();
            self.offer_overflow();
        }
        self.look_at_touched(Core::look_at);
        Ok(())
    }

    /// Whether siblings are to be looked after before this shard may sleep.
    pub(in crate::shard) fn has_shares(&self) -> bool {
        !self.touched.is_empty() || !self.overflow.is_empty() || !self.taken.is_empty()
    }

    /// Looks at what siblings ask to be looked at.
    fn hear_siblings(&mut self) {
        while let Some(id) = self.mailboxes[self.index].take_offered() {
            let Some(&key) = self.upstream_keys.get(&id) else {
                continue;
            };
            if let Some(state) = self.upstreams.get(key)
                && let Some(offers) = &state.share.offers
            {
                offers.room(self.index).hear();
            }
            self.touch(key);
        }
    }

    fn may_take_any(&mut self) -> bool {
        (0..self.touched.len()).any(|at| self.may_take(self.touched[at]))
    }

    /// Whether there are offers to an upstream that this shard could take.
    fn may_take(&mut self, upstream: Key) -> bool {
        Class::ALL
            .iter()
            .any(|&class| self.has_both(upstream, class))
    }

    fn has_both(&mut self, upstream: Key, class: Class) -> bool {
        if self.draining || self.is_late_for(upstream) {
            return false;
        }
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return false;
        };
        let Some(offers) = &state.share.offers else {
            return false;
        };
        offers.has_open(class)
            && state.policy.current().sharing.steal
            && Free::of_pool(state.pool.room(self.now)).for_class(class)
    }

    /// Looks at an upstream whose pool has changed.
    fn look_at(&mut self, upstream: Key) {
        if self.is_at_rest(upstream) {
            return;
        }
        self.take_offers(upstream);
        self.announce_room(upstream);
    }

    /// The usual case: nobody waits anywhere, and there is room as before, if not as much. That is said without
    /// looking whether it may be granted: whoever waits later makes this shard look.
    fn is_at_rest(&mut self, upstream: Key) -> bool {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return true;
        };
        let Some(offers) = &state.share.offers else {
            return true;
        };
        let (before, free) = (state.share.announced, Free::of_pool(state.pool.idle_room()));
        let has_as_before = before.open > 0 && free.open > 0 && free.reserved <= before.reserved;
        if self.stopping || !has_as_before || !offers.open().is_empty() {
            return false;
        }
        if free != before {
            state.share.announced = free;
            offers.room(self.index).correct(free);
        }
        true
    }

    /// Takes calls, the most important first, while connections are free for them.
    fn take_offers(&mut self, upstream: Key) {
        if self.stopping || self.draining {
            return;
        }
        self.bring_up_to_date(upstream);
        for class in Class::ALL {
            while self.taken.len() < TAKEN_MAX && self.has_both(upstream, class) {
                if !self.take_offer(upstream, class) {
                    break;
                }
            }
        }
    }

    /// What is past its time here, and not closed because the pool's timer is yet to come, is room for nobody: it
    /// goes now, so that somebody else may have the permit.
    fn bring_up_to_date(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get(upstream) else {
            return;
        };
        let offers = state.share.offers.as_ref();
        let is_open = offers.is_some_and(|offers| !offers.open().is_empty());
        if is_open && state.pool.deadline().is_some_and(|at| at <= self.now) {
            self.pool_input(upstream, Input::Tick);
        }
    }

    /// Takes one call. False if there is none after all.
    fn take_offer(&mut self, upstream: Key, class: Class) -> bool {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return false;
        };
        let offers = state.share.offers.as_ref();
        let Some((offer, call)) = offers.and_then(|offers| offers.take(class)) else {
            return false;
        };
        let grant = state.pool.serve_other(self.now, class);
        self.run_taken(&offer, call, grant.expect("there was room just now"));
        true
    }

    /// A call of a sibling, taken, runs here on what the pool grants.
    pub(super) fn run_taken(&mut self, offer: &Offer, mut call: Box<Movable>, grant: Grant) {
        let grant = self.on_granted(grant);
        // From the first moment: it is counted with the call, and not as a task's besides.
        self.held_by(grant.conn, Holder::Outside);
        self.happened(grant.conn, Lifecycle::Stolen);
        call.caller.move_to(&self.mailboxes[self.index]);
        self.mailboxes[offer.shard].announce_moved(offer.waiter);
        self.tally.steals += 1;
        self.taken.push(Taken { call, grant });
    }

    /// Says how much room there is, if that has changed, and passes on what others would have room for.
    fn announce_room(&mut self, upstream: Key) {
        let late = self.declines(upstream);
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let Some(offers) = &state.share.offers else {
            return;
        };
        let ends = self.stopping || self.draining;
        let free = if late || ends || !state.policy.current().sharing.steal {
            Free::default()
        } else {
            Free::of_pool(state.pool.room(self.now))
        };
        let before = std::mem::replace(&mut state.share.announced, free);
        let has_more = Class::ALL
            .iter()
            .any(|&class| free.for_class(class) && !before.for_class(class));
        if free != before {
            offers.room(self.index).announce(free);
        }
        let is_open = !offers.open().is_empty();
        self.say_waits(upstream);
        if is_open && (has_more || self.taken.len() >= TAKEN_MAX) && self.may_take(upstream) {
            // Offered in the meantime, or more than one turn takes.
            self.touch(upstream);
        }
        if is_open {
            self.tell_siblings(upstream);
        }
    }
}
