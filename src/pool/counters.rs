//! What a pool tells about itself.
//!
//! Owns: counts, the census and moving averages. Never: decides anything.

use std::time::Duration;

use super::message::CloseReason;

/// How many connections are in each state, and how many callers wait, at one moment.
/// Connections being closed are not among them: the pool forgets one before it is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Open and unused.
    pub idle: u32,
    /// Those of them that are not reserved for critical calls.
    pub spare: u32,
    /// Open and granted.
    pub leased: u32,
    /// Dialled for, not open yet.
    pub dialing: u32,
    /// Callers in the queue.
    pub waiters: u32,
    /// Endpoints that are ejected.
    pub ejected: u32,
}

/// Totals since the pool began, and two averages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// Checkouts answered at once with an idle connection.
    pub hits: u64,
    /// Checkouts that were not.
    pub misses: u64,
    /// Misses that went into the queue (the others were refused at once).
    pub waits: u64,
    /// Waiters granted a connection that had been open before.
    pub waits_reused: u64,
    /// Waiters granted a connection straight from its dial.
    pub waits_dialed: u64,
    /// Waiters that were served elsewhere.
    pub moved: u64,
    /// Connections granted to those who had waited elsewhere.
    pub served_others: u64,
    /// Waiters that failed by their deadline.
    pub wait_timeouts: u64,
    /// Checkouts refused, or displaced by more important ones, because the queue was full.
    pub refused: u64,
    /// Waiters shed because everybody waited too long.
    pub shed: u64,
    /// Checkouts and waiters refused because no endpoint was worth a call.
    pub broken: u64,
    /// Dials begun.
    pub dials: u64,
    /// Those of them that nobody waited for, begun to keep `idle_min`.
    pub dials_warm: u64,
    /// Those begun only to see whether an endpoint can be connected to again.
    pub trials: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Times that an endpoint was ejected.
    pub ejections: u64,
    /// Connections closed by the pool, by the discriminant of [`CloseReason`].
    pub evictions: [u64; CloseReason::ALL.len()],
    /// The moving average of the time from a grant to its release or close.
    pub hold: Option<Duration>,
    /// The moving average of the time that a successful dial takes.
    pub dial: Option<Duration>,
}

impl PoolCounters {
    /// How many connections the pool closed for `reason`.
    pub fn evicted(&self, reason: CloseReason) -> u64 {
        self.evictions[reason as usize]
    }

    /// Adds what another pool counted; averages stay.
    pub fn add(&mut self, others: &PoolCounters) {
        self.hits += others.hits;
        self.misses += others.misses;
        self.waits += others.waits;
        self.waits_reused += others.waits_reused;
        self.waits_dialed += others.waits_dialed;
        self.moved += others.moved;
        self.served_others += others.served_others;
        self.wait_timeouts += others.wait_timeouts;
        self.refused += others.refused;
        self.shed += others.shed;
        self.broken += others.broken;
        self.dials += others.dials;
        self.dials_warm += others.dials_warm;
        self.trials += others.trials;
        self.dials_failed += others.dials_failed;
        self.ejections += others.ejections;
        for (count, more) in self.evictions.iter_mut().zip(others.evictions) {
            *count += more;
        }
    }

    /// Checkouts so far, whatever became of them.
    pub(super) fn checkouts(&self) -> u64 {
        self.hits + self.misses
    }

    pub(super) fn count_eviction(&mut self, reason: CloseReason) {
        self.evictions[reason as usize] += 1;
    }
}

/// An exponentially weighted moving average of durations, each new one with the weight of 1/8
/// (as in TCP's estimate of the round trip, RFC 6298 section 2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ewma {
    nanos: Option<u64>,
}

impl Ewma {
    #[inline]
    pub(super) fn observe(&mut self, sample: Duration) {
        self.observe_nanos(u64::try_from(sample.as_nanos()).unwrap_or(u64::MAX));
    }

    #[inline]
    pub(super) fn observe_nanos(&mut self, sample: u64) {
        self.nanos = Some(match self.nanos {
            None => sample,
            Some(mean) => mean - mean / 8 + sample / 8,
        });
    }

    pub(super) fn nanos(self) -> Option<u64> {
        self.nanos
    }

    pub(super) fn duration(self) -> Option<Duration> {
        self.nanos.map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_stand_at_their_discriminants() {
        for (index, reason) in CloseReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn an_average_starts_at_its_first_sample_and_follows() {
        let mut mean = Ewma::default();
        assert_eq!(mean.duration(), None);
        mean.observe(Duration::from_millis(80));
        assert_eq!(mean.duration(), Some(Duration::from_millis(80)));
        for _ in 0..100 {
            mean.observe(Duration::from_millis(8));
        }
        let mean = mean.duration().unwrap();
        assert!(mean >= Duration::from_micros(7999) && mean < Duration::from_micros(8010));
        let mut largest = Ewma::default();
        for _ in 0..10 {
            largest.observe(Duration::MAX);
        }
        assert!(largest.nanos().unwrap() > u64::MAX / 2);
    }
}
