//! Whether a run counts, or the tool itself was the limit.
//!
//! Owns: the rules, and their words. Never: measures, or hides a figure: a run that does not count is shown like any other.

use std::time::Duration;

use crate::load::LoadResult;
use crate::measure::Patience;

/// The tool may be as late as this, whatever it measures. Not a part of the interval between two starts: at 50,000 a second that is
/// 20 µs, and no thread on Linux wakes as surely as that. What a start needs is a step of the pace (0.25 ms), which starts
/// that are closer share, and then two threads that wake one after the other, the pace's and the caller's; each may have to wait until
/// the scheduler takes the core from somebody else, which is at its next tick (1 ms where HZ is 1000) or at the end of a slice (some 3 ms).
/// Two milliseconds allow for one such wait in a hundred starts, not for one behind each. The lag is *in* the latency, which is
/// never told too low by it; and it is told, so that who measures less than twenty milliseconds can see how much of that is the tool's.
const LAG_ALLOWED: Duration = Duration::from_millis(2);
/// And it may be late by so large a share of the latency that it reports.
const LAG_SHARE_MAX: f64 = 0.1;
/// The quantile at which both are looked at.
const AT: f64 = 0.99;
/// The tool may lack a core for so large a share of the time in which it wants one: with one other that never rests
/// beside it, half is fair.
const STARVED_MAX: f64 = 0.55;
/// And where that is so, each wait may be as long as this on average: short ones are those of threads that wake each other on
/// the same core, and delay nothing that is measured here.
const WAIT_ALLOWED: Duration = Duration::from_micros(500);

/// A thread that runs, or waits for a core, for so large a share of the window has no time left for more calls.
const BUSY_MAX: f64 = 0.9;
/// And where that is so, calls may wait to be sent for so many times as long as for their answer, or as late as the tool may be
/// anyway.
const QUEUE_MAX: f64 = 1.0;

/// What the tool knows of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tool {
    /// Starts that there was no room for.
    pub(crate) dropped: u64,
    /// Of all of its threads, in the window.
    pub(crate) patience: Patience,
    /// Of the one that had the least time to spare in it.
    pub(crate) busiest: Patience,
    /// Whether starts were planned, and did not wait for answers.
    pub(crate) open: bool,
}

/// Why the run does not count; nothing if it does.
pub(crate) fn judge(result: &LoadResult, tool: &Tool) -> Vec<String> {
    let (dropped, patience) = (tool.dropped, tool.patience);
    let mut invalid = Vec::new();
    if dropped > 0 {
        invalid.push(format!(
            "the tool dropped {dropped} starts: more were due than it keeps waiting for a caller"
        ));
    }
    let at = |histogram: &hdrhistogram::Histogram<u64>| {
        Duration::from_nanos(histogram.value_at_quantile(AT))
    };
    let (lag, latency) = (at(&result.lag), at(&result.latency));
    if lag > LAG_ALLOWED.max(latency.mul_f64(LAG_SHARE_MAX)) {
        invalid.push(format!(
            "the tool was late: it sent one request in a hundred {:.1} ms or more after it could have, and the latency \
             at that quantile is {:.1} ms",
            lag.as_secs_f64() * 1e3,
            latency.as_secs_f64() * 1e3,
        ));
    }
    invalid.extend(starved(patience));
    let share = |time: Duration| share_of(time, result.elapsed);
    let service = at(&result.service);
    let queued = latency.saturating_sub(service);
    let late = queued > LAG_ALLOWED.max(service.mul_f64(QUEUE_MAX));
    if tool.open && is_busy(tool.busiest, result.elapsed) && late {
        invalid.push(format!(
            "the tool was saturated: one of its threads ran for {:.0} % of the window and waited for a core for {:.0} %, and one \
             call in a hundred waited {:.1} ms or more to be sent",
            share(tool.busiest.ran) * 100.0,
            share(tool.busiest.waited) * 100.0,
            queued.as_secs_f64() * 1e3,
        ));
    }
    invalid
}

/// Why threads that lacked a core for so long have measured nothing but that, if it was so long.
pub(crate) fn starved(patience: Patience) -> Option<String> {
    (patience.wait() > WAIT_ALLOWED && patience.starved() > STARVED_MAX).then(|| {
        format!(
            "the tool was starved: for {:.0} % of the time in which its threads could have run they had no core, {:.1} ms \
             each time",
            patience.starved() * 100.0,
            patience.wait().as_secs_f64() * 1e3,
        )
    })
}

/// Whether a thread had no time to spare in so long a window.
pub(crate) fn is_busy(busiest: Patience, window: Duration) -> bool {
    share_of(busiest.wanted(), window) > BUSY_MAX
}

fn share_of(time: Duration, window: Duration) -> f64 {
    time.as_secs_f64() / window.as_secs_f64().max(f64::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::record;

    fn result(lag_ms: u64, latency_ms: u64) -> LoadResult {
        let mut result = LoadResult::default();
        record(&mut result.lag, Duration::from_millis(lag_ms));
        record(&mut result.latency, Duration::from_millis(latency_ms));
        result
    }

    fn patience(ran: u64, waited: u64) -> Patience {
        Patience {
            ran: Duration::from_millis(ran),
            waited: Duration::from_millis(waited),
            turns: 100,
        }
    }

    fn tool(dropped: u64, patience: Patience) -> Tool {
        Tool {
            dropped,
            patience,
            open: true,
            ..Tool::default()
        }
    }

    #[test]
    fn a_tool_that_keeps_up_is_believed() {
        for (lag, latency) in [(0, 0), (1, 1), (90, 1000)] {
            assert!(judge(&result(lag, latency), &tool(0, patience(900, 100))).is_empty());
        }
        assert!(judge(&LoadResult::default(), &Tool::default()).is_empty());
        let short = tool(0, patience(1, 5));
        assert!(
            judge(&LoadResult::default(), &short).is_empty(),
            "50 µs each"
        );
    }

    #[test]
    fn a_tool_that_is_the_limit_says_so_and_why() {
        let fine = patience(1, 0);
        let why = |result, dropped, patience| judge(&result, &tool(dropped, patience)).join("; ");
        assert!(why(result(3, 3), 0, fine).contains("was late"));
        assert!(why(result(200, 1000), 0, fine).contains("was late"));
        assert!(why(result(0, 1), 7, fine).contains("dropped 7"));
        assert!(why(result(0, 1), 0, patience(100, 900)).contains("90 %"));
    }

    #[test]
    fn a_thread_without_time_to_spare_is_the_limit_only_where_calls_wait_for_it() {
        let ms = Duration::from_millis;
        let why = |(ran, waited), service, latency, open| {
            let mut result = result(0, latency);
            record(&mut result.service, ms(service));
            result.elapsed = ms(1000);
            let busiest = patience(ran, waited);
            let fine = tool(0, patience(1, 0));
            let tool = Tool {
                busiest,
                open,
                ..fine
            };
            judge(&result, &tool).join("; ")
        };
        let said = why((950, 0), 10, 300, true);
        assert!(
            said.contains("saturated: one of its threads ran for 95 %"),
            "{said}"
        );
        let said = why((500, 450), 10, 300, true);
        assert!(said.contains("waited for a core for 45 %"), "{said}");
        assert_eq!(why((850, 0), 10, 300, true), "", "the server is the limit");
        assert_eq!(why((950, 0), 10, 11, true), "", "it keeps up");
        assert_eq!(why((950, 0), 300, 300, false), "", "as fast as it goes");
    }
}
