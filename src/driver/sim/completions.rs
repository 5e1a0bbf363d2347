//! The completion queue of a simulated driver, and what will be in it.
//!
//! Owns: the order of completions: by time, then as faults say, then as they were made. Never: loses
//! one; those that overflow the queue come with the next enter.

use super::buffer::SimBuffer;
use super::faults::Turn;
use super::socket::OperationId;
use crate::driver::{Event, Scope};
use crate::slab::Key;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

#[derive(Default)]
pub(super) struct Completions {
    later: BinaryHeap<Reverse<Completion>>,
    sequence: u64,
    /// In the queue, or behind it where it overflows.
    there: VecDeque<Event<SimBuffer>>,
    /// How many of them can be reaped.
    visible: usize,
}

struct Completion {
    turn: Turn,
    sequence: u64,
    what: Due,
}

/// What happens when a completion is due.
pub(super) enum Due {
    Event(Event<SimBuffer>),
    Cancel(LateCancel),
}

/// A cancel that took its time: what of its targets is still under way ends now.
#[derive(Clone, Copy)]
pub(super) struct LateCancel {
    pub(super) key: Key,
    pub(super) scope: Scope,
    /// Operations from this one on began later and are none of its targets.
    pub(super) before: OperationId,
    /// Its own event has not come yet.
    pub(super) untold: bool,
}

impl Completions {
    pub(super) fn add(&mut self, turn: Turn, what: Due) {
        let completion = Completion {
            turn,
            sequence: self.sequence,
            what,
        };
        self.sequence += 1;
        self.later.push(Reverse(completion));
    }

    /// What is due next, if it is due by `now`.
    pub(super) fn next_due(&mut self, now: Time) -> Option<Due> {
        if self.due() > now {
            return None;
        }
        self.later.pop().map(|Reverse(completion)| completion.what)
    }

    /// When the next one is due that is not in the queue yet.
    pub(super) fn due(&self) -> Time {
        let next = self.later.peek();
        next.map_or(Time::NEVER, |Reverse(completion)| completion.turn.0)
    }

    pub(super) fn queue(&mut self, event: Event<SimBuffer>) {
        self.there.push_back(event);
    }

    pub(super) fn queued(&self) -> usize {
        self.there.len()
    }

    /// Lets this many be reaped, the oldest first.
    pub(super) fn show(&mut self, visible: usize) {
        self.visible = visible;
    }

    pub(super) fn take(&mut self) -> Option<Event<SimBuffer>> {
        self.visible = self.visible.checked_sub(1)?;
        self.there.pop_front()
    }
}

impl PartialEq for Completion {
    fn eq(&self, other: &Completion) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Completion {}

impl PartialOrd for Completion {
    fn partial_cmp(&self, other: &Completion) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Completion {
    fn cmp(&self, other: &Completion) -> std::cmp::Ordering {
        (self.turn, self.sequence).cmp(&(other.turn, other.sequence))
    }
}
