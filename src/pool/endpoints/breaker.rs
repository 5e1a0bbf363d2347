//! One endpoint's circuit breaker: whether it may be dialled and used, by what it did lately.
//!
//! Owns: the endpoint's state, and what is counted to decide the next one.
//! Never: knows other endpoints (whether one more may be ejected is an argument), or opens anything.
//!
//! ```text
//! Closed      → Unreachable   failures_max dials in a row failed
//! Closed      → Ejected       too many faults, in a row or as a share
//! Unreachable → Closed        a dial succeeded
//! Unreachable → Ejected       too many faults on what was still open
//! Ejected     → HalfOpen      its time is over
//! HalfOpen    → Closed        trials_max trials succeeded
//! HalfOpen    → Ejected       a trial failed
//! HalfOpen    → Unreachable   a dial failed
//! ```
//!
//! | state | dials | calls |
//! |---|---|---|
//! | Closed | yes | yes |
//! | Unreachable | one at a time, in the background | on what is open |
//! | Ejected | no | no |
//! | HalfOpen | as far as trials are free | as far as trials are free |
//!
//! Every state × event is spelled out in `breaker/table.rs`. An ejection lasts twice as long as the one before
//! it, unless the endpoint has been out of ejection for `ejection_max` in between: then the past is
//! forgotten.

#[cfg(test)]
mod table;

use std::time::Duration;

use super::Change;
use super::redial::Redial;
use super::trials::Trials;
use super::window::Window;
use crate::config::BreakerConfig;
use crate::random::Random;
use crate::time::Time;

/// By how much, at most, chance shortens an ejection or a pause, so that what failed together
/// does not come back together.
pub(super) const JITTER: f64 = 0.5;

/// Taken for what is left of a trial that is under way.
const SOON: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: State,
    faults_in_row: u32,
    /// What that was before the latest success: it may yet turn out to have been none.
    faults_before: u32,
    dials_failed_in_row: u32,
    /// The calls of the last while, when neither ejected nor half-open.
    window: Window,
    /// How many ejections the length of the next one remembers.
    ejections: u32,
    /// When it last came out of an ejection for good; zero if never.
    back_since: Time,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Unreachable(Redial),
    Ejected {
        until: Time,
    },
    HalfOpen(Trials),
}

/// What a breaker says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Nothing speaks against it.
    Closed,
    /// It cannot be connected to.
    Unreachable,
    /// It gets no calls.
    Ejected,
    /// It gets a few calls.
    HalfOpen,
}

