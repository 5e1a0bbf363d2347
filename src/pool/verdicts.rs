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
    /// What `member` is used for goes well, with `latency` until the head of the answer. True if that changed
    /// more than counts: `actions` has what is to be done then.
    #[inline]
    pub fn served(
        &mut self,
        now: Time,
        id: MemberId,
        latency: Duration,
        actions: &mut Vec<Action>,
    ) -> bool {
        let Some(endpoint) = self.members.get(id).and_then(|member| member.endpoint) else {
            return false;
        };
        self.members.judge(id);
        let Limits {
            breaker, balance, ..
        } = &self.limits;
        match self
            .endpoints
            .served(now, endpoint, latency, breaker, balance)
        {
            Change::None => false,
            Change::Restored | Change::Lost | Change::Ejected => {
                self.settle(now, actions);
                true
            }
        }
    }

    pub(super) fn faulted(
        &mut self,
        now: Time,
        id: MemberId,
        served: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(endpoint) = self.members.get(id).and_then(|member| member.endpoint) else {
            return;
        };
        let (breaker, random) = (&self.limits.breaker, &mut self.random);
        let change = if served {
            self.endpoints.recanted(now, endpoint, breaker, random)
        } else {
            self.members.judge(id);
            self.endpoints.faulted(now, endpoint, breaker, random)
        };
        match change {
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
