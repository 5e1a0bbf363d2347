//! The phases of a load: when each ends, and how many callers it has.
//!
//! Owns: which phase a call belongs to, by its intended start. Never: waits.

use std::time::{Duration, Instant};

use crate::arrivals::{Stretch, Timetable};
use crate::load::LoadPlan;
use crate::traffic::PhaseLoad;

/// All phases; at least one.
#[derive(Clone, Debug)]
pub(super) struct Phases {
    begin: Instant,
    /// When each ends, counted from the beginning of the load; the warm-up belongs to the first.
    ends: Vec<Duration>,
    /// How many callers each has; `None` if it goes by the clock.
    callers: Vec<Option<usize>>,
}

impl Phases {
    /// Those of `plan`, from now on.
    pub(super) fn of(plan: &LoadPlan, begin: Instant) -> Self {
        let phases = &plan.traffic.phases;
        let mut end = plan.warmup;
        let ends = phases.iter().map(|phase| {
            end += phase.lasts;
            end
        });
        let callers = phases.iter().map(|phase| match phase.load {
            PhaseLoad::Callers(callers) => Some(callers),
            PhaseLoad::Rate(..) => None,
        });
        let (ends, callers): (Vec<_>, Vec<_>) = (ends.collect(), callers.collect());
        match ends.is_empty() {
            true => Self::one(begin),
            false => Self {
                begin,
                ends,
                callers,
            },
        }
    }

    /// A single one, without an end.
    pub(super) fn one(begin: Instant) -> Self {
        Self {
            begin,
            ends: vec![Duration::MAX],
            callers: vec![None],
        }
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The one that a call with this start belongs to.
    pub(super) fn at(&self, start: Instant) -> usize {
        let last = self.ends.len() - 1;
        if last == 0 {
            return 0;
        }
        let since = start.saturating_duration_since(self.begin);
        self.ends.partition_point(|end| *end <= since).min(last)
    }

    /// How long the caller of this rank has nothing to do, in a closed loop; `None` if it has something to do.
    pub(super) fn rest(&self, rank: usize, now: Instant) -> Option<Duration> {
        let phase = self.at(now);
        let rests = self.callers[phase].is_some_and(|callers| rank >= callers);
        let since = now.saturating_duration_since(self.begin);
        rests.then(|| self.ends[phase].saturating_sub(since))
    }
}

/// When the plan's calls begin, in an open loop.
pub(super) fn timetable(plan: &LoadPlan) -> Option<Timetable> {
    let traffic = &plan.traffic;
    let mut stretches: Vec<Stretch> = traffic.phases.iter().filter_map(|p| p.stretch()).collect();
    if traffic.phases.is_empty() {
        let rate = plan.rate?;
        stretches.push(Stretch {
            lasts: plan.duration,
            rate: (rate, rate),
            arrivals: traffic.arrivals,
        });
    }
    let first = *stretches.first()?;
    if !plan.warmup.is_zero() {
        let warmup = Stretch {
            lasts: plan.warmup,
            rate: (first.rate.0, first.rate.0),
            ..first
        };
        stretches.insert(0, warmup);
    }
    Some(Timetable::new(stretches, traffic.seed).later_by(traffic.offset))
}
