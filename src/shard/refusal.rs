//! What a caller is told who got no connection.
//!
//! Owns: the pool's refusals as errors. Never: refuses.

use super::core::Core;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase};
use crate::pool::Refusal;
use crate::slab::Key;

impl<D: Driver> Core<D> {
    pub(super) fn refusal(&self, upstream: Key, waiter: Key, refusal: Refusal) -> Error {
        let Some(state) = self.upstreams.get(upstream) else {
            return Error::draining();
        };
        let name = &state.shared.name;
        let error = match refusal {
            Refusal::QueueFull { retry_after } => {
                let max = state.policy.current().waiters_max;
                let what = format!("{max} callers wait for a connection already");
                Error::new(ErrorKind::Shed, what).with_retry_after(retry_after)
            }
            Refusal::Overloaded { retry_after } => {
                let what = "callers have been waiting too long for a connection for too long";
                Error::new(ErrorKind::Shed, what).with_retry_after(retry_after)
            }
            Refusal::Breaker { retry_after } => {
                let what = "no endpoint is worth a call: each has failed lately";
                let error = Error::new(ErrorKind::Breaker, what).with_retry_after(retry_after);
                match &state.dial_error {
                    Some(cause) => error.caused_by(cause.duplicate()),
                    None => error,
                }
            }
            Refusal::Deadline => self.wait_timeout(waiter, state.dial_error.as_ref()),
            Refusal::DialFailed => match &state.dial_error {
                Some(error) => error.duplicate(),
                None => Error::new(ErrorKind::Dial, "the dial failed"),
            },
            Refusal::Draining => Error::draining(),
        };
        error.at_upstream(name)
    }

    /// Counts those whom nothing in the pool is to blame for; the others it counts itself.
    pub(super) fn count_refusal(&mut self, upstream: Key, refusal: &Refusal) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        match refusal {
            Refusal::DialFailed => state.meters.asking.failed += 1,
            Refusal::Draining => state.meters.asking.draining += 1,
            Refusal::QueueFull { .. }
            | Refusal::Overloaded { .. }
            | Refusal::Breaker { .. }
            | Refusal::Deadline => {}
        }
    }

    /// Counts somebody who may not even ask any more.
    pub(super) fn count_turned_away(&mut self, upstream: Key) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.meters.asking.asked += 1;
            state.meters.asking.draining += 1;
        }
    }

    /// Counts somebody who asks no more, because all that was granted had gone bad.
    pub(super) fn count_nothing_usable(&mut self, upstream: Key) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.meters.asking.asked += 1;
            state.meters.asking.failed += 1;
        }
    }

    /// A wait that ran out says what the dials met meanwhile, if they failed.
    fn wait_timeout(&self, waiter: Key, dial_error: Option<&Error>) -> Error {
        let since = self
            .waiters
            .get(waiter)
            .map_or(self.now, |waiter| waiter.since);
        let error = Error::timeout(Phase::Wait, self.now.since(since));
        match dial_error {
            Some(cause) => error.caused_by(cause.duplicate()),
            None => error,
        }
    }
}
