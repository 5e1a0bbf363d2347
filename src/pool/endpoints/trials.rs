//! The trials of an endpoint that is half-open.
//!
//! Owns: how much of the outstanding work is on trial, and how much of it began before.
//! Never: decides what a verdict leads to.
//!
//! Work has no name here, so nobody can say which piece a piece of news is about. What is in doubt is
//! settled so that trials are never stuck and old failures are not counted twice:
//! - a success is a trial's, while one is under way;
//! - a failure is that of work begun before the ejection ended, while there is any: a hung
//!   endpoint's old calls time out long after it has recovered. What fails after a good beginning is, in the
//!   same way, taken for work that had begun well before, while there is any;
//! - an end without a verdict is a trial's, whose place is free again.

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::time::Time;

/// When all trials take longer than this, one more may begin: a raw connection may be held for hours, and
/// its endpoint is not to be kept from others meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// A piece of outstanding work is counted as long as it has no verdict, as `older` or `running`; one from
/// before that had its verdict already, to its end.
#[derive(Debug)]
pub(super) struct Trials {
    /// Begun before the ejection ended, and without a verdict.
    older: u32,
    /// On trial.
    running: u32,
    /// Begun before, with a verdict, and not over yet.
    older_judged: u32,
    successes: u32,
    last_began: Time,
}

impl Trials {
    /// No trial yet, and so much work that began before, some of it with a verdict.
    pub(super) fn new(now: Time, older: u32, older_judged: u32) -> Trials {
        Trials {
            older,
            running: 0,
            older_judged,
            successes: 0,
            last_began: now,
        }
    }

    /// Whether one more may begin.
    pub(super) fn has_room(&self, now: Time, config: &BreakerConfig) -> bool {
        self.running < config.trials_max.max(1) || now.since(self.last_began) >= PATIENCE
    }

    /// Successful ones so far, or since one failed.
    pub(super) fn successes(&self) -> u32 {
        self.successes
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> [u32; 4] {
        [self.older, self.running, self.older_judged, self.successes]
    }

    /// All work, on trial or not, that has no verdict yet.
    #[cfg(feature = "simulation")]
    pub(super) fn unjudged(&self) -> u32 {
        self.older + self.running
    }

    pub(super) fn began(&mut self, now: Time) {
        self.running += 1;
        self.last_began = now;
    }

    /// A piece of work is over, `judged` before or not.
    pub(super) fn ended(&mut self, judged: bool) {
        let from = if judged {
            &mut self.older_judged
        } else if self.running > 0 {
            &mut self.running
        } else {
            &mut self.older
        };
        *from = from.saturating_sub(1);
    }

    pub(super) fn succeeded(&mut self) {
        if self.running > 0 {
            self.running -= 1;
            self.successes += 1;
        } else {
            self.older = self.older.saturating_sub(1);
        }
    }

    /// Whether it was a trial that failed.
    pub(super) fn failed(&mut self) -> bool {
        if self.older > 0 || self.running == 0 {
            self.older = self.older.saturating_sub(1);
            return false;
        }
        self.running -= 1;
        self.successes = 0;
        true
    }

    /// What had succeeded has failed after all: whether it was a trial.
    pub(super) fn recanted(&mut self) -> bool {
        if self.older_judged > 0 {
            return false;
        }
        self.successes = 0;
        true
    }
}
