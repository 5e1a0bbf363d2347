//! From a permit to a connection that the pool may hand out: resolve, connect, negotiate TLS.
//!
//! Owns: the order of steps and their one time limit. Never: decides when to dial; the pool does.

use super::connection::{Connection, Dial, Event, State};
use super::core::Core;
use super::options::socket_options;
use super::streams::Streams;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Phase, TlsFailure};
use crate::pool::{ComesFree, EndpointId, Input, MemberId, Opened, Permit};
use crate::slab::Key;
use crate::time::Time;
use crate::tls::{Session, TlsError};
use crate::trace::{self, Span};
use std::io;
use std::time::Duration;

impl<D: Driver> Core<D> {
    /// Begins a dial to the endpoint that is on trial, or else to one that the pool chooses as soon as
    /// it can.
    pub(super) fn begin_dial(
        &mut self,
        upstream: Key,
        member: MemberId,
        permit: Permit,
        trial: Option<EndpointId>,
    ) {
        let now = self.now;
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let timeout = state.policy.current().dial_timeout;
        let dial = Dial {
            started: now,
            connecting: now,
            trial,
            tried: Vec::new(),
            error: None,
        };
        let mut connection = Connection::new(upstream, member, permit, dial);
        connection.span = trace::connection(&state.shared.name, self.index);
        let key = self.connections.insert(connection);
        self.set_deadline(key, now + timeout);
        self.audit_dial(key, upstream, member);
        // Whoever needs it more may have said so when there was nothing here to give up.
        self.needs_left = true;
        if self.stopping {
            self.fail_dial(key, Error::draining());
            return;
        }
        self.refresh_addresses(upstream);
        if trial.is_some() || self.may_choose_address(upstream) {
            self.dial_next(key);
        } else if let Some(state) = self.upstreams.get_mut(upstream) {
            state.resolving.push(key);
        }
    }

    /// Tries endpoints one after the other until a connect is under way or none is left.
    pub(super) fn dial_next(&mut self, key: Key) {
        loop {
            let Some((id, endpoint)) = self.choose_endpoint(key) else {
                self.fail_dial_untried(key);
                return;
            };
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let Some(state) = self.upstreams.get_mut(connection.upstream) else {
                self.fail_dial(key, Error::draining());
                return;
            };
            state.meters.note(Some(id), |at| at.dials += 1);
            if let Some(dial) = &mut connection.dial {
                dial.connecting = self.clock.now();
            }
            let options = socket_options(&state.policy.current());
            connection.place = Some(id);
            connection.endpoint = Some(endpoint.clone());
            // It is made now, under the settings of now.
            connection.close_by = Time::NEVER;
            match self.driver.open(key, &endpoint, &options) {
                Ok(()) => {
                    connection.step = trace::connect(&connection.span, &endpoint);
                    connection.operations.socket = true;
                    connection.operations.connect = true;
                    self.driver.connect(key);
                    return;
                }
                // It is this machine that has no descriptor left, whatever the endpoint.
                Err(error) if super::faults::is_out_of_descriptors(&error) => {
                    self.fail_dial(key, super::faults::dial(error));
                    return;
                }
                Err(error) => self.endpoint_failed(key, error),
            }
        }
    }

    /// The next endpoint for this dial. `None`: there is none left.
    fn choose_endpoint(&mut self, key: Key) -> Option<(EndpointId, Endpoint)> {
        let connection = self.connections.get_mut(key)?;
        if connection.state() != State::Dialing {
            return None;
        }
        let (upstream, member) = (connection.upstream, connection.member?);
        let dial = connection.dial.as_mut()?;
        let state = self.upstreams.get_mut(upstream)?;
        let id = match dial.trial {
            Some(trial) => (!dial.tried.contains(&trial)).then_some(trial)?,
            None => state.pool.choose_endpoint(self.now, member, &dial.tried)?,
        };
        debug_assert!(!dial.tried.contains(&id), "{id:?} was tried before");
        dial.tried.push(id);
        let endpoint = state.addresses.get(id).cloned();
        debug_assert!(endpoint.is_some(), "the pool chose {id:?}, which is nobody");
        self.schedule(upstream);
        endpoint.map(|endpoint| (id, endpoint))
    }

