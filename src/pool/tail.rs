//! How long the slowest of recent answers took.
//!
//! Owns: the latencies of the last 10 to 20 seconds, in two halves that take turns, and the time limit of an
//! attempt that follows from them.
//! Never: allocates, or looks at more than a few words for one latency.
//!
//! Whoever cuts attempts off has to record those too, as having taken as long as they were let. Otherwise
//! a backend that has become slow is known by its quickest answers alone, and its limit never rises.

use std::time::Duration;

use super::histogram::{BUCKETS, Histogram, end_of};
use crate::config::AttemptConfig;
use crate::time::Time;

/// For so long one half is filled.
const HALF: Duration = Duration::from_secs(10);

/// Fewer latencies than this have no 99th percentile.
const SAMPLES_MIN: u64 = 100;

/// After so many latencies the percentile kept for time limits is worked out again.
const REFRESH: u32 = 64;

/// The share of answers that a time limit is a multiple of.
const LIMIT_SHARE: f64 = 0.99;

/// Latencies of the last seconds. Less than 10 µs count as 10 µs, more than 100 s as 100 s.
#[derive(Debug)]
pub struct Tail {
    current: Histogram,
    previous: Histogram,
    began: Time,
    /// The percentile for time limits, worked out now and then.
    slow: Option<Duration>,
    refresh_in: u32,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail {
            current: Histogram::EMPTY,
            previous: Histogram::EMPTY,
            began: Time::ZERO,
            slow: None,
            refresh_in: REFRESH,
        }
    }
}

