//! What the callers of one thread see, interval by interval.
//!
//! Owns the interval that is under way, and those that are over, packed. A request belongs to the interval in which it
//! ends; all that comes after the window is one more, the late one. Never: allocates within an interval, or reads the clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::course::Course;
use crate::measure;
use crate::packed::Packed;
use crate::series::{LATE, SAMPLES_MAX, Seen};

/// Intervals are numbered from 0, the one that begins as the window opens.
#[derive(Debug)]
pub(super) struct Intervals {
    length: Duration,
    number: usize,
    /// When this one ends; `None` until the window has been seen open.
    end: Option<Instant>,
    latency: Histogram<u64>,
    ok: u64,
    failed: BTreeMap<&'static str, u64>,
    /// Those that are over and saw anything.
    over: Vec<(usize, Seen)>,
    /// How many of them have been told as news.
    told: usize,
}

impl Intervals {
    /// Each of this length, the last one without an end.
    pub(super) fn of(length: Duration) -> Self {
        Self {
            length,
            number: 0,
            end: None,
            latency: measure::latencies(),
            ok: 0,
            failed: BTreeMap::new(),
            over: Vec::new(),
            told: 0,
        }
    }

    /// Goes on to the interval that `now` is in; what is over is added to `sum`.
    pub(super) fn move_to(&mut self, now: Instant, course: &Course, sum: &mut Histogram<u64>) {
        if course.closed().is_some_and(|closed| now >= closed) {
            if self.number != LATE {
                self.settle(sum);
                self.number = LATE;
            }
            return;
        }
        if self.end.is_some_and(|end| now < end) {
            return;
        }
        let Some(opened) = course.opened() else {
            return;
        };
        let since = now.saturating_duration_since(opened);
        // Past the last one nothing is told apart: however late the end, there is a bound.
        let number = since.div_duration_f64(self.length) as usize;
        let number = number.min(SAMPLES_MAX);
        if number != self.number {
            self.settle(sum);
            self.number = number;
        }
        self.end = if number == SAMPLES_MAX {
            Some(now + Duration::from_secs(1))
        } else {
            Some(opened + self.length * (number as u32 + 1))
        };
    }

    /// A request ended well in this interval.
    pub(super) fn ok(&mut self, latency: Duration) {
        self.ok += 1;
        measure::record(&mut self.latency, latency);
    }

    /// A request that never had an answer was given up, after so long.
    pub(super) fn waited(&mut self, waited: Duration) {
        measure::record(&mut self.latency, waited);
    }

    /// Requests failed in it.
    pub(super) fn failed(&mut self, kind: &'static str, count: u64) {
        *self.failed.entry(kind).or_default() += count;
    }

    /// This interval is over.
    pub(super) fn settle(&mut self, sum: &mut Histogram<u64>) {
        if self.ok == 0 && self.failed.is_empty() {
            return;
        }
        let merged = sum.add(&self.latency);
        debug_assert!(merged.is_ok(), "all histograms have the same bounds");
        let seen = Seen::Requests {
            ok: std::mem::take(&mut self.ok),
            failed: std::mem::take(&mut self.failed),
            latency: Packed::of(&self.latency),
        };
        self.latency.reset();
        self.over.push((self.number, seen));
    }

    /// The latencies of those that are over and were not told yet.
    pub(super) fn news(&mut self) -> impl Iterator<Item = Packed> {
        let from = std::mem::replace(&mut self.told, self.over.len());
        self.over[from..].iter().filter_map(|(_, seen)| match seen {
            Seen::Requests { latency, .. } => Some(latency.clone()),
            Seen::Engine { .. } => None,
        })
    }

    /// Adds another thread's.
    pub(super) fn add(&mut self, other: Self) {
        debug_assert!(other.ok == 0 && other.failed.is_empty(), "it is settled");
        self.over.extend(other.over);
    }

    /// All that are over.
    pub(super) fn seen(&mut self) -> Vec<(usize, Seen)> {
        self.told = 0;
        std::mem::take(&mut self.over)
    }
}
