//! What a client measures of itself: requests, CPU time and latencies between two moments after a warm-up.
//!
//! Owns: the window, and which requests are timed. Never: waits, or touches the network. All callers of a client
//! run on one thread and share one meter; between two requests it costs them some nanoseconds, all of them alike.

use crate::instructions::Marks;
use crate::process::{self, CpuTime};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

/// How long a client runs before anything counts.
pub(crate) const WARMUP: Duration = Duration::from_millis(300);
/// One request in so many is timed: two readings of the clock for each one would be a tenth of what the
/// fastest client takes in user space. A prime, so that callers who take turns are timed in turn.
pub(crate) const TIMED_EVERY: u64 = 7;
/// A client that fails more often than this gives up: there is nothing to compare.
const FAILURES_MAX: u64 = 100;

/// What one client did in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Requests answered in the window.
    pub(crate) requests: u64,
    /// Seconds of the window.
    pub(crate) seconds: f64,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    /// `None` if the client does not tell.
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// Requests answered in all, warm-up too; `None` if the client does not tell.
    pub(crate) answered: Option<u64>,
    pub(crate) peak_rss_bytes: u64,
}

/// An empty histogram of latencies in nanoseconds: three digits, up to a minute.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("hdrhistogram accepts these bounds")
}

/// A quantile in microseconds; `None` of nothing.
pub(crate) fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    let any = !histogram.is_empty();
    any.then(|| histogram.value_at_quantile(quantile) as f64 / 1e3)
}

/// The window of one client.
pub(crate) struct Meter {
    length: Duration,
    /// Where instructions are counted; nothing is timed then.
    marks: Option<&'static Marks>,
    phase: Cell<Phase>,
    /// Calls begun, to choose those that are timed.
    begun: Cell<u64>,
    answered: Cell<u64>,
    failed: Cell<u64>,
    first_failure: RefCell<Option<String>>,
    latencies: RefCell<Histogram<u64>>,
    closed: RefCell<Option<Outcome>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Until then nothing counts. `None`: the first call decides.
    Warm(Option<Instant>),
    Open(Opened),
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    at: Instant,
    cpu: CpuTime,
    answered: u64,
}

impl Meter {
    pub(crate) fn new(length: Duration) -> Meter {
        Meter {
            length,
            marks: Marks::of_this_client(),
            phase: Cell::new(Phase::Warm(None)),
            begun: Cell::new(0),
            answered: Cell::new(0),
            failed: Cell::new(0),
            first_failure: RefCell::new(None),
            latencies: RefCell::new(latencies()),
            closed: RefCell::new(None),
        }
    }

    /// Whether another call is to be made.
    pub(crate) fn is_running(&self) -> bool {
        !matches!(self.phase.get(), Phase::Over)
    }

    /// A call begins: when, if it is one that is timed.
    pub(crate) fn begin(&self) -> Option<Instant> {
        if self.marks.is_some() {
            return None;
        }
        let nth = self.begun.get();
        self.begun.set(nth + 1);
        nth.is_multiple_of(TIMED_EVERY).then(Instant::now)
    }

    /// It has ended.
    pub(crate) fn end(&self, began: Option<Instant>, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.answered.set(self.answered.get() + 1),
            Err(why) => return self.fail(why),
        }
        if let Some(marks) = self.marks {
            marks.pass(self.answered.get());
        }
        if let Some(began) = began {
            self.timed(began, Instant::now());
        }
    }

    fn fail(&self, why: String) {
        self.failed.set(self.failed.get() + 1);
        self.first_failure.borrow_mut().get_or_insert(why);
        if self.failed.get() > FAILURES_MAX {
            self.phase.set(Phase::Over);
        }
    }

    fn timed(&self, began: Instant, now: Instant) {
        match self.phase.get() {
            Phase::Warm(None) => self.phase.set(Phase::Warm(Some(began + WARMUP))),
            Phase::Warm(Some(until)) if now >= until => self.open(),
            Phase::Warm(Some(_)) | Phase::Over => {}
            Phase::Open(opened) => {
                if began >= opened.at {
                    let nanoseconds = now.duration_since(began).as_nanos() as u64;
                    self.latencies.borrow_mut().saturating_record(nanoseconds);
                }
                if now >= opened.at + self.length {
                    self.close(opened);
                }
            }
        }
    }

    fn open(&self) {
        self.phase.set(Phase::Open(Opened {
            answered: self.answered.get(),
            cpu: CpuTime::of_this(),
            at: Instant::now(),
        }));
    }

    fn close(&self, opened: Opened) {
        let (seconds, cpu) = (
            opened.at.elapsed().as_secs_f64(),
            CpuTime::of_this().since(opened.cpu),
        );
        self.phase.set(Phase::Over);
        let latencies = self.latencies.borrow();
        *self.closed.borrow_mut() = Some(Outcome {
            requests: self.answered.get() - opened.answered,
            seconds,
            user_us: cpu.user_us,
            system_us: cpu.system_us,
            p50_us: quantile_us(&latencies, 0.5),
            p99_us: quantile_us(&latencies, 0.99),
            answered: None,
            peak_rss_bytes: 0,
        });
    }

    /// What came of it, when all callers have ended.
    ///
    /// # Errors
    /// If any call failed: then it is not the same work.
    pub(crate) fn outcome(&self) -> Result<Outcome, String> {
        if let Some(why) = &*self.first_failure.borrow() {
            let (failed, answered) = (self.failed.get(), self.answered.get());
            return Err(format!(
                "{failed} calls failed, {answered} did not; first: {why}"
            ));
        }
        let outcome = self.closed.borrow().clone();
        let mut outcome = outcome.ok_or("its callers ended before the window did")?;
        outcome.answered = Some(self.answered.get());
        outcome.peak_rss_bytes = process::peak_rss_bytes("self").unwrap_or(0);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls until the window has closed.
    fn run(meter: &Meter) -> u64 {
        let mut calls = 0;
        while meter.is_running() {
            let began = meter.begin();
            meter.end(began, Ok(()));
            calls += 1;
        }
        calls
    }

    #[test]
    fn what_comes_before_the_window_is_answered_but_does_not_count() {
        let meter = Meter::new(Duration::from_millis(1));
        let calls = run(&meter);
        let outcome = meter.outcome().unwrap();
        assert_eq!(outcome.answered, Some(calls));
        assert!(outcome.requests > 0 && outcome.requests < calls);
        assert!(outcome.seconds >= 0.001 && outcome.p50_us.is_some());
    }

    #[test]
    fn a_call_that_fails_spoils_the_round() {
        let meter = Meter::new(Duration::ZERO);
        let began = meter.begin();
        meter.end(began, Err("reset".to_owned()));
        run(&meter);
        assert!(meter.outcome().unwrap_err().contains("first: reset"));
    }

    #[test]
    fn a_client_that_only_fails_comes_to_an_end() {
        let meter = Meter::new(Duration::from_secs(3600));
        while meter.is_running() {
            meter.end(meter.begin(), Err("refused".to_owned()));
        }
        assert!(meter.outcome().is_err());
    }

    #[test]
    fn one_call_in_seven_is_timed() {
        let meter = Meter::new(Duration::ZERO);
        let timed = (0..70).filter(|_| meter.begin().is_some()).count();
        assert_eq!(timed, 10);
    }

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(quantile_us(&latencies(), 0.5), None);
    }
}
