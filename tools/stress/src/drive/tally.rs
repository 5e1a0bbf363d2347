//! What the callers of one thread count together.
//!
//! Plain state of one thread, merged at the end. Counting a success never allocates, but for the first of an interval.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::caller::{Job, Starts};
use super::course::Course;
use super::intervals::Intervals;
use super::parts::{Part, PartOf, Parts};
use super::phases::Phases;
use crate::load::Carried;
use crate::measure;
use crate::packed::Packed;
use crate::series::Seen;

/// A request that was begun and not answered when the grace was over.
const UNFINISHED: &str = "unfinished";
/// A start at a fixed rate that no caller came to.
const NOT_STARTED: &str = "not_started";
/// One that there was not even room for among those that wait: the tool's fault.
const DROPPED: &str = "dropped";

/// Requests of the window, and what is under way.
#[derive(Debug)]
pub(super) struct Tally {
    /// From the intended start, of what ended well; up to date once settled.
    pub(super) latency: Histogram<u64>,
    /// From the send, of the same; empty where both are one.
    pub(super) service: Histogram<u64>,
    /// How late requests were sent though a caller was free, whatever became of them: the tool's own doing.
    pub(super) lag: Histogram<u64>,
    pub(super) ok: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// What ended while the window was open.
    pub(super) carried: Carried,
    /// Callers that have not ended.
    pub(super) callers: usize,
    /// The request of each caller, while it has one.
    underway: Vec<Option<Begun>>,
    intervals: Intervals,
    /// The same by phases and kinds of calls, if there are several.
    pub(super) parts: Parts,
    /// Which phase a moment is in, if there are several.
    phases: Option<Arc<Phases>>,
    news: (u64, u64),
}

/// When a request began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    /// When it was meant to.
    pub(super) start: Instant,
    /// When it did, if that is another moment, and how much of that is the tool's doing.
    pub(super) late: Option<(Instant, Duration)>,
    /// Which part of the load it belongs to.
    pub(super) part: PartOf,
}

impl Begun {
    /// It began when it was meant to.
    pub(super) fn at(start: Instant) -> Self {
        Self {
            start,
            late: None,
            part: PartOf::FIRST,
        }
    }

    /// It was meant to begin at `start`, its caller was free from `free` on, and it begins now.
    pub(super) fn late(start: Instant, free: Instant, now: Instant) -> Self {
        let lag = now.saturating_duration_since(start.max(free));
        Self {
            start,
            late: Some((now, lag)),
            part: PartOf::FIRST,
        }
    }
}

impl From<Tally> for Part {
    fn from(tally: Tally) -> Self {
        Self {
            latency: tally.latency,
            service: tally.service,
            lag: tally.lag,
            ok: tally.ok,
            failed: tally.failed,
            carried: tally.carried,
        }
    }
}

impl Tally {
    /// For `callers` callers, numbered from 0, and intervals of this length.
    pub(super) fn new(callers: usize, interval: Duration) -> Self {
        Self {
            latency: measure::latencies(),
            service: measure::latencies(),
            lag: measure::latencies(),
            ok: 0,
            failed: BTreeMap::new(),
            carried: Carried::default(),
            callers,
            underway: vec![None; callers],
            intervals: Intervals::of(interval),
            parts: Parts::default(),
            phases: None,
            news: (0, 0),
        }
    }

    /// For the callers of `job`.
    pub(super) fn for_job(callers: usize, job: &Job) -> Self {
        Self {
            parts: Parts::new(job.phases.count(), job.calls.count()),
            phases: Some(Arc::clone(&job.phases)),
            ..Self::new(callers, job.interval)
        }
    }

    /// A request has begun.
    pub(super) fn begin(&mut self, caller: usize, begun: Begun) {
        self.underway[caller] = Some(begun);
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
        let begun = self.underway[caller].take();
        if let Some(begun) = begun.filter(|_| course.is_within(now)) {
            self.carried.count(outcome.is_ok());
            let phase = self.phases.as_ref().map_or(0, |phases| phases.at(now));
            let part = PartOf {
                phase,
                ..begun.part
            };
            self.parts.carried(part, outcome.is_ok());
        }
        let Some(begun) = begun.filter(|begun| course.covers(begun.start, now)) else {
            return;
        };
        self.intervals.move_to(now, course, &mut self.latency);
        self.sent(&begun);
        match outcome {
            Ok(()) => {
                self.ok += 1;
                let latency = now.saturating_duration_since(begun.start);
                self.intervals.ok(latency);
                let service = begun
                    .late
                    .map(|(sent, _)| now.saturating_duration_since(sent));
                if let Some(service) = service {
                    measure::record(&mut self.service, service);
                }
                self.parts.ok(begun.part, latency, service);
            }
            Err(kind) => {
                self.fail(kind, 1);
                self.parts.failed(begun.part, kind, None);
            }
        }
    }

    /// Counts how late it was sent, whatever became of it.
    fn sent(&mut self, begun: &Begun) {
        if let Some((_, lag)) = begun.late {
            measure::record(&mut self.lag, lag);
            self.parts.sent(begun.part, lag);
        }
    }

