//! What becomes of a simulated driver's operations: each begins, and goes on when something arrives.
//!
//! Never: acts on a socket outside of [`enter`](crate::driver::Driver::enter).

use super::Sim;
use super::buffer::SimBuffer;
use super::completions::{Due, LateCancel};
use super::ending::{connected, errno, received, sent};
use super::faults::Fault;
use super::socket::{OperationId, Receiving};
use super::traffic::Front;
use crate::driver::{Event, Received, Scope, SendBuffer};
use crate::slab::Key;
use std::io;

/// What the shard has asked for.
pub(super) enum Operation {
    Connect(Key),
    Receive(Key),
    Send(Key, SendBuffer),
    Cancel(Key, Scope),
    Close(Key),
}

/// Beginning.
impl Sim {
    pub(super) fn begin(&mut self, operation: Operation) {
        self.begun += 1;
        let id = self.begun;
        match operation {
            Operation::Connect(key) => self.begin_connect(key, id),
            Operation::Receive(key) => self.begin_receive(key, id),
            Operation::Send(key, buffer) => self.begin_send(key, id, buffer),
            Operation::Cancel(key, scope) => self.begin_cancel(key, scope, id),
            Operation::Close(key) => {
                self.tell(key, || "close".to_owned());
                if let Some(connection) = self.sockets.remove(key).connection {
                    self.network.close(connection);
                }
                self.complete(Event::Closed { key });
            }
        }
    }

    fn begin_connect(&mut self, key: Key, id: OperationId) {
        let socket = self.sockets.open(key);
        assert!(socket.connection.is_none(), "{key:?} is connected already");
        let endpoint = socket.endpoint.clone();
        self.tell(key, || format!("connect to {endpoint}"));
        if let Some(error) = self.dice.submit_error() {
            self.complete(connected(key, Err(error)));
            return;
        }
        match self.network.connect(self.lane, key, &endpoint) {
            Ok(connection) => {
                let socket = self.sockets.open(key);
                socket.connection = Some(connection);
                socket.connecting = Some(id);
            }
            Err(error) => self.complete(connected(key, Err(error))),
        }
    }

    fn begin_receive(&mut self, key: Key, id: OperationId) {
        self.tell(key, || "receive".to_owned());
        if let Some(error) = self.dice.submit_error() {
            // Told apart as the kernel's own answers are.
            let outcome = match error.raw_os_error() {
                Some(libc::ENOBUFS) => Received::NoBuffers,
                Some(libc::ECANCELED | libc::EAGAIN) => Received::Stopped,
                Some(_) | None => Received::Failed(error),
            };
            self.complete(received(key, outcome, false));
            return;
        }
        self.sockets.open(key).receiving = Some(Receiving { id, raced: false });
        self.touched.push(key);
    }

    fn begin_send(&mut self, key: Key, id: OperationId, buffer: SendBuffer) {
        self.tell(key, || format!("send {} bytes", buffer.len()));
        if let Some(error) = self.dice.submit_error() {
            // As the kernel's answers are read: interrupted before the first byte, nothing is wrong.
            let result = match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(0),
                Some(_) | None => Err(error),
            };
            self.complete(sent(key, buffer, result));
            return;
        }
        self.sockets.open(key).sending = Some((id, buffer));
        self.advance_send(key);
    }

    fn begin_cancel(&mut self, key: Key, scope: Scope, id: OperationId) {
        self.tell(key, || format!("cancel {scope:?}"));
        if self.dice.roll(Fault::CancelRaces) {
            let untold = self.dice.coin();
            if !untold {
                self.complete(Event::Cancelled { key });
            }
            if let Some(receiving) = &mut self.sockets.open(key).receiving {
                receiving.raced = true;
            }
            let at = self.dice.later(self.network.time());
            let before = id;
            let cancel = LateCancel {
                key,
                scope,
                before,
                untold,
            };
            self.completions.add((at, 0), Due::Cancel(cancel));
            return;
        }
        let own_first = self.cancelled_first;
        self.cancelled_first = !own_first;
        if own_first {
            self.complete(Event::Cancelled { key });
        }
        self.cancel_targets(key, scope, id);
        if !own_first {
            self.complete(Event::Cancelled { key });
        }
    }
}