    /// The endpoint last chosen cannot be connected to; the pool may know another.
    fn endpoint_failed(&mut self, key: Key, error: io::Error) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let upstream = connection.upstream;
        connection.step.error(&error);
        connection.step = Span::default();
        if let Some(dial) = connection.dial.as_mut() {
            dial.error = Some(error);
        }
        if let (Some(member), Some(state)) = (connection.member, self.upstreams.get_mut(upstream)) {
            let place = connection.place;
            state.meters.note(place, |at| at.dials_failed += 1);
            state.pool.endpoint_failed(self.now, member);
            self.schedule(upstream);
        }
    }

    /// No endpoint is left to try.
    fn fail_dial_untried(&mut self, key: Key) {
        let connection = self.connections.get_mut(key);
        let failed = connection.and_then(|connection| connection.dial.as_mut()?.error.take());
        let error = match failed {
            Some(error) => super::faults::dial(error),
            None => Error::new(ErrorKind::Dial, "no endpoint may be dialled just now"),
        };
        self.fail_dial(key, error);
    }

    pub(super) fn on_connected(&mut self, key: Key, result: io::Result<()>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.operations.connect = false;
        let event = match result {
            Ok(()) => Event::Connected,
            Err(_) => Event::ConnectFailed,
        };
        match (connection.on(event), result) {
            // Given up before the answer came.
            (State::Draining, _) => self.after_operation(key),
            (_, Err(error)) => {
                // The key stays, the socket goes; its end tries the next endpoint.
                connection.operations.close = true;
                self.driver.close(key);
                self.endpoint_failed(key, error);
            }
            (_, Ok(())) => self.after_connect(key),
        }
    }

    fn after_connect(&mut self, key: Key) {
        let now = self.clock_now();
        self.arm_receive(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let mut state = self.upstreams.get_mut(connection.upstream);
        connection.connected_at = now;
        connection.step = Span::default();
        if let Some(dial) = connection.dial.as_deref() {
            self.tally.connects.record(now.since(dial.started));
            if let Some(state) = &mut state {
                let took = now.since(dial.connecting);
                let place = connection.place;
                state.meters.note(place, |at| at.connect.record(took));
            }
        }
        let tls = state.and_then(|state| state.tls.as_ref());
        let Some(client) = tls else {
            self.established(key, None);
            return;
        };
        connection.step = trace::handshake(&connection.span);
        match Session::new(client) {
            Ok(mut session) => {
                connection
                    .outbound
                    .append(&mut self.blocks, |out| session.output(out));
                let early = session.early_room() > 0;
                connection.tls = Some(Box::new(session));
                self.flush(key);
                if early {
                    self.give_out_early(key);
                }
            }
            Err(error) => self.fail_dial(key, super::faults::tls(error)),
        }
    }

    /// TLS bytes were taken in while negotiating: is it done?
    pub(super) fn after_handshake_bytes(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(handshake) = connection
            .tls
            .as_ref()
            .and_then(|session| session.handshake())
        else {
            return;
        };
        connection.step.resumed(handshake.resumed);
        connection.step = Span::default();
        let (upstream, place) = (connection.upstream, connection.place);
        let took = self.clock.now().since(connection.connected_at);
        self.count_handshake(upstream, place, took, handshake.resumed);
        self.audit_handshake(key, &handshake);
        if self.is_given_out(key) {
            self.end_early(key, handshake.resumed);
        } else {
            self.established(key, handshake.good_for);
        }
    }

    /// What the connection can send along with its handshake would help somebody who waits: it is given out now. Whoever
    /// gets it has what may not be sent early held until the handshake is over.
    fn give_out_early(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(state) = self.upstreams.get_mut(connection.upstream) else {
            return;
        };
        let is_wanted = state.shared.url.is_http() && state.pool.has_waiters();
        let session = connection.tls.as_deref().filter(|_| is_wanted);
        if let Some(session) = session {
            let good_for = session.early_good_for();
            connection.early = true;
            self.established(key, good_for);
        }
    }

    fn is_given_out(&self, key: Key) -> bool {
        (self.connections.get(key)).is_some_and(|connection| connection.early)
    }

    /// The handshake of a connection that was given out before is over.
    fn end_early(&mut self, key: Key, resumed: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.early = false;
        let (upstream, member) = (connection.upstream, connection.member);
        match (connection.tls.as_deref()).and_then(|session| session.early_taken()) {
            Some(true) => self.tally.early_taken += 1,
            Some(false) => self.tally.early_refused += 1,
            None => {}
        }
        // How long it is trusted was told the pool of the session that was to be resumed; this is another one.
        if let Some(member) = member.filter(|_| !resumed) {
            self.pool_input(upstream, Input::Retire { member });
        }
        self.flush(key);
    }

    fn count_handshake(
        &mut self,
        upstream: Key,
        place: Option<EndpointId>,
        took: Duration,
        resumed: bool,
    ) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.meters.note(place, |at| match resumed {
            true => at.handshake_resumed.record(took),
            false => at.handshake_full.record(took),
        });
        if resumed {
            self.tally.handshakes_resumed.record(took);
            let full = state.handshake_min.unwrap_or(Duration::ZERO);
            let avoided = full.saturating_sub(took);
            self.tally.avoided_by_resumption += avoided;
            let nanos = u64::try_from(avoided.as_nanos()).unwrap_or(u64::MAX);
            state.meters.avoided_by_resumption += nanos;
        } else {
            self.tally.handshakes_full.record(took);
            let quickest = state.handshake_min.unwrap_or(Duration::MAX);
            state.handshake_min = Some(quickest.min(took));
        }
    }

    /// `good_for`: how long what the peer has proven counts, if there is an end to that.
    fn established(&mut self, key: Key, good_for: Option<Duration>) {
        let now = self.clock_now();
        let trusted_until = good_for.map_or(Time::NEVER, |good_for| now + good_for);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.on(Event::Established);
        let replaced = connection.close_by != Time::NEVER;
        connection.deadline = Time::NEVER;
        let (upstream, member) = (connection.upstream, connection.member);
        let place = connection.place;
        connection.streams = self
            .upstreams
            .get(upstream)
            .and_then(|state| Streams::of(&state.shared.url));
        let slots = connection
            .streams
            .as_deref()
            .map_or(1, |streams| streams.limit());
        let is_exclusive = connection.streams.is_none();
        let mut dialled = Duration::ZERO;
        if let Some(dial) = connection.dial.take() {
            let took = now.since(dial.started);
            let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
            dialled = took;
            self.tally.dial_nanos += nanos;
            if let Some(state) = self.upstreams.get_mut(upstream) {
                state.dial_nanos_min = state.dial_nanos_min.min(nanos);
                state.meters.note(place, |at| {
                    at.opened += 1;
                    at.dial.record(took);
                });
            }
            self.tally.connections_opened += 1;
        }
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.dial_error = None;
        }
        self.audit_opened(key, now, dialled);
        if let Some(member) = member {
            let opened = Opened {
                conn: key,
                slots,
                trusted_until,
                replaced,
            };
            let comes = ComesFree::Dialed(opened);
            if is_exclusive && self.hand_on(upstream, member, comes) {
                return;
            }
            self.pool_input(upstream, Input::Dialed { member, opened });
        }
    }

    pub(super) fn on_handshake_failed(&mut self, key: Key, failure: TlsError) {
        self.fail_dial(key, super::faults::tls(failure));
    }

    /// The connection ended in the middle of the handshake.
    pub(super) fn on_handshake_cut(&mut self, key: Key) {
        let error = Error::new(
            ErrorKind::Tls(TlsFailure::Truncated),
            "the peer closed the connection in the middle of the TLS handshake",
        );
        self.fail_dial(key, error);
    }

    /// The connection failed in the middle of the handshake. Only what the peer did is put down to it.
    pub(super) fn on_handshake_broken(&mut self, key: Key, why: io::ErrorKind) {
        match why {
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => self.on_handshake_cut(key),
            _ => {
                let what =
                    format!("the connection failed in the middle of the TLS handshake: {why}");
                let error = Error::new(ErrorKind::Dial, what).caused_by(io::Error::from(why));
                self.fail_dial(key, error);
            }
        }
    }

    pub(super) fn on_dial_timeout(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let upstream = connection.upstream;
        let after = self
            .upstreams
            .get(upstream)
            .map_or_else(Default::default, |s| s.policy.current().dial_timeout);
        self.fail_dial(key, Error::timeout(Phase::Dial, after));
    }

    /// Gives a dial up and tells the pool.
    pub(super) fn fail_dial(&mut self, key: Key, error: Error) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let upstream = connection.upstream;
        let error = error.at_endpoint(connection.endpoint.as_ref());
        let member = connection.member.take();
        connection.step.error(&error);
        connection.step = Span::default();
        connection.span.error(&error);
        // Where connecting itself failed it is counted already.
        let (place, failed) = match connection.state() {
            State::Dialing => (connection.place, connection.operations.connect),
            State::Handshaking => (connection.place, true),
            State::Idle | State::Leased | State::Draining | State::Closing => (None, false),
        };
        if failed && let Some(state) = self.upstreams.get_mut(upstream) {
            state.meters.note(place, |at| at.dials_failed += 1);
        }
        self.audit_failure(key, &error);
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.dial_error = Some(error);
            state.resolving.retain(|&waiting| waiting != key);
        }
        // The pool first: freeing the slot offers its permit to a pool that has to know of the failure.
        if let Some(member) = member {
            self.pool_input(upstream, Input::DialFailed { member });
        }
        self.condemn(key);
    }
}
