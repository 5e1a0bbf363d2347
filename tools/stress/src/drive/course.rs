//! The course of a load: when its measured window opened, and when it closed.
//!
//! Read by every caller for each request, written twice: it must never be contended. A request
//! belongs to the window if it *started* in it (at a fixed rate: if it was meant to), however late
//! it ends, so that slow answers at the end are counted; and one that started before if it
//! outlasted the window, so that no hang goes unseen.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long answers may take after the window closed; what is unanswered then has failed.
const GRACE: Duration = Duration::from_secs(5);
/// The same, when the user wants to end.
const GRACE_INTERRUPTED: Duration = Duration::from_secs(1);

/// From the warm-up to the end.
#[derive(Debug, Default)]
pub(super) struct Course {
    opened: OnceLock<Instant>,
    closed: OnceLock<Instant>,
    interrupted: AtomicBool,
}

impl Course {
    /// The warm-up is over.
    pub(super) fn open(&self, at: Instant) {
        let first = self.opened.set(at).is_ok();
        debug_assert!(first, "a window opens once");
    }

    /// No request starts from now on.
    pub(super) fn close(&self, at: Instant, interrupted: bool) {
        self.interrupted.store(interrupted, Ordering::Relaxed);
        let first = self.closed.set(at).is_ok();
        debug_assert!(first, "a window closes once");
    }

    /// When the warm-up was over, if it is.
    pub(super) fn opened(&self) -> Option<Instant> {
        self.opened.get().copied()
    }

    /// When it closed, if it has.
    pub(super) fn closed(&self) -> Option<Instant> {
        self.closed.get().copied()
    }

    /// Whether the user ended it.
    pub(super) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether a request with this start, and this end or no end until then, is counted.
    pub(super) fn covers(&self, start: Instant, end: Instant) -> bool {
        let Some(opened) = self.opened.get() else {
            return false;
        };
        match self.closed.get() {
            None => start >= *opened,
            Some(closed) => start < *closed && (start >= *opened || end >= *closed),
        }
    }

    /// Whether the window was open then.
    pub(super) fn is_within(&self, now: Instant) -> bool {
        self.opened().is_some_and(|opened| now >= opened)
            && self.closed().is_none_or(|closed| now < closed)
    }

    /// Whether what is still unanswered is to be given up.
    pub(super) fn is_past_grace(&self, now: Instant) -> bool {
        let grace = if self.interrupted() {
            GRACE_INTERRUPTED
        } else {
            GRACE
        };
        self.closed().is_some_and(|closed| now >= closed + grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_by_its_start() {
        let (course, base) = (Course::default(), Instant::now());
        let at = |ms| base + Duration::from_millis(ms);
        assert!(!course.covers(at(5), at(6)), "warm-up");
        course.open(at(10));
        assert!(!course.covers(at(9), at(12)) && course.covers(at(10), at(12)));
        assert!(!course.is_past_grace(at(1_000_000)), "still open");
        course.close(at(50), false);
        assert!(course.covers(at(10), at(49)) && course.covers(at(49), at(99)));
        assert!(!course.covers(at(50), at(51)), "after it");
        assert!(!course.covers(at(9), at(49)), "begun in the warm-up");
        assert!(course.covers(at(9), at(50)), "outlasted the window");
    }

    #[test]
    fn who_interrupts_waits_less() {
        let base = Instant::now();
        for (interrupted, grace) in [(false, GRACE), (true, GRACE_INTERRUPTED)] {
            let course = Course::default();
            course.close(base, interrupted);
            assert!(!course.is_past_grace(base + grace - Duration::from_millis(1)));
            assert!(course.is_past_grace(base + grace));
        }
    }
}
