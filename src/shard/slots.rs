//! Slots of multiplexed connections: from a grant to a stream, and back to the pool.
//!
//! Owns: the bookkeeping between streams, their connections and the pool. Never: keeps a slot of a stream
//! that is over, or a stream on a connection that is closed.

use super::audit::end_cause;
use super::bytes_in::End;
use super::checkout::Deferred;
use super::connection::Event;
use super::core::{Core, Timer};
use super::streams::Stream;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::pool::Grant;
use crate::slab::Key;
use crate::time::Time;
use std::time::Duration;

impl<D: Driver> Core<D> {
    /// Makes a stream of a granted slot. `None`: the connection has gone bad since the grant, or its
    /// peer allows fewer streams by now; the slot is given back.
    pub(super) fn take_stream(&mut self, grant: Grant) -> Option<Key> {
        let connection = self.connections.get_mut(grant.conn)?;
        let sendable = connection.outbound.failed.is_none();
        let streams = connection.streams.as_deref_mut()?;
        if !sendable || !streams.has_room() {
            // Nobody has used it for this.
            connection.uses -= 1;
            self.release_slot(grant.conn, Duration::ZERO);
            return None;
        }
        let stream = self.streams.insert(Stream::new(grant.conn, self.now));
        streams.add(stream);
        Some(stream)
    }

    /// The lease of a stream ends. What the peer still expects or sends of it is called off; the
    /// connection stays.
    pub(super) fn end_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let (connection, called_off) = (stream.connection, stream.id.filter(|_| stream.holds_slot));
        if let Some(id) = called_off {
            self.write_frame(connection, |framing, out| framing.cancel(out, id));
            self.flush(connection);
        }
        self.leave_connection(key);
        if let Some(timer) = self.streams.remove(key).and_then(|stream| stream.timer) {
            self.timers.remove(timer);
        }
    }

    /// A stream needs its connection no more: its slot goes back.
    pub(super) fn leave_connection(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut stream.holds_slot, false) {
            return;
        }
        let (connection, held) = (stream.connection, self.now.since(stream.granted));
        let (id, crowded) = (stream.id, std::mem::replace(&mut stream.crowds, false));
        let streams = self
            .connections
            .get_mut(connection)
            .and_then(|connection| connection.streams.as_deref_mut());
        let Some(streams) = streams else {
            return;
        };
        streams.crowded -= u32::from(crowded);
        streams.remove(key, id);
        self.release_slot(connection, held);
    }

    /// A slot of a connection is free again, after `held`.
    pub(super) fn release_slot(&mut self, key: Key, held: Duration) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(streams) = connection.streams.as_deref_mut() else {
            return;
        };
        let last = streams.give_slot_back() == 0;
        if connection.member.is_none() {
            // It has failed, and was kept for those who still listened to it.
            if last {
                self.condemn(key);
            }
            return;
        }
        if last {
            connection.on(Event::Released);
            if connection.outbound.is_empty() {
                connection.outbound.rest(&mut self.blocks);
            }
        }
        let upstream = connection.upstream;
        let others_wait = self
            .upstreams
            .get(upstream)
            .is_some_and(|state| state.pool.census().waiters > 0);
        if others_wait && self.has_news() {
            let connection = key;
            self.deferred.push_back(Deferred::Slot { connection, held });
            return;
        }
        self.slot_to_pool(key, held);
    }

    pub(super) fn stream_endpoint(&self, key: Key) -> Option<&Endpoint> {
        let stream = self.streams.get(key)?;
        self.endpoint(stream.connection)
    }

    pub(super) fn set_stream_deadline(&mut self, key: Key, at: Time) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let Some(timer) = stream.timer.take() {
            self.timers.remove(timer);
        }
        stream.expired = false;
        if at != Time::NEVER {
            stream.timer = Some(self.timers.insert(at, Timer::Stream(key)));
        }
    }

    pub(super) fn on_stream_timer(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.timer = None;
        stream.expired = true;
        stream.wake_reader();
        let held = self.now.since(stream.granted);
        let asked = stream.id.is_some() && stream.holds_slot;
        let (connection, answered) = (stream.connection, stream.answered);
        if let Some(connection) = self.connections.get_mut(connection)
            && let Some(streams) = connection.streams.as_deref_mut()
        {
            streams.wake_writer(key);
        }
        // Where its holder had less time than the upstream's own settings give, silence says nothing.
        if asked && held >= self.own_timeout(connection) {
            self.note_fault(connection, answered);
        }
    }

    /// A connection with streams on it is of no use any more.
    pub(super) fn lose_streams(&mut self, key: Key, end: End) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound.finish(end);
        }
        self.ends_by(key, end_cause(end));
        self.note_fault(key, false);
        self.leave_pool(key);
        // The pool may have wanted it closed by then.
        if self.is_multiplexed(key) {
            self.condemn(key);
        }
    }

    /// Whether a connection is open and carries streams.
    fn is_multiplexed(&self, key: Key) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.streams.is_some())
    }

    /// A connection is being closed: its streams fail, each as far as it got.
    pub(super) fn fail_streams(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(mut streams) = connection.streams.take() else {
            return;
        };
        let handed = connection.outbound.handed;
        let error = match (&connection.fault, connection.inbound.end()) {
            (Some(fault), _) => fault.duplicate(),
            (None, Some(end)) => super::faults::ended(end),
            (None, None) => Error::new(ErrorKind::Closed, "the connection was closed"),
        };
        let all = streams.open.values().chain(streams.unopened());
        for &key in all {
            if let Some(stream) = self.streams.get_mut(key) {
                let sent = stream.sent(handed);
                stream.holds_slot = false;
                stream.crowds = false;
                stream.fail(error.duplicate(), sent);
            }
        }
        streams.wake_writers();
    }
}
