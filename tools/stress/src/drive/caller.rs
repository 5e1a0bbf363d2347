//! The loop of one caller, the same on a shard and on any other thread.
//!
//! Owns what a request's outcome is, and when callers end. Between the end of one request and the
//! start of the next it reads the clock once, at a fixed rate twice, and allocates nothing.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringpool::Error;

use super::course::Course;
use super::pace::StartQueue;
use super::tally::{Begun, Tally};
use crate::progress::Progress;

/// The pause after a failure: a backend that is down must not make callers spin.
const REST: Duration = Duration::from_millis(1);
/// How often progress is reported, and the end looked for. Each time wakes the thread.
const TICK: Duration = Duration::from_millis(50);

/// A way into the engine, and the thread's own means to wait and to run tasks.
pub(super) trait Way: Clone + 'static {
    /// Sends one GET, reads the response to its end, and returns its status.
    fn get(&self, path: &str) -> impl Future<Output = Result<u16, Error>>;
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// What every caller is to do.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The request target.
    pub(super) path: Arc<str>,
    pub(super) starts: Starts,
    pub(super) course: Arc<Course>,
    /// How long the intervals are by which it is told over time.
    pub(super) interval: Duration,
    pub(super) progress: Progress,
}

/// When requests start.
#[derive(Clone, Debug)]
pub(super) enum Starts {
    /// A caller's next one when its last has ended.
    AtOnce,
    /// When they are meant to, or as soon after as a caller is free.
    Paced(StartQueue),
}

impl Job {
    /// When the next request of a caller begins that is free from `now` on; `None` ends the caller.
    async fn next_start(&self, now: Instant) -> Option<Begun> {
        match &self.starts {
            Starts::AtOnce => self.course.closed().is_none().then(|| Begun::at(now)),
            Starts::Paced(starts) => {
                let start = starts.next().await?;
                Some(Begun::late(start, now, Instant::now()))
            }
        }
    }
}

/// Runs `callers` callers on this thread until all have ended, or have to be given up.
pub(super) async fn run(way: impl Way, callers: usize, job: Job) -> Tally {
    let tally = Rc::new(RefCell::new(Tally::new(callers, job.interval)));
    for number in 0..callers {
        way.spawn(call(way.clone(), number, job.clone(), tally.clone()));
    }
    loop {
        way.sleep(TICK).await;
        let (now, mut tally) = (Instant::now(), tally.borrow_mut());
        let (ok, failed) = tally.news();
        job.progress.add(ok, failed);
        for latencies in tally.tick(now, &job.course) {
            job.progress.tell(latencies);
        }
        let ended = tally.callers == 0 && job.course.closed().is_some();
        if ended || job.course.is_past_grace(now) {
            tally.give_up(now, &job.course);
            // Callers that were given up still have their hold on what is left here.
            return std::mem::replace(&mut *tally, Tally::new(callers, job.interval));
        }
    }
}

async fn call(way: impl Way, number: usize, job: Job, tally: Rc<RefCell<Tally>>) {
    let mut now = Instant::now();
    while let Some(begun) = job.next_start(now).await {
        tally.borrow_mut().begin(number, begun);
        let outcome = match way.get(&job.path).await {
            Ok(status) => judge(status),
            Err(error) => Err(error.kind().name()),
        };
        now = Instant::now();
        tally.borrow_mut().end(number, now, outcome, &job.course);
        if outcome.is_err() {
            way.sleep(REST).await;
            now = Instant::now();
        }
    }
    tally.borrow_mut().callers -= 1;
}

/// What a complete response of this status counts as.
fn judge(status: u16) -> Result<(), &'static str> {
    match status {
        200..=399 => Ok(()),
        400..=499 => Err("status_4xx"),
        500..=599 => Err("status_5xx"),
        _ => Err("status_other"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_judged_by_its_class() {
        for (status, kind) in [
            (200, None),
            (304, None),
            (404, Some("status_4xx")),
            (503, Some("status_5xx")),
            (101, Some("status_other")),
            (999, Some("status_other")),
        ] {
            assert_eq!(judge(status).err(), kind, "{status}");
        }
    }
}
