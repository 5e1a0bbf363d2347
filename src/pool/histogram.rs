//! A count of latencies by their size, in fixed memory.
//!
//! Owns: where buckets begin and end, and how many latencies are in each. Never: allocates.
//!
//! An octave, from one power of two to the next, has 16 buckets of equal width. So a bucket's end is above
//! any latency in it, by 1/16 of it at most.

use std::time::Duration;

/// What the buckets count in: the first begins at sixteen of these, 10 µs.
const UNIT: u64 = 625;

/// Buckets in an octave, as a power of two.
const OCTAVE_BITS: u32 = 4;

/// The last bucket is the one with 100 s in it.
pub(super) const BUCKETS: usize = bucket(100_000_000_000) + 1;

/// Less than 10 µs counts as 10 µs, more than 100 s as 100 s.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: [u16; BUCKETS],
    count: u32,
}

impl Histogram {
    pub(super) const EMPTY: Histogram = Histogram {
        counts: [0; BUCKETS],
        count: 0,
    };

    /// How many latencies are in it.
    pub(super) fn count(&self) -> u64 {
        self.count.into()
    }

    /// How many of them are in the bucket `index`, below [`BUCKETS`].
    pub(super) fn count_of(&self, index: usize) -> u64 {
        self.counts[index].into()
    }

    #[inline]
    pub(super) fn add(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let index = bucket(nanos).min(BUCKETS - 1);
        if self.counts[index] == u16::MAX {
            self.halve();
        }
        self.counts[index] += 1;
        self.count += 1;
    }

    /// Makes room in all buckets alike, which leaves the percentiles where they are. Beside another
    /// histogram it counts for less from then on, as if every second latency had been left out.
    #[cold]
    fn halve(&mut self) {
        self.count = 0;
        for count in &mut self.counts {
            *count /= 2;
            self.count += u32::from(*count);
        }
    }
}

/// The bucket of a latency; of a long one it may be past the last.
#[inline]
const fn bucket(nanos: u64) -> usize {
    let units = nanos / UNIT;
    if units < 1 << OCTAVE_BITS {
        return 0;
    }
    let octave = units.ilog2() - OCTAVE_BITS;
    // Its leading bits, of which the first is always set: the octave counts for it.
    let leading = (units >> octave) as usize - (1 << OCTAVE_BITS);
    ((octave as usize) << OCTAVE_BITS) + leading
}

/// Where a bucket ends.
pub(super) const fn end_of(index: usize) -> Duration {
    let octave = index >> OCTAVE_BITS;
    let leading = index as u64 & ((1 << OCTAVE_BITS) - 1);
    Duration::from_nanos((((1 << OCTAVE_BITS) + leading + 1) << octave) * UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_one_another_and_are_narrow() {
        assert_eq!((bucket(0), bucket(10_000)), (0, 0));
        for index in 0..BUCKETS {
            let end = end_of(index).as_nanos() as u64;
            assert_eq!((bucket(end - 1), bucket(end)), (index, index + 1));
        }
        assert!(end_of(BUCKETS - 1) > Duration::from_secs(100));
    }

    #[test]
    fn what_is_too_short_or_too_long_is_in_the_first_or_last() {
        let mut histogram = Histogram::EMPTY;
        histogram.add(Duration::ZERO);
        histogram.add(Duration::MAX);
        assert_eq!(
            (histogram.count_of(0), histogram.count_of(BUCKETS - 1)),
            (1, 1)
        );
        assert_eq!(histogram.count(), 2);
    }

    #[test]
    fn a_full_bucket_makes_room_in_all_alike() {
        let mut histogram = Histogram::EMPTY;
        let (quick, slow) = (Duration::from_millis(1), Duration::from_millis(100));
        for n in 0..200_000 {
            histogram.add(if n % 10 == 0 { slow } else { quick });
        }
        let slow = histogram.count_of(bucket(100_000_000)) as f64;
        let share = slow / histogram.count() as f64;
        assert!((0.099..0.101).contains(&share), "{share}");
        let sum: u64 = (0..BUCKETS).map(|index| histogram.count_of(index)).sum();
        assert_eq!(sum, histogram.count());
    }
}
