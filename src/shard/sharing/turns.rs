//! Whose turn it is when a connection comes free on a shard where others wait: not always that of its own.
//!
//! A shard whose own callers are always waiting never has room for those of its siblings. At the cap, where
//! the siblings cannot open connections either, theirs would wait until their deadlines beside a queue that moves.
//! So a shard says since when its offered calls have waited, and whoever frees a connection looks: what matters
//! more, or has waited longer by more than [`HEAD_START`], goes before its own.
//!
//! Owns: what is said of waits, and the comparison. Never: an order that holds to the nanosecond, or a look at
//! any of this where nobody offers anything.

use crate::config::Class;
use crate::driver::Driver;
use crate::pool::{ComesFree, MemberId};
use crate::shard::core::Core;
use crate::slab::Key;
use crate::time::Time;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So much longer a sibling's call must have waited than one of the same class here. Little beside any wait that
/// is felt, and much beside what a move costs: queues of one length do not trade calls.
const HEAD_START: Duration = Duration::from_millis(5);

/// Entries of calls that are offered no more, and stand behind one that is.
const STALE_MAX: usize = 64;

const NOBODY: u64 = u64::MAX;

/// Since when the first of a shard's offered calls has waited, class by class; `NOBODY` if there is none.
pub(crate) struct Waits([AtomicU64; Class::ALL.len()]);

impl Waits {
    pub(crate) fn new() -> Waits {
        Waits(std::array::from_fn(|_| AtomicU64::new(NOBODY)))
    }

    /// The shard says so; it alone does. A hint: whoever goes by it finds what there is when taking a call.
    fn say(&self, class: Class, since: Option<Time>) {
        let (word, said) = (
            since.map_or(NOBODY, Time::as_nanos),
            &self.0[class as usize],
        );
        if said.load(Ordering::Relaxed) != word {
            said.store(word, Ordering::Relaxed);
        }
    }

    fn of(&self, class: Class) -> Option<Time> {
        let word = self.0[class as usize].load(Ordering::Relaxed);
        (word != NOBODY).then(|| Time::from_nanos(word))
    }
}

/// The calls that a shard has offered, in the order in which they came to wait.
#[derive(Debug, Default)]
pub(super) struct Offered([VecDeque<(Time, Key)>; Class::ALL.len()]);

impl Offered {
    pub(super) fn add(&mut self, class: Class, since: Time, waiter: Key) {
        self.0[class as usize].push_back((since, waiter));
    }

    /// Since when the first has waited that is offered still.
    fn oldest(&mut self, class: Class, is_offered: impl Fn(Key) -> bool) -> Option<Time> {
        let line = &mut self.0[class as usize];
        while line.front().is_some_and(|&(_, key)| !is_offered(key)) {
            line.pop_front();
        }
        line.front().map(|&(since, _)| since)
    }

    /// Drops entries of those that are gone, if `open` offers leave too many of them.
    fn tidy(&mut self, class: Class, open: usize, is_offered: impl Fn(Key) -> bool) {
        let line = &mut self.0[class as usize];
        if line.len() > 2 * open + STALE_MAX {
            line.retain(|&(_, key)| is_offered(key));
        }
    }
}

impl<D: Driver> Core<D> {
    /// Says since when calls wait here that siblings could run.
    pub(super) fn say_waits(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let Some(offers) = &state.share.offers else {
            return;
        };
        let waiters = &self.waiters;
        let is_offered = |key| waiters.get(key).is_some_and(|one| one.stake.is_offered());
        let waiting = state.pool.census().waiters as usize;
        for class in Class::ALL {
            let offered = &mut state.share.offered;
            offered.tidy(class, waiting, is_offered);
            let since = offered.oldest(class, is_offered);
            offers.waits(self.index).say(class, since);
        }
    }

    /// A connection comes free, and somebody waits here for one: a call of a sibling gets it, if it is that one's
    /// turn. False if it is not.
    pub(in crate::shard) fn hand_on(
        &mut self,
        upstream: Key,
        member: MemberId,
        comes: ComesFree,
    ) -> bool {
        let Some(class) = self.turn_of_other(upstream, member) else {
            return false;
        };
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return false;
        };
        let offers = state.share.offers.as_ref();
        let Some((offer, call)) = offers.and_then(|offers| offers.take(class)) else {
            return false;
        };
        let grant = state.pool.hand_on(self.now, member, comes);
        self.run_taken(&offer, call, grant);
        self.schedule(upstream);
        true
    }

    /// The class of the call of a sibling that `member` should serve before all who wait here.
    fn turn_of_other(&mut self, upstream: Key, member: MemberId) -> Option<Class> {
        if self.draining || self.stopping || self.is_late_for(upstream) {
            return None;
        }
        let (index, now) = (self.index, self.now);
        let state = self.upstreams.get_mut(upstream)?;
        let offers = state.share.offers.as_ref()?;
        if !state.pool.has_waiters()
            || offers.open().is_empty()
            || !state.policy.current().sharing.steal
        {
            return None;
        }
        let (own, since) = state.pool.next_for(now, member)?;
        let siblings = (0..offers.shards()).filter(|&shard| shard != index);
        let oldest = |class| {
            let waits = siblings.clone();
            waits
                .filter_map(|shard| offers.waits(shard).of(class))
                .min()
        };
        let up_to_own = Class::ALL.into_iter().take_while(|&class| class <= own);
        let mut offered = up_to_own.filter(|&class| offers.has_open(class));
        offered.find(|&class| {
            oldest(class).is_some_and(|other| class < own || other + HEAD_START < since)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Key::from_parts(n, 1)
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    #[test]
    fn the_first_that_is_offered_still_is_the_oldest() {
        let mut offered = Offered::default();
        for n in 0..4 {
            offered.add(Class::Normal, at(n.into()), key(n));
        }
        assert_eq!(offered.oldest(Class::Critical, |_| true), None);
        assert_eq!(
            offered.oldest(Class::Normal, |one| one != key(0)),
            Some(at(1))
        );
        assert_eq!(
            offered.oldest(Class::Normal, |_| true),
            Some(at(1)),
            "it is forgotten"
        );
        assert_eq!(offered.oldest(Class::Normal, |_| false), None);
    }

    #[test]
    fn those_that_are_gone_take_little_room() {
        let mut offered = Offered::default();
        for n in 0..10_000 {
            offered.add(Class::Sheddable, at(n.into()), key(n));
            // The first one stays.
            let is_offered = |one| one == key(0) || one == key(n);
            offered.tidy(Class::Sheddable, 2, is_offered);
            assert_eq!(offered.oldest(Class::Sheddable, is_offered), Some(at(0)));
            assert!(offered.0[Class::Sheddable as usize].len() <= STALE_MAX + 4);
        }
    }

    #[test]
    fn what_is_said_is_read_class_by_class() {
        let waits = Waits::new();
        waits.say(Class::Normal, Some(at(7)));
        assert_eq!(
            Class::ALL.map(|class| waits.of(class)),
            [None, Some(at(7)), None]
        );
        waits.say(Class::Normal, None);
        assert_eq!(waits.of(Class::Normal), None);
    }
}
