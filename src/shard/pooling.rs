//! Between the pool, which decides, and the connections, which it knows by name only.
//!
//! Owns: waiters, and the carrying out of the pool's actions. Never: decides who gets a connection.

use super::connection::State;
use super::core::{Core, Timer};
use crate::config::Class;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase};
use crate::pool::{Action, Grant, Input, Refusal, WaiterId};
use crate::slab::Key;
use crate::time::Time;
use std::task::Waker;
use std::time::Duration;

/// A checkout that could not be answered at once.
pub(crate) struct Waiter {
    upstream: Key,
    class: Class,
    deadline: Time,
    since: Time,
    fresh: bool,
    /// Whether the pool knows it already.
    queued: bool,
    waker: Waker,
    answer: Option<Result<Grant, Error>>,
}

/// What waits for a look at the driver's events: nothing is granted while the kernel may be holding
/// the news that a connection was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deferred {
    /// A waiter that the pool does not know yet.
    Checkout(Key),
    /// A connection that was released while others wait.
    Release(Key),
    /// A slot of a connection, the same.
    Slot { connection: Key, held: Duration },
}

/// What a checkout came to for now.
pub(crate) enum CheckedOut {
    Granted(Grant),
    Waiting(Key),
}

impl<D: Driver> Core<D> {
    /// Takes an idle connection, or queues for one. No system call either way.
    pub(crate) fn begin_checkout(
        &mut self,
        upstream: Key,
        class: Class,
        deadline: Time,
        fresh: bool,
        waker: &Waker,
    ) -> Result<CheckedOut, Error> {
        if self.stopping {
            return Err(Error::draining());
        }
        let pending = self.driver.pending();
        let state = self
            .upstreams
            .get_mut(upstream)
            .ok_or_else(Error::draining)?;
        if !fresh
            && !pending
            && let Some(grant) = state.pool.checkout(self.now, class)
        {
            return Ok(CheckedOut::Granted(self.on_granted(grant)));
        }
        let waiter = self.waiters.insert(Waiter {
            upstream,
            class,
            deadline,
            since: self.now,
            fresh,
            queued: false,
            waker: waker.clone(),
            answer: None,
        });
        if pending {
            self.deferred.push_back(Deferred::Checkout(waiter));
        } else {
            self.enqueue(waiter);
        }
        // The pool may have answered already: a full queue, a drained upstream.
        match self.take_answer(waiter) {
            Some(answer) => answer.map(CheckedOut::Granted),
            None => Ok(CheckedOut::Waiting(waiter)),
        }
    }

    /// The answer to a waiting checkout, if it is there; the waiter is gone then.
    pub(crate) fn poll_checkout(
        &mut self,
        waiter: Key,
        waker: &Waker,
    ) -> Option<Result<Grant, Error>> {
        let answer = self.take_answer(waiter);
        if answer.is_none()
            && let Some(waiter) = self.waiters.get_mut(waiter)
        {
            waiter.waker.clone_from(waker);
        }
        answer
    }

    /// The caller is gone. A grant that crossed its way passes on to the next one.
    pub(crate) fn cancel_checkout(&mut self, waiter: Key) {
        let Some(gone) = self.waiters.remove(waiter) else {
            return;
        };
        match gone.answer {
            Some(Ok(grant)) => {
                // Nobody has used it for this.
                if let Some(connection) = self.connections.get_mut(grant.conn) {
                    connection.uses -= 1;
                }
                self.release(grant.conn);
            }
            Some(Err(_)) => {}
            None if gone.queued => self.pool_input(
                gone.upstream,
                Input::Cancel {
                    waiter: WaiterId(waiter),
                },
            ),
            None => {}
        }
    }

