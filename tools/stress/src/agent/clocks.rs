//! How an agent's clock stands to the conductor's, by round trips.
//!
//! Owns the estimate and its bound: of several round trips the shortest counts, and half of it is how wrong the estimate can be, were
//! one way to take no time. Never: reads a clock. Both clocks are monotonic and count from a moment of their own.

use std::time::Duration;

/// Nanoseconds on a clock.
pub(super) type Nanos = u64;

/// An agent's clock as the conductor knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// How much more it shows.
    ahead: i128,
    /// The shortest round trip; `None` before the first.
    trip: Option<Duration>,
}

impl Clock {
    /// A question went out and its answer came in, by the conductor's clock; the agent's showed `theirs` in between.
    pub(super) fn learn(&mut self, sent: Nanos, theirs: Nanos, heard: Nanos) {
        let trip = Duration::from_nanos(heard.saturating_sub(sent));
        if self.trip.is_none_or(|shortest| trip < shortest) {
            let between = (i128::from(sent) + i128::from(heard)) / 2;
            *self = Self {
                ahead: i128::from(theirs) - between,
                trip: Some(trip),
            };
        }
    }

    /// The shortest round trip.
    pub(super) fn trip(&self) -> Duration {
        self.trip.unwrap_or_default()
    }

    /// How wrong it can be.
    pub(super) fn error(&self) -> Duration {
        self.trip() / 2
    }

    /// What the agent's clock shows when the conductor's shows `ours`.
    pub(super) fn theirs(&self, ours: Nanos) -> Nanos {
        clamp(i128::from(ours) + self.ahead)
    }

    /// How much later than `ours` it is when the agent's clock shows `theirs`; below zero if earlier.
    pub(super) fn late(&self, theirs: Nanos, ours: Nanos) -> f64 {
        (i128::from(theirs) - self.ahead - i128::from(ours)) as f64 / 1e9
    }
}

fn clamp(nanos: i128) -> Nanos {
    Nanos::try_from(nanos.max(0)).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_counts_and_bounds_the_error() {
        // The agent's clock shows 5,000 more; the ways there and back take more or less time.
        for (there, back) in [(10, 10), (20, 0), (0, 20)] {
            let mut clock = Clock::default();
            for (sent, there, back) in [(0, 100, 900), (1_000, there, back), (2_000, 500, 500)] {
                clock.learn(sent, sent + there + 5_000, sent + there + back);
            }
            assert_eq!(clock.trip(), Duration::from_nanos(20));
            let wrong = clock.theirs(3_000).abs_diff(8_000);
            assert!(u128::from(wrong) <= clock.error().as_nanos(), "{wrong}");
            let late = clock.late(8_000, 3_000).abs();
            assert!(late <= clock.error().as_secs_f64() + 1e-12, "{late}");
        }
    }

    #[test]
    fn clocks_that_began_later_are_clocks_too() {
        let mut clock = Clock::default();
        clock.learn(9_000, 10, 9_000);
        assert_eq!(clock.theirs(9_500), 510);
        assert_eq!(clock.theirs(0), 0, "before it began");
        assert_eq!(clock.late(510, 9_500), 0.0);
    }
}
