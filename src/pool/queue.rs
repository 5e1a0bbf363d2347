//! The callers who wait for a connection, first come, first served.
//!
//! Owns: who waits, in which order, until when. Two lines share one order of arrival: plain waiters, whom
//! any connection serves, and fresh ones, whom only a newly dialled one does.
//! Never: scans the queue. Joining, leaving and being served take constant time, deadlines a heap's.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::due::Due;
use super::list::{Linked, Links, List};
use super::message::WaiterId;
use crate::slab::{Key, Slab};
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Slab<Waiting>,
    // Hashed with fixed keys, so that runs repeat: the shard chooses the ids, not a peer.
    by_id: HashMap<WaiterId, Key, BuildHasherDefault<DefaultHasher>>,
    plain: List,
    fresh: List,
    deadlines: Due,
    arrivals: u64,
}

#[derive(Debug)]
struct Waiting {
    id: WaiterId,
    arrival: u64,
    fresh: bool,
    links: Links,
}

impl Linked for Waiting {
    fn links(&self) -> &Links {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        self.plain.len() + self.fresh.len()
    }

    pub(super) fn plain_len(&self) -> u32 {
        self.plain.len()
    }

    pub(super) fn fresh_len(&self) -> u32 {
        self.fresh.len()
    }

    /// When the next waiter fails by its deadline.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Whether whoever has waited longest is a fresh waiter.
    pub(super) fn oldest_is_fresh(&self) -> bool {
        self.oldest()
            .and_then(|key| self.waiting.get(key))
            .is_some_and(|waiting| waiting.fresh)
    }

    /// Puts a waiter at the end. One who waits already keeps its place.
    pub(super) fn push(&mut self, id: WaiterId, deadline: Time, fresh: bool) {
        if self.by_id.contains_key(&id) {
            debug_assert!(false, "{id:?} waits twice");
            return;
        }
        let key = self.waiting.insert(Waiting {
            id,
            arrival: self.arrivals,
            fresh,
            links: Links::default(),
        });
        self.arrivals += 1;
        self.by_id.insert(id, key);
        self.deadlines.push(deadline, key);
        let line = if fresh {
            &mut self.fresh
        } else {
            &mut self.plain
        };
        line.push(&mut self.waiting, key);
    }

    /// Forgets a waiter, if it waits.
    pub(super) fn cancel(&mut self, id: WaiterId) {
        if let Some(&key) = self.by_id.get(&id) {
            self.take(key);
        }
    }

    /// Takes the first of the plain waiters.
    pub(super) fn pop_plain(&mut self) -> Option<WaiterId> {
        self.plain.oldest().and_then(|key| self.take(key))
    }

    /// Takes the first of the fresh waiters.
    pub(super) fn pop_fresh(&mut self) -> Option<WaiterId> {
        self.fresh.oldest().and_then(|key| self.take(key))
    }

    /// Takes whoever has waited longest.
    pub(super) fn pop_oldest(&mut self) -> Option<WaiterId> {
        self.oldest().and_then(|key| self.take(key))
    }

    /// Takes one waiter whose deadline has passed.
    pub(super) fn pop_late(&mut self, now: Time) -> Option<WaiterId> {
        // Entries of those who have left are skipped; each is met once.
        while let Some(key) = self.deadlines.pop(now) {
            if let Some(id) = self.take(key) {
                return Some(id);
            }
        }
        None
    }

    fn oldest(&self) -> Option<Key> {
        let arrival = |key| self.waiting.get(key).map(|waiting| waiting.arrival);
        match (self.plain.oldest(), self.fresh.oldest()) {
            (Some(plain), Some(fresh)) if arrival(plain) < arrival(fresh) => Some(plain),
            (_, Some(fresh)) => Some(fresh),
            (plain, None) => plain,
        }
    }

    fn take(&mut self, key: Key) -> Option<WaiterId> {
        let Waiting { id, fresh, .. } = *self.waiting.get(key)?;
        let line = if fresh {
            &mut self.fresh
        } else {
            &mut self.plain
        };
        line.unlink(&mut self.waiting, key);
        self.waiting.remove(key);
        self.by_id.remove(&id);
        let waiting = &self.waiting;
        self.deadlines
            .tidy(waiting.len(), |key| waiting.contains(key));
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> WaiterId {
        WaiterId(Key::from_parts(n, 1))
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn lines_share_one_order_of_arrival() {
        let mut queue = Queue::default();
        for n in 0..6 {
            queue.push(id(n), Time::NEVER, n % 2 == 0);
        }
        assert!(queue.oldest_is_fresh());
        assert_eq!(queue.pop_plain(), Some(id(1)));
        assert_eq!(queue.pop_oldest(), Some(id(0)));
        assert_eq!(queue.pop_oldest(), Some(id(2)));
        assert!(!queue.oldest_is_fresh());
        queue.cancel(id(3));
        queue.cancel(id(3));
        assert_eq!(queue.pop_oldest(), Some(id(4)));
        assert_eq!(queue.pop_oldest(), Some(id(5)));
        assert_eq!(queue.pop_oldest(), None);
        assert!(queue.is_empty());
    }

    #[test]
    fn deadlines_come_in_their_own_order_and_skip_who_left() {
        let mut queue = Queue::default();
        for n in 0..4 {
            queue.push(id(n), at(100 - u64::from(n)), false);
        }
        assert_eq!(queue.next_deadline(), Some(at(97)));
        queue.cancel(id(3));
        assert_eq!(queue.next_deadline(), Some(at(98)));
        assert_eq!(queue.pop_late(at(97)), None);
        assert_eq!(queue.pop_late(at(99)), Some(id(2)));
        assert_eq!(queue.pop_late(at(99)), Some(id(1)));
        assert_eq!(queue.pop_late(at(99)), None);
        assert_eq!(queue.pop_plain(), Some(id(0)));
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn those_who_left_take_no_room_for_long() {
        let mut queue = Queue::default();
        queue.push(id(0), at(1), false);
        for n in 1..10_000 {
            queue.push(id(n), at(1_000_000 + u64::from(n)), false);
            queue.cancel(id(n));
        }
        assert_eq!(queue.len(), 1);
        assert!(queue.deadlines.len() < 64);
        assert!(queue.by_id.len() == 1);
    }
}
