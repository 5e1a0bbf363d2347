//! How many connections were needed lately, and so how many are surplus.
//!
//! Owns: the most connections in use at once, interval by interval. An interval is a `purge_interval`.
//! Never: closes anything, or knows when an interval ends: it is told.
//!
//! Half of the surplus goes at a time, rounded up: what a burst left behind is gone after as many
//! intervals as its number has binary digits, and a burst that comes again meets most of it.

/// A peak counts for so many intervals after its own.
const INTERVALS: usize = 6;

#[derive(Debug, Default)]
pub(super) struct Peak {
    /// The peak of the interval that is under way.
    current: u32,
    /// The peaks of those before, in no order.
    past: [u32; INTERVALS],
    /// The oldest of `past`.
    oldest: usize,
}

impl Peak {
    /// How many idle connections to give up at this purge, of `live` ones of which `in_use` are leased. So
    /// many as the recent peak and `floor` (which counts leased ones too) ask for are kept.
    pub(super) fn surplus(&self, live: u32, in_use: u32, floor: u32) -> u32 {
        debug_assert!(in_use <= live, "{in_use} of {live} connections in use");
        let past = self.past.iter().copied().max().unwrap_or(0);
        let needed = past.max(self.current).max(in_use).max(floor);
        live.saturating_sub(needed).div_ceil(2)
    }

    /// So many are in use now. To be called whenever that number has grown.
    #[inline]
    pub(super) fn in_use(&mut self, count: u32) {
        self.current = self.current.max(count);
    }

    /// An interval has ended, with so many in use. Precedes [`surplus`](Peak::surplus).
    pub(super) fn roll(&mut self, in_use: u32) {
        self.past[self.oldest] = self.current.max(in_use);
        self.oldest = (self.oldest + 1) % INTERVALS;
        self.current = in_use;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_peak_counts_for_six_intervals_after_its_own() {
        let mut peak = Peak::default();
        peak.in_use(40);
        peak.in_use(64);
        peak.in_use(3);
        assert_eq!(peak.surplus(64, 3, 0), 0);
        for n in 1..=6 {
            peak.roll(3);
            assert_eq!(peak.surplus(64, 3, 0), 0, "interval {n}");
        }
        peak.roll(3);
        assert_eq!(peak.surplus(64, 3, 0), 31);
    }

    #[test]
    fn a_smaller_peak_of_later_outlives_a_larger_one() {
        let mut peak = Peak::default();
        peak.in_use(50);
        peak.roll(0);
        peak.in_use(20);
        peak.roll(0);
        for _ in 0..5 {
            assert_eq!(peak.surplus(50, 0, 0), 0);
            peak.roll(0);
        }
        assert_eq!(peak.surplus(50, 0, 0), 15);
        peak.roll(0);
        assert_eq!(peak.surplus(50, 0, 0), 25);
    }

    #[test]
    fn leases_that_last_are_the_peak_of_every_interval() {
        let mut peak = Peak::default();
        peak.in_use(10);
        for _ in 0..20 {
            peak.roll(10);
        }
        assert_eq!(peak.surplus(12, 10, 0), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn purges_reach_the_floor_in_logarithmic_steps_and_never_pass_it(
            live in 0u32..=1 << 24,
            floor in 0u32..=1 << 24,
            in_use in 0u32..=1 << 24,
        ) {
            let in_use = in_use.min(live);
            let kept = floor.max(in_use).min(live);
            let mut peak = Peak::default();
            for _ in 0..INTERVALS {
                peak.roll(in_use);
            }
            let (mut left, mut steps) = (live, 0);
            loop {
                peak.roll(in_use);
                let surplus = peak.surplus(left, in_use, floor);
                if surplus == 0 {
                    break;
                }
                left -= surplus;
                steps += 1;
                prop_assert!(left >= kept);
            }
            prop_assert_eq!(left, kept);
            prop_assert_eq!(steps, u32::BITS - (live - kept).leading_zeros());
        }

        #[test]
        fn what_the_last_six_intervals_needed_is_never_given_up(
            intervals in prop::collection::vec(prop::collection::vec(0u32..100, 0..5), 1..20),
        ) {
            let mut peak = Peak::default();
            let mut peaks = Vec::new();
            for uses in intervals {
                for &count in &uses {
                    peak.in_use(count);
                }
                // All of them end before the interval does.
                peak.roll(0);
                peaks.push(uses.into_iter().max().unwrap_or(0));
                let recent = peaks.iter().rev().take(INTERVALS).copied().max().unwrap_or(0);
                prop_assert_eq!(peak.surplus(200, 0, 0), (200 - recent).div_ceil(2));
            }
        }
    }
}