    /// Gives a connection back for others to use. The caller vouches that it is clean; one that
    /// evidently is not is discarded instead.
    pub(crate) fn release(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.streams.is_some() {
            // A grant that nobody made a stream of.
            self.release_slot(key, Duration::ZERO);
            return;
        }
        let unused = connection.outbound.handed == 0 && !connection.expired;
        let is_raw = |key| {
            let upstream = self.upstreams.get(key);
            upstream.is_some_and(|upstream| !upstream.shared.url.is_http())
        };
        let early_bytes_are_kept = unused && connection.uses <= 1 && is_raw(connection.upstream);
        let clean = connection.state() == State::Leased
            && (connection.inbound.is_empty() || early_bytes_are_kept)
            && connection.inbound.end().is_none()
            && connection.outbound.is_empty()
            && connection.outbound.failed.is_none()
            && !connection.operations.send
            && !connection.expired
            && !connection.detaching
            && connection.fault.is_none();
        if !clean || self.stopping {
            self.discard(key);
            return;
        }
        connection.become_state(State::Idle);
        connection.deadline = Time::NEVER;
        connection.reader = None;
        connection.writer = None;
        connection.outbound.rest(&mut self.blocks);
        let upstream = connection.upstream;
        let Some(state) = self.upstreams.get(upstream) else {
            return;
        };
        if state.pool.census().waiters > 0 && self.driver.pending() {
            connection.releasing = true;
            self.deferred.push_back(Deferred::Release(key));
            return;
        }
        self.release_to_pool(key);
    }

    /// Closes a connection that somebody holds.
    pub(crate) fn discard(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.state() {
            State::Leased => {
                self.tally.discards += 1;
                self.leave_pool(key);
                self.condemn(key);
            }
            State::Dialing
            | State::Handshaking
            | State::Idle
            | State::Draining
            | State::Closing => {}
        }
    }

    /// Whether a connection turned out to be unusable between its grant and its holder's first look:
    /// the peer closed it, or sent what nobody had asked for. It is closed then.
    pub(crate) fn is_stale(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get(key) else {
            return true;
        };
        let upstream = self.upstreams.get(connection.upstream);
        let speaks_first =
            connection.uses <= 1 && upstream.is_some_and(|u| !u.shared.url.is_http());
        let stray = !connection.inbound.is_empty() && !speaks_first;
        let closed = connection.inbound.end().is_some() && !speaks_first;
        if stray {
            self.tally.evicted_stray_bytes += 1;
        } else if closed || connection.outbound.failed.is_some() {
            self.tally.evicted_peer_closed += 1;
        } else {
            return false;
        }
        self.leave_pool(key);
        self.condemn(key);
        true
    }

    /// The pool forgets this connection: it is about to be closed, or given away.
    pub(super) fn leave_pool(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let upstream = connection.upstream;
        if let Some(member) = connection.member.take() {
            self.pool_input(upstream, Input::Closed { member });
        }
    }

    /// An idle connection turned out to be unusable: nobody gets it.
    pub(super) fn evict(&mut self, key: Key, why: Eviction) {
        match why {
            Eviction::PeerClosed => self.tally.evicted_peer_closed += 1,
            Eviction::StrayBytes => self.tally.evicted_stray_bytes += 1,
            Eviction::Failed => self.tally.evicted_failed += 1,
        }
        self.leave_pool(key);
        self.condemn(key);
    }

