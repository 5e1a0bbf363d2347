//! Durations counted in few fixed buckets: what is kept for each upstream and endpoint, and told to others.
//!
//! Owns: where buckets end; counts and their sum, made with the first duration. Never: more than 200
//! bytes, or anything at all without the feature `telemetry`.

use super::TELEMETRY;
use std::fmt;
use std::time::Duration;

/// How many bounds there are.
pub(crate) const BOUNDS: usize = 22;

/// Where buckets end, in nanoseconds: 1, 2 and 5 times each power of ten from 1 µs to 10 s. The last is for what takes longer.
const ENDS: [u64; BOUNDS + 1] = {
    let mut ends = [u64::MAX; BOUNDS + 1];
    let (mut at, mut decade) = (0, 1_000);
    while at < BOUNDS {
        ends[at] = decade * [1, 2, 5][at % 3];
        if at % 3 == 2 {
            decade *= 10;
        }
        at += 1;
    }
    ends
};

/// By the power of two below a number of nanoseconds: how many bounds are less than that power. From one power to the next
/// there is one bound at most, so that a single comparison is left.
const BEFORE: [u8; 64] = {
    let mut before = [0; 64];
    let mut power = 0;
    while power < 64 {
        let mut at = 0;
        while at < BOUNDS && ENDS[at] < 1 << power {
            at += 1;
        }
        before[power] = at as u8;
        power += 1;
    }
    before
};

#[inline]
const fn bucket(nanos: u64) -> usize {
    let before = BEFORE[(nanos | 1).ilog2() as usize] as usize;
    before + (nanos > ENDS[before]) as usize
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    buckets: [u64; BOUNDS + 1],
    nanos: u64,
}

/// Durations, counted by size: how many took at most 1 µs, 2 µs, 5 µs, 10 µs and so on up to 10 s, and their sum.
///
/// Cheaper by far than [`Latencies`](crate::Latencies), and coarser: 200 bytes once there is one, for each upstream, endpoint and
/// shard that has met one.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Durations(Option<Box<Counts>>);

impl Durations {
    /// The most memory that one takes on the heap, in bytes.
    #[cfg(test)]
    pub(crate) const SIZE_MAX: usize = size_of::<Counts>();

    /// How many there are.
    pub fn count(&self) -> u64 {
        (self.0.as_ref()).map_or(0, |counts| counts.buckets.iter().sum())
    }

    /// Added up.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.as_ref().map_or(0, |counts| counts.nanos))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Each bound, in ascending order, with the number of durations that do not exceed it. What exceeds the last is counted by
    /// [`count`](Durations::count) alone.
    pub fn up_to(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut count = 0;
        let counts = self.0.as_ref();
        (0..BOUNDS).map(move |at| {
            count += counts.map_or(0, |counts| counts.buckets[at]);
            (Duration::from_nanos(ENDS[at]), count)
        })
    }

    /// The bound that a share of them, from 0 to 1, does not exceed: so far from the quantile as buckets are wide. `None` if
    /// there are none, or if it is among those past the last bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share * self.count() as f64).ceil().max(1.0);
        let mut all = self.up_to();
        all.find(|&(_, count)| count as f64 >= wanted)
            .map(|(bound, _)| bound)
    }

    #[inline]
    pub(crate) fn record(&mut self, duration: Duration) {
        if !TELEMETRY {
            return;
        }
        // 584 years fit.
        let nanos = duration.as_secs().wrapping_mul(1_000_000_000);
        self.record_nanos(nanos.wrapping_add(duration.subsec_nanos().into()));
    }

    #[inline]
    pub(crate) fn record_nanos(&mut self, nanos: u64) {
        if !TELEMETRY {
            return;
        }
        match &mut self.0 {
            Some(counts) => counts.count(nanos),
            None => self.first(nanos),
        }
    }

    #[cold]
    fn first(&mut self, nanos: u64) {
        self.0.get_or_insert_default().count(nanos);
    }

    pub(crate) fn add(&mut self, others: &Durations) {
        let Some(others) = &others.0 else {
            return;
        };
        let counts = self.0.get_or_insert_default();
        for (count, more) in counts.buckets.iter_mut().zip(others.buckets) {
            *count += more;
        }
        counts.nanos = counts.nanos.saturating_add(others.nanos);
    }
}

impl Counts {
    #[inline]
    fn count(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.nanos = self.nanos.wrapping_add(nanos);
    }
}

impl fmt::Debug for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Durations")
            .field("count", &self.count())
            .field("sum", &self.sum())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_ends_with_its_bound() {
        assert_eq!(ENDS[..4], [1_000, 2_000, 5_000, 10_000]);
        assert_eq!(ENDS[BOUNDS - 1], 10_000_000_000);
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BOUNDS));
        for (at, end) in ENDS[..BOUNDS].iter().enumerate() {
            assert_eq!(
                (bucket(end - 1), bucket(*end), bucket(end + 1)),
                (at, at, at + 1)
            );
        }
    }

    #[test]
    #[cfg(feature = "telemetry")]
    fn counts_are_cumulative_and_add_up() {
        let (mut some, mut more) = (Durations::default(), Durations::default());
        assert!(some.is_empty() && some.quantile(0.5).is_none());
        let ms = Duration::from_millis(1);
        for nth in 1..=10 {
            some.record(nth * ms);
        }
        more.record(Duration::from_secs(60));
        some.add(&more);
        some.add(&Durations::default());
        assert_eq!((some.count(), some.sum()), (11, 60 * 1000 * ms + 55 * ms));
        let up_to: Vec<_> = some.up_to().skip(8).take(5).map(|(_, n)| n).collect();
        assert_eq!(up_to, [0, 1, 2, 5, 10]);
        assert_eq!(some.up_to().last(), Some((Duration::from_secs(10), 10)));
        assert_eq!(some.quantile(0.5), Some(10 * ms));
        assert_eq!(some.quantile(1.0), None, "it is past the last bound");
        const { assert!(Durations::SIZE_MAX <= 200) };
    }
}
