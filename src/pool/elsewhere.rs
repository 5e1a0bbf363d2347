//! Waiters who are likely to be served elsewhere, in a moment.
//!
//! Owns: how many there are, and until when that is believed: no dial is begun for them till then.
//! Never: keeps anybody from being served here.

use crate::time::Time;
use std::time::Duration;

/// How long it may take. Longer than a shard's turn; a wait that nobody feels if it was in vain.
const PATIENCE: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    count: u32,
    /// Counts the times that it was given up, so that those who leave later are not counted again.
    round: u32,
    until: Time,
}

/// Which round a waiter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round(u32);

impl Elsewhere {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// When it is given up.
    pub(super) fn until(&self) -> Option<Time> {
        (self.count > 0).then_some(self.until)
    }

    pub(super) fn add(&mut self, now: Time) -> Round {
        if self.count == 0 {
            self.until = now + PATIENCE;
        }
        self.count += 1;
        Round(self.round)
    }

    /// One of them waits no more, for whatever reason.
    pub(super) fn left(&mut self, round: Round) {
        if round.0 == self.round {
            self.count -= 1;
        }
    }

    /// Gives up those whose time is over.
    pub(super) fn lapse(&mut self, now: Time) {
        if self.count > 0 && now >= self.until {
            self.count = 0;
            self.round = self.round.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_believed_for_a_moment_from_the_first_on() {
        let at = |micros| Time::ZERO + Duration::from_micros(micros);
        let mut elsewhere = Elsewhere::default();
        assert_eq!(elsewhere.until(), None);
        let first = elsewhere.add(at(0));
        let second = elsewhere.add(at(900));
        assert_eq!((elsewhere.count(), elsewhere.until()), (2, Some(at(1000))));
        elsewhere.left(first);
        elsewhere.lapse(at(999));
        assert_eq!(elsewhere.count(), 1);
        elsewhere.lapse(at(1000));
        assert_eq!((elsewhere.count(), elsewhere.until()), (0, None));
        let third = elsewhere.add(at(1100));
        elsewhere.left(second);
        assert_eq!(elsewhere.count(), 1, "the second was given up already");
        elsewhere.left(third);
        assert_eq!(elsewhere.count(), 0);
    }
}
