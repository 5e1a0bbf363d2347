//! How fast connections are dialled that nobody waits for.
//!
//! Owns: a token bucket, and the random pause after it has run empty.
//! Never: delays a dial that somebody waits for; nobody asks it about those.
//!
//! A backend that restarts loses the warm connections of every client at the same moment. What limits
//! the rate spares it the flood; what makes the steps random keeps clients from falling into step.

use crate::random::Random;
use crate::time::Time;
use std::time::Duration;

/// The credit is kept as time: one dial costs the time in which the rate allows one. Whole
/// nanoseconds, so that [`next`](Pace::next) is exact and no timer fires in vain.
///
/// Jitter delays a dial by up to one step after its credit is there, and the credit goes on growing
/// meanwhile: dials stay within `burst` + `rate` × any time, and their number keeps up with the rate. (A
/// burst of one leaves no room for credit to grow: it gets two thirds of the rate.)
#[derive(Debug)]
pub(super) struct Pace {
    credit: u64,
    credited_at: Time,
    not_before: Time,
}

impl Default for Pace {
    /// A full bucket, however large it turns out to be.
    fn default() -> Pace {
        Pace {
            credit: u64::MAX,
            credited_at: Time::ZERO,
            not_before: Time::ZERO,
        }
    }
}

impl Pace {
    /// When [`try_take`](Pace::try_take) allows a dial: `now`, or later.
    pub(super) fn next(&self, now: Time, rate: u32) -> Time {
        let missing = step(rate).saturating_sub(self.credit);
        let credited = self.credited_at + Duration::from_nanos(missing);
        credited.max(self.not_before).max(now)
    }

    /// Whether one more may be dialled now; if so it is counted. `rate` in dials a second, at least 1; `burst` of
    /// them may be made at once after a rest, at least 1.
    pub(super) fn try_take(
        &mut self,
        now: Time,
        rate: u32,
        burst: u32,
        random: &mut Random,
    ) -> bool {
        let step = step(rate);
        let passed = now.as_nanos().saturating_sub(self.credited_at.as_nanos());
        let full = step.saturating_mul(burst.max(1).into());
        self.credit = self.credit.saturating_add(passed).min(full);
        self.credited_at = now;
        if now < self.not_before || self.credit < step {
            return false;
        }
        self.credit -= step;
        if self.credit < step {
            let pause = step - self.credit + random.below(step);
            self.not_before = now + Duration::from_nanos(pause);
        }
        true
    }
}

/// The time in which `rate` allows one dial, in nanoseconds.
fn step(rate: u32) -> u64 {
    1_000_000_000 / u64::from(rate.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_comes_at_once_and_the_rest_one_by_one() {
        let mut random = Random::new(3);
        let mut pace = Pace::default();
        let now = Time::ZERO + Duration::from_secs(9);
        let mut take = |pace: &mut Pace, now| {
            let takes = (0..100).filter(|_| pace.try_take(now, 50, 16, &mut random));
            takes.count()
        };
        assert_eq!(take(&mut pace, now), 16);
        let mut before = now;
        for _ in 0..5 {
            let next = pace.next(before, 50);
            // A step is 20 ms; jitter moves both of its ends.
            assert!(next > before && next.since(before) < Duration::from_millis(40));
            assert_eq!(take(&mut pace, next), 1);
            before = next;
        }
        let rested = now + Duration::from_secs(60);
        assert_eq!(take(&mut pace, rested), 16);
    }

    #[test]
    fn clients_that_begin_together_do_not_stay_together() {
        let third_dial = |seed| {
            let mut random = Random::new(seed);
            let mut pace = Pace::default();
            let mut now = Time::ZERO;
            for _ in 0..3 {
                now = pace.next(now, 10);
                assert!(pace.try_take(now, 10, 1, &mut random));
            }
            now
        };
        let moments: std::collections::BTreeSet<Time> = (0..50).map(third_dial).collect();
        assert_eq!(moments.len(), 50);
        assert_eq!(third_dial(7), third_dial(7));
    }

    #[test]
    fn a_rate_that_rises_or_falls_is_followed_at_once() {
        let mut random = Random::new(3);
        let mut pace = Pace::default();
        assert!(pace.try_take(Time::ZERO, 1000, 2, &mut random));
        // One of two is left, but at one a second it is worth a millisecond of 1000.
        assert!(!pace.try_take(Time::ZERO, 1, 2, &mut random));
        let next = pace.next(Time::ZERO, 1);
        assert_eq!(next, Time::ZERO + Duration::from_millis(999));
        assert!(pace.try_take(next, 1, 2, &mut random));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_time_has_at_most_a_burst_and_its_share_and_next_is_exact(
            rate in 1u32..2000,
            burst in 2u32..50,
            seed: u64,
            rests in prop::collection::vec(0u64..100_000_000, 100),
        ) {
            let mut random = Random::new(seed);
            let mut pace = Pace::default();
            let mut now = Time::ZERO;
            let mut taken: Vec<Time> = Vec::new();
            for rest in rests {
                let next = pace.next(now, rate);
                if next > now {
                    let early = Time::from_nanos(next.as_nanos() - 1);
                    prop_assert!(!pace.try_take(early, rate, burst, &mut random));
                }
                now = next;
                prop_assert!(pace.try_take(now, rate, burst, &mut random));
                taken.push(now);
                if rest % 4 == 0 {
                    now = now + Duration::from_nanos(rest);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let share = to.since(*from).as_nanos() as u64 / step(rate);
                    prop_assert!((last - first) as u64 <= u64::from(burst) + share);
                }
            }
        }

        #[test]
        fn jitter_costs_no_rate(rate in 1u32..2000, burst in 2u32..20, seed: u64) {
            let mut random = Random::new(seed);
            let mut pace = Pace::default();
            let mut now = Time::ZERO;
            let count = 200 + burst;
            for _ in 0..count {
                now = pace.next(now, rate);
                prop_assert!(pace.try_take(now, rate, burst, &mut random));
            }
            let steps = now.as_nanos() / step(rate);
            prop_assert!((199..=202).contains(&steps), "{} steps for {} dials", steps, count);
        }
    }
}
