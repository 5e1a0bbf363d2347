//! How many calls may be tried again, and after which pause.
//!
//! Owns: one upstream's account of calls and retries on one shard, second by second.
//! Never: judges whether a call is safe to repeat, or sleeps.
//!
//! At every moment the retries of the last 10 seconds stay within a share of the calls of that time and a
//! floor per second (Finagle's retry budget). Where some calls fail, all of those are tried again; where most fail,
//! the backend is met by a fifth more and not by a multiple.

use std::time::Duration;

use crate::config::RetryConfig;
use crate::random::Random;
use crate::time::Time;

/// The budget's time, in seconds.
const WINDOW: u32 = 10;

/// Slices of a second: the window, and the one under way. So the account always covers the whole window.
const SLICES: usize = WINDOW as usize + 1;

const SLICE: Duration = Duration::from_secs(1);

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Slice {
    calls: u32,
    retries: u32,
}

/// What is left for retries.
#[derive(Debug)]
pub struct RetryBudget {
    slices: [Slice; SLICES],
    /// The slice that is under way, and when it ends.
    at: usize,
    ends: Time,
    /// Sums over the slices.
    calls: u64,
    retries: u64,
    /// By what [`balance`](RetryBudget::balance) is told: the configuration seen last.
    share: f64,
    floor: f64,
}

impl RetryBudget {
    /// A budget without calls: the floor of a whole window.
    pub fn new(now: Time, config: &RetryConfig) -> RetryBudget {
        let mut budget = RetryBudget {
            slices: [Slice::default(); SLICES],
            at: 0,
            ends: now + SLICE,
            calls: 0,
            retries: 0,
            share: 0.0,
            floor: 0.0,
        };
        budget.follow(config);
        budget
    }

    /// How many retries were left when last called. Below zero if the configuration allows fewer now
    /// than were made.
    pub fn balance(&self) -> f64 {
        self.floor + self.share * self.calls as f64 - self.retries as f64
    }

    /// A call began (not a retry).
    #[inline]
    pub fn called(&mut self, now: Time, config: &RetryConfig) {
        if now >= self.ends {
            self.turn(now);
            self.follow(config);
        }
        self.slices[self.at].calls += 1;
        self.calls += 1;
    }

    /// Whether one call may be tried again; if so it is counted.
    pub fn try_retry(&mut self, now: Time, config: &RetryConfig) -> bool {
        if now >= self.ends {
            self.turn(now);
        }
        self.follow(config);
        if self.balance() < 1.0 {
            return false;
        }
        self.slices[self.at].retries += 1;
        self.retries += 1;
        true
    }

    fn follow(&mut self, config: &RetryConfig) {
        self.share = config.budget_share;
        self.floor = f64::from(config.budget_per_second) * f64::from(WINDOW);
    }

    /// Begins the slice that `now` is in, and forgets those that are too old.
    #[cold]
    fn turn(&mut self, now: Time) {
        let passed = now.since(self.ends).as_secs().saturating_add(1);
        for _ in 0..passed.min(SLICES as u64) {
            self.at = (self.at + 1) % SLICES;
            let old = std::mem::take(&mut self.slices[self.at]);
            self.calls -= u64::from(old.calls);
            self.retries -= u64::from(old.retries);
        }
        self.ends = self.ends + Duration::from_secs(passed);
    }
}

