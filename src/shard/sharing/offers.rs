//! The offered calls of one upstream, from all shards, and what each shard says: of its room for them, of its own.
//!
//! Owns: one queue per class, in the order in which calls were offered. Never: an offer that is run twice, or
//! a queue that grows with what was claimed elsewhere.

use super::claim::Claimant;
use super::movable::Movable;
use super::offer::Offer;
use super::room::{Free, Room};
use super::turns::Waits;
use crate::config::Class;
use crate::sync::{AtomicU32, Ordering};
use crossbeam::deque::{Injector, Steal};
use crossbeam::utils::CachePadded;
use std::sync::Arc;

/// So many more claimed offers than open ones may stand in a queue.
const TOMBSTONES_MAX: usize = 64;

/// How often a queue that others are busy with is tried at once.
const TRIES_MAX: usize = 16;

/// What all shards share of an upstream's waiting calls.
pub(crate) struct Offers {
    lines: [Line; Class::ALL.len()],
    /// One for each shard.
    rooms: Box<[CachePadded<Room>]>,
    /// One for each shard.
    waits: Box<[CachePadded<Waits>]>,
}

/// The offered calls of one class.
struct Line {
    queue: Injector<Arc<Offer>>,
    /// How many of them nobody has claimed.
    open: CachePadded<AtomicU32>,
}

/// How many offers there are, class by class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open([u32; Class::ALL.len()]);

impl Open {
    pub(crate) fn is_empty(self) -> bool {
        self.0.iter().all(|&count| count == 0)
    }

    pub(crate) fn is_empty_of(self, class: Class) -> bool {
        self.0[class as usize] == 0
    }

    /// One more, which is not offered yet.
    pub(crate) fn add(&mut self, class: Class) {
        self.0[class as usize] += 1;
    }

    /// Leaves those for whom `free` has no place. Whether it has a place for any.
    pub(crate) fn serve(&mut self, free: Free) -> bool {
        let before = *self;
        let (mut open, mut reserved) = (u32::from(free.open), u32::from(free.reserved));
        for class in Class::ALL {
            let count = &mut self.0[class as usize];
            if class == Class::Critical {
                take(count, &mut reserved);
            }
            take(count, &mut open);
        }
        *self != before
    }
}

fn take(count: &mut u32, places: &mut u32) {
    let taken = (*count).min(*places);
    *count -= taken;
    *places -= taken;
}

impl Offers {
    pub(crate) fn new(shards: usize) -> Offers {
        Offers {
            lines: std::array::from_fn(|_| Line {
                queue: Injector::new(),
                open: CachePadded::new(AtomicU32::new(0)),
            }),
            rooms: (0..shards).map(|_| CachePadded::new(Room::new())).collect(),
            waits: (0..shards)
                .map(|_| CachePadded::new(Waits::new()))
                .collect(),
        }
    }

    /// What shard `shard` says of its room.
    pub(crate) fn room(&self, shard: usize) -> &Room {
        &self.rooms[shard]
    }

    /// What shard `shard` says of the calls that it offers.
    pub(super) fn waits(&self, shard: usize) -> &Waits {
        &self.waits[shard]
    }

    pub(crate) fn shards(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is an offer of this class.
    pub(crate) fn has_open(&self, class: Class) -> bool {
        self.line(class).open.load(Ordering::Relaxed) > 0
    }

    /// How many offers there are.
    pub(crate) fn open(&self) -> Open {
        Open(Class::ALL.map(|class| self.line(class).open.load(Ordering::Relaxed)))
    }

    /// Offers a call. Siblings have to be told after this.
    pub(crate) fn publish(&self, offer: Arc<Offer>) {
        let line = self.line(offer.class);
        // Before it can be taken: the count never runs below nothing.
        line.open.fetch_add(1, Ordering::Relaxed);
        line.queue.push(offer);
    }

    /// Takes the first call of a class, to run it; with the offer that it was.
    pub(crate) fn take(&self, class: Class) -> Option<(Arc<Offer>, Box<Movable>)> {
        let line = self.line(class);
        // Ends: each round has one less in the queue.
        while let Some(offer) = line.pop() {
            if let Some(call) = offer.claim(Claimant::Thief) {
                line.open.fetch_sub(1, Ordering::Relaxed);
                return Some((offer, call));
            }
        }
        None
    }

    /// Takes a call back that this shard has offered. `None`: a sibling runs it.
    pub(crate) fn withdraw(&self, offer: &Offer) -> Option<Box<Movable>> {
        let call = offer.claim(Claimant::Local)?;
        let line = self.line(offer.class);
        let open = line.open.fetch_sub(1, Ordering::Relaxed) - 1;
        if line.queue.len() > 2 * open as usize + TOMBSTONES_MAX {
            line.sweep();
        }
        Some(call)
    }

    fn line(&self, class: Class) -> &Line {
        &self.lines[class as usize]
    }
}

impl Line {
    fn pop(&self) -> Option<Arc<Offer>> {
        for _ in 0..TRIES_MAX {
            match self.queue.steal() {
                Steal::Success(offer) => return Some(offer),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
        None
    }

    /// Drops what has been claimed. Whoever looks meanwhile may find less than there is, and the order is
    /// only that of those that are offered before and after.
    fn sweep(&self) {
        for _ in 0..self.queue.len() {
            match self.pop() {
                Some(offer) if offer.is_open() => self.queue.push(offer),
                Some(_) => {}
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests;
