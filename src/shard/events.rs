//! What each of the driver's events means for its connection.
//!
//! Never acts for a user: it changes states, and notes down whom to wake.

use super::audit::end_cause;
use super::bytes_in::{End, Piece};
use super::checkout::Deferred;
use super::connection::{self, Connection, State};
use super::core::Core;
use super::returning::Eviction;
use crate::driver::{Driver, Event, Received, SendBuffer};
use crate::slab::Key;
use crate::tls::TlsError;
use bytes::Bytes;
use std::io;

impl<D: Driver> Core<D> {
    pub(super) fn on_event(&mut self, event: Event<D::Buffer>) {
        match event {
            Event::Received {
                key,
                outcome,
                more,
                nonempty,
            } => self.on_received(key, outcome, more, nonempty),
            Event::Sent {
                key,
                buffer,
                result,
            } => self.on_sent(key, buffer, result),
            Event::Connected { key, result } => self.on_connected(key, result),
            Event::Cancelled { key } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.on(connection::Event::Cancelled);
                    connection.operations.cancels -= 1;
                    if connection.releasing {
                        self.deferred.push_back(Deferred::Release(key));
                    }
                }
                self.after_operation(key);
            }
            Event::Closed { key } => self.on_closed(key),
        }
    }

    fn on_received(&mut self, key: Key, outcome: Received<D::Buffer>, more: bool, nonempty: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.nonempty = nonempty;
        if connection.releasing {
            self.deferred.push_back(Deferred::Release(key));
        }
        if !more {
            connection.operations.receive = false;
        }
        if connection.on(connection::Event::Received) == State::Draining {
            self.after_operation(key);
            return;
        }
        match outcome {
            Received::Data(buffer) => self.on_bytes(key, buffer),
            Received::End => self.on_end(key),
            Received::Failed(error) => self.on_broken(key, error.kind()),
            Received::NoBuffers => {
                connection.inbound.starved = true;
                self.starved.push(key);
            }
            Received::Stopped => {}
        }
        if !more {
            self.after_operation(key);
            self.keep_receiving(key);
        }
    }

    fn on_bytes(&mut self, key: Key, buffer: D::Buffer) {
        // Past the connection's quota of buffers, and when the shard runs low on them, bytes move to the
        // heap, where the connection's pause bounds them: buffers stay free for those who read.
        let crowded = self.driver.buffers_held(key) > self.settings.buffers_per_connection
            || self.driver.buffers_free() < self.settings.buffers_low;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.received += buffer.len() as u64;
        if connection.tls.is_some() {
            self.on_ciphertext(key, &buffer);
            return;
        }
        let piece = if crowded {
            Piece::Heap(Bytes::copy_from_slice(&buffer))
        } else {
            Piece::Ring(buffer)
        };
        self.deliver(key, piece);
    }

    /// A raw server may speak first: what it says before the first use waits for the first user.
    /// Anywhere else, bytes that nobody asked for condemn the connection.
    fn on_idle_bytes(&mut self, key: Key, piece: Piece<D::Buffer>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let speaks_first = connection.uses == 0
            && self
                .upstreams
                .get(connection.upstream)
                .is_some_and(|u| !u.shared.url.is_http());
        if speaks_first {
            // On the heap: a connection at rest holds no receive buffer.
            connection.inbound.push(Piece::Heap(piece.to_bytes()));
            self.pause_if_unread(key);
        } else {
            self.evict(key, Eviction::StrayBytes);
        }
    }

    fn on_ciphertext(&mut self, key: Key, ciphertext: &[u8]) {
        let mut plaintext = std::mem::take(&mut self.plaintext);
        plaintext.clear();
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(session) = connection.tls.as_deref_mut() else {
            return;
        };
        if session.is_over() {
            self.plaintext = plaintext;
            self.stop_listening(key);
            return;
        }
        let handshaking = session.is_handshaking();
        let result = session.receive(ciphertext, &mut plaintext);
        let closed = session.peer_closed();
        // Handshake messages, KeyUpdate answers, alerts.
        if session.wants_output() {
            connection
                .outbound
                .append(&mut self.blocks, |out| session.output(out));
            self.flush(key);
        }
        if handshaking && result.is_ok() {
            self.after_handshake_bytes(key);
        }
        // First what was sound: a response is none the worse for a broken record behind it.
        if !plaintext.is_empty() {
            let piece = Piece::Heap(Bytes::copy_from_slice(&plaintext));
            self.deliver(key, piece);
        }
        match result {
            Err(error) => self.on_tls_failed(key, error),
            Ok(()) if closed => self.on_end(key),
            Ok(()) => {}
        }
        self.plaintext = plaintext;
    }

    /// Plain bytes have come: from the wire, or from within TLS.
    fn deliver(&mut self, key: Key, piece: Piece<D::Buffer>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.streams.is_some() {
            self.on_stream_bytes(key, &piece);
            return;
        }
        match connection.state() {
            State::Leased => {
                connection.inbound.push(piece);
                connection.wake_reader();
                self.pause_if_unread(key);
            }
            State::Idle => self.on_idle_bytes(key, piece),
            // What came with them has ended it.
            State::Dialing | State::Handshaking | State::Draining | State::Closing => {}
        }
    }

    fn on_tls_failed(&mut self, key: Key, failure: TlsError) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.state() {
            State::Handshaking => self.on_handshake_failed(key, failure),
            State::Idle => self.evict(key, Eviction::Failed),
            State::Leased => {
                connection.fault = Some(super::faults::tls(failure));
                if connection.streams.is_some() {
                    self.lose_streams(key, End::Failed(io::ErrorKind::InvalidData));
                    return;
                }
                connection
                    .inbound
                    .finish(End::Failed(io::ErrorKind::InvalidData));
                connection.wake_reader();
                connection.wake_writer();
            }
            State::Dialing | State::Draining | State::Closing => {}
        }
    }

    /// The peer will send no more.
    fn on_end(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let end = match (&connection.tls, connection.outbound.failed) {
            (Some(session), _) if !session.peer_closed() => End::Truncated,
            (Some(_), _) | (None, None) => End::Clean,
            // A reset shows once: the send that met it took it away from the receive, which then
            // sees nothing but an end.
            (None, Some(kind)) => End::Failed(kind),
        };
        match connection.state() {
            State::Idle => self.evict(key, Eviction::PeerClosed),
            State::Handshaking => self.on_handshake_cut(key),
            State::Leased if connection.streams.is_some() => self.lose_streams(key, end),
            State::Leased => {
                connection.inbound.finish(end);
                connection.wake_reader();
            }
            State::Dialing | State::Draining | State::Closing => {}
        }
    }

    fn on_broken(&mut self, key: Key, error: io::ErrorKind) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.state() {
            State::Idle => self.evict(key, Eviction::PeerClosed),
            State::Handshaking => self.on_handshake_broken(key, error),
            State::Leased if connection.streams.is_some() => {
                self.lose_streams(key, End::Failed(error));
            }
            State::Leased => {
                connection.inbound.finish(End::Failed(error));
                connection.wake_reader();
                connection.wake_writer();
            }
            State::Dialing | State::Draining | State::Closing => {}
        }
    }

    fn on_sent(&mut self, key: Key, buffer: SendBuffer, result: io::Result<usize>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.operations.send = false;
        match (connection.on(connection::Event::Sent), result) {
            (State::Draining, _) => {}
            // What is left of it is not sent on.
            (_, _) if connection.cut => {}
            (_, Ok(n)) => {
                connection.sent += n as u64;
                connection.outbound.sent(n);
                if !buffer.is_empty() {
                    // A short send is legal: go on where it stopped.
                    connection.operations.send = true;
                    self.driver.send(key, buffer);
                    return;
                }
                if connection.outbound.pending() == 0 || connection.outbound.has_room() {
                    connection.wake_writer();
                }
            }
            (state, Err(error)) => {
                connection.outbound.abandon(&mut self.blocks, error.kind());
                connection.wake_writer();
                // Whoever leases it may still find an answer in what was received: receiving tells
                // the end. Only where nobody looks does a failed send decide.
                match state {
                    State::Idle => self.evict(key, Eviction::Failed),
                    State::Handshaking => self.on_handshake_broken(key, error.kind()),
                    // The same, but nobody new is let in.
                    State::Leased if connection.streams.is_some() => {
                        self.ends_by(key, end_cause(End::Failed(error.kind())));
                        self.leave_pool(key);
                    }
                    State::Leased | State::Dialing | State::Draining | State::Closing => {}
                }
            }
        }
        super::bytes_out::recycle(&mut self.blocks, buffer);
        self.write_replies(key);
        self.flush(key);
        self.after_operation(key);
    }

    /// Hands the next block to the driver, unless one is under way.
    pub(super) fn flush(&mut self, key: Key) {
        if self.fault.is_some() {
            return;
        }
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.operations.send || connection.outbound.failed.is_some() {
            return;
        }
        if let Err(error) = encrypt_held(connection, &mut self.blocks) {
            connection
                .outbound
                .abandon(&mut self.blocks, io::ErrorKind::InvalidData);
            self.on_tls_failed(key, error);
            return;
        }
        if let Some(buffer) = connection.outbound.next() {
            connection.operations.send = true;
            connection.outbound.handed += buffer.len() as u64;
            self.driver.send(key, buffer);
        }
    }
}

/// Encrypts of what is held as much as there is room for.
fn encrypt_held<B>(
    connection: &mut Connection<B>,
    blocks: &mut Vec<SendBuffer>,
) -> Result<(), TlsError> {
    let Some(session) = connection.tls.as_deref_mut() else {
        return Ok(());
    };
    if session.is_handshaking() {
        return Ok(());
    }
    while let Some(piece) = connection.outbound.take_held() {
        connection
            .outbound
            .append(blocks, |out| session.encrypt(&piece, out))?;
    }
    Ok(())
}
