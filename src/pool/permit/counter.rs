//! One count with a cap, shared by all shards, and the note that somebody starves for it.
//!
//! Owns: compare-and-swap on a count; who is known to starve. Never: lets the count pass its cap, or waits.

use crate::sync::{AtomicU32, Ordering};
use crossbeam::utils::CachePadded;

/// How many are in use, how many there are, and whether somebody starves for one.
#[derive(Debug)]
pub struct Counter {
    count: CachePadded<Count>,
    // On a line of its own: siblings read it every turn, while `count` changes at every dial.
    need: CachePadded<AtomicU32>,
}

#[derive(Debug)]
struct Count {
    in_use: AtomicU32,
    max: AtomicU32,
}

/// Somebody starves, and no sibling has answered that yet. The bits below count who starves.
const UNANSWERED: u32 = 1 << 31;

impl Counter {
    /// A counter that allows `max` at once.
    pub fn new(max: u32) -> Counter {
        Counter {
            count: CachePadded::new(Count {
                in_use: AtomicU32::new(0),
                max: AtomicU32::new(max),
            }),
            need: CachePadded::new(AtomicU32::new(0)),
        }
    }

    /// How many are in use.
    pub fn in_use(&self) -> u32 {
        self.count.in_use.load(Ordering::Relaxed)
    }

    /// How many may be in use.
    pub fn max(&self) -> u32 {
        self.count.max.load(Ordering::Relaxed)
    }

    /// Changes how many may be in use. Below what is in use now, none is revoked, and none given
    /// out until enough have come back.
    pub fn set_max(&self, max: u32) {
        self.count.max.store(max, Ordering::Relaxed);
    }

    /// Whether there is one left just now.
    pub fn has_room(&self) -> bool {
        self.in_use() < self.max()
    }

    /// How many more are in use than may be, since the cap was lowered.
    pub fn over(&self) -> u32 {
        self.in_use().saturating_sub(self.max())
    }

    /// Whether somebody starves whom nobody has answered yet.
    pub fn need(&self) -> bool {
        self.need.load(Ordering::Acquire) & UNANSWERED != 0
    }

    /// Somebody more starves. Ends with one [`end_need`](Counter::end_need).
    pub fn begin_need(&self) {
        self.change_need(|need| Some((need + 1) | UNANSWERED));
    }

    /// Somebody who starves already has got nothing of the last answer.
    pub fn repeat_need(&self) {
        // Look first: setting what is set already would take the line from its readers.
        if !self.need() {
            self.change_need(|need| (need > 0).then_some(need | UNANSWERED));
        }
    }

    /// Somebody starves no more. The note goes with the last of them, so that nobody gives anything
    /// up for a caller who has gone.
    pub fn end_need(&self) {
        self.change_need(|need| {
            debug_assert!(need & !UNANSWERED > 0, "nobody starved");
            let left = need.saturating_sub(1);
            Some(if left == UNANSWERED { 0 } else { left })
        });
    }

    /// Takes the note away, to answer it; true for the one caller who did.
    pub fn take_need(&self) -> bool {
        self.need() && self.need.fetch_and(!UNANSWERED, Ordering::AcqRel) & UNANSWERED != 0
    }

    fn change_need(&self, change: impl FnMut(u32) -> Option<u32>) {
        // Nothing to change is an answer as well.
        let _ = self
            .need
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }

    /// Takes one, if one is left.
    pub(super) fn acquire(&self) -> bool {
        let mut in_use = self.in_use();
        while in_use < self.max() {
            // Acquire pairs with the release of whoever closed the descriptor counted before.
            match self.count.in_use.compare_exchange_weak(
                in_use,
                in_use + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => in_use = now,
            }
        }
        false
    }

    /// Counts one whatever the cap says.
    pub(super) fn add(&self) {
        self.count.in_use.fetch_add(1, Ordering::Acquire);
    }

    pub(super) fn give_back(&self) {
        let before = self.count.in_use.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "what came back was never given");
    }

    /// Gives one back, if any is in use; whether one was.
    pub(super) fn give_back_if_any(&self) -> bool {
        let before = self
            .count
            .in_use
            .fetch_update(Ordering::Release, Ordering::Relaxed, |n| n.checked_sub(1));
        before.is_ok()
    }
}
