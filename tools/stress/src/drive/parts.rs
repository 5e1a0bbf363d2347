//! What callers count of parts of a load: of a phase, and of a kind of call within it.
//!
//! Owns: the histograms of each part that has any calls. Never: what the whole amounts to, which is `tally`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::Carried;
use crate::measure;

/// Which part: a phase, and a kind of call; `None` of one that never got so far as to have a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartOf {
    pub(super) phase: usize,
    pub(super) kind: Option<usize>,
}

impl PartOf {
    /// The first, or the only one.
    pub(super) const FIRST: Self = Self {
        phase: 0,
        kind: Some(0),
    };
}

/// One part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) latency: Histogram<u64>,
    pub(super) service: Histogram<u64>,
    pub(super) lag: Histogram<u64>,
    pub(super) ok: u64,
    pub(super) failed: BTreeMap<&'static str, u64>,
    /// What ended while this part lasted, within the window.
    pub(super) carried: Carried,
}

/// All parts. Where there is only one nothing is kept: it is the whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    kinds: usize,
    parts: Vec<Option<Box<Part>>>,
}

impl Parts {
    pub(super) fn new(phases: usize, kinds: usize) -> Self {
        let count = if phases * kinds > 1 {
            phases * (kinds + 1)
        } else {
            0
        };
        Self {
            kinds,
            parts: vec![None; count],
        }
    }

    fn part(&mut self, of: PartOf) -> Option<&mut Part> {
        let at = of.phase * (self.kinds + 1) + of.kind.unwrap_or(self.kinds);
        let part = self.parts.get_mut(at)?;
        Some(part.get_or_insert_with(Box::default))
    }

    /// A call was sent at another moment than it was meant to; so much of the delay was the tool's doing.
    pub(super) fn sent(&mut self, of: PartOf, lag: Duration) {
        if let Some(part) = self.part(of) {
            measure::record(&mut part.lag, lag);
        }
    }

    /// A call ended while this part lasted.
    pub(super) fn carried(&mut self, of: PartOf, is_ok: bool) {
        if let Some(part) = self.part(of) {
            part.carried.count(is_ok);
        }
    }

    /// A call ended well; where it was sent at another moment than it was meant to, how long it took from then.
    pub(super) fn ok(&mut self, of: PartOf, latency: Duration, service: Option<Duration>) {
        if let Some(part) = self.part(of) {
            part.ok += 1;
            measure::record(&mut part.latency, latency);
            if let Some(service) = service {
                measure::record(&mut part.service, service);
            }
        }
    }

    /// A call failed; `waited` tells how long one waited that never had an answer.
    pub(super) fn failed(&mut self, of: PartOf, kind: &'static str, waited: Option<Duration>) {
        if let Some(part) = self.part(of) {
            *part.failed.entry(kind).or_default() += 1;
            if let Some(waited) = waited {
                measure::record(&mut part.latency, waited);
            }
        }
    }

    /// Adds another thread's.
    pub(super) fn add(&mut self, other: Self) {
        if self.parts.is_empty() {
            *self = other;
            return;
        }
        for (mine, other) in self.parts.iter_mut().zip(other.parts) {
            match (mine.as_mut(), other) {
                (_, None) => {}
                (None, other) => *mine = other,
                (Some(mine), Some(other)) => mine.add(&other),
            }
        }
    }

    /// What was counted of a phase, or of a kind of call, or of both together.
    pub(super) fn sum(&self, phase: Option<usize>, kind: Option<usize>) -> Part {
        let mut sum = Part::default();
        for (at, part) in self.parts.iter().enumerate() {
            let (its_phase, its_kind) = (at / (self.kinds + 1), at % (self.kinds + 1));
            let within = phase.is_none_or(|phase| phase == its_phase)
                && kind.is_none_or(|kind| kind == its_kind);
            if let Some(part) = part.as_ref().filter(|_| within) {
                sum.add(part);
            }
        }
        sum
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Part {
    fn add(&mut self, other: &Self) {
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
    }
}

impl Default for Part {
    fn default() -> Self {
        Self {
            latency: measure::latencies(),
            service: measure::latencies(),
            lag: measure::latencies(),
            ok: 0,
            failed: BTreeMap::new(),
            carried: Carried::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_by_phase_and_by_kind() {
        let of = |phase, kind| PartOf { phase, kind };
        let ms = Duration::from_millis;
        let mut parts = Parts::new(2, 2);
        let mut other = parts.clone();
        parts.ok(of(0, Some(0)), ms(1), None);
        parts.ok(of(1, Some(0)), ms(9), Some(ms(5)));
        parts.sent(of(1, Some(0)), ms(1));
        other.ok(of(1, Some(1)), ms(2), None);
        other.failed(of(1, None), "not_started", Some(ms(20)));
        parts.add(other);
        let ok = |phase, kind| parts.sum(phase, kind).ok;
        assert_eq!((ok(Some(0), None), ok(Some(1), None)), (1, 2));
        assert_eq!(
            (ok(None, Some(0)), ok(None, Some(1)), ok(None, None)),
            (2, 1, 3)
        );
        let second = parts.sum(Some(1), None);
        assert_eq!(second.failed["not_started"], 1);
        assert_eq!((second.latency.len(), second.service.len()), (3, 1));
        assert_eq!(second.lag.len(), 1);
        assert!(Parts::new(1, 1).is_empty());
    }
}
