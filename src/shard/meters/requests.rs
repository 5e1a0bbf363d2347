//! Durations of calls, by method and outcome.
//!
//! Owns: the ceiling on how many pairs are told apart. Never: loses one: those beyond share one place.

use crate::protocol::http1::MethodKind;
use crate::stats::Durations;

/// Pairs of method and outcome that are told apart.
pub(crate) const SERIES_MAX: usize = 24;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A response's head came, with this status.
    Status(u16),
    /// None came: the error's kind, as [`ErrorKind::name`] has it.
    Error(&'static str),
    /// Any, of calls that came when there was no room left for another pair of method and outcome.
    Other,
}

/// Calls of one method that ended alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestFigures {
    /// The method; `_OTHER` for any but the nine that HTTP knows.
    pub method: &'static str,
    /// How they ended.
    pub outcome: Outcome,
    /// From the turn in which a shard took a call up to the one in which its response's head was there, or its error: over all
    /// attempts, waiting included.
    pub duration: Durations,
}

/// Durations by method and outcome.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    series: Vec<RequestSeries>,
    /// Which was met last: mostly it is met again.
    last: usize,
    other: Durations,
}

type Pair = (MethodKind, Outcome);

#[derive(Clone, Debug)]
struct RequestSeries {
    pair: Pair,
    duration: Durations,
}

impl Requests {
    #[inline]
    pub(super) fn record(&mut self, pair: Pair, nanos: u64) {
        match self.series.get_mut(self.last) {
            Some(series) if series.pair == pair => series.duration.record_nanos(nanos),
            _ => self.find(pair).record_nanos(nanos),
        }
    }

    #[inline(never)]
    fn find(&mut self, pair: Pair) -> &mut Durations {
        let found = self.series.iter().position(|series| series.pair == pair);
        let Some(at) = found.or_else(|| {
            let has_room = self.series.len() < SERIES_MAX;
            has_room.then(|| {
                let duration = Durations::default();
                self.series.push(RequestSeries { pair, duration });
                self.series.len() - 1
            })
        }) else {
            return &mut self.other;
        };
        self.last = at;
        &mut self.series[at].duration
    }

    pub(super) fn add(&mut self, others: &Requests) {
        for series in &others.series {
            self.find(series.pair).add(&series.duration);
        }
        self.other.add(&others.other);
    }

    /// What is told of them.
    pub(crate) fn told(&self) -> Vec<RequestFigures> {
        let all = self.series.iter().map(|series| RequestFigures {
            method: series.pair.0.name(),
            outcome: series.pair.1,
            duration: series.duration.clone(),
        });
        let other = (!self.other.is_empty()).then(|| RequestFigures {
            method: MethodKind::Other.name(),
            outcome: Outcome::Other,
            duration: self.other.clone(),
        });
        all.chain(other).collect()
    }
}

#[cfg(test)]
impl Requests {
    /// How many pairs are told apart, and what that takes on the heap at most, in bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        let places = self.series.capacity() * size_of::<RequestSeries>();
        let series = self.series.len();
        (series, places + (series + 1) * Durations::SIZE_MAX)
    }
}
