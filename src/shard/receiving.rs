//! When a connection's receive is armed, paused and armed again.
//!
//! Never: lets one slow reader take the buffers of the others, or leaves a connection deaf that has
//! nothing unread.

use super::connection::{Connection, State};
use super::core::Core;
use crate::driver::{Driver, Scope};
use crate::slab::Key;

/// So many unread pieces are too many, however small: a peer may send byte by byte.
pub(crate) const PIECES_MAX: usize = 64;

/// What the kernel holds for a connection that no event has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    Nothing,
    /// An event that tells it is sure to come, if the receive is armed.
    Some,
    /// There are events to be looked at first.
    Unknown,
}

impl<D: Driver> Core<D> {
    pub(super) fn arm_receive(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            debug_assert!(!connection.operations.receive, "one receive at a time");
            connection.operations.receive = true;
            connection.behind = true;
            if connection.state() == State::Idle {
                self.rearmed_after = self.looks;
            }
            self.driver.receive(key);
        }
    }

    /// Whether the kernel may hold news that a look would bring. Nothing is granted before that.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        // What was armed since has not been handed to the kernel.
        self.driver.pending() || self.rearmed_after == self.looks
    }

    /// Asks the kernel what it holds for a connection that no event has told of.
    pub(super) fn ask_kernel(&mut self, key: Key) -> Untold {
        if self.driver.pending() {
            return Untold::Unknown;
        }
        if !self.driver.is_silent(key) {
            return Untold::Some;
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.behind = false;
            connection.nonempty = false;
        }
        Untold::Nothing
    }

    /// Arms the receive again after it ended, if the connection is one that listens.
    pub(super) fn keep_receiving(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let listens = match connection.state() {
            State::Handshaking | State::Idle | State::Leased => true,
            State::Dialing | State::Draining | State::Closing => false,
        };
        let inbound = &connection.inbound;
        if listens
            && !connection.operations.receive
            && !inbound.paused
            && !inbound.starved
            && !connection.detaching
            && inbound.end().is_none()
        {
            self.arm_receive(key);
        }
    }

    pub(super) fn pause_if_unread(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let inbound = &connection.inbound;
        let much = inbound.len() > self.settings.unread_max || inbound.pieces() >= PIECES_MAX;
        if !inbound.wanted && much {
            self.pause_receiving(key);
        }
    }

    /// Disarms the receive until there is less unread.
    pub(super) fn pause_receiving(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.inbound.paused {
            return;
        }
        connection.inbound.paused = true;
        self.paused.push(key);
        self.tally.pauses += 1;
        self.cancel_receive(key);
    }

    /// Bytes have come that nobody can want any more. The peer could have us read them without end, as long as somebody
    /// holds the connection.
    pub(super) fn stop_listening(&mut self, key: Key) {
        // More may come until a cancel takes effect.
        let stopping = |connection: &Connection<D::Buffer>| connection.operations.cancels > 0;
        if !self.connections.get(key).is_some_and(stopping) {
            self.cancel_receive(key);
        }
    }

    fn cancel_receive(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && connection.operations.receive
        {
            connection.operations.cancels += 1;
            self.driver.cancel(key, Scope::Receive);
        }
    }

    /// Arms the receives that were paused or starved and need be so no longer.
    pub(super) fn resume_receiving(&mut self) {
        if !self.paused.is_empty() {
            let mut paused = std::mem::take(&mut self.paused);
            paused.retain(|&key| !self.resume_paused(key));
            self.paused = paused;
        }
        if !self.starved.is_empty()
            && self.driver.buffers_free() >= self.settings.buffers_low.max(1)
        {
            for key in std::mem::take(&mut self.starved) {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.inbound.starved = false;
                    self.keep_receiving(key);
                }
            }
        }
    }

    /// Whether the connection is off the list of paused ones.
    pub(super) fn resume_paused(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return true;
        };
        let inbound = &connection.inbound;
        let drained = match connection.streams.as_deref() {
            Some(streams) => streams.crowded == 0,
            None => {
                inbound.wanted
                    || inbound.len() <= self.settings.unread_max / 2
                        && inbound.pieces() <= PIECES_MAX / 2
            }
        };
        if !drained {
            return false;
        }
        connection.inbound.paused = false;
        // If the cancelled receive has not ended yet, its end arms the next one.
        self.keep_receiving(key);
        true
    }
}
