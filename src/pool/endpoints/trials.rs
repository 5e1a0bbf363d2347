//! The trials of an endpoint that is half-open.
//!
//! Owns: how much of the outstanding work is on trial, and how much of it began before.
//! Never: decides what a verdict leads to.
//!
//! Work has no name here, so nobody can say which piece a piece of news is about. What is in doubt is
//! settled so that trials are never stuck and old failures are not counted twice:
//! - a success is a trial's, while one is under way;
//! - a failure is that of work begun before the ejection ended, while there is any: a hung
//!   endpoint's old calls time out long after it has recovered;
//! - an end without a verdict is a trial's, whose place is free again.

use std::time::Duration;

use crate::config::BreakerConfig;
use crate::time::Time;

/// When all trials take longer than this, one more may begin: a raw connection may be held for hours, and
/// its endpoint is not to be kept from others meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// Each piece of outstanding work is counted once: as `older`, `running` or `judged`.
#[derive(Debug)]
pub(super) struct Trials {
    /// Begun before the ejection ended, and without a verdict.
    older: u32,
    /// On trial.
    running: u32,
    /// With a verdict, and about to end.
    judged: u32,
    successes: u32,
    last_began: Time,
}

impl Trials {
    /// No trial yet, and so much work that began before.
    pub(super) fn new(now: Time, older: u32) -> Trials {
        Trials {
            older,
            running: 0,
            judged: 0,
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
        [self.older, self.running, self.judged, self.successes]
    }

    pub(super) fn began(&mut self, now: Time) {
        self.running += 1;
        self.last_began = now;
    }

    pub(super) fn ended(&mut self) {
        let from = if self.judged > 0 {
            &mut self.judged
        } else if self.running > 0 {
            &mut self.running
        } else {
            &mut self.older
        };
        *from = from.saturating_sub(1);
    }

    /// A dial is over. It proves nothing about calls, but its place is free for the first of them.
    pub(super) fn connected(&mut self) {
        if self.running > 0 {
            self.running -= 1;
            self.judged += 1;
        } else {
            self.judge_older();
        }
    }

    pub(super) fn succeeded(&mut self) {
        if self.running > 0 {
            self.running -= 1;
            self.judged += 1;
            self.successes += 1;
        } else {
            self.judge_older();
        }
    }

    /// Whether it was a trial that failed.
    pub(super) fn failed(&mut self) -> bool {
        if self.older > 0 || self.running == 0 {
            self.judge_older();
            return false;
        }
        self.running -= 1;
        self.judged += 1;
        self.successes = 0;
        true
    }

    fn judge_older(&mut self) {
        if self.older > 0 {
            self.older -= 1;
            self.judged += 1;
        }
    }
}
