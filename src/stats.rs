//! How long things took, as counts by their size.
//!
//! Owns: a histogram in fixed memory, made with its first latency. Never: is shared; a reader gets a copy.

mod durations;

pub use durations::Durations;

use hdrhistogram::Histogram;
use std::fmt;
use std::time::Duration;

/// Whether anything is recorded that is for telemetry alone.
pub(crate) const TELEMETRY: bool = cfg!(feature = "telemetry");

/// What counts as the least and the most, in nanoseconds: 1 µs and 100 s. What is beyond counts as one of these.
const LEAST: u64 = 1_000;
const MOST: u64 = 100_000_000_000;

/// Decimal digits that are kept of a latency: it is told with an error of 1 % at most.
const DIGITS: u8 = 2;

/// Latencies, from 1 µs to 100 s, each within 1 % (HdrHistogram, Tene). About 20 KiB once there is one.
#[derive(Clone, Default, PartialEq)]
pub struct Latencies(Option<Box<Histogram<u64>>>);

impl Latencies {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// The latency that a share of them, from 0 to 1, does not exceed; `None` if there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        self.of(|all| all.value_at_quantile(share))
    }

    /// Their mean; `None` if there are none.
    pub fn mean(&self) -> Option<Duration> {
        self.of(|all| all.mean() as u64)
    }

    /// The shortest; `None` if there are none.
    pub fn min(&self) -> Option<Duration> {
        self.of(|all| all.min())
    }

    /// The longest; `None` if there are none.
    pub fn max(&self) -> Option<Duration> {
        self.of(|all| all.max())
    }

    /// How many took no longer than each of these, which are in ascending order.
    pub fn up_to(&self, bounds: &[Duration]) -> Vec<u64> {
        let Some(all) = &self.0 else {
            return vec![0; bounds.len()];
        };
        let (mut recorded, mut next) = (all.iter_recorded(), None);
        let mut count = 0;
        let mut counts = Vec::with_capacity(bounds.len());
        for bound in bounds {
            let bound = nanos(*bound);
            while let Some(step) = next.take().or_else(|| recorded.next()) {
                if step.value_iterated_to() > bound {
                    next = Some(step);
                    break;
                }
                count += step.count_since_last_iteration();
            }
            counts.push(count);
        }
        counts
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let all = self.0.get_or_insert_with(|| Box::new(empty()));
        all.saturating_record(nanos(latency).max(LEAST));
    }

    pub(crate) fn add(&mut self, others: &Latencies) {
        if let Some(others) = &others.0 {
            let all = self.0.get_or_insert_with(|| Box::new(empty()));
            all.add(&**others).expect("all have the same bounds");
        }
    }

    fn of(&self, value: impl Fn(&Histogram<u64>) -> u64) -> Option<Duration> {
        let all = self.0.as_deref().filter(|all| !all.is_empty())?;
        Some(Duration::from_nanos(value(all)))
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(LEAST, MOST, DIGITS).expect("the bounds are good")
}

fn nanos(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn close(found: Option<Duration>, expected: Duration) {
        let found = found.expect("there are some");
        let error = found.abs_diff(expected);
        assert!(error <= expected / 100, "{found:?}, not {expected:?}");
    }

    #[test]
    fn none_have_no_figures_and_no_memory() {
        let mut none = Latencies::default();
        none.add(&Latencies::default());
        assert_eq!(
            (none.count(), none.quantile(0.5), none.max()),
            (0, None, None)
        );
        assert_eq!(none.up_to(&[MS, 2 * MS]), [0, 0]);
        assert!(none.0.is_none());
    }

    #[test]
    fn figures_are_within_one_percent() {
        let (mut odd, mut even) = (Latencies::default(), Latencies::default());
        for n in 1..=1000 {
            let all = if n % 2 == 0 { &mut even } else { &mut odd };
            all.record(n * MS);
        }
        odd.add(&even);
        assert_eq!(odd.count(), 1000);
        close(odd.quantile(0.5), 500 * MS);
        close(odd.quantile(0.99), 990 * MS);
        close(odd.mean(), 500 * MS);
        close(odd.min(), MS);
        close(odd.max(), 1000 * MS);
        let counts = odd.up_to(&[MS / 2, 100 * MS, 5000 * MS]);
        assert!(counts[0] == 0 && counts[1].abs_diff(100) <= 1 && counts[2] == 1000);
    }

    #[test]
    fn what_is_out_of_bounds_counts_as_the_bound() {
        let mut all = Latencies::default();
        all.record(Duration::ZERO);
        all.record(Duration::MAX);
        assert_eq!(all.count(), 2);
        close(all.max(), Duration::from_secs(100));
        assert!(all.min().unwrap() <= Duration::from_micros(2));
    }
}