impl Tail {
    /// The latency that `share` (0 to 1) of the recent answers did not exceed; `None` if there were fewer than 100.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let count = self.current.count() + self.previous.count();
        if count < SAMPLES_MIN {
            return None;
        }
        // From the slow end, where percentiles that matter are.
        let mut above = count - ((share * count as f64).ceil() as u64).clamp(1, count);
        for index in (0..BUCKETS).rev() {
            let here = self.current.count_of(index) + self.previous.count_of(index);
            if here > above {
                return Some(end_of(index));
            }
            above -= here;
        }
        debug_assert!(false, "counts differ from their sum");
        None
    }

    /// How long an attempt may take from now on, as far as this says anything. Follows the latencies within 64 of them.
    pub fn attempt_timeout(&self, config: &AttemptConfig) -> Duration {
        let most = config.timeout_max.unwrap_or(Duration::MAX);
        let (Some(least), Some(slow)) = (config.timeout_min, self.slow) else {
            return most;
        };
        let limit = Duration::try_from_secs_f64(slow.as_secs_f64() * config.multiple);
        limit.unwrap_or(most).max(least).min(most)
    }

    /// An answer took so long.
    #[inline]
    pub fn record(&mut self, now: Time, latency: Duration) {
        if now.since(self.began) >= HALF {
            self.turn(now);
        }
        self.current.add(latency);
        self.refresh_in -= 1;
        if self.refresh_in == 0 {
            self.refresh();
        }
    }

    /// Begins a new half.
    #[cold]
    fn turn(&mut self, now: Time) {
        let filled = std::mem::replace(&mut self.current, Histogram::EMPTY);
        // What came to its end a whole half ago is no longer recent.
        let recent = now.since(self.began) < 2 * HALF;
        self.previous = if recent { filled } else { Histogram::EMPTY };
        self.began = now;
        self.refresh();
    }

    #[cold]
    fn refresh(&mut self) {
        self.slow = self.percentile(LIMIT_SHARE);
        self.refresh_in = REFRESH;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    const LONGEST: Duration = Duration::from_secs(30);

    fn adapting() -> AttemptConfig {
        AttemptConfig {
            timeout_min: Some(20 * MS),
            timeout_max: Some(LONGEST),
            multiple: 4.0,
        }
    }

    fn secs(n: u64) -> Time {
        Time::ZERO + Duration::from_secs(n)
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Tail>() <= 2048, "{}", size_of::<Tail>());
    }

    #[test]
    fn too_few_say_nothing() {
        let mut tail = Tail::default();
        for _ in 0..99 {
            tail.record(secs(1), MS);
        }
        assert_eq!(tail.percentile(0.5), None);
        tail.record(secs(1), MS);
        assert!(tail.percentile(0.5).is_some());
    }

    #[test]
    fn what_was_is_forgotten_after_two_halves() {
        let mut tail = Tail::default();
        let slow = |tail: &Tail| tail.percentile(0.99).is_some_and(|p| p > 50 * MS);
        for n in 0..1000 {
            tail.record(secs(30), if n % 10 == 0 { 100 * MS } else { MS });
        }
        assert!(slow(&tail));
        tail.record(secs(49), MS);
        assert!(slow(&tail));
        for _ in 0..200 {
            tail.record(secs(59), MS);
        }
        assert!(!slow(&tail) && tail.percentile(0.99).is_some());
        tail.record(secs(80), MS);
        assert_eq!(tail.percentile(0.99), None);
    }

    #[test]
    fn a_time_limit_is_a_multiple_within_its_bounds() {
        let mut tail = Tail::default();
        let config = adapting();
        let fill = |tail: &mut Tail, now, latency| {
            for _ in 0..1000 {
                tail.record(now, latency);
            }
        };
        assert_eq!(tail.attempt_timeout(&config), LONGEST);
        fill(&mut tail, secs(100), 50 * MS);
        let limit = tail.attempt_timeout(&config);
        assert!(limit >= 200 * MS && limit <= 213 * MS, "{limit:?}");
        let off = AttemptConfig {
            timeout_min: None,
            ..config.clone()
        };
        assert_eq!(tail.attempt_timeout(&off), LONGEST);
        fill(&mut tail, secs(200), MS);
        assert_eq!(tail.attempt_timeout(&config), 20 * MS);
        fill(&mut tail, secs(300), 9000 * MS);
        assert_eq!(tail.attempt_timeout(&config), LONGEST);
        // Long unheard of: known again only after enough.
        tail.record(secs(900), MS);
        assert_eq!(tail.attempt_timeout(&config), LONGEST);
    }

    /// A backend that becomes slower than its limit: what was cut off raises it again.
    #[test]
    fn a_limit_that_cuts_off_too_much_rises() {
        let mut tail = Tail::default();
        let config = adapting();
        for _ in 0..1000 {
            tail.record(secs(1), 10 * MS);
        }
        let now_takes = 500 * MS;
        let mut cut_off = 0;
        while tail.attempt_timeout(&config) < now_takes {
            tail.record(secs(2), now_takes.min(tail.attempt_timeout(&config)));
            cut_off += 1;
            assert!(cut_off < 1000);
        }
        assert!(cut_off > 0);
    }

    #[test]
    fn a_bucket_that_is_full_keeps_its_proportion() {
        let mut tail = Tail::default();
        for n in 0..1_000_000 {
            tail.record(secs(1), if n % 50 == 0 { 80 * MS } else { MS });
        }
        assert!(tail.percentile(0.97).is_some_and(|p| p < 2 * MS));
        assert!(tail.percentile(0.99).is_some_and(|p| p > 79 * MS));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_percentile_is_within_its_bucket_of_the_exact_one(
            exponents in prop::collection::vec(4.0f64..11.0, 100..600),
            share in 0.0f64..=1.0,
            turned in 0usize..600,
        ) {
            let mut tail = Tail::default();
            let mut all: Vec<u64> = exponents.iter().map(|e| 10f64.powf(*e) as u64).collect();
            for (n, nanos) in all.iter().enumerate() {
                let now = if n < turned { secs(10) } else { secs(21) };
                tail.record(now, Duration::from_nanos(*nanos));
            }
            all.sort_unstable();
            let rank = ((share * all.len() as f64).ceil() as usize).clamp(1, all.len());
            let exact = all[rank - 1];
            let told = tail.percentile(share).expect("enough").as_nanos() as u64;
            prop_assert!(told > exact && told <= exact + exact / 16 + 625, "{} for {}", told, exact);
        }

        #[test]
        fn a_time_limit_never_leaves_its_bounds(
            latencies in prop::collection::vec((0u64..40, 0u64..u64::MAX), 1..500),
            multiple in 1.0f64..1000.0,
        ) {
            let config = AttemptConfig { multiple, ..adapting() };
            let mut tail = Tail::default();
            for (second, nanos) in latencies {
                tail.record(secs(second), Duration::from_nanos(nanos));
                let limit = tail.attempt_timeout(&config);
                prop_assert!(limit >= 20 * MS && limit <= LONGEST);
            }
        }
    }
}
