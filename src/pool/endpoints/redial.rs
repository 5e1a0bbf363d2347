//! The background dials that try an unreachable endpoint: one at a time, with a pause before each.
//!
//! Owns: when the next one is due, and whether one is under way.
//! Never: dials.

use std::time::Duration;

use super::breaker::JITTER;
use crate::random::Random;
use crate::time::Time;

/// No pause is shorter: it ends by a timer.
const PAUSE_MIN: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(super) enum Redial {
    DueAt(Time),
    UnderWay,
}

impl Redial {
    /// Due after a pause, of half of `pause_max` at least.
    pub(super) fn later(now: Time, pause_max: Duration, random: &mut Random) -> Redial {
        Redial::DueAt(now + random.shorten(pause_max, JITTER).max(PAUSE_MIN))
    }

    /// Whether it is due; if so it is now under way.
    pub(super) fn take(&mut self, now: Time) -> bool {
        match *self {
            Redial::DueAt(at) if at <= now => {
                *self = Redial::UnderWay;
                true
            }
            Redial::DueAt(_) | Redial::UnderWay => false,
        }
    }

    /// The one under way has failed, or was given up. Without one under way, the news is of a dial begun
    /// before the endpoint became unreachable.
    pub(super) fn failed(&mut self, now: Time, pause_max: Duration, random: &mut Random) {
        match self {
            Redial::UnderWay => *self = Redial::later(now, pause_max, random),
            Redial::DueAt(_) => {}
        }
    }
}
