//! The callers who wait for a connection: by class, and within a class first come, first served.
//!
//! Owns: who waits, since when, in which order, until when. Each class has two lines that share one
//! order of arrival: plain waiters, whom any connection serves, and fresh ones, whom only a newly
//! dialled one does.
//! Never: scans the queue, or decides who is sent away. Joining, leaving and being served take constant
//! time, deadlines a heap's.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

use super::due::Due;
use super::elsewhere::{Elsewhere, Round};
use super::list::{Linked, Links, List};
use super::message::WaiterId;
use crate::config::Class;
use crate::slab::{Key, Slab};
use crate::time::Time;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Slab<Waiting>,
    // Hashed with fixed keys, so that runs repeat: the shard chooses the ids, not a peer.
    by_id: HashMap<WaiterId, Key, BuildHasherDefault<DefaultHasher>>,
    /// One for each class, the most important first.
    lines: [Lines; Class::ALL.len()],
    deadlines: Due,
    elsewhere: Elsewhere,
    arrivals: u64,
}

/// Whom something free may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Whoever is first.
    Anyone,
    /// Waiters of class `Critical` alone.
    Critical,
}

impl Who {
    /// The classes it stands for, the most important first.
    fn classes(self) -> &'static [Class] {
        match self {
            Who::Anyone => &Class::ALL,
            Who::Critical => &[Class::Critical],
        }
    }
}

/// One who has left the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) id: WaiterId,
    pub(super) class: Class,
    /// When it began to wait.
    pub(super) since: Time,
    /// Whether only a newly dialled connection would have done.
    pub(super) fresh: bool,
}

#[derive(Debug)]
struct Waiting {
    who: Left,
    arrival: u64,
    elsewhere: Option<Round>,
    links: Links,
}

impl Linked for Waiting {
    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

/// The waiters of one class.
#[derive(Debug, Default)]
struct Lines {
    plain: List,
    fresh: List,
}

impl Lines {
    fn len(&self) -> u32 {
        self.plain.len() + self.fresh.len()
    }

    /// The line in which a waiter stands.
    fn of(&mut self, fresh: bool) -> &mut List {
        if fresh {
            &mut self.fresh
        } else {
            &mut self.plain
        }
    }
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> u32 {
        self.lines.iter().map(Lines::len).sum()
    }

    pub(super) fn plain_len(&self) -> u32 {
        self.lines.iter().map(|lines| lines.plain.len()).sum()
    }

    pub(super) fn fresh_len(&self) -> u32 {
        self.lines.iter().map(|lines| lines.fresh.len()).sum()
    }

    /// How many waiters of class `Critical` there are, in both lines.
    pub(super) fn critical_len(&self) -> u32 {
        self.line(Class::Critical).len()
    }

    /// Whether [`pop_plain`](Queue::pop_plain) would find somebody.
    pub(super) fn has_plain(&self, who: Who) -> bool {
        self.first_plain(who).is_some()
    }

    /// Whether whoever is first, by class and then by arrival, is a fresh waiter.
    pub(super) fn first_is_fresh(&self) -> bool {
        self.first()
            .and_then(|key| self.waiting.get(key))
            .is_some_and(|waiting| waiting.who.fresh)
    }

    /// Since when the first of `class` has waited.
    pub(super) fn oldest(&self, class: Class) -> Option<Time> {
        let waiting = self.waiting.get(self.first_of(class)?)?;
        Some(waiting.who.since)
    }

    /// When the next waiter fails by its deadline.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Puts a waiter at the end of its class. One who waits already keeps its place.
    pub(super) fn push(
        &mut self,
        now: Time,
        id: WaiterId,
        class: Class,
        deadline: Time,
        fresh: bool,
    ) {
        if self.by_id.contains_key(&id) {
            debug_assert!(false, "{id:?} waits twice");
            return;
        }
        let key = self.waiting.insert(Waiting {
            who: Left {
                id,
                class,
                since: now,
                fresh,
            },
            arrival: self.arrivals,
            elsewhere: None,
            links: Links::default(),
        });
        self.arrivals += 1;
        self.by_id.insert(id, key);
        self.deadlines.push(deadline, key);
        let line = self.lines[class as usize].of(fresh);
        line.push(&mut self.waiting, key);
    }

    /// A plain waiter is likely to be served elsewhere.
    pub(super) fn expect_elsewhere(&mut self, now: Time, id: WaiterId) {
        let key = self.by_id.get(&id).copied();
        if let Some(waiting) = key.and_then(|key| self.waiting.get_mut(key))
            && !waiting.who.fresh
            && waiting.elsewhere.is_none()
        {
            waiting.elsewhere = Some(self.elsewhere.add(now));
        }
    }

