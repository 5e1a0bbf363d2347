//! How far a shard's loop is behind: how long what comes in waits for its turn.
//!
//! Owns: an average over turns. Never: reads a clock: a turn that left something undone lasted until the
//! next one began, the kernel's part included; one that left nothing was not late for anybody.

use crate::time::Time;
use std::time::Duration;

/// The loop's lag.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the last turn began, if something was left when it ended.
    behind_since: Option<Time>,
    nanos: u64,
}

impl Lag {
    /// A turn begins.
    pub(super) fn turn_begins(&mut self, now: Time) {
        let Some(since) = self.behind_since.take() else {
            return;
        };
        let took = u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX);
        // An eighth: eight long turns in a row are no accident.
        self.nanos = self.nanos - self.nanos / 8 + took / 8;
    }

    /// The turn that began at `began` ends; `left`: there is more to do already.
    pub(super) fn turn_ends(&mut self, began: Time, left: bool) {
        if left {
            self.behind_since = Some(began);
        } else {
            self.nanos = 0;
        }
    }

    /// Whether the last turn left something undone: another one follows at once.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn is_behind(&self) -> bool {
        self.behind_since.is_some()
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn turns_that_leave_something_undone_are_what_lag_is() {
        let mut lag = Lag::default();
        let mut now = Time::ZERO;
        let mut turns = |lag: &mut Lag, count: u32, left: bool| {
            for _ in 0..count {
                lag.turn_begins(now);
                lag.turn_ends(now, left);
                now = now + MS * 4;
            }
        };
        turns(&mut lag, 20, false);
        assert_eq!(lag.get(), Duration::ZERO, "it slept between them");
        turns(&mut lag, 2, true);
        assert!(lag.get() < MS, "one late turn is none");
        turns(&mut lag, 30, true);
        assert!(lag.get() > MS * 3, "{:?}", lag.get());
        turns(&mut lag, 1, false);
        assert_eq!(lag.get(), Duration::ZERO, "it has caught up");
    }
}
