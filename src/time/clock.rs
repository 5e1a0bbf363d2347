//! The only file that reads a clock.

use super::Time;
#[cfg(any(test, feature = "simulation"))]
use std::sync::Arc;
#[cfg(any(test, feature = "simulation"))]
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(any(test, feature = "simulation"))]
use std::time::Duration;
use std::time::{Instant, SystemTime};

/// Where a shard learns what time it is. Clones tell the same time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// CLOCK_MONOTONIC, counted from the engine's start.
    System(Instant),
    /// Moved by hand, for tests and simulation.
    #[cfg(any(test, feature = "simulation"))]
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that begins now and follows CLOCK_MONOTONIC: it stands still while the machine is
    /// suspended, and never jumps.
    pub fn system() -> Clock {
        Clock(Source::System(Instant::now()))
    }

    /// A clock that stands still until [`advance`](Clock::advance) moves it.
    #[cfg(any(test, feature = "simulation"))]
    pub fn manual() -> Clock {
        Clock(Source::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// What time it is.
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System(start) => {
                let nanos = start.elapsed().as_nanos();
                Time::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
            #[cfg(any(test, feature = "simulation"))]
            Source::Manual(nanos) => Time::from_nanos(nanos.load(Ordering::Relaxed)),
        }
    }

    /// What the calendar said at `at`, as far as it was not set since. A manual clock's begins in 1970.
    pub fn time_of_day(&self, at: Time) -> SystemTime {
        match &self.0 {
            Source::System(_) => SystemTime::now() - self.now().since(at),
            #[cfg(any(test, feature = "simulation"))]
            Source::Manual(_) => SystemTime::UNIX_EPOCH + at.since(Time::ZERO),
        }
    }

    /// Moves a manual clock forward, for every clone of it.
    ///
    /// # Panics
    /// On a system clock.
    #[cfg(any(test, feature = "simulation"))]
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System(_) => panic!("a system clock cannot be moved"),
            Source::Manual(nanos) => {
                let by = u64::try_from(by.as_nanos()).expect("under 584 years");
                nanos.fetch_add(by, Ordering::Relaxed);
            }
        }
    }
}
