//! Starts by a timetable: an open loop, in which a slow peer does not slow the asking.
//!
//! Owns the thread that releases each start when it is due, into a bounded queue that idle callers
//! wait on. The intended instants are fixed at the beginning: the thread, the
//! queue and busy callers can make a request late, never its intended start; so whatever waiting
//! they cause is in the latency.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender, TrySendError};

use super::course::Course;
use crate::arrivals::Timetable;

/// The least time between two looks at the clock. Starts that fall between are released together,
/// late by less than this: at most 4,000 wake-ups a second, some 2 % of a core.
const STEP: Duration = Duration::from_micros(250);
/// The rest where nothing is to be released ever again, unless it is woken.
const REST: Duration = Duration::from_secs(1);
/// Starts that may wait for a caller. Those beyond are counted as not started.
const WAITING_MAX: usize = 1 << 16;

/// The thread that releases starts.
#[derive(Debug)]
pub(super) struct Pace {
    thread: JoinHandle<u64>,
    starts: StartQueue,
}

/// Starts that are due, for any number of callers; the oldest first.
#[derive(Clone, Debug)]
pub(super) struct StartQueue(Receiver<Instant>);

impl StartQueue {
    /// The oldest start that is due; `None` when there will be no more.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.0.recv().await.ok()
    }

    /// One that nobody has taken.
    pub(super) fn left(&self) -> Option<Instant> {
        self.0.try_recv().ok()
    }
}

impl Pace {
    /// Begins to release the starts of `table`, which counts from `begin`, until `course` closes.
    pub(super) fn start(
        table: Timetable,
        begin: Instant,
        course: &Arc<Course>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = async_channel::bounded(WAITING_MAX);
        let course = Arc::clone(course);
        let thread = thread::Builder::new()
            .name("pace".to_owned())
            .spawn(move || release_all(Plan { begin, table }, &course, &sender))?;
        Ok(Self {
            thread,
            starts: StartQueue(receiver),
        })
    }

    pub(super) fn starts(&self) -> StartQueue {
        self.starts.clone()
    }

    /// After the course has closed: releases the last, and returns how many of the window found the
    /// queue full.
    pub(super) fn end(self) -> u64 {
        self.thread.thread().unpark();
        // A panic there has been reported by the panic hook, and what it missed is unknown.
        self.thread.join().unwrap_or(0)
    }
}

/// The intended starts.
struct Plan {
    begin: Instant,
    table: Timetable,
}

impl Plan {
    fn next(&mut self) -> Option<Instant> {
        let next = self.table.next()?;
        self.begin.checked_add(next)
    }

    /// Hands out those before `end`; returns how many of the window found no room.
    fn release(&mut self, end: Instant, course: &Course, due: &Sender<Instant>) -> u64 {
        while let Some(start) = self.next().filter(|start| *start < end) {
            match due.try_send(start) {
                Ok(()) => self.table.pass(),
                Err(TrySendError::Full(_)) => {
                    // All up to the last are too many; they are not even looked at one by one.
                    let end_within = end.saturating_duration_since(self.begin);
                    let missed = self.table.skip(end_within);
                    return if course.covers(start, end) { missed } else { 0 };
                }
                Err(TrySendError::Closed(_)) => return 0,
            }
        }
        0
    }
}

fn release_all(mut plan: Plan, course: &Course, due: &Sender<Instant>) -> u64 {
    let mut missed = 0;
    loop {
        let closed = course.closed();
        let now = Instant::now();
        missed += plan.release(closed.unwrap_or(now), course, due);
        if closed.is_some() {
            return missed;
        }
        let until = plan
            .next()
            .map_or(REST, |next| next.saturating_duration_since(now));
        thread::park_timeout(until.max(STEP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rate: f64) -> Plan {
        Plan {
            begin: Instant::now(),
            table: Timetable::steady(rate),
        }
    }

    #[test]
    fn starts_are_released_up_to_the_end() {
        let course = Course::default();
        let (sender, receiver) = async_channel::bounded(WAITING_MAX);
        let mut grid = plan(1000.0);
        let (begin, ms) = (grid.begin, Duration::from_millis);
        assert_eq!(grid.release(begin, &course, &sender), 0);
        assert!(receiver.is_empty(), "the end is not within");
        grid.release(begin + ms(3), &course, &sender);
        grid.release(begin + ms(5), &course, &sender);
        drop(sender);
        let starts: Vec<_> = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        let expected: Vec<_> = (0..5).map(|i| begin + ms(i)).collect();
        assert_eq!(starts, expected);
    }

    #[test]
    fn what_finds_no_room_is_counted_from_the_window_on() {
        let course = Course::default();
        let (sender, receiver) = async_channel::bounded(2);
        let mut grid = plan(1000.0);
        let (begin, ms) = (grid.begin, Duration::from_millis);
        assert_eq!(grid.release(begin + ms(5), &course, &sender), 0, "warm-up");
        course.open(begin + ms(5));
        assert_eq!(grid.release(begin + ms(9), &course, &sender), 4);
        while receiver.try_recv().is_ok() {}
        assert_eq!(grid.release(begin + ms(10), &course, &sender), 0);
        assert_eq!(receiver.try_recv(), Ok(begin + ms(9)), "it goes on in time");
    }

    #[test]
    fn it_ends_when_the_course_has_closed() {
        let course = Arc::new(Course::default());
        let pace = Pace::start(Timetable::steady(0.001), Instant::now(), &course).unwrap();
        let starts = pace.starts();
        course.open(Instant::now());
        course.close(Instant::now() + Duration::from_secs(1), false);
        assert_eq!(pace.end(), 0);
        assert!(ringpool::block_on(starts.next()).is_some(), "the first one");
        assert_eq!(ringpool::block_on(starts.next()), None);
    }
}
