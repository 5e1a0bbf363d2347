//! What the callers of one thread count together.
//!
//! Plain state of one thread, merged at the end. Counting a success never allocates.

use std::collections::BTreeMap;
use std::time::Instant;

use hdrhistogram::Histogram;

use super::caller::{Job, Starts};
use super::course::Course;
use crate::measure;

/// A request that was begun and not answered when the grace was over.
const UNFINISHED: &str = "unfinished";
/// A start at a fixed rate that no caller came to.
const NOT_STARTED: &str = "not_started";

/// Requests of the window, and what is under way.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) latency: Histogram<u64>,
    pub(super) ok: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// Callers that have not ended.
    pub(super) callers: usize,
    /// The start of each caller's request, while it has one.
    underway: Vec<Option<Instant>>,
    news: (u64, u64),
}

impl Tally {
    /// For `callers` callers, numbered from 0.
    pub(super) fn new(callers: usize) -> Self {
        Self {
            latency: measure::latencies(),
            ok: 0,
            failed: BTreeMap::new(),
            callers,
            underway: vec![None; callers],
            news: (0, 0),
        }
    }

    /// A request has begun; its latency counts from `start`.
    pub(super) fn begin(&mut self, caller: usize, start: Instant) {
        self.underway[caller] = Some(start);
    }

    /// It has ended: well, or with a kind of error.
    pub(super) fn end(
        &mut self,
        caller: usize,
        now: Instant,
        outcome: Result<(), &'static str>,
        course: &Course,
    ) {
        match outcome {
            Ok(()) => self.news.0 += 1,
            Err(_) => self.news.1 += 1,
        }
        let start = self.underway[caller].take();
        let Some(start) = start.filter(|start| course.covers(*start, now)) else {
            return;
        };
        match outcome {
            Ok(()) => {
                self.ok += 1;
                measure::record(&mut self.latency, now.saturating_duration_since(start));
            }
            Err(kind) => *self.failed.entry(kind).or_default() += 1,
        }
    }

    /// Answers and failures since it was last asked.
    pub(super) fn news(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.news)
    }

    /// What is under way is given up: it has failed, unless the user wanted the end.
    pub(super) fn give_up(&mut self, now: Instant, course: &Course) {
        let cut_off = self.underway.iter_mut().filter_map(Option::take);
        let failed = cut_off.filter(|start| course.covers(*start, now)).count() as u64;
        if failed > 0 && !course.interrupted() {
            *self.failed.entry(UNFINISHED).or_default() += failed;
        }
    }

    /// Counts `missed` starts, and those that still wait for a caller when all have ended.
    pub(super) fn not_started(&mut self, missed: u64, job: &Job) {
        let waiting = match &job.starts {
            Starts::AtOnce => 0,
            Starts::Paced(starts) if !job.course.interrupted() => starts.len() as u64,
            Starts::Paced(_) => 0,
        };
        if missed + waiting > 0 {
            *self.failed.entry(NOT_STARTED).or_default() += missed + waiting;
        }
    }

    /// Adds another thread's.
    pub(super) fn add(&mut self, other: &Self) {
        let merged = self.latency.add(&other.latency);
        debug_assert!(merged.is_ok(), "all histograms have the same bounds");
        self.ok += other.ok;
        for (kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_warm_up_is_news_but_not_counted() {
        let (mut tally, course, now) = (Tally::new(1), Course::default(), Instant::now());
        tally.begin(0, now);
        tally.end(0, now, Ok(()), &course);
        assert_eq!((tally.ok, tally.news(), tally.news()), (0, (1, 0), (0, 0)));
        course.open(now);
        tally.begin(0, now);
        tally.end(0, now + Duration::from_millis(3), Ok(()), &course);
        tally.begin(0, now);
        tally.end(0, now, Err("closed"), &course);
        assert_eq!((tally.ok, tally.latency.len()), (1, 1));
        assert!(tally.latency.max() >= 2_990_000, "from start to end");
        assert_eq!(tally.failed["closed"], 1);
    }

    #[test]
    fn what_is_given_up_has_failed_unless_the_user_wanted_it() {
        for (interrupted, failed) in [(false, Some(&1)), (true, None)] {
            let (mut tally, course, now) = (Tally::new(2), Course::default(), Instant::now());
            course.open(now);
            tally.begin(0, now);
            let closed = now + Duration::from_secs(1);
            course.close(closed, interrupted);
            tally.give_up(closed, &course);
            assert_eq!(tally.failed.get(UNFINISHED), failed);
        }
    }

    #[test]
    fn tallies_add_up() {
        let (course, now) = (Course::default(), Instant::now());
        course.open(now);
        let mut sum = Tally::new(0);
        for outcome in [Ok(()), Err("dial"), Err("dial")] {
            let mut one = Tally::new(1);
            one.begin(0, now);
            one.end(0, now, outcome, &course);
            sum.add(&one);
        }
        assert_eq!((sum.ok, sum.latency.len(), sum.failed["dial"]), (1, 1, 2));
    }
}