/// The pause before a retry, the first of which is number 1.
///
/// Random between nothing and a bound ("full jitter"): `backoff_min` for the first two, doubling from then on up to
/// `backoff_max`. The first has none if it may go `at_once`: a connection that was found closed says
/// nothing about the next one.
pub fn backoff(config: &RetryConfig, retry: u32, at_once: bool, random: &mut Random) -> Duration {
    debug_assert!(retry > 0, "the first attempt is no retry");
    if at_once && retry <= 1 {
        return Duration::ZERO;
    }
    let doublings = retry.saturating_sub(2).min(31);
    let bound = config.backoff_min.saturating_mul(1 << doublings);
    random.shorten(bound.min(config.backoff_max), 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn config(budget_share: f64, budget_per_second: u32) -> RetryConfig {
        RetryConfig {
            budget_share,
            budget_per_second,
            ..RetryConfig::default()
        }
    }

    fn ms(n: u64) -> Time {
        Time::ZERO + Duration::from_millis(n)
    }

    /// How many retries are allowed at once.
    fn spend(budget: &mut RetryBudget, now: Time, config: &RetryConfig) -> u32 {
        let mut spent = 0;
        while budget.try_retry(now, config) {
            spent += 1;
            assert!(spent < 1_000_000);
        }
        spent
    }

    #[test]
    fn it_begins_with_the_floor_and_grows_with_calls() {
        let config = config(0.2, 10);
        let mut budget = RetryBudget::new(ms(5000), &config);
        assert_eq!(budget.balance(), 100.0);
        assert_eq!(spend(&mut budget, ms(5000), &config), 100);
        for _ in 0..50 {
            budget.called(ms(5500), &config);
        }
        assert_eq!(spend(&mut budget, ms(5500), &config), 10);
        // Ten seconds later those are forgotten, calls and retries.
        assert_eq!(spend(&mut budget, ms(14_999), &config), 0);
        assert_eq!(spend(&mut budget, ms(16_000), &config), 100);
    }

    #[test]
    fn without_share_and_floor_nothing_is_tried_again() {
        let config = config(0.0, 0);
        let mut budget = RetryBudget::new(ms(0), &config);
        for n in 0..1000 {
            budget.called(ms(n), &config);
        }
        assert_eq!(spend(&mut budget, ms(1000), &config), 0);
    }

    #[test]
    fn a_total_outage_adds_the_share_and_no_more() {
        let config = config(0.2, 10);
        let mut budget = RetryBudget::new(ms(0), &config);
        let mut retries = 0;
        // 1000 calls a second for a minute, and all of them want two retries.
        for n in 0..60_000 {
            budget.called(ms(n), &config);
            retries += u32::from(budget.try_retry(ms(n), &config));
            retries += u32::from(budget.try_retry(ms(n), &config));
        }
        let share = f64::from(retries) / 60_000.0;
        assert!((0.19..0.22).contains(&share), "{share}");
    }

    #[test]
    fn new_settings_hold_at_once() {
        let mut budget = RetryBudget::new(ms(0), &config(0.0, 10));
        assert_eq!(spend(&mut budget, ms(0), &config(0.0, 10)), 100);
        assert_eq!(spend(&mut budget, ms(0), &config(0.0, 12)), 20);
        assert_eq!(spend(&mut budget, ms(0), &config(0.0, 1)), 0);
        assert_eq!(budget.balance(), -110.0);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_random_over_their_whole_length() {
        let config = RetryConfig::default();
        let mut random = Random::new(11);
        assert_eq!(backoff(&config, 1, true, &mut random), Duration::ZERO);
        for (retry, bound) in [
            (1, 10),
            (2, 10),
            (3, 20),
            (4, 40),
            (8, 640),
            (9, 1000),
            (u32::MAX, 1000),
        ] {
            let at_once = retry > 1;
            let bound = MS * bound;
            let drawn: Vec<Duration> = (0..1000)
                .map(|_| backoff(&config, retry, at_once, &mut random))
                .collect();
            assert!(drawn.iter().all(|pause| *pause <= bound), "retry {retry}");
            assert!(
                drawn.iter().any(|pause| *pause < bound / 20),
                "retry {retry}"
            );
            assert!(
                drawn.iter().any(|pause| *pause > bound / 20 * 19),
                "retry {retry}"
            );
        }
        let draw = || backoff(&config, 3, false, &mut Random::new(4));
        assert_eq!(draw(), draw());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_ten_seconds_have_more_retries_than_the_bound(
            steps in prop::collection::vec((0u64..3000, 0u32..40, 0u32..40), 1..120),
            share in 0.0f64..1.0,
            floor in 0u32..5,
        ) {
            let config = config(share, floor);
            let mut budget = RetryBudget::new(Time::ZERO, &config);
            let (mut calls, mut retries) = (Vec::new(), Vec::new());
            let mut now = 0;
            for (pause, came, again) in steps {
                now += pause;
                for _ in 0..came {
                    budget.called(ms(now), &config);
                    calls.push(now);
                }
                for _ in 0..again {
                    if budget.try_retry(ms(now), &config) {
                        retries.push(now);
                        prop_assert!(budget.balance() > -1e-9);
                    }
                }
            }
            // Moments are in order.
            let among = |moments: &[u64], from: u64, to: u64| {
                let before = moments.partition_point(|m| *m < from);
                (moments.partition_point(|m| *m <= to) - before) as f64
            };
            for end in &retries {
                let made = among(&retries, (end + 1).saturating_sub(10_000), *end);
                // The account's slices are whole seconds, so it may know of calls one second older.
                let known = among(&calls, (end + 1).saturating_sub(11_000), *end);
                prop_assert!(made <= f64::from(floor * 10) + share * known + 1e-9);
            }
        }

        #[test]
        fn sums_equal_their_slices(steps in prop::collection::vec((0u64..15_000, 0u32..9), 1..80)) {
            let config = RetryConfig::default();
            let mut budget = RetryBudget::new(ms(777), &config);
            let mut now = 777;
            for (pause, came) in steps {
                now += pause;
                for _ in 0..came {
                    budget.called(ms(now), &config);
                    budget.try_retry(ms(now), &config);
                }
                let calls: u64 = budget.slices.iter().map(|s| u64::from(s.calls)).sum();
                let retries: u64 = budget.slices.iter().map(|s| u64::from(s.retries)).sum();
                prop_assert_eq!((budget.calls, budget.retries), (calls, retries));
                prop_assert!(came == 0 || budget.ends > ms(now) && budget.ends <= ms(now) + SLICE);
            }
        }
    }
}
