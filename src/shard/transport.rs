//! A leased connection's bytes, in and out, as its holder sees them: TLS or not, one place at a time.

use super::bytes_in::{End, Piece};
use super::core::Core;
use super::waking::LocalWaker;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Phase, RequestSent};
use crate::slab::Key;
use crate::time::Time;
use bytes::Bytes;
use std::ops::Range;
use std::task::{Poll, Waker};

/// Bodies up to this long are encrypted at once.
const ENCRYPT_AT_ONCE: usize = 64 * 1024;

/// The shard keeps its scratch space for plaintext up to this size.
const SCRATCH_MAX: usize = 256 * 1024;

/// What a leased connection has for its reader.
pub(crate) enum Readable {
    /// Bytes, at the front of its inbound pieces.
    Bytes,
    /// The end of the stream, after everything was read.
    End(End),
}

impl<D: Driver> Core<D> {
    /// Appends what `fill` writes to what the connection sends, encrypted where TLS is spoken, all
    /// or nothing. Nothing leaves before [`flush`](Core::flush).
    pub(crate) fn write_with<E: From<Error>>(
        &mut self,
        key: Key,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write_early_or(key, false, fill).map(drop)
    }

    /// As [`write_with`](Core::write_with), and `early`, if it may be, where the connection's handshake is not over yet. Whether it
    /// was.
    pub(crate) fn write_early_or<E: From<Error>>(
        &mut self,
        key: Key,
        early: bool,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Err(gone().into());
        };
        if connection.outbound.failed.is_some() {
            // The peer's last words, or its reset, are for the reader to find.
            return Ok(false);
        }
        let Some(session) = connection.tls.as_deref_mut() else {
            let before = connection.outbound.pending();
            let result = connection.outbound.append(&mut self.blocks, fill);
            if result.is_err() {
                let appended = connection.outbound.pending() - before;
                connection.outbound.take_back(appended);
            }
            return result.map(|()| false);
        };
        let mut plain = std::mem::take(&mut self.plaintext);
        plain.clear();
        let filled = fill(&mut plain);
        let result = match filled {
            // Behind what still waits to be encrypted: the order is the caller's.
            Ok(()) if connection.outbound.has_held() => {
                connection.outbound.hold(Bytes::copy_from_slice(&plain));
                Ok(false)
            }
            Ok(()) if session.is_handshaking() => {
                let sent = early
                    && (connection.outbound)
                        .append(&mut self.blocks, |out| session.encrypt_early(&plain, out));
                if !sent {
                    connection.outbound.hold(Bytes::copy_from_slice(&plain));
                }
                Ok(sent)
            }
            Ok(()) => connection
                .outbound
                .append(&mut self.blocks, |out| session.encrypt(&plain, out))
                .map(|()| false)
                .map_err(|error| super::faults::tls(error).into()),
            Err(error) => Err(error),
        };
        if plain.capacity() <= SCRATCH_MAX {
            self.plaintext = plain;
        }
        result
    }

    /// Appends somebody's bytes, without a copy where they are many and not encrypted.
    pub(crate) fn write_shared(&mut self, key: Key, bytes: Bytes) -> Result<(), Error> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Err(gone());
        };
        if connection.tls.is_some() {
            // Many bytes are encrypted piece by piece, as they can be sent: other connections have
            // their turns in between.
            if bytes.len() > ENCRYPT_AT_ONCE && connection.outbound.failed.is_none() {
                connection.outbound.hold(bytes);
                return Ok(());
            }
            return self.write_with(key, |out| {
                out.extend_from_slice(&bytes);
                Ok(())
            });
        }
        if connection.outbound.failed.is_none() {
            connection.outbound.append_shared(&mut self.blocks, bytes);
        }
        Ok(())
    }

    /// Waits until more may be written. A connection that can send no more has room: its reader
    /// finds out why.
    pub(crate) fn poll_room(&mut self, key: Key, waker: &Waker) -> Poll<Result<(), Error>> {
        self.poll_writer(key, waker, |connection| connection.outbound.has_room())
    }

    /// Waits until the kernel has taken everything written, or refused it.
    pub(crate) fn poll_flushed(&mut self, key: Key, waker: &Waker) -> Poll<Result<(), Error>> {
        if let Some(kind) = self.connections.get(key).and_then(|c| c.outbound.failed) {
            return Poll::Ready(Err(self.end_error(key, End::Failed(kind))));
        }
        self.poll_writer(key, waker, |connection| {
            connection.outbound.is_empty() && !connection.operations.send
        })
    }

    fn poll_writer(
        &mut self,
        key: Key,
        waker: &Waker,
        done: impl FnOnce(&super::connection::Connection<D::Buffer>) -> bool,
    ) -> Poll<Result<(), Error>> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Poll::Ready(Err(gone()));
        };
        if connection.expired {
            let error = Error::new(
                ErrorKind::Timeout(Phase::Send),
                "the request could not be sent in time",
            );
            return Poll::Ready(Err(error));
        }
        if connection.outbound.failed.is_some() || done(connection) {
            return Poll::Ready(Ok(()));
        }
        LocalWaker::store(&mut connection.writer, waker);
        Poll::Pending
    }

    /// Whether everything written is with the kernel.
    pub(crate) fn is_flushed(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|c| {
            c.outbound.is_empty() && !c.operations.send && c.outbound.failed.is_none()
        })
    }

    /// Whether sending has failed, so that nothing more will leave.
    pub(crate) fn cannot_send(&self, key: Key) -> bool {
        self.connections
            .get(key)
            .is_none_or(|connection| connection.outbound.failed.is_some())
    }

    /// Waits for bytes or the end of them.
    pub(crate) fn poll_readable(
        &mut self,
        key: Key,
        waker: &Waker,
    ) -> Poll<Result<Readable, Expired>> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Poll::Ready(Ok(Readable::End(End::Clean)));
        };
        // What has come counts, however late its reader looks.
        if !connection.inbound.is_empty() {
            return Poll::Ready(Ok(Readable::Bytes));
        }
        if let Some(end) = connection.inbound.end() {
            return Poll::Ready(Ok(Readable::End(end)));
        }
        if connection.expired {
            return Poll::Ready(Err(Expired));
        }
        LocalWaker::store(&mut connection.reader, waker);
        Poll::Pending
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_expired(&self, key: Key) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.expired)
    }

    /// Waits for more than what is there already.
    pub(crate) fn await_more(&mut self, key: Key, waker: &Waker) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound.wanted = true;
            LocalWaker::store(&mut connection.reader, waker);
        }
    }

    /// The unread pieces' front.
    pub(crate) fn front(&self, key: Key) -> Option<&Piece<D::Buffer>> {
        self.connections.get(key)?.inbound.front()
    }

    pub(crate) fn inbound_end(&self, key: Key) -> Option<End> {
        self.connections.get(key)?.inbound.end()
    }

    pub(crate) fn consume(&mut self, key: Key, n: usize) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound.consume(n);
        }
    }

    /// Consumes the first `consumed` bytes of the front piece, sets the moment by which the holder's next step has to be
    /// over, and gives the `data` among those bytes; `None` if there is none.
    ///
    /// # Panics
    /// If the front piece is shorter.
    #[inline]
    pub(crate) fn take_front(
        &mut self,
        key: Key,
        consumed: usize,
        data: Range<usize>,
        by: Time,
    ) -> Option<Piece<D::Buffer>> {
        let connection = self.connections.get_mut(key)?;
        connection.expired = false;
        connection.due_by(key, by, &mut self.timers);
        connection.inbound.take(consumed, data)
    }

    pub(crate) fn pop_piece(&mut self, key: Key) -> Option<Piece<D::Buffer>> {
        self.connections.get_mut(key)?.inbound.pop()
    }

    /// Puts the first two unread pieces together.
    pub(crate) fn gather(&mut self, key: Key) -> bool {
        self.connections
            .get_mut(key)
            .is_some_and(|connection| connection.inbound.gather())
    }

    pub(crate) fn has_unread(&self, key: Key) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| !connection.inbound.is_empty())
    }

    pub(crate) fn endpoint(&self, key: Key) -> Option<&Endpoint> {
        self.connections.get(key)?.endpoint.as_ref()
    }

    /// Why the stream ended the way it did.
    pub(crate) fn end_error(&self, key: Key, end: End) -> Error {
        let connection = self.connections.get(key);
        match connection.and_then(|connection| connection.fault.as_ref()) {
            Some(fault) => fault.duplicate(),
            None => super::faults::ended(end),
        }
    }

    /// How much of what was written since the checkout may have reached the peer.
    pub(crate) fn sent(&self, key: Key) -> RequestSent {
        match self.connections.get(key) {
            None => RequestSent::Partly,
            Some(connection) if connection.outbound.handed == 0 => RequestSent::No,
            Some(_) if self.is_flushed(key) => RequestSent::Whole,
            Some(_) => RequestSent::Partly,
        }
    }

    /// Sets the moment by which the holder's next step has to be over.
    pub(crate) fn expect_by(&mut self, key: Key, at: Time) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.expired = false;
            connection.due_by(key, at, &mut self.timers);
        }
    }
}

/// The deadline passed.
#[derive(Debug)]
pub(crate) struct Expired;

pub(super) fn gone() -> Error {
    Error::new(ErrorKind::Closed, "the connection is gone")
}
