//! A waiting call that a sibling may run.
//!
//! Owns: the call, while nobody has claimed it. Never: decides who runs it; the claim does.

use super::claim::{Claim, Claimant};
use super::movable::Movable;
use crate::config::Class;
use crate::slab::Key;
use crossbeam::atomic::AtomicCell;

/// One offered call.
pub(crate) struct Offer {
    claim: Claim,
    /// Gone once it is claimed.
    call: AtomicCell<Option<Box<Movable>>>,
    pub(crate) class: Class,
    /// Who offers it.
    pub(crate) shard: usize,
    /// Its place in that shard's queue.
    pub(crate) waiter: Key,
}

impl Offer {
    pub(crate) fn new(call: Box<Movable>, class: Class, shard: usize, waiter: Key) -> Offer {
        Offer {
            claim: Claim::new(),
            call: AtomicCell::new(Some(call)),
            class,
            shard,
            waiter,
        }
    }

    /// The call, for the one who claims it.
    pub(super) fn claim(&self, claimant: Claimant) -> Option<Box<Movable>> {
        if self.claim.take(claimant) {
            self.call.take()
        } else {
            None
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.claim.is_open()
    }
}
