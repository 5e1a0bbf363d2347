//! Time as the engine sees it: a count of nanoseconds since the engine's clock began.
//!
//! Everything but [`clock`] takes time as an argument; that file alone reads a clock.

pub mod clock;
pub mod wheel;

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A moment, in nanoseconds since the engine's clock began. Monotonic; 584 years fit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The clock's beginning.
    pub const ZERO: Time = Time(0);
    /// Later than any moment that comes: "never".
    pub const NEVER: Time = Time(u64::MAX);

    /// The moment `nanos` nanoseconds after the clock began.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the clock began.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment, or zero if `earlier` is the later one.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Time {
    /// As [`since`](Time::since), in nanoseconds: without a division.
    pub const fn nanos_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// Saturates at [`Time::NEVER`].
    #[inline]
    fn add(self, after: Duration) -> Time {
        let secs = after.as_secs().saturating_mul(1_000_000_000);
        let nanos = secs.saturating_add(after.subsec_nanos().into());
        Time(self.0.saturating_add(nanos))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::NEVER {
            return f.write_str("never");
        }
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time::ZERO + Duration::MAX, Time::NEVER);
        assert_eq!(Time::ZERO.since(Time::from_nanos(5)), Duration::ZERO);
        assert_eq!(
            Time::from_nanos(7).since(Time::from_nanos(5)),
            Duration::from_nanos(2)
        );
    }
}
