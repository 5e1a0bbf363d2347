//! Where callers are let into a shard, and counted as long as they have something under way there.
//!
//! Owns: whether anyone is let in, what the shard failed by, and how many calls it has. Never: knows what is
//! asked of the shard; so a call may hold it wherever it goes.

use super::parker::Parker;
use crate::error::Error;
use crossbeam::utils::CachePadded;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
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

/// The entrance of one shard.
pub(crate) struct Entrance {
    index: usize,
    gate: AtomicU8,
    /// What the shard failed by last. Locked where a shard is lost, and by those who are told.
    fault: Mutex<Option<Error>>,
    /// How often the shard was lost.
    losses: AtomicU64,
    /// Calls from other threads that are queued here or under way on the shard.
    depth: CachePadded<AtomicUsize>,
    /// How many more of them came from other shards than went to them.
    moved: AtomicI64,
    parker: Arc<Parker>,
}

impl Entrance {
    pub(super) fn new(index: usize, parker: Arc<Parker>) -> Entrance {
        Entrance {
            index,
            gate: AtomicU8::new(Gate::Open as u8),
            fault: Mutex::default(),
            losses: AtomicU64::new(0),
            depth: CachePadded::default(),
            moved: AtomicI64::new(0),
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
        self.depth.load(Ordering::SeqCst)
    }

    /// How many more calls came from other shards than went to them, ever.
    pub(super) fn moved(&self) -> i64 {
        self.moved.load(Ordering::SeqCst)
    }

    /// Before [`submit`](super::mailbox::Mailbox::submit): a shard that drains waits for it.
    pub(crate) fn begin_call(&self) {
        self.depth.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_call(&self) {
        self.depth.fetch_sub(1, Ordering::SeqCst);
        // Refused, it ends on its caller's thread; and a shard that drains waits for the last one.
        if self.gate() == Gate::Draining {
            self.parker.wake();
        }
    }

    /// A call that was counted at `self` is counted at `other` from now on.
    pub(super) fn move_call(&self, other: &Entrance) {
        other.moved.fetch_add(1, Ordering::SeqCst);
        other.begin_call();
        self.moved.fetch_sub(1, Ordering::SeqCst);
        self.end_call();
    }
}
