//! Looking out for completions before a sleep.
//!
//! Owns: how long, and when not. Never: makes a system call. A sleep and its end take more of the core than many looks at
//! shared memory, and the peer's side has nobody to wake. Where looking out was in vain the next sleeps come without. What ends it may be
//! the ring's own timer alone: that is in vain as well, and only who reaps knows.

use crate::time::clock::Clock;
use std::time::Duration;

/// How many looks between two at the clock.
const LOOKS: u32 = 32;

/// At most so many sleeps come without a look after one in vain.
const SKIPPED_MAX: u32 = 63;

#[derive(Debug)]
pub(super) struct Spin {
    limit: Duration,
    clock: Clock,
    /// How many sleeps come without, after looking out in vain once more.
    penalty: u32,
    /// How many of them are left.
    skipped: u32,
    /// Something came while it looked out, and it is not known yet what.
    found: bool,
}

impl Spin {
    /// `limit`: how long at most; zero is not at all.
    pub(super) fn new(limit: Duration) -> Spin {
        Spin {
            limit,
            clock: Clock::system(),
            penalty: 0,
            skipped: 0,
            found: false,
        }
    }

    /// Whether to look out before this sleep.
    #[inline]
    pub(super) fn is_wanted(&mut self) -> bool {
        if self.limit.is_zero() {
            return false;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            return false;
        }
        true
    }

    /// Looks until `found`, or for as long as it may, and no longer than `at_most`. `None` if it was found, to be
    /// [reaped](Spin::reaped); or else how long that took.
    pub(super) fn look_out(
        &mut self,
        at_most: Duration,
        found: impl Fn() -> bool,
    ) -> Option<Duration> {
        let begin = self.clock.now();
        let limit = self.limit.min(at_most);
        let took = loop {
            for _ in 0..LOOKS {
                if found() {
                    self.found = true;
                    return None;
                }
                std::hint::spin_loop();
            }
            let took = self.clock.now().since(begin);
            if took >= limit {
                break took;
            }
        };
        self.in_vain();
        Some(took)
    }

    /// What is there was reaped: whether `any` of it was waited for.
    #[inline]
    pub(super) fn reaped(&mut self, any: bool) {
        if std::mem::take(&mut self.found) {
            match any {
                true => self.penalty = 0,
                false => self.in_vain(),
            }
        }
    }

    fn in_vain(&mut self) {
        self.penalty = (2 * self.penalty + 1).min(SKIPPED_MAX);
        self.skipped = self.penalty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn it_is_off_without_a_limit() {
        assert!(!Spin::new(Duration::ZERO).is_wanted());
    }

    #[test]
    fn in_vain_it_pauses_longer_and_longer_and_success_ends_that() {
        let mut spin = Spin::new(Duration::from_nanos(1));
        for pause in [1, 3, 7, 15, 31, 63, 63] {
            assert!(spin.is_wanted());
            assert!(spin.look_out(Duration::MAX, || false).is_some());
            assert_eq!((0..100).filter(|_| !spin.is_wanted()).count(), pause);
            spin.skipped = 0;
        }
        assert!(spin.look_out(Duration::MAX, || true).is_none());
        spin.reaped(true);
        assert!(spin.is_wanted());
        assert!(spin.look_out(Duration::MAX, || false).is_some());
        assert!(!spin.is_wanted() && spin.is_wanted());
    }

    #[test]
    fn the_rings_own_timer_alone_is_no_success() {
        let mut spin = Spin::new(Duration::from_nanos(1));
        for pause in [1, 3, 7] {
            assert!(spin.look_out(Duration::MAX, || true).is_none());
            spin.reaped(false);
            assert_eq!((0..100).filter(|_| !spin.is_wanted()).count(), pause);
        }
        spin.reaped(true);
        spin.reaped(false);
        assert!(spin.is_wanted(), "nobody was looking out");
        assert_eq!(spin.penalty, 7);
    }

    #[test]
    fn it_looks_until_it_finds() {
        let looks = Cell::new(0);
        let mut spin = Spin::new(Duration::from_secs(60));
        let found = spin.look_out(Duration::MAX, || {
            looks.set(looks.get() + 1);
            looks.get() == 1_000
        });
        assert!(found.is_none() && looks.get() == 1_000);
    }
}