    /// So many of the plain waiters are.
    pub(super) fn elsewhere_len(&self) -> u32 {
        self.elsewhere.count()
    }

    /// Those who have not been have to be served here.
    pub(super) fn lapse(&mut self, now: Time) {
        self.elsewhere.lapse(now);
    }

    /// When [`lapse`](Queue::lapse) changes that.
    pub(super) fn lapses_at(&self) -> Option<Time> {
        self.elsewhere.until()
    }

    /// Forgets a waiter. Tells whether it waited.
    pub(super) fn cancel(&mut self, id: WaiterId) -> bool {
        let key = self.by_id.get(&id).copied();
        key.and_then(|key| self.take(key)).is_some()
    }

    /// The first of the plain waiters: its class, and since when it has waited.
    pub(super) fn next_plain(&self, who: Who) -> Option<(Class, Time)> {
        let waiting = self.waiting.get(self.first_plain(who)?)?;
        Some((waiting.who.class, waiting.who.since))
    }

    /// Takes the first of the plain waiters.
    pub(super) fn pop_plain(&mut self, who: Who) -> Option<Left> {
        self.first_plain(who).and_then(|key| self.take(key))
    }

    /// Takes the first of the fresh waiters.
    pub(super) fn pop_fresh(&mut self, who: Who) -> Option<Left> {
        let first = |class: &Class| self.line(*class).fresh.oldest();
        let key = who.classes().iter().find_map(first)?;
        self.take(key)
    }

    /// Takes the first of all.
    pub(super) fn pop_first(&mut self) -> Option<Left> {
        self.first().and_then(|key| self.take(key))
    }

    /// Takes the one of `class` that has waited longest.
    pub(super) fn pop_oldest_of(&mut self, class: Class) -> Option<Left> {
        self.first_of(class).and_then(|key| self.take(key))
    }

    /// Takes one waiter whose deadline has passed.
    pub(super) fn pop_late(&mut self, now: Time) -> Option<Left> {
        // Entries of those who have left are skipped; each is met once.
        while let Some(key) = self.deadlines.pop(now) {
            if let Some(left) = self.take(key) {
                return Some(left);
            }
        }
        None
    }

    /// Takes whoever has to make room for one of class `by`: of the lowest class below it the one
    /// that came last, since it has lost the least by waiting. `None`: nobody matters less.
    pub(super) fn displace(&mut self, by: Class) -> Option<Left> {
        let mut lower = Class::ALL.into_iter().rev().take_while(|&class| class > by);
        let key = lower.find_map(|class| self.last_of(class))?;
        self.take(key)
    }

    /// Takes the one who matters least: of the lowest class the one that came last.
    pub(super) fn pop_last(&mut self) -> Option<Left> {
        let mut classes = Class::ALL.into_iter().rev();
        let key = classes.find_map(|class| self.last_of(class))?;
        self.take(key)
    }

    fn line(&self, class: Class) -> &Lines {
        &self.lines[class as usize]
    }

    fn arrival(&self, key: Key) -> Option<u64> {
        self.waiting.get(key).map(|waiting| waiting.arrival)
    }

    fn first(&self) -> Option<Key> {
        let mut classes = Class::ALL.into_iter();
        classes.find_map(|class| self.first_of(class))
    }

    fn first_plain(&self, who: Who) -> Option<Key> {
        let first = |class: &Class| self.line(*class).plain.oldest();
        who.classes().iter().find_map(first)
    }

    fn first_of(&self, class: Class) -> Option<Key> {
        let lines = self.line(class);
        let ends = [lines.plain.oldest(), lines.fresh.oldest()];
        ends.into_iter()
            .flatten()
            .min_by_key(|&key| self.arrival(key))
    }

    fn last_of(&self, class: Class) -> Option<Key> {
        let lines = self.line(class);
        let ends = [lines.plain.newest(), lines.fresh.newest()];
        ends.into_iter()
            .flatten()
            .max_by_key(|&key| self.arrival(key))
    }

    fn take(&mut self, key: Key) -> Option<Left> {
        let waiting = self.waiting.get(key)?;
        let left = waiting.who;
        if let Some(round) = waiting.elsewhere {
            self.elsewhere.left(round);
        }
        let line = self.lines[left.class as usize].of(left.fresh);
        line.unlink(&mut self.waiting, key);
        self.waiting.remove(key);
        self.by_id.remove(&left.id);
        let waiting = &self.waiting;
        self.deadlines
            .tidy(waiting.len(), |key| waiting.contains(key));
        Some(left)
    }
}

#[cfg(test)]
mod tests;