/// Going on.
impl Sim {
    /// Something has come for this socket, or it has begun to listen.
    pub(super) fn look_at(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if let Some(connection) = socket.connection {
            self.network.untouch(connection);
        }
        self.advance_connect(key);
        self.advance_send(key);
        self.advance_receive(key);
    }

    fn advance_connect(&mut self, key: Key) {
        let socket = self.sockets.open(key);
        let (Some(connection), Some(_)) = (socket.connection, socket.connecting) else {
            return;
        };
        let result = match self.network.front(connection) {
            Front::Nothing => return,
            Front::Opened => {
                self.network.take_opened(connection);
                Ok(())
            }
            Front::Reset => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Front::Bytes | Front::End => unreachable!("nothing comes before the opening"),
        };
        socket.connecting = None;
        self.complete(connected(key, result));
    }

    /// Sends what the window takes, if it takes anything: a send may end short.
    fn advance_send(&mut self, key: Key) {
        let socket = self.sockets.open(key);
        let Some((id, mut buffer)) = socket.sending.take() else {
            return;
        };
        let connection = match socket.connection {
            Some(connection) if socket.connecting.is_none() => connection,
            Some(_) | None => {
                self.complete(sent(key, buffer, Err(errno(libc::ENOTCONN))));
                return;
            }
        };
        let window = match self.network.window(connection) {
            Ok(0) if !buffer.is_empty() => {
                socket.sending = Some((id, buffer));
                return;
            }
            Ok(window) => window,
            Err(error) => {
                self.complete(sent(key, buffer, Err(error)));
                return;
            }
        };
        let mut taken = buffer.len().min(window);
        if taken > 1 && self.dice.roll(Fault::ShortSend) {
            taken = self.dice.part(taken - 1);
        }
        self.network
            .send(connection, &buffer.pieces().concat()[..taken]);
        buffer.advance(taken);
        self.complete(sent(key, buffer, Ok(taken)));
    }

    fn advance_receive(&mut self, key: Key) {
        while let Some(receiving) = self.sockets.open(key).receiving {
            let Some((outcome, more)) = self.take_received(key, receiving) else {
                return;
            };
            if !more {
                self.sockets.open(key).receiving = None;
            }
            self.complete(received(key, outcome, more));
        }
    }

    /// What there is for an armed receive, and whether it goes on.
    fn take_received(
        &mut self,
        key: Key,
        receiving: Receiving,
    ) -> Option<(Received<SimBuffer>, bool)> {
        let socket = self.sockets.open(key);
        let Some(connection) = socket.connection else {
            return Some((Received::Failed(errno(libc::ENOTCONN)), false));
        };
        let held = [self.held.clone(), socket.held.clone()];
        match self.network.front(connection) {
            Front::Nothing | Front::Opened => None,
            Front::Bytes => {
                let denied = self.dice.roll(Fault::NoBuffers);
                if denied || self.held.get() == self.buffers {
                    self.counters.out_of_buffers += 1;
                    return Some((Received::NoBuffers, false));
                }
                let bytes = self.network.take_bytes(connection, self.buffer_size);
                let lost = self.dice.roll(Fault::MoreLost);
                let data = Received::Data(SimBuffer::new(bytes, held));
                Some((data, !lost && !receiving.raced))
            }
            Front::End => Some((Received::End, false)),
            Front::Reset => Some((Received::Failed(errno(libc::ECONNRESET)), false)),
        }
    }

    /// Whether nothing has arrived for the socket but what was reaped.
    pub(super) fn has_told_all(&self, key: Key) -> bool {
        let Some(socket) = self.sockets.get(key) else {
            return false;
        };
        let told = socket.received_last.0 <= self.network.time();
        let nothing = |connection| self.network.front(connection) == Front::Nothing;
        told && socket.connection.is_some_and(nothing)
    }

    /// Whether entering would make an event for this socket.
    pub(super) fn is_ready(&self, key: Key) -> bool {
        let Some(socket) = self.sockets.get(key) else {
            return false;
        };
        let Some(connection) = socket.connection else {
            return false;
        };
        let listens = socket.connecting.is_some() || socket.receiving.is_some();
        let can_send =
            socket.sending.is_some() && !matches!(self.network.window(connection), Ok(0));
        can_send || listens && self.network.front(connection) != Front::Nothing
    }
}
