//! How a connection ends: cancel → drain → shutdown → close → free the slot.
//!
//! A slot is freed only when nothing is in flight on it, and its permit returns only then: what counts
//! against a cap is open descriptors.

use super::connection::{Event, State};
use super::core::Core;
use crate::driver::{Driver, Scope};
use crate::pool::Input;
use crate::slab::Key;
use std::time::Duration;

/// How long a farewell may take to be sent before the connection is closed without it.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

impl<D: Driver> Core<D> {
    /// Begins to end a connection. The pool has forgotten it, and nobody leases it any more.
    pub(super) fn condemn(&mut self, key: Key) {
        if self.fault.is_some() {
            // The driver ends all of them at once.
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        debug_assert!(
            connection.member.is_none(),
            "the pool forgets a connection before it ends"
        );
        connection.on(Event::Condemned);
        self.audit_end(key);
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.streams.is_some() {
            self.fail_streams(key);
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.inbound.clear();
        // Encrypted bytes that never leave are a gap in the record sequence: a farewell behind it could
        // not be deciphered.
        let whole = connection.outbound.is_empty() && connection.outbound.failed.is_none();
        connection
            .outbound
            .abandon(&mut self.blocks, std::io::ErrorKind::NotConnected);
        connection.wake_reader();
        connection.wake_writer();
        if !connection.operations.socket {
            connection.on(Event::Drained);
            self.free(key);
            return;
        }
        if connection.operations.none_in_flight() {
            self.close(key);
            return;
        }
        if connection.operations.close {
            // The socket is being closed already, of an endpoint that failed or of a connection that was
            // cut: its end is the connection's.
            return;
        }
        if whole && self.say_farewell(key) {
            self.set_deadline(key, self.now + FAREWELL_MAX);
            self.cancel(key, Scope::Receive);
        } else {
            self.cancel(key, Scope::All);
        }
    }

    /// Sends close_notify where TLS is established (RFC 8446 §6.1), if nothing else is being sent.
    fn say_farewell(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        if connection.operations.send
            || connection.inbound.end().is_some()
            || connection.fault.is_some()
        {
            return false;
        }
        let Some(session) = connection
            .tls
            .as_deref_mut()
            .filter(|session| !session.is_handshaking())
        else {
            return false;
        };
        let mut block = self.blocks.pop().unwrap_or_default();
        session.close_notify(block.block());
        if block.is_empty() {
            return false;
        }
        connection.operations.send = true;
        self.driver.send(key, block);
        true
    }

    pub(super) fn cancel_all(&mut self, key: Key) {
        self.cancel(key, Scope::All);
    }

    fn cancel(&mut self, key: Key, scope: Scope) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.operations.cancels < u8::MAX
            && !connection.operations.close
        {
            connection.operations.cancels += 1;
            self.driver.cancel(key, scope);
        }
    }

    /// An operation has had its final event: goes on with what waited for that.
    pub(super) fn after_operation(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if !connection.operations.none_in_flight() {
            return;
        }
        match connection.state() {
            State::Draining => self.close(key),
            State::Leased if connection.detaching => connection.wake_reader(),
            State::Leased if connection.cut && connection.operations.socket => {
                connection.operations.close = true;
                self.driver.close(key);
            }
            State::Dialing | State::Handshaking | State::Idle | State::Leased | State::Closing => {}
        }
    }

    fn close(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            assert!(
                connection.operations.none_in_flight(),
                "closed with operations in flight"
            );
            connection.on(Event::Drained);
            connection.operations.close = true;
            self.driver.close(key);
        }
    }

    pub(super) fn on_closed(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.operations.close = false;
        connection.operations.socket = false;
        match connection.on(Event::Closed) {
            State::Closing => self.free(key),
            // One endpoint failed; the next one gets a socket of its own.
            State::Dialing => self.dial_next(key),
            State::Leased => {
                assert!(connection.cut, "closed while in use");
                // Its holder has the slot, but what counts against a cap is open descriptors.
                let upstream = connection.upstream;
                drop(connection.permit.take());
                self.announce_capacity(upstream);
            }
            State::Handshaking | State::Idle | State::Draining => {
                unreachable!("the table has no such transition")
            }
        }
    }

    /// Frees the slot. The permit returns here, and those who wait for one learn it.
    pub(super) fn free(&mut self, key: Key) {
        self.closed_for_good(key);
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        assert!(
            connection.state() == State::Closing && connection.operations.none_in_flight(),
            "a slot was freed while {:?}, with {:?}",
            connection.state(),
            connection.operations
        );
        if let Some((_, timer)) = connection.timer {
            self.timers.remove(timer);
        }
        let (upstream, place) = (connection.upstream, connection.place);
        drop(connection);
        let state = self.upstreams.get(upstream);
        if place.is_some_and(|id| state.is_some_and(|state| !state.addresses.is_present(id))) {
            self.tidy_endpoints(upstream);
        }
        self.announce_capacity(upstream);
        self.remove_if_vacant(upstream);
    }

    /// A permit has come back: those who wait for one learn it.
    fn announce_capacity(&mut self, upstream: Key) {
        for mailbox in self.mailboxes.iter() {
            mailbox.announce_capacity();
        }
        self.pool_input(upstream, Input::Capacity);
    }
}
