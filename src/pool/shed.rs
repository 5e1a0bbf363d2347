//! Who is sent away when everybody waits too long.
//!
//! Owns: what each class has seen of waits. As in CoDel (Nichols and Jacobson, 2012), a wait over the
//! target is no harm by itself: bursts drain. Waits that stay over it for a whole interval are a
//! standing queue, which only adds delay.
//! Never: answers a waiter, sheds `Critical`, or looks at more than the heads of the queue.
//!
//! ```text
//!          a wait is over the target                 and was so for a whole interval
//! Short ─────────────────────────────→ Long { from } ───────────────────────────────→ Overloaded
//!   ↑                                       │                                              │
//!   ├──── one is not, or nobody waits ──────┘                                              │
//!   └──── one is at most half of it, or nobody waits ──────────────────────────────────────┘
//! ```
//! While a class is overloaded, whoever has waited longer than the target goes, the oldest first. Those
//! who are served then have waited just under the target, so that "under the target" says nothing of
//! an end of the overload; "under half of it" does. Without that gap waits would swing between the
//! target and the target plus an interval.
//!
//! The first of a class is looked at, and those who are served. The higher classes being served first,
//! it is the lowest whose waits grow first.

use std::time::Duration;

use super::queue::{Left, Queue};
use crate::config::{Class, ShedConfig};
use crate::time::Time;

/// An overload is over when waits are down to the target divided by this.
const RELIEF: u32 = 2;

/// Those who may be shed, the least important first.
const SHEDDABLE: [Class; 2] = [Class::Sheddable, Class::Normal];

#[derive(Debug, Default)]
pub(super) struct Shedder {
    /// One for each class; that of `Critical` is never asked.
    waits: [Waits; Class::ALL.len()],
}

/// What is known of the waits of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// A wait within the target was last seen at `seen`.
    Short { seen: Time },
    /// All have been over the target from then on.
    Long { from: Time },
    /// They have been so for an interval, and none has been short since.
    Overloaded,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits::Short { seen: Time::ZERO }
    }
}

impl Shedder {
    /// One of `class`, who came at `since`, has been granted a connection.
    pub(super) fn served(&mut self, now: Time, class: Class, since: Time, config: &ShedConfig) {
        let Some(target) = config.sojourn_target else {
            return;
        };
        let waits = &mut self.waits[class as usize];
        if waits.is_relieved_by(now, since, target) {
            *waits = Waits::Short { seen: now };
        }
    }

    /// The next one to be shed now, if there is one. To be called after every input that leaves
    /// somebody in the queue, until it finds nobody.
    pub(super) fn shed(
        &mut self,
        now: Time,
        queue: &mut Queue,
        config: &ShedConfig,
    ) -> Option<Left> {
        let Some(target) = config.sojourn_target else {
            *self = Shedder::default();
            return None;
        };
        SHEDDABLE.into_iter().find_map(|class| {
            let head = queue.oldest(class);
            let waits = &mut self.waits[class as usize];
            *waits = waits.after_a_look(now, head, target, config.sojourn_interval);
            let goes = *waits == Waits::Overloaded && now >= late(head?, target);
            goes.then(|| queue.pop_oldest_of(class)).flatten()
        })
    }

    /// When [`shed`](Shedder::shed) will find somebody, if nothing happens until then.
    pub(super) fn next(&self, queue: &Queue, config: &ShedConfig) -> Option<Time> {
        let target = config.sojourn_target?;
        let next_of = |class: Class| {
            let late = late(queue.oldest(class)?, target);
            Some(match self.waits[class as usize] {
                Waits::Short { seen } => late.max(seen) + config.sojourn_interval,
                Waits::Long { from } => late.max(from + config.sojourn_interval),
                Waits::Overloaded => late,
            })
        };
        SHEDDABLE.into_iter().filter_map(next_of).min()
    }

    /// When one who has been shed may come back: not before the waits of an interval can show that
    /// the overload is over.
    pub(super) fn retry_after(&self, config: &ShedConfig) -> Duration {
        config.sojourn_interval
    }
}

impl Waits {
    /// Whether the wait of one who came at `since` shows that waits are short.
    fn is_relieved_by(self, now: Time, since: Time, target: Duration) -> bool {
        match self {
            Waits::Short { .. } | Waits::Long { .. } => now < late(since, target),
            Waits::Overloaded => now < late(since, target / RELIEF),
        }
    }

    /// What is known once it has been seen that the first of the class came at `head`.
    fn after_a_look(
        self,
        now: Time,
        head: Option<Time>,
        target: Duration,
        interval: Duration,
    ) -> Waits {
        let Some(since) = head.filter(|&since| !self.is_relieved_by(now, since, target)) else {
            return Waits::Short { seen: now };
        };
        // A look may be late: what counts is when the wait grew too long, not when it was seen.
        let from = match self {
            Waits::Short { seen } => late(since, target).max(seen),
            Waits::Long { from } => from,
            Waits::Overloaded => return Waits::Overloaded,
        };
        if now >= from + interval {
            Waits::Overloaded
        } else {
            Waits::Long { from }
        }
    }
}

/// The first moment at which one who came at `since` has waited longer than `target`.
fn late(since: Time, target: Duration) -> Time {
    since + target + Duration::from_nanos(1)
}

#[cfg(test)]
mod tests;