    /// Gives the pool an input and carries out what it wants done.
    pub(super) fn pool_input(&mut self, upstream: Key, input: Input) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        state.pool.handle(self.now, input, &mut actions);
        self.perform(upstream, &mut actions);
        self.actions = actions;
        self.schedule(upstream);
    }

    /// Arms the pool's timer if it comes nearer; one that fires early finds nothing to do. Disarms it
    /// when the pool has nothing to wait for.
    pub(super) fn schedule(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.check_need();
        let Some(at) = state.pool.deadline() else {
            // Nothing is left to wait for: nothing stays armed.
            if let Some((_, timer)) = state.tick.take() {
                self.timers.remove(timer);
            }
            return;
        };
        match state.tick {
            Some((armed, _)) if armed <= at => {}
            Some((_, timer)) => {
                self.timers.remove(timer);
                state.tick = Some((at, self.timers.insert(at, Timer::Pool(upstream))));
            }
            None => state.tick = Some((at, self.timers.insert(at, Timer::Pool(upstream)))),
        }
    }

    pub(super) fn on_pool_timer(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        if self.timers.is_armed_again(state.tick) {
            return;
        }
        state.tick = None;
        match state.pool.deadline() {
            Some(at) if at <= self.now => self.pool_input(upstream, Input::Tick),
            Some(_) => self.schedule(upstream),
            None => {}
        }
    }

    pub(super) fn on_deferred(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::Checkout(key) => {
                let Some(waiter) = self.waiters.get(key) else {
                    return;
                };
                let (upstream, class, fresh) = (waiter.upstream, waiter.class, waiter.fresh);
                let grant = match self.upstreams.get_mut(upstream) {
                    Some(state) if !fresh => state.pool.checkout(self.now, class),
                    Some(_) | None => None,
                };
                match grant {
                    Some(grant) => self.answer(key, Ok(grant)),
                    None => self.enqueue(key),
                }
            }
            Deferred::Release(key) => {
                if let Some(connection) = self.connections.get(key)
                    && connection.releasing
                    && connection.state() == State::Idle
                {
                    self.release_to_pool(key);
                }
            }
            Deferred::Slot { connection, held } => self.slot_to_pool(connection, held),
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        waiter.queued = true;
        let upstream = waiter.upstream;
        let input = Input::Enqueue {
            waiter: WaiterId(key),
            class: waiter.class,
            deadline: waiter.deadline,
            fresh: waiter.fresh,
        };
        if self.upstreams.contains(upstream) {
            self.pool_input(upstream, input);
        } else {
            self.answer(key, Err(Error::draining()));
        }
    }

    fn release_to_pool(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.releasing = false;
        let held = self.now.since(connection.granted_at);
        self.slot_to_pool(key, held);
    }

    /// Tells the pool of a slot that is free again, if it still knows the connection.
    pub(super) fn slot_to_pool(&mut self, key: Key, held: Duration) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let upstream = connection.upstream;
        let (Some(member), Some(state)) = (connection.member, self.upstreams.get_mut(upstream))
        else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        state.pool.release(self.now, member, held, &mut actions);
        if !actions.is_empty() {
            self.perform(upstream, &mut actions);
        }
        self.actions = actions;
        self.schedule(upstream);
    }

    fn perform(&mut self, upstream: Key, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Dial {
                    member,
                    permit,
                    endpoint,
                } => self.begin_dial(upstream, member, permit, endpoint),
                Action::Grant { waiter, grant } => self.answer(waiter.0, Ok(grant)),
                Action::Fail { waiter, refusal } => {
                    let error = self.refusal(upstream, waiter.0, refusal);
                    self.answer(waiter.0, Err(error));
                }
                Action::Close {
                    member,
                    conn,
                    reason,
                } => {
                    self.tally.closed(reason);
                    if let Some(connection) = self.connections.get_mut(conn) {
                        debug_assert_eq!(
                            connection.member,
                            Some(member),
                            "the pool's names are the shard's"
                        );
                        connection.member = None;
                    }
                    self.condemn(conn);
                }
                Action::Starving(exhausted) => self.on_starving(upstream, exhausted),
            }
        }
    }

    fn answer(&mut self, key: Key, answer: Result<Grant, Error>) {
        let answer = answer.map(|grant| self.on_granted(grant));
        match self.waiters.get_mut(key) {
            Some(waiter) => {
                waiter.answer = Some(answer);
                waiter.waker.wake_by_ref();
            }
            // Cancelled in the same breath: pass it on.
            None => {
                if let Ok(grant) = answer {
                    self.release(grant.conn);
                }
            }
        }
    }

    fn take_answer(&mut self, key: Key) -> Option<Result<Grant, Error>> {
        self.waiters.get(key)?.answer.as_ref()?;
        let waiter = self.waiters.remove(key)?;
        let waited = self.now.since(waiter.since);
        self.tally.wait_nanos += u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        waiter.answer
    }

    /// What the pool has granted, as its user is to see it: a connection made ahead is new to the
    /// first one who uses it, though to the pool it has idled.
    fn on_granted(&mut self, grant: Grant) -> Grant {
        let connection = self
            .connections
            .get_mut(grant.conn)
            .expect("the pool grants what is open");
        connection.uses += 1;
        connection.granted_at = self.now;
        match connection.streams.as_deref_mut() {
            None => {
                connection.become_state(State::Leased);
                connection.expired = false;
                connection.outbound.handed = 0;
            }
            Some(streams) => {
                streams.take_slot();
                if streams.leases() == 1 {
                    connection.become_state(State::Leased);
                }
            }
        }
        let reused = connection.uses > 1;
        if reused {
            // A lower bound: dials that compete with each other take longer.
            let state = self.upstreams.get(connection.upstream);
            self.tally.avoided_nanos += state.map_or(0, |state| state.dial_nanos_min);
        }
        Grant { reused, ..grant }
    }

    fn refusal(&self, upstream: Key, waiter: Key, refusal: Refusal) -> Error {
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

/// Why an idle connection was found unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    PeerClosed,
    StrayBytes,
    Failed,
}
