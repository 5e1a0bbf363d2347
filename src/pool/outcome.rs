//! What becomes of a dial: where it goes, and what follows from its end.
//!
//! Owns: the news of dials, good and bad. Never: begins one.

use super::Pool;
use super::endpoints::Change;
use super::limits::Limits;
use super::member::{Member, State};
use super::message::{Action, CloseReason, EndpointId, MemberId, Opened, Purpose, Refusal};
use super::queue::Who;
use crate::time::Time;

impl Pool {
    /// The endpoint for the dial of `member`, other than those `tried` already. `None`: there is none
    /// left to try.
    pub fn choose_endpoint(
        &mut self,
        now: Time,
        id: MemberId,
        tried: &[EndpointId],
    ) -> Option<EndpointId> {
        let member = self.members.get(id)?;
        debug_assert!(matches!(member.state, State::Dialing(_)), "{id:?} is open");
        match member.endpoint {
            Some(chosen) if self.endpoints.contains(chosen) => {
                debug_assert!(!tried.contains(&chosen), "{chosen:?} failed, untold");
                return Some(chosen);
            }
            // It was chosen when the dial began, and has left since.
            Some(left) => {
                self.endpoints.ended(left, false);
                self.members.set_endpoint(id, None);
            }
            None => {}
        }
        let Limits {
            breaker, balance, ..
        } = &self.limits;
        let random = &mut self.random;
        let chosen = self
            .endpoints
            .choose_dial(now, tried, breaker, balance, random)?;
        self.endpoints.began(now, chosen);
        self.members.set_endpoint(id, Some(chosen));
        Some(chosen)
    }

    /// The endpoint chosen for the dial of `member` cannot be connected to; another one may be chosen.
    pub fn endpoint_failed(&mut self, now: Time, id: MemberId) {
        let Some(endpoint) = self.members.get(id).and_then(|member| member.endpoint) else {
            return;
        };
        self.members.set_endpoint(id, None);
        self.connect_failed(now, endpoint);
    }

    pub(super) fn dialed(
        &mut self,
        now: Time,
        id: MemberId,
        opened: Opened,
        actions: &mut Vec<Action>,
    ) {
        let Some(purpose) = self.opened(now, id, opened) else {
            return;
        };
        self.fail_late(now, actions);
        if self.draining {
            return self.retire(id, CloseReason::Drained, actions);
        }
        let endpoint = self.members.get(id).and_then(|member| member.endpoint);
        if endpoint.is_some_and(|endpoint| !self.endpoints.contains(endpoint)) {
            return self.retire(id, CloseReason::Endpoint, actions);
        }
        self.grant_dialed(now, id, purpose, actions);
        // A cap was lowered while it was being dialled, and nobody here waits for it.
        let is_idle = self.members.get(id).is_some_and(Member::is_idle);
        if is_idle && self.is_over_cap() && self.condemned(now, id).is_some() {
            self.retire(id, CloseReason::Reconfigured, actions);
        }
    }

    /// The connection is open, and nobody's yet; what it was dialled for.
    pub(super) fn opened(&mut self, now: Time, id: MemberId, opened: Opened) -> Option<Purpose> {
        let (began, purpose) = self.dial_of(id)?;
        let endpoint = self.members.get(id).and_then(|member| member.endpoint);
        self.dialing.succeeded(now.since(began), opened.slots);
        if let Some(endpoint) = endpoint {
            self.endpoints
                .connected(now, endpoint, &self.limits.balance);
            self.endpoints.ended(endpoint, false);
        }
        self.members.opened(id, opened, now);
        self.set_end_of_life(id);
        self.rests(now);
        Some(purpose)
    }

    pub(super) fn dial_failed(&mut self, now: Time, id: MemberId, actions: &mut Vec<Action>) {
        let Some((began, purpose)) = self.dial_of(id) else {
            return;
        };
        let gone = self.members.get(id).and_then(|member| member.endpoint);
        self.members.set_endpoint(id, None);
        self.forget(id);
        if let Some(endpoint) = gone {
            self.connect_failed(now, endpoint);
        }
        self.counters.dials_failed += 1;
        self.fail_late(now, actions);
        if purpose == Purpose::Trial {
            return;
        }
        let reachable = |id| self.endpoints.may_dial(now, id, &self.limits.breaker);
        match gone {
            // It has pauses of its own now, and where else there is to dial nothing has failed.
            Some(endpoint) if !reachable(endpoint) => self.dialing.handed_over(),
            Some(_) | None => self
                .dialing
                .failed(now, began, &self.limits, &mut self.random),
        }
        // One failure fails at most one waiter: whoever is first of those whom nothing open or under
        // way can serve. The others wait for the next dial, until their deadlines.
        let victim = if self.members.dialing() > self.members.trials() {
            None
        } else if self.members.live() > self.members.doomed() {
            self.queue.pop_fresh(Who::Anyone)
        } else {
            self.queue.pop_first()
        };
        if let Some(waiter) = victim {
            self.fail(waiter, Refusal::DialFailed, actions);
        }
    }

    pub(super) fn connect_failed(&mut self, now: Time, endpoint: EndpointId) {
        let limits = &self.limits;
        let change = self.endpoints.connect_failed(
            now,
            endpoint,
            &limits.breaker,
            limits.dial_backoff_max,
            &mut self.random,
        );
        self.endpoints.ended(endpoint, false);
        match change {
            Change::None => {}
            Change::Lost | Change::Restored | Change::Ejected => self.unsettled = true,
        }
    }

    /// A dial ended without success or failure: it was given up.
    pub(super) fn dial_abandoned(
        &mut self,
        now: Time,
        purpose: Purpose,
        endpoint: Option<EndpointId>,
    ) {
        let Some(endpoint) = endpoint else { return };
        self.endpoints.ended(endpoint, false);
        match purpose {
            Purpose::Trial => self.trial_abandoned(now, endpoint),
            Purpose::Fresh | Purpose::Queue | Purpose::Warmth => {}
        }
    }

    pub(super) fn trial_abandoned(&mut self, now: Time, endpoint: EndpointId) {
        let pause = self.limits.dial_backoff_max;
        self.endpoints
            .trial_abandoned(now, endpoint, pause, &mut self.random);
    }

    /// What a member that is being dialled was begun for.
    pub fn dialed_for(&self, id: MemberId) -> Option<Purpose> {
        match self.members.get(id)?.state {
            State::Dialing(purpose) => Some(purpose),
            State::Open(_) => None,
        }
    }

    /// When the dial of `id` began, and what for, if it is being dialled.
    pub(super) fn dial_of(&self, id: MemberId) -> Option<(Time, Purpose)> {
        let member = self.members.get(id)?;
        match member.state {
            State::Dialing(purpose) => Some((member.since, purpose)),
            State::Open(_) => {
                debug_assert!(false, "{id:?} was dialled already");
                None
            }
        }
    }
}
