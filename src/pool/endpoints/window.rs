//! How many of an endpoint's recent calls failed.
//!
//! Owns: counts over the last `window`, in eight parts that are forgotten one at a time; so it looks back
//! between seven eighths of the window and all of it. Counting is a compare and two additions.
//! Never: divides or loops unless a part is over or a call has failed.

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::time::Time;

const PARTS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Window {
    parts: [Part; PARTS],
    /// The part that is being counted.
    current: usize,
    /// When it is over.
    ends: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    calls: u32,
    failures: u32,
}

impl Window {
    #[inline]
    pub(super) fn count(&mut self, now: Time, failed: bool, window: Duration) {
        if now >= self.ends {
            self.advance(now, window);
        }
        let part = &mut self.parts[self.current];
        part.calls = part.calls.saturating_add(1);
        part.failures = part.failures.saturating_add(u32::from(failed));
    }

    /// A call that was counted as good has failed after all.
    pub(super) fn recant(&mut self, now: Time, window: Duration) {
        if now >= self.ends {
            self.advance(now, window);
        }
        let part = &mut self.parts[self.current];
        part.failures = part.failures.saturating_add(1);
    }

    /// Whether so many failed of so many that it is no accident.
    pub(super) fn is_bad(&self, config: &BreakerConfig) -> bool {
        let sum = |of: fn(&Part) -> u32| self.parts.iter().map(|part| u64::from(of(part))).sum();
        let (calls, failures): (u64, u64) = (sum(|part| part.calls), sum(|part| part.failures));
        calls >= u64::from(config.calls_min)
            && failures > 0
            && failures as f64 >= config.failure_share_max * calls as f64
    }

    #[cold]
    fn advance(&mut self, now: Time, window: Duration) {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        let length = (window / PARTS as u64).max(1);
        let late = now.as_nanos() - self.ends.as_nanos();
        let steps = late / length + 1;
        for _ in 0..steps.min(PARTS as u64) {
            self.current = (self.current + 1) % PARTS;
            self.parts[self.current] = Part::default();
        }
        self.ends = now + Duration::from_nanos(length - late % length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_share_counts_from_enough_calls_on_and_is_forgotten_after_the_window() {
        let config = BreakerConfig {
            calls_min: 4,
            ..BreakerConfig::default()
        };
        let mut window = Window::default();
        let mut count = |millis, failed| {
            window.count(at(millis), failed, config.window);
            window.is_bad(&config)
        };
        assert!(!count(0, true));
        assert!(!count(1, true));
        assert!(!count(2, false));
        assert!(count(3, false));
        assert!(!count(4, false));
        assert!(count(8_700, true), "the old calls still count");
        assert!(!count(10_100, true), "two calls are left");
        assert!(!count(100_000, true), "a long pause forgets all");
    }

    #[test]
    fn any_length_will_do() {
        for length in [Duration::ZERO, Duration::from_nanos(3), Duration::MAX] {
            let mut window = Window::default();
            for millis in [0, 0, 1, 50, u64::from(u32::MAX)] {
                window.count(at(millis), true, length);
            }
            assert_eq!(
                window.parts[window.current].failures > 1,
                length == Duration::MAX
            );
        }
    }
}
