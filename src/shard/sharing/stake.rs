//! Where the call of a waiter is: with its task, with the waiter, or offered to siblings.
//!
//! Owns: its way out to the siblings, and back. Never: lets a waiter have an answer whose call is not
//! here.

use super::movable::Movable;
use super::offer::Offer;
use super::room::Room;
use crate::driver::Driver;
use crate::pool::{Input, WaiterId};
use crate::shard::checkout::Waiter;
use crate::shard::core::Core;
use crate::shard::mailbox::Control;
use crate::slab::Key;
use std::sync::Arc;

/// Where a waiter's call is.
pub(crate) enum Stake {
    /// With its task: it cannot move.
    Stays,
    /// Here.
    Here(Box<Movable>),
    /// Among those that siblings may take.
    Offered(Arc<Offer>),
}

impl Stake {
    pub(in crate::shard) fn stays(&self) -> bool {
        match self {
            Stake::Stays => true,
            Stake::Here(_) | Stake::Offered(_) => false,
        }
    }

    pub(super) fn is_offered(&self) -> bool {
        match self {
            Stake::Offered(_) => true,
            Stake::Stays | Stake::Here(_) => false,
        }
    }

    /// The call, if it is here.
    pub(in crate::shard) fn into_call(self) -> Option<Box<Movable>> {
        match self {
            Stake::Here(call) => Some(call),
            Stake::Stays | Stake::Offered(_) => None,
        }
    }
}

impl<D: Driver> Core<D> {
    /// Offers the calls of those who came to wait in this turn and wait still, in the order in which they
    /// came.
    pub(super) fn offer_overflow(&mut self) {
        if self.overflow.is_empty() {
            return;
        }
        let mut overflow = std::mem::take(&mut self.overflow);
        if self.mailboxes.len() > 1 {
            for &waiter in &overflow {
                self.offer(waiter);
            }
        }
        overflow.clear();
        self.overflow = overflow;
    }

    fn offer(&mut self, key: Key) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        let (upstream, class) = (waiter.wish.upstream, waiter.wish.class);
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        if !waiter.queued || waiter.answer.is_some() || !state.policy.current().sharing.steal {
            return;
        }
        let call = match std::mem::replace(&mut waiter.stake, Stake::Stays) {
            Stake::Here(call) => call,
            other @ (Stake::Stays | Stake::Offered(_)) => {
                waiter.stake = other;
                return;
            }
        };
        let offer = Arc::new(Offer::new(call, class, self.index, key));
        waiter.stake = Stake::Offered(offer.clone());
        let shared = &state.shared;
        let offers = state.share.offers.get_or_insert_with(|| {
            let (offers, made) = shared.make_offers();
            let siblings = self.mailboxes.iter().enumerate();
            let siblings = siblings.filter(|(sibling, _)| made && *sibling != self.index);
            for (_, mailbox) in siblings {
                mailbox.control(Control::Share(shared.clone()));
            }
            offers
        });
        state.share.offered.add(class, waiter.since, key);
        offers.publish(offer);
        self.tally.offers += 1;
        self.touch(upstream);
    }

    /// Tells as many siblings of the offers to an upstream as have room for them.
    pub(super) fn tell_siblings(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get(upstream) else {
            return;
        };
        let Some(offers) = &state.share.offers else {
            return;
        };
        Room::offered();
        let shards = self.mailboxes.len();
        let mut open = offers.open();
        // From the next one on: not all shards begin with the same sibling.
        for sibling in (1..shards).map(|step| (self.index + step) % shards) {
            let room = offers.room(sibling);
            let served = open.serve(room.free());
            if served && room.tell() {
                self.mailboxes[sibling].announce_offers(state.shared.id);
            }
            if open.is_empty() {
                return;
            }
        }
    }

    /// Takes the call of a waiter back, if it was offered. False if there is no such waiter, or not any
    /// more: a sibling runs its call.
    pub(in crate::shard) fn take_back(&mut self, key: Key) -> bool {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return false;
        };
        let Stake::Offered(offer) = &waiter.stake else {
            return true;
        };
        let state = self.upstreams.get(waiter.wish.upstream);
        let offers = state.and_then(|state| state.share.offers.as_ref());
        let offers = offers.expect("an upstream stays as long as somebody waits for it");
        match offers.withdraw(offer) {
            Some(call) => {
                waiter.stake = Stake::Here(call);
                self.tally.offers_returned += 1;
                true
            }
            None => {
                self.lose(key);
                false
            }
        }
    }

    /// A sibling says that it runs the call of a waiter.
    pub(in crate::shard) fn on_moved(&mut self, key: Key) {
        // Whoever was answered meanwhile has found out already; and one of a shard that was lost may have had
        // the name of one who waits now.
        let is_taken = |waiter: &Waiter| match &waiter.stake {
            Stake::Offered(offer) => !offer.is_open(),
            Stake::Stays | Stake::Here(_) => false,
        };
        if self.waiters.get(key).is_some_and(is_taken) {
            self.lose(key);
        }
    }

    /// A sibling runs the call of a waiter, who waits here no more.
    fn lose(&mut self, key: Key) {
        let Some(waiter) = self.waiters.remove(key) else {
            return;
        };
        let upstream = waiter.wish.upstream;
        self.tally.offers_taken += 1;
        self.record_wait(&waiter);
        self.left_queue(upstream, false, true);
        let moved = Input::Moved {
            waiter: WaiterId(key),
        };
        // Its task has nothing left to do.
        waiter.waker.wake();
        self.pool_input(upstream, moved);
    }
}
