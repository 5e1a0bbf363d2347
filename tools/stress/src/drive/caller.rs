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

use super::calls::{Calls, Message};
use super::course::Course;
use super::pace::StartQueue;
use super::parts::PartOf;
use super::phases::Phases;
use super::tally::{Begun, Tally};
use crate::chance::Chance;
use crate::progress::Progress;
use crate::traffic::CallPlan;
use crate::words::Spread;

/// The pause after a failure: a backend that is down must not make callers spin.
const REST: Duration = Duration::from_millis(1);
/// How often progress is reported, and the end looked for. Each time wakes the thread.
const TICK: Duration = Duration::from_millis(50);

/// A way into the engine, and the thread's own means to wait and to run tasks.
pub(super) trait Way: Clone + 'static {
    /// Sends one GET, reads the response to its end, and returns its status.
    fn get(&self, path: &str) -> impl Future<Output = Result<u16, Error>>;
    /// The same with a call that has more to say.
    fn send(&self, message: Message<'_>) -> impl Future<Output = Result<u16, Error>>;
    fn sleep(&self, time: Duration) -> impl Future<Output = ()>;
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// What every caller is to do.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The request target, if nothing else is called than that.
    pub(super) path: Option<Arc<str>>,
    pub(super) calls: Arc<Calls>,
    /// The names of all upstreams; the plan's own first.
    pub(super) upstreams: Arc<[String]>,
    /// The pause of a caller after each call.
    pub(super) think: Spread,
    pub(super) seed: u64,
    pub(super) phases: Arc<Phases>,
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
    /// GETs of `path`, and nothing else.
    pub(super) fn gets(
        path: &str,
        starts: Starts,
        course: Arc<Course>,
        interval: Duration,
        progress: Progress,
    ) -> Self {
        Self {
            path: Some(path.into()),
            calls: Arc::new(Calls::new(&[CallPlan::get(path)])),
            upstreams: Arc::new([super::UPSTREAM.to_owned()]),
            think: Spread::ZERO,
            seed: 0,
            phases: Arc::new(Phases::one(Instant::now())),
            starts,
            course,
            interval,
            progress,
        }
    }

    /// When the next request of a caller begins that is free from `now` on; `None` ends the caller.
    async fn next_start(&self, way: &impl Way, rank: usize, mut now: Instant) -> Option<Begun> {
        match &self.starts {
            Starts::AtOnce => loop {
                if self.course.closed().is_some() {
                    return None;
                }
                match self.phases.rest(rank, now) {
                    None => return Some(Begun::at(now)),
                    Some(rest) => way.sleep(rest.min(TICK)).await,
                }
                now = Instant::now();
            },
            Starts::Paced(starts) => {
                let start = starts.next().await?;
                Some(Begun::late(start, now, Instant::now()))
            }
        }
    }

    fn part(&self, begun: &Begun, kind: usize) -> PartOf {
        PartOf {
            phase: self.phases.at(begun.start),
            kind: Some(kind),
        }
    }
}

/// Which of all callers are on a thread: every so many of them, from one on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) callers: usize,
    pub(super) first: usize,
    pub(super) step: usize,
}

/// Runs a share of the callers on this thread until all have ended, or have to be given up.
pub(super) async fn run(way: impl Way, share: Share, job: Job) -> Tally {
    let callers = share.callers;
    let tally = Rc::new(RefCell::new(Tally::for_job(callers, &job)));
    for number in 0..callers {
        let caller = Caller {
            number,
            rank: share.first + number * share.step,
        };
        way.spawn(call(way.clone(), caller, job.clone(), tally.clone()));
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
            return std::mem::replace(&mut *tally, Tally::for_job(callers, &job));
        }
    }
}

/// Its number on this thread, and among all.
#[derive(Clone, Copy)]
struct Caller {
    number: usize,
    rank: usize,
}

async fn call(way: impl Way, caller: Caller, job: Job, tally: Rc<RefCell<Tally>>) {
    let Caller { number, rank } = caller;
    let mut chance = Chance::stream(job.seed, rank as u64);
    let mut now = Instant::now();
    while let Some(mut begun) = job.next_start(&way, rank, now).await {
        let response = match &job.path {
            Some(path) => {
                tally.borrow_mut().begin(number, begun);
                way.get(path).await
            }
            None => {
                let (kind, message) = job.calls.draw(&mut chance);
                begun.part = job.part(&begun, kind);
                tally.borrow_mut().begin(number, begun);
                way.send(message).await
            }
        };
        let outcome = match response {
            Ok(status) => judge(status),
            Err(error) => Err(error.kind().name()),
        };
        now = Instant::now();
        tally.borrow_mut().end(number, now, outcome, &job.course);
        let mut pause = Duration::ZERO;
        if !job.think.is_zero() {
            pause = job.think.draw_duration(&mut chance);
        }
        if outcome.is_err() {
            pause = pause.max(REST);
        }
        if !pause.is_zero() {
            way.sleep(pause).await;
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
