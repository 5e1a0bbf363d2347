//! How a shard ends: those whom it serves are told, then connections are ended, then nothing is left.
//!
//! Owns: the order of that. Never: drops a call that was begun without a word on how far it got.

use super::bytes_in::End;
use super::connection::State;
use super::core::Core;
use crate::audit::CloseCause;
use crate::driver::Driver;
use crate::pool::Input;
use crate::slab::Key;
use std::io;

impl<D: Driver> Core<D> {
    /// Tells everyone whom this shard serves that it ends: those who wait, those who pause, and those in the
    /// middle of an exchange. How far each had got is theirs to say, when they look for the last time.
    pub(super) fn interrupt(&mut self) {
        self.stopping = true;
        self.announce_no_room();
        let upstreams: Vec<Key> = self.upstreams.iter().map(|(key, _)| key).collect();
        for upstream in upstreams {
            self.pool_input(upstream, Input::Drain);
        }
        // Those whom no pool knows yet.
        let waiters: Vec<Key> = self.waiters.iter().map(|(key, _)| key).collect();
        for waiter in waiters {
            self.refuse_unanswered(waiter, self.ended());
        }
        let ended = self.ended();
        let connections: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        for key in connections {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            if connection.state() != State::Leased || connection.streams.is_some() {
                continue;
            }
            // Not that sending had failed: what was handed over whole stays so.
            connection.fault.get_or_insert_with(|| ended.duplicate());
            let why = io::ErrorKind::ConnectionAborted;
            connection.inbound.finish(End::Failed(why));
            connection.wake_reader();
            connection.wake_writer();
        }
    }

    /// Begins to end every connection: tasks are gone already, and nothing new is let in.
    pub(super) fn begin_stop(&mut self) {
        let connections: Vec<Key> = self.connections.iter().map(|(key, _)| key).collect();
        for key in connections {
            let Some(connection) = self.connections.get(key) else {
                continue;
            };
            match connection.state() {
                State::Draining | State::Closing => {}
                State::Dialing | State::Handshaking | State::Idle | State::Leased => {
                    self.ends_by(key, CloseCause::Stopped);
                    self.leave_pool(key);
                    self.condemn(key);
                }
            }
        }
    }

    /// Removes what is left of the timers once everything else is gone.
    pub(super) fn finish_stop(&mut self) {
        let keys: Vec<Key> = self.upstreams.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.remove_upstream(key);
        }
        self.upstream_keys.clear();
        debug_assert!(
            !self.is_quiet() || self.timers.is_empty(),
            "a timer outlived what it was about"
        );
    }
}