    fn fail(&mut self, kind: &'static str, count: u64) {
        *self.failed.entry(kind).or_default() += count;
        self.intervals.failed(kind, count);
    }

    /// Answers and failures since it was last asked.
    pub(super) fn news(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.news)
    }

    /// Time has gone on to `now`. The latencies of the intervals that are over and were not asked for yet.
    pub(super) fn tick(&mut self, now: Instant, course: &Course) -> impl Iterator<Item = Packed> {
        self.intervals.move_to(now, course, &mut self.latency);
        self.intervals.news()
    }

    /// What is under way is given up: it has failed, unless the user wanted the end. Nothing is counted after this.
    pub(super) fn give_up(&mut self, now: Instant, course: &Course) {
        let underway: Vec<Begun> = self.underway.iter_mut().filter_map(Option::take).collect();
        let cut_off = underway.iter().filter(|one| course.covers(one.start, now));
        if !course.interrupted() {
            self.intervals.move_to(now, course, &mut self.latency);
            for begun in cut_off {
                self.sent(begun);
                // At a fixed rate it has waited this long at least, whatever became of it.
                let waited = begun
                    .late
                    .map(|_| now.saturating_duration_since(begun.start));
                self.unanswered(UNFINISHED, begun.part, waited);
            }
        }
        self.intervals.settle(&mut self.latency);
    }

    fn unanswered(&mut self, kind: &'static str, part: PartOf, waited: Option<Duration>) {
        self.fail(kind, 1);
        self.parts.failed(part, kind, waited);
        if let Some(waited) = waited {
            self.intervals.waited(waited);
        }
    }

    /// Counts `dropped` starts that found no room, and those that still wait for a caller when all have ended: those have
    /// waited until now at least.
    pub(super) fn not_started(&mut self, dropped: u64, now: Instant, job: &Job) {
        // Also where other threads' intervals were added to those of none.
        self.intervals.move_to(now, &job.course, &mut self.latency);
        if let Starts::Paced(starts) = &job.starts {
            while let Some(start) = starts.left() {
                if job.course.interrupted() || !job.course.covers(start, now) {
                    continue;
                }
                let part = PartOf {
                    phase: job.phases.at(start),
                    kind: None,
                };
                let waited = now.saturating_duration_since(start);
                self.unanswered(NOT_STARTED, part, Some(waited));
            }
        }
        if dropped > 0 {
            self.fail(DROPPED, dropped);
        }
        self.intervals.settle(&mut self.latency);
    }

    /// Adds another thread's, which is settled.
    pub(super) fn add(&mut self, other: Self) {
        for (sum, part) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lag, &other.lag),
        ] {
            let merged = sum.add(part);
            debug_assert!(merged.is_ok(), "all histograms have the same bounds");
        }
        self.ok += other.ok;
        self.carried = self.carried.plus(other.carried);
        for (kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
        self.intervals.add(other.intervals);
        self.parts.add(other.parts);
    }

    /// What was seen in which interval; nothing of it is left here.
    pub(super) fn seen(&mut self) -> Vec<(usize, Seen)> {
        self.intervals.seen()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Progress;
    use crate::series::LATE;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn scenario_files_know_every_kind() {
        use ringpool::{ErrorKind, Phase, TlsFailure};
        let engines = [
            ErrorKind::Config,
            ErrorKind::Unsupported,
            ErrorKind::Request,
            ErrorKind::RequestBody,
            ErrorKind::Resolve,
            ErrorKind::Dial,
            ErrorKind::Tls(TlsFailure::Expired),
            ErrorKind::Timeout(Phase::Wait),
            ErrorKind::Timeout(Phase::Dial),
            ErrorKind::Timeout(Phase::Send),
            ErrorKind::Timeout(Phase::Head),
            ErrorKind::Timeout(Phase::Body),
            ErrorKind::Timeout(Phase::Ready),
            ErrorKind::Closed,
            ErrorKind::Protocol,
            ErrorKind::Limit,
            ErrorKind::Shed,
            ErrorKind::Breaker,
            ErrorKind::Refused,
            ErrorKind::Forbidden,
            ErrorKind::Draining,
        ];
        let ours = ["status_4xx", "status_5xx", "status_other"];
        // What is dropped makes a run INVALID, and is no kind to expect anything of.
        let names = engines.map(ErrorKind::name).into_iter().chain(ours);
        let names: Vec<&str> = names.chain([UNFINISHED, NOT_STARTED]).collect();
        assert_eq!(names, crate::plan::KINDS);
    }

    #[test]
    fn the_warm_up_is_news_but_not_counted() {
        let (mut tally, course, now) = (Tally::new(1, LONG), Course::default(), Instant::now());
        tally.begin(0, Begun::at(now));
        tally.end(0, now, Ok(()), &course);
        assert_eq!((tally.ok, tally.news(), tally.news()), (0, (1, 0), (0, 0)));
        course.open(now);
        tally.begin(0, Begun::at(now));
        tally.end(0, now + Duration::from_millis(3), Ok(()), &course);
        tally.begin(0, Begun::at(now));
        tally.end(0, now, Err("closed"), &course);
        tally.give_up(now, &course);
        assert_eq!((tally.ok, tally.latency.len()), (1, 1));
        assert!(tally.latency.max() >= 2_990_000, "from start to end");
        assert_eq!(tally.failed["closed"], 1);
    }

    #[test]
    fn what_is_carried_ended_within_the_window_whenever_it_began() {
        let (mut tally, course, now) = (Tally::new(3, LONG), Course::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        tally.begin(0, Begun::at(at(0)));
        course.open(at(10));
        tally.end(0, at(15), Ok(()), &course);
        for (caller, outcome) in [(0, Ok(())), (1, Err("closed"))] {
            tally.begin(caller, Begun::at(at(20)));
            tally.end(caller, at(25), outcome, &course);
        }
        tally.begin(2, Begun::at(at(30)));
        course.close(at(40), false);
        tally.end(2, at(50), Ok(()), &course);
        tally.give_up(at(60), &course);
        assert_eq!(tally.carried, Carried { ok: 2, failed: 1 });
        let last = tally.seen().pop().map(|(number, _)| number);
        assert_eq!(last, Some(LATE), "in no interval");
        assert_eq!(
            (tally.ok, tally.latency.len()),
            (2, 2),
            "the late one is there"
        );
    }

    #[test]
    fn what_is_given_up_has_failed_unless_the_user_wanted_it() {
        for (interrupted, failed) in [(false, Some(&1)), (true, None)] {
            let (mut tally, course, now) = (Tally::new(2, LONG), Course::default(), Instant::now());
            course.open(now);
            tally.begin(0, Begun::at(now));
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
        let mut sum = Tally::new(0, LONG);
        for outcome in [Ok(()), Err("dial"), Err("dial")] {
            let mut one = Tally::new(1, LONG);
            one.begin(0, Begun::at(now));
            one.end(0, now, outcome, &course);
            one.give_up(now, &course);
            sum.add(one);
        }
        assert_eq!((sum.ok, sum.latency.len(), sum.failed["dial"]), (1, 1, 2));
    }

    #[test]
    fn what_comes_late_is_the_tools_doing_only_while_a_caller_is_free() {
        let (mut tally, course, now) = (Tally::new(1, LONG), Course::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        course.open(now);
        tally.begin(0, Begun::late(at(0), at(7), at(10)));
        tally.end(0, at(30), Ok(()), &course);
        tally.give_up(at(30), &course);
        let ms = |h: &Histogram<u64>| (h.max() as f64 / 1e6).round();
        let all = [&tally.latency, &tally.service, &tally.lag].map(ms);
        assert_eq!(all, [30.0, 20.0, 3.0]);
    }

    #[test]
    fn what_failed_or_was_given_up_was_sent_late_as_well() {
        let (mut tally, course, now) = (Tally::new(2, LONG), Course::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        course.open(now);
        tally.begin(0, Begun::late(at(0), at(0), at(4)));
        tally.end(0, at(5), Err("closed"), &course);
        tally.begin(1, Begun::late(at(0), at(0), at(8)));
        course.close(at(10), false);
        tally.give_up(at(20), &course);
        assert_eq!((tally.lag.len(), tally.service.len()), (2, 0));
        assert_eq!((tally.lag.max() as f64 / 1e6).round(), 8.0);
    }

    #[test]
    fn starts_that_nobody_came_to_are_in_the_interval_in_which_that_was_seen() {
        let (course, now) = (Arc::new(Course::default()), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        let interval = Duration::from_millis(10);
        let starts = Starts::AtOnce;
        let job = Job::gets("/", starts, course, interval, Progress::silent());
        job.course.open(now);
        job.course.close(at(100), false);
        let mut tally = Tally::new(0, interval);
        tally.not_started(3, at(95), &job);
        let seen: Vec<usize> = tally.seen().iter().map(|(number, _)| *number).collect();
        assert_eq!(seen, [9]);
    }

    #[test]
    fn every_request_is_in_one_interval() {
        let (mut tally, course, now) = (
            Tally::new(1, Duration::from_millis(10)),
            Course::default(),
            Instant::now(),
        );
        let at = |ms| now + Duration::from_millis(ms);
        course.open(now);
        for ms in [0, 9, 10, 35, 36] {
            tally.begin(0, Begun::at(at(ms)));
            tally.end(0, at(ms), Ok(()), &course);
        }
        tally.begin(0, Begun::at(at(36)));
        tally.end(0, at(50), Err("closed"), &course);
        tally.give_up(at(60), &course);
        let mut sum = measure::latencies();
        let mut seen = Vec::new();
        for (number, one) in tally.seen() {
            if let Seen::Requests {
                ok,
                failed,
                latency,
            } = one
            {
                latency.add_to(&mut sum);
                seen.push((number, ok, failed.values().sum()));
            }
        }
        assert_eq!(seen, [(0, 2, 0_u64), (1, 1, 0), (3, 2, 0), (5, 0, 1)]);
        assert_eq!(sum, tally.latency);
    }
}