impl Breaker {
    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Unreachable(_) => BreakerState::Unreachable,
            State::Ejected { .. } => BreakerState::Ejected,
            State::HalfOpen(_) => BreakerState::HalfOpen,
        }
    }

    /// No dial in the background any more; how many failed is remembered.
    pub(super) fn forgive(&mut self) {
        match self.state {
            State::Unreachable(Redial::DueAt(_)) => self.state = State::Closed,
            State::Unreachable(Redial::UnderWay)
            | State::Closed
            | State::Ejected { .. }
            | State::HalfOpen(_) => {}
        }
    }

    /// Whether what is open may be used without reserve.
    #[cfg(feature = "simulation")]
    pub(super) fn is_trusted(&self) -> bool {
        match self.state {
            State::Closed | State::Unreachable(_) => true,
            State::Ejected { .. } | State::HalfOpen(_) => false,
        }
    }

    /// While half-open, how much work it knows of that has no verdict yet.
    #[cfg(feature = "simulation")]
    pub(super) fn unjudged(&self) -> Option<u32> {
        match &self.state {
            State::HalfOpen(trials) => Some(trials.unjudged()),
            State::Closed | State::Unreachable(_) | State::Ejected { .. } => None,
        }
    }

    // What holds now.

    #[inline]
    pub(super) fn may_serve(&self, now: Time, config: &BreakerConfig) -> bool {
        match &self.state {
            State::Closed | State::Unreachable(_) => true,
            State::Ejected { .. } => !config.enabled,
            State::HalfOpen(trials) => !config.enabled || trials.has_room(now, config),
        }
    }

    #[inline]
    pub(super) fn may_dial(&self, now: Time, config: &BreakerConfig) -> bool {
        match &self.state {
            State::Closed => true,
            State::Unreachable(_) | State::Ejected { .. } => !config.enabled,
            State::HalfOpen(trials) => !config.enabled || trials.has_room(now, config),
        }
    }

    /// Until when it is ejected, if it is.
    pub(super) fn ejected_until(&self) -> Option<Time> {
        match self.state {
            State::Ejected { until } => Some(until),
            State::Closed | State::Unreachable(_) | State::HalfOpen(_) => None,
        }
    }

    /// When [`take_dial`](Breaker::take_dial) or the end of an ejection is due.
    pub(super) fn next(&self) -> Option<Time> {
        match self.state {
            State::Ejected { until } => Some(until),
            State::Unreachable(Redial::DueAt(at)) => Some(at),
            State::Closed | State::Unreachable(Redial::UnderWay) | State::HalfOpen(_) => None,
        }
    }

    /// After how long it may be of use again.
    pub(super) fn retry_after(&self, now: Time) -> Duration {
        match self.state {
            State::Closed => Duration::ZERO,
            State::Unreachable(Redial::DueAt(at)) => at.since(now),
            State::Ejected { until } => until.since(now),
            State::Unreachable(Redial::UnderWay) | State::HalfOpen(_) => SOON,
        }
    }

    // What happens to it.

    /// A unit of work begins: a lease, or a dial.
    #[inline]
    pub(super) fn began(&mut self, now: Time) {
        match &mut self.state {
            State::Closed | State::Unreachable(_) | State::Ejected { .. } => {}
            State::HalfOpen(trials) => trials.began(now),
        }
    }

    /// A unit of work is over, `judged` before or not.
    #[inline]
    pub(super) fn ended(&mut self, judged: bool) {
        match &mut self.state {
            State::Closed | State::Unreachable(_) | State::Ejected { .. } => {}
            State::HalfOpen(trials) => trials.ended(judged),
        }
    }

    /// A call was answered, or has begun to be.
    #[inline]
    pub(super) fn served(&mut self, now: Time, config: &BreakerConfig) -> Change {
        if !config.enabled {
            return self.trust_blindly();
        }
        match &mut self.state {
            State::Closed | State::Unreachable(_) => {
                self.faults_before = std::mem::take(&mut self.faults_in_row);
                self.window.count(now, false, config.window);
                Change::None
            }
            // Begun before: it says little about those that failed since.
            State::Ejected { .. } => Change::None,
            State::HalfOpen(trials) => {
                trials.succeeded();
                if trials.successes() < config.trials_max.max(1) {
                    return Change::None;
                }
                self.come_back(now, State::Closed);
                Change::Restored
            }
        }
    }

    /// A call failed in a way that speaks against the endpoint. `may_eject`: enough others are left.
    pub(super) fn faulted(
        &mut self,
        now: Time,
        may_eject: bool,
        config: &BreakerConfig,
        random: &mut Random,
    ) -> Change {
        if !config.enabled {
            return self.trust_blindly();
        }
        let condemned = match &mut self.state {
            State::Closed | State::Unreachable(_) => {
                self.window.count(now, true, config.window);
                self.one_fault_more(now, config)
            }
            State::Ejected { .. } => false,
            State::HalfOpen(trials) => trials.failed(),
        };
        self.eject_if(condemned && may_eject, now, config, random)
    }

    /// A call that had been answered well has failed before its end.
    pub(super) fn recanted(
        &mut self,
        now: Time,
        may_eject: bool,
        config: &BreakerConfig,
        random: &mut Random,
    ) -> Change {
        if !config.enabled {
            return self.trust_blindly();
        }
        let condemned = match &mut self.state {
            State::Closed | State::Unreachable(_) => {
                self.faults_in_row = self.faults_in_row.max(self.faults_before);
                self.window.recant(now, config.window);
                self.one_fault_more(now, config)
            }
            State::Ejected { .. } => false,
            State::HalfOpen(trials) => trials.recanted(),
        };
        self.eject_if(condemned && may_eject, now, config, random)
    }

    /// Whether that makes too many.
    fn one_fault_more(&mut self, now: Time, config: &BreakerConfig) -> bool {
        self.faults_in_row = self.faults_in_row.saturating_add(1);
        if now.since(self.back_since) >= config.ejection_max {
            self.ejections = 0;
        }
        self.faults_in_row >= config.failures_max.max(1) || self.window.is_bad(config)
    }

    fn eject_if(
        &mut self,
        condemned: bool,
        now: Time,
        config: &BreakerConfig,
        random: &mut Random,
    ) -> Change {
        if !condemned {
            return Change::None;
        }
        let doubled = config
            .ejection_min
            .saturating_mul(1 << self.ejections.min(30));
        let lasts = doubled.min(config.ejection_max.max(config.ejection_min));
        self.ejections = self.ejections.saturating_add(1);
        let until = now + random.shorten(lasts, JITTER);
        self.state = State::Ejected { until };
        Change::Ejected
    }

    /// A dial succeeded.
    pub(super) fn connected(&mut self) -> Change {
        self.dials_failed_in_row = 0;
        match &mut self.state {
            // A dial proves nothing about calls: a trial that was one ends without a verdict.
            State::Closed | State::Ejected { .. } | State::HalfOpen(_) => Change::None,
            State::Unreachable(_) => {
                // Its faults stay counted: calls went on, on what was open.
                self.state = State::Closed;
                Change::Restored
            }
        }
    }

    /// A dial failed.
    pub(super) fn connect_failed(
        &mut self,
        now: Time,
        config: &BreakerConfig,
        backoff_max: Duration,
        random: &mut Random,
    ) -> Change {
        if !config.enabled {
            return self.trust_blindly();
        }
        match &mut self.state {
            State::Closed => {
                self.dials_failed_in_row = self.dials_failed_in_row.saturating_add(1);
                if self.dials_failed_in_row < config.failures_max.max(1) {
                    return Change::None;
                }
                self.state = State::Unreachable(Redial::later(now, backoff_max, random));
                Change::Lost
            }
            State::Unreachable(redial) => {
                redial.failed(now, backoff_max, random);
                Change::None
            }
            State::Ejected { .. } => Change::None,
            State::HalfOpen(_) => {
                let redial = Redial::later(now, backoff_max, random);
                self.come_back(now, State::Unreachable(redial));
                Change::Lost
            }
        }
    }

    /// Whether the background dial is due; if so it is now under way.
    pub(super) fn take_dial(&mut self, now: Time) -> bool {
        match &mut self.state {
            State::Unreachable(redial) => redial.take(now),
            State::Closed | State::Ejected { .. } | State::HalfOpen(_) => false,
        }
    }

    /// The background dial did not take place, or was given up without an answer.
    pub(super) fn dial_abandoned(&mut self, now: Time, backoff_max: Duration, random: &mut Random) {
        match &mut self.state {
            State::Unreachable(redial) => redial.failed(now, backoff_max, random),
            State::Closed | State::Ejected { .. } | State::HalfOpen(_) => {}
        }
    }

    /// The ejection is over; so much work is left from before it, without a verdict and with one.
    pub(super) fn end_ejection(&mut self, now: Time, unjudged: u32, judged: u32) {
        debug_assert!(self.ejected_until().is_some(), "nothing to end: {self:?}");
        self.state = State::HalfOpen(Trials::new(now, unjudged, judged));
    }

    /// Half-open no more: the past counts for nothing but the length of the next ejection.
    fn come_back(&mut self, now: Time, state: State) {
        *self = Breaker {
            state,
            ejections: self.ejections,
            back_since: now,
            ..Breaker::default()
        };
    }

    /// Nobody is judged any more.
    fn trust_blindly(&mut self) -> Change {
        match self.state {
            State::Closed => Change::None,
            State::Unreachable(_) | State::Ejected { .. } | State::HalfOpen(_) => {
                *self = Breaker::default();
                Change::Restored
            }
        }
    }
}
