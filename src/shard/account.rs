//! What a shard learns about an upstream from the calls to it, and tells its pool.
//!
//! Owns: the latencies that an attempt's time limit follows from, and the account of calls and retries.
//! Never: judges an endpoint; the pool does, by what it is told here.

use super::connection::Holder;
use super::core::Core;
use super::meters::Outcome;
use crate::config::RetryConfig;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{ErrorKind, Phase};
use crate::pool::{Input, RetryBudget, Tail, backoff};
use crate::protocol::http1::MethodKind;
use crate::slab::Key;
use crate::time::Time;
use crate::trace;
use std::time::Duration;

/// One upstream's calls, as one shard has seen them.
pub(crate) struct Account {
    tail: Tail,
    budget: RetryBudget,
}

impl Account {
    pub(super) fn new(config: &RetryConfig) -> Account {
        Account {
            tail: Tail::default(),
            // No call was ever made: the first one brings it up to date.
            budget: RetryBudget::new(Time::ZERO, config),
        }
    }
}

impl Account {
    /// How many retries are left.
    pub(super) fn retry_budget(&self) -> f64 {
        self.budget.balance()
    }
}

/// Responses that say that the endpoint, or what it stands before, cannot serve just now (RFC 9110
/// §15.6.3 to 15.6.5).
pub(super) fn is_fault(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// Whether a failure in the middle of an exchange speaks against the endpoint. What the caller did wrong,
/// or what this engine refuses, does not.
pub(super) fn speaks_against_endpoint(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Closed
        | ErrorKind::Protocol
        | ErrorKind::Tls(_)
        | ErrorKind::Timeout(Phase::Send | Phase::Head | Phase::Body) => true,
        ErrorKind::Config
        | ErrorKind::Unsupported
        | ErrorKind::Request
        | ErrorKind::RequestBody
        | ErrorKind::Resolve
        | ErrorKind::Dial
        | ErrorKind::Timeout(Phase::Wait | Phase::Dial | Phase::Ready)
        | ErrorKind::Limit
        | ErrorKind::Shed
        | ErrorKind::Breaker
        | ErrorKind::Refused
        | ErrorKind::Forbidden
        | ErrorKind::Draining => false,
    }
}

impl<D: Driver> Core<D> {
    /// A call begins (not a retry).
    pub(super) fn note_call(&mut self, upstream: Key) {
        self.note_served_here(upstream);
        if let Some(state) = self.upstreams.get_mut(upstream) {
            let retry = &state.policy.glance().retry;
            state.account.budget.called(self.now, retry);
        }
    }

    /// Whether one call more may be tried again; if so it is counted.
    pub(super) fn take_retry(&mut self, upstream: Key) -> bool {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return false;
        };
        let policy = state.policy.current();
        let may = state.account.budget.try_retry(self.now, &policy.retry);
        state.meters.retries += u64::from(may);
        state.meters.retries_refused += u64::from(!may);
        may
    }

    /// The pause before a call's `retry`-th retry.
    pub(super) fn backoff(&mut self, config: &RetryConfig, retry: u32, at_once: bool) -> Duration {
        backoff(config, retry, at_once, &mut self.random)
    }

    /// How long an attempt on the connection `key` may take from its grant to the response's head.
    pub(super) fn attempt_timeout(&self, key: Key) -> Duration {
        let connection = self.connections.get(key);
        let state = connection.and_then(|connection| self.upstreams.get(connection.upstream));
        state.map_or(Duration::MAX, |state| {
            let attempt = &state.policy.glance().attempt;
            state.account.tail.attempt_timeout(attempt)
        })
    }

    /// An exchange begins on the connection `key`, which has until `deadline`, and no longer than an attempt may take: by
    /// when that is, and where it goes.
    #[inline]
    pub(super) fn begin_exchange(
        &mut self,
        key: Key,
        deadline: Time,
        outside: bool,
    ) -> (Option<Endpoint>, Time) {
        let Some(connection) = self.connections.get_mut(key) else {
            return (None, Time::NEVER);
        };
        trace::link(&connection.span);
        let state = self.upstreams.get(connection.upstream);
        let timeout = state.map_or(Duration::MAX, |state| {
            let attempt = &state.policy.glance().attempt;
            state.account.tail.attempt_timeout(attempt)
        });
        let limit = self.now + timeout;
        connection.expired = false;
        connection.due_by(key, deadline.min(limit), &mut self.timers);
        if !outside {
            connection.holder = Holder::Call;
        }
        (connection.endpoint.clone(), limit)
    }

    /// How long the upstream's own settings let one on the connection `key` take, whatever its caller says.
    pub(super) fn own_timeout(&self, key: Key) -> Duration {
        let connection = self.connections.get(key);
        let state = connection.and_then(|connection| self.upstreams.get(connection.upstream));
        let call = state.map_or(Duration::MAX, |state| state.policy.current().call_timeout);
        call.min(self.attempt_timeout(key))
    }

    /// An attempt was cut off so long after its grant.
    pub(super) fn note_cut_off(&mut self, key: Key, latency: Duration) {
        let connection = self.connections.get(key);
        let upstream = connection.map(|connection| connection.upstream);
        if let Some(state) = upstream.and_then(|upstream| self.upstreams.get_mut(upstream)) {
            state.account.tail.record(self.now, latency);
        }
    }

    /// The head of a response came so long after the grant, and what it says of the endpoint. `ends`: the method of its call, and how many
    /// nanoseconds ago that began, unless the call goes on.
    #[inline]
    pub(super) fn note_head(
        &mut self,
        key: Key,
        latency: Duration,
        status: u16,
        ends: Option<(MethodKind, u64)>,
    ) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let (member, upstream) = (connection.member, connection.upstream);
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.account.tail.record(self.now, latency);
        if let Some((method, nanos)) = ends {
            trace::answered(status);
            (state.meters).requested(method, Outcome::Status(status), nanos);
        }
        let Some(member) = member else {
            return;
        };
        if is_fault(status) {
            let served = false;
            self.pool_input(upstream, Input::Faulted { member, served });
        } else if (state.pool).served(self.now, member, latency, &mut self.actions) {
            self.on_pool_changed(upstream);
        }
    }

    /// What the connection is leased for goes well: the head of a good answer is here.
    pub(super) fn note_served(&mut self, key: Key, latency: Duration) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let (member, upstream) = (connection.member, connection.upstream);
        let (Some(member), Some(state)) = (member, self.upstreams.get_mut(upstream)) else {
            return;
        };
        if (state.pool).served(self.now, member, latency, &mut self.actions) {
            self.on_pool_changed(upstream);
        }
    }

    /// Carries out what the pool has decided by what it was just told.
    #[cold]
    fn on_pool_changed(&mut self, upstream: Key) {
        let mut actions = std::mem::take(&mut self.actions);
        self.perform(upstream, &mut actions);
        self.schedule(upstream);
        self.actions = actions;
    }

    /// What the connection was leased for failed, after a good beginning or not, and that speaks against its
    /// endpoint. To be told before its release or discard.
    pub(super) fn note_fault(&mut self, key: Key, served: bool) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if let Some(member) = connection.member {
            self.pool_input(connection.upstream, Input::Faulted { member, served });
        }
    }
}
