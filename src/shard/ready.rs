//! Waiting for the warm connections to be up.

use super::core::Core;
use crate::driver::Driver;
use crate::time::Time;
use futures_channel::oneshot;
use std::time::Duration;

/// Somebody wants to know when every warm connection of this shard is up.
pub(super) struct ReadyWatch {
    until: Time,
    reply: Option<oneshot::Sender<Vec<String>>>,
}

impl ReadyWatch {
    pub(super) fn new(until: Time, reply: oneshot::Sender<Vec<String>>) -> ReadyWatch {
        ReadyWatch {
            until,
            reply: Some(reply),
        }
    }

    /// When to look again, if no event comes before: connections that come up are events.
    pub(super) fn look_again(&self, now: Time) -> Time {
        self.until.min(now + Duration::from_millis(100))
    }
}

impl<D: Driver> Core<D> {
    /// Answers a watch, if there is an answer: nothing is missing, or the time is over. Returns
    /// whether the watch is done with.
    pub(super) fn answer_ready(&self, watch: &mut ReadyWatch) -> bool {
        if watch
            .reply
            .as_ref()
            .is_none_or(oneshot::Sender::is_canceled)
        {
            return true;
        }
        let missing = self.missing();
        if !missing.is_empty() && self.now < watch.until {
            return false;
        }
        if let Some(reply) = watch.reply.take() {
            // Cancelled in the same breath: nobody wants to know.
            let _ = reply.send(missing);
        }
        true
    }

    /// What is not warm yet, a line each.
    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (_, upstream) in self.upstreams.iter() {
            let policy = upstream.policy.current();
            let wanted = upstream.shared.warm_on(self.index, &policy);
            let census = upstream.pool.census();
            let up = census.idle + census.leased;
            if up < wanted {
                let why = upstream
                    .dial_error
                    .as_ref()
                    .map_or_else(String::new, |error| format!(": {error}"));
                let shard = self.index;
                missing.push(format!(
                    "{} has {up} of {wanted} warm on shard {shard}{why}",
                    upstream.shared.name
                ));
            }
        }
        missing
    }
}
