//! How often, and how soon, a lost shard is started again.
//!
//! Owns: the rule. Never: sleeps, or reads a clock.

use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

/// Losses longer ago than this are forgotten.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// The pause before the second start within the window; it doubles from one to the next. The first
/// start follows at once: most defects need a rare coincidence.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The losses of one shard.
pub(crate) struct Restarts {
    max: u32,
    losses: VecDeque<Time>,
}

impl Restarts {
    /// At most `max` within the window.
    pub(crate) fn new(max: u32) -> Restarts {
        Restarts {
            max,
            losses: VecDeque::new(),
        }
    }

    /// The shard was lost: how long to wait before the next start; `None` if it is to stay down.
    pub(crate) fn after_loss(&mut self, now: Time) -> Option<Duration> {
        while self
            .losses
            .front()
            .is_some_and(|&at| now.since(at) > WINDOW)
        {
            self.losses.pop_front();
        }
        let before = self.losses.len() as u32;
        if before >= self.max {
            return None;
        }
        self.losses.push_back(now);
        Some(match before.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => PAUSE_MIN
                .saturating_mul(1 << doublings.min(16))
                .min(PAUSE_MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_follows_at_once_and_the_others_after_longer_and_longer_pauses() {
        let mut restarts = Restarts::new(20);
        let pauses: Vec<u128> = (0..10)
            .map_while(|_| restarts.after_loss(Time::ZERO))
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [0, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn a_shard_that_is_lost_too_often_stays_down_and_losses_long_ago_do_not_count() {
        let mut restarts = Restarts::new(2);
        let mut now = Time::ZERO;
        assert_eq!(restarts.after_loss(now), Some(Duration::ZERO));
        assert_eq!(restarts.after_loss(now), Some(PAUSE_MIN));
        assert_eq!(restarts.after_loss(now + WINDOW), None);
        now = now + WINDOW + Duration::from_millis(1);
        assert_eq!(restarts.after_loss(now), Some(Duration::ZERO));
        assert_eq!(Restarts::new(0).after_loss(now), None);
    }
}
