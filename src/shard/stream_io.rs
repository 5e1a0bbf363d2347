//! A stream's bytes, in and out, as its holder sees them.
//!
//! Frames are written whole, so that a holder who goes leaves none begun. A stream is opened by its first
//! frame: what was written of no stream, the peer cannot have processed.

use super::bytes_in::{End, Piece};
use super::core::Core;
use super::framing::{FRAME_MAX, Framing};
use super::transport::gone;
use super::waking::LocalWaker;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase, RequestSent};
use crate::slab::Key;
use bytes::Bytes;
use std::task::{Poll, Waker};

impl<D: Driver> Core<D> {
    /// Appends a frame to what a connection sends. A connection that cannot encrypt any more is broken.
    pub(super) fn write_frame(&mut self, key: Key, fill: impl FnOnce(&mut Framing, &mut Vec<u8>)) {
        let Some(mut streams) = self
            .connections
            .get_mut(key)
            .and_then(|connection| connection.streams.take())
        else {
            return;
        };
        let written = self.write_with(key, |out| {
            fill(&mut streams.framing, out);
            Ok::<(), Error>(())
        });
        if let Some(connection) = self.connections.get_mut(key) {
            connection.streams = Some(streams);
        }
        if let Err(fault) = written {
            self.break_streams(key, fault);
        }
    }

    /// Waits until a stream may write a frame.
    pub(super) fn poll_stream_room(&mut self, key: Key, waker: &Waker) -> Poll<Result<(), Error>> {
        let Some(stream) = self.streams.get(key) else {
            return Poll::Ready(Err(gone()));
        };
        if let Some(failure) = &stream.failure {
            return Poll::Ready(Err(failure.error.duplicate()));
        }
        if stream.expired {
            let error = Error::new(
                ErrorKind::Timeout(Phase::Send),
                "the request could not be sent in time",
            );
            return Poll::Ready(Err(error));
        }
        let Some(connection) = self.connections.get_mut(stream.connection) else {
            return Poll::Ready(Err(gone()));
        };
        if connection.outbound.has_room() {
            return Poll::Ready(Ok(()));
        }
        if let Some(streams) = connection.streams.as_deref_mut() {
            streams.await_room(key, waker);
        }
        Poll::Pending
    }

    /// Writes one frame, the last of its stream or not, and opens the stream if it is the first.
    ///
    /// # Panics
    /// If `bytes` are more than [`FRAME_MAX`].
    pub(super) fn write_stream(
        &mut self,
        key: Key,
        bytes: &Bytes,
        last: bool,
    ) -> Result<(), Error> {
        assert!(bytes.len() <= FRAME_MAX, "more than a frame may carry");
        let (connection, id) = self.open_stream(key)?;
        if !bytes.is_empty() || last {
            self.write_frame(connection, |framing, out| {
                framing.begin_data(out, id, bytes.len(), last);
                out.extend_from_slice(bytes);
            });
        }
        let end = self
            .connections
            .get(connection)
            .map_or(0, |connection| connection.outbound.position());
        let Some(stream) = self.streams.get_mut(key) else {
            return Err(gone());
        };
        stream.end = end;
        stream.ended |= last;
        let over = stream.ended && stream.inbound.end().is_some();
        self.flush(connection);
        if over {
            self.leave_connection(key);
        }
        Ok(())
    }

    /// The connection and the id of a stream, which gets one if it has none.
    fn open_stream(&mut self, key: Key) -> Result<(Key, u32), Error> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Err(gone());
        };
        if let Some(failure) = &stream.failure {
            return Err(failure.error.duplicate());
        }
        let Some(connection) = self.connections.get_mut(stream.connection) else {
            return Err(gone());
        };
        if let Some(id) = stream.id {
            return Ok((stream.connection, id));
        }
        if let Some(kind) = connection.outbound.failed {
            return Err(super::faults::ended(End::Failed(kind)));
        }
        let begin = connection.outbound.position();
        let Some(streams) = connection.streams.as_deref_mut() else {
            return Err(gone());
        };
        match streams.open(key) {
            Some(id) => {
                stream.id = Some(id);
                stream.begin = begin;
                stream.opened = self.now;
                Ok((stream.connection, id))
            }
            None => {
                let spent = streams.has_spent_its_ids();
                let connection = stream.connection;
                if spent {
                    self.retire_connection(connection);
                }
                Err(Error::new(
                    ErrorKind::Closed,
                    "the connection takes no more streams",
                ))
            }
        }
    }

    /// Waits for bytes of a stream; `None` after its end.
    pub(super) fn poll_stream_read(
        &mut self,
        key: Key,
        waker: &Waker,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        let Some(stream) = self.streams.get_mut(key) else {
            return Poll::Ready(Err(gone()));
        };
        // What has come counts, however the stream went on.
        if let Some(piece) = stream.inbound.pop() {
            let connection = stream.connection;
            self.weigh(connection, key);
            return Poll::Ready(Ok(Some(piece)));
        }
        if stream.inbound.end().is_some() {
            return Poll::Ready(Ok(None));
        }
        if let Some(failure) = &stream.failure {
            return Poll::Ready(Err(failure.error.duplicate()));
        }
        if stream.expired {
            let phase = match stream.answered {
                true => Phase::Body,
                false => Phase::Head,
            };
            return Poll::Ready(Err(Error::timeout(phase, self.now.since(stream.granted))));
        }
        LocalWaker::store(&mut stream.reader, waker);
        Poll::Pending
    }

    /// How much of what was written to a stream its peer may have processed.
    pub(super) fn stream_sent(&self, key: Key) -> RequestSent {
        let Some(stream) = self.streams.get(key) else {
            return RequestSent::Partly;
        };
        match (&stream.failure, self.connections.get(stream.connection)) {
            (Some(failure), _) => failure.sent,
            (None, Some(connection)) => stream.sent(connection.outbound.handed),
            (None, None) => RequestSent::Partly,
        }
    }
}
