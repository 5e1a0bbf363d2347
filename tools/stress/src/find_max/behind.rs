//! Whether a server falls behind the starts: then any limit on latency is only a matter of time.
//!
//! Owns the rule. From the intended start, in an open loop above what the server carries, latency grows evenly: by the share of the starts that
//! it does not carry, in seconds each second. A load of two seconds at a rate a fifth too high ends with 0.4 s of it, and would keep to
//! p99<500ms. Never: judges by latency itself.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::LoadResult;
use crate::measure;
use crate::series::Sample;

/// A rate may be so much above what is carried: a little more than what a rate is searched to.
const GROWTH_MAX: f64 = 0.05;
/// A load is looked at in so many parts; from each to the next latency has to grow, so that one late stall is not taken for it.
const PARTS: usize = 4;

/// That it falls behind, in words; `None` if it keeps up, or that cannot be told.
pub(super) fn broken(result: &LoadResult) -> Option<String> {
    let samples = &result.series.samples;
    let edge = |nth: usize| nth * samples.len() / PARTS;
    let parts = (0..PARTS).map(|nth| median(&samples[edge(nth)..edge(nth + 1)]));
    let medians: Vec<Duration> = parts.collect::<Option<_>>()?;
    let grows = medians.windows(2).all(|two| two[0] < two[1]);
    // From the middle of the first part to that of the last.
    let apart = result.elapsed.mul_f64((PARTS - 1) as f64 / PARTS as f64);
    let growth = medians[PARTS - 1].saturating_sub(medians[0]);
    let share = growth.as_secs_f64() / apart.as_secs_f64().max(f64::MIN_POSITIVE);
    (grows && share > GROWTH_MAX).then(|| {
        format!(
            "it falls behind: p50 grows by {:.0} ms each second",
            share * 1e3
        )
    })
}

/// Of all that ended in these; `None` if nothing did.
fn median(samples: &[Sample]) -> Option<Duration> {
    let mut all: Histogram<u64> = measure::latencies();
    for sample in samples {
        sample.latency.add_to(&mut all);
    }
    (!all.is_empty()).then(|| Duration::from_nanos(all.value_at_quantile(0.5)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use crate::series::Series;

    const INTERVAL: Duration = Duration::from_millis(100);

    /// Two seconds, of whose intervals `latency` tells the milliseconds.
    fn load(latency: impl Fn(u32) -> u64) -> LoadResult {
        let samples = (0..20).map(|nth| {
            let mut all = measure::latencies();
            for _ in 0..10 {
                measure::record(&mut all, Duration::from_millis(latency(nth)));
            }
            Sample {
                start: INTERVAL * nth,
                length: INTERVAL,
                latency: Packed::of(&all),
                ..Sample::default()
            }
        });
        LoadResult {
            elapsed: INTERVAL * 20,
            series: Series {
                interval: INTERVAL,
                samples: samples.collect(),
                late: None,
            },
            ..LoadResult::default()
        }
    }

    #[test]
    fn what_is_not_carried_shows_as_latency_that_grows() {
        // A fifth of the starts is too many.
        let why = broken(&load(|nth| 5 + u64::from(nth) * 20)).unwrap();
        assert_eq!(why, "it falls behind: p50 grows by 200 ms each second");
        assert_eq!(broken(&load(|nth| 5 + u64::from(nth) * 3)), None, "3 %");
    }

    #[test]
    fn what_is_slow_or_stalls_once_keeps_up() {
        assert_eq!(broken(&load(|_| 900)), None, "a slow server");
        let stall = |at: u32| move |nth: u32| if nth == at { 900 } else { 5 };
        for at in [0, 10, 19] {
            assert_eq!(broken(&load(stall(at))), None, "a stall");
        }
        let until = |end: u32| move |nth: u32| if nth < end { 5 } else { 500 };
        assert_eq!(broken(&load(until(15))), None, "slower from some moment on");
        assert_eq!(broken(&LoadResult::default()), None);
    }
}
