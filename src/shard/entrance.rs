//! Where callers are let into a shard, and counted as long as they have something under way there.
//!
//! Owns: whether anyone is let in, what the shard failed by, and how many calls it has. Never: knows what is
//! asked of the shard; so a call may hold it wherever it goes.

use super::parker::Parker;
use crate::error::Error;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Gate {
    /// Everyone.
    Open = 0,
    /// The shard is lost, and is about to be started again: whoever comes waits for that.
    Lost = 1,
    /// The engine's messages. What is queued is served, nobody new is let in.
    Draining = 2,
    /// Nobody: the shard has stopped, or stays down.
    Closed = 3,
}

/// Why somebody was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The queue was full.
    Full,
    /// The engine drains, or the shard has ended.
    Closed,
}

/// The entrance of one shard.
pub(crate) struct Entrance {
    index: usize,
    gate: AtomicU8,
    /// What the shard failed by last. Locked where a shard is lost, and by those who are told.
    fault: Mutex<Option<Error>>,
    /// How often the shard was lost.
    losses: AtomicU64,
    /// How often somebody was not let in: for want of room, and because it is closed for new work.
    full: AtomicU64,
    closed: AtomicU64,
    /// The [`Count`] of its calls, in one word: a call that moves changes both halves at once.
    count: CachePadded<AtomicU64>,
    parker: Arc<Parker>,
}

/// Calls from other threads, as one moment finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// Queued here, or under way on the shard.
    pub(super) depth: u32,
    /// How many more came from other shards than went to them, ever; it wraps.
    pub(super) moved: u32,
}

/// One call more that is here; and one more that came from another shard.
const HERE: u64 = 1;
const MOVED: u64 = 1 << 32;

impl Count {
    fn of(word: u64) -> Count {
        Count {
            depth: word as u32,
            moved: (word >> 32) as u32,
        }
    }

    /// How many more came than went between `before` and this.
    pub(super) fn moved_since(self, before: Count) -> i64 {
        i64::from(self.moved.wrapping_sub(before.moved).cast_signed())
    }
}

impl Entrance {
    pub(super) fn new(index: usize, parker: Arc<Parker>) -> Entrance {
        Entrance {
            index,
            gate: AtomicU8::new(Gate::Open as u8),
            fault: Mutex::default(),
            losses: AtomicU64::new(0),
            full: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            count: CachePadded::default(),
            parker,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(super) fn gate(&self) -> Gate {
        match self.gate.load(Ordering::SeqCst) {
            0 => Gate::Open,
            1 => Gate::Lost,
            2 => Gate::Draining,
            _ => Gate::Closed,
        }
    }

    /// Counts somebody who was not let in.
    pub(super) fn turned_away(&self, why: Why) {
        let count = match why {
            Why::Full => &self.full,
            Why::Closed => &self.closed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were not: for want of room, and because it was closed.
    pub(crate) fn all_turned_away(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.full), count(&self.closed))
    }

    pub(super) fn drain(&self) {
        if self.gate() != Gate::Closed {
            // Who is refused from now on is refused because of this.
            *self.fault() = None;
        }
        self.gate.fetch_max(Gate::Draining as u8, Ordering::SeqCst);
    }

    /// False if it was closed before.
    pub(super) fn close(&self) -> bool {
        let closes = self.gate() != Gate::Closed;
        if closes {
            *self.fault() = None;
            self.shut();
        }
        closes
    }

    pub(super) fn lose(&self, fault: &Error) {
        *self.fault() = Some(fault.duplicate());
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.gate.fetch_max(Gate::Lost as u8, Ordering::SeqCst);
    }

    pub(super) fn reopen(&self) {
        let (lost, open) = (Gate::Lost as u8, Gate::Open as u8);
        let order = (Ordering::SeqCst, Ordering::Relaxed);
        // Anything but lost stays as it is.
        let _ = self.gate.compare_exchange(lost, open, order.0, order.1);
    }

    pub(super) fn stay_down(&self, fault: Error) {
        *self.fault() = Some(fault);
        self.shut();
    }

    fn shut(&self) {
        self.gate.store(Gate::Closed as u8, Ordering::SeqCst);
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Relaxed)
    }

    /// Why somebody is not let in, or gets no answer: what the shard failed by, or that it has ended.
    pub(crate) fn refusal(&self) -> Error {
        let fault = self.fault();
        fault
            .as_ref()
            .map_or_else(Error::draining, Error::duplicate)
    }

    fn fault(&self) -> MutexGuard<'_, Option<Error>> {
        // It is a single store that is locked.
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn depth(&self) -> usize {
        self.count().depth as usize
    }

    pub(super) fn count(&self) -> Count {
        Count::of(self.count.load(Ordering::SeqCst))
    }

    /// Before [`submit`](super::mailbox::Mailbox::submit): a shard that drains waits for it.
    pub(crate) fn begin_call(&self) {
        self.count.fetch_add(HERE, Ordering::SeqCst);
    }

    pub(crate) fn end_call(&self) {
        self.count.fetch_sub(HERE, Ordering::SeqCst);
        self.note_end();
    }

    fn note_end(&self) {
        // Refused, it ends on its caller's thread; and a shard that drains waits for the last one.
        if self.gate() == Gate::Draining {
            self.parker.wake();
        }
    }

    /// A call that was counted at `self` is counted at `other` from now on.
    pub(super) fn move_call(&self, other: &Entrance) {
        other.count.fetch_add(HERE + MOVED, Ordering::SeqCst);
        self.count.fetch_sub(HERE + MOVED, Ordering::SeqCst);
        self.note_end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_moves_is_counted_at_one_of_both_at_any_moment() {
        let [one, other] = [0, 1].map(|index| Entrance::new(index, Arc::new(Parker::default())));
        let before = [one.count(), other.count()];
        one.begin_call();
        one.begin_call();
        one.move_call(&other);
        let moved = |entrance: &Entrance, before| entrance.count().moved_since(before);
        assert_eq!((one.depth(), other.depth()), (1, 1));
        assert_eq!((moved(&one, before[0]), moved(&other, before[1])), (-1, 1));
        // Below zero, and back.
        other.move_call(&one);
        assert_eq!((moved(&one, before[0]), moved(&other, before[1])), (0, 0));
        assert_eq!((one.depth(), other.depth()), (2, 0));
        one.end_call();
        one.end_call();
        assert_eq!(one.count(), before[0]);
    }

    /// Whoever reads both halves at once finds each call where it began or where it went to: what began here and
    /// has not ended is what is here, less what came and more what went.
    #[test]
    fn both_halves_change_at_once() {
        let [one, other] = [0, 1].map(|index| Entrance::new(index, Arc::new(Parker::default())));
        let begun = one.count();
        one.begin_call();
        std::thread::scope(|scope| {
            let mover = scope.spawn(|| {
                for _ in 0..20_000 {
                    one.move_call(&other);
                    other.move_call(&one);
                }
            });
            while !mover.is_finished() {
                let count = one.count();
                assert_eq!(i64::from(count.depth) - count.moved_since(begun), 1);
            }
        });
    }
}
