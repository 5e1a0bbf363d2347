//! Waiting for the warm connections to be up.

use super::core::Core;
use crate::driver::Driver;
use crate::error::Error;
use crate::time::Time;
use futures_channel::oneshot;
use std::sync::Arc;
use std::time::Duration;

/// An upstream of this shard that has fewer warm connections than it is to have.
pub(crate) struct Missing {
    pub(crate) upstream: Arc<str>,
    pub(crate) shard: usize,
    pub(crate) up: u32,
    pub(crate) wanted: u32,
    /// Why the last dial failed, if one has.
    pub(crate) why: Option<Error>,
}

/// Somebody wants to know when every warm connection of this shard is up.
pub(super) struct ReadyWatch {
    until: Time,
    reply: Option<oneshot::Sender<Vec<Missing>>>,
}

impl ReadyWatch {
    pub(super) fn new(until: Time, reply: oneshot::Sender<Vec<Missing>>) -> ReadyWatch {
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

    /// What is not warm yet.
    fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (_, upstream) in self.upstreams.iter() {
            let policy = upstream.policy.current();
            let wanted = upstream.shared.warm_on(self.index, &policy);
            let census = upstream.pool.census();
            let up = census.idle + census.leased;
            if up < wanted {
                missing.push(Missing {
                    upstream: upstream.shared.name.clone(),
                    shard: self.index,
                    up,
                    wanted,
                    why: upstream.dial_error.as_ref().map(Error::duplicate),
                });
            }
        }
        missing
    }
}
