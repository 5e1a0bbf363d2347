//! What is learnt about endpoints: which there are, and how those who use them fare.
//!
//! Owns: passing it on, and letting go of connections to endpoints that are out. Never: judges an endpoint.

use super::Pool;
use super::endpoints::Change;
use super::limits::Limits;
use super::member::State;
use super::message::{Action, CloseReason, EndpointId, MemberId};
use crate::time::Time;
use std::time::Duration;

impl Pool {
    /// What `member` was used for went well, with `latency` until the first byte of the answer.
    /// Its release follows.
    #[inline]
    pub fn served(&mut self, now: Time, id: MemberId, latency: Duration) {
        let Some(endpoint) = self.members.get(id).and_then(|member| member.endpoint) else {
            return;
        };
        let Limits {
            breaker, balance, ..
        } = &self.limits;
        match self
            .endpoints
            .served(now, endpoint, latency, breaker, balance)
        {
            Change::None => {}
            Change::Restored | Change::Lost | Change::Ejected => self.unsettled = true,
        }
    }

    pub(super) fn faulted(&mut self, now: Time, id: MemberId, actions: &mut Vec<Action>) {
        let Some(endpoint) = self.members.get(id).and_then(|member| member.endpoint) else {
            return;
        };
        let (breaker, random) = (&self.limits.breaker, &mut self.random);
        match self.endpoints.faulted(now, endpoint, breaker, random) {
            Change::None | Change::Restored | Change::Lost => {}
            Change::Ejected => {
                self.counters.ejections += 1;
                let there = self.members.select(|member| {
                    matches!(member.state, State::Open(_)) && member.endpoint == Some(endpoint)
                });
                for id in there {
                    self.retire(id, CloseReason::Endpoint, actions);
                }
            }
        }
    }

    pub(super) fn set_endpoints(
        &mut self,
        now: Time,
        ids: &[EndpointId],
        actions: &mut Vec<Action>,
    ) {
        let left = self.endpoints.set_all(now, ids, &self.limits.balance);
        if left.is_empty() {
            return;
        }
        let stale = self.members.select(|member| {
            matches!(member.state, State::Open(_))
                && member
                    .endpoint
                    .is_some_and(|endpoint| left.contains(&endpoint))
        });
        for id in stale {
            self.retire(id, CloseReason::Endpoint, actions);
        }
    }
}
