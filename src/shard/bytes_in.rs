//! What a connection has received and nobody has read yet.
//!
//! Owns: pieces of received bytes, in order, and how the stream ended. Never: grows beyond the quota by
//! more than what was under way when receiving was paused.

use crate::driver::ReceivedBuffer;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, Range};

/// A piece of received bytes: a view of a driver's buffer, or of the heap where the bytes had to be
/// decrypted or put together.
#[derive(Clone)]
pub enum Piece<B> {
    /// In the driver's buffer.
    Ring(B),
    /// On the heap.
    Heap(Bytes),
}

impl<B: ReceivedBuffer> Piece<B> {
    pub(crate) fn advance(&mut self, n: usize) {
        match self {
            Piece::Ring(buffer) => buffer.advance(n),
            Piece::Heap(bytes) => drop(bytes.split_to(n)),
        }
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        match self {
            Piece::Ring(buffer) => buffer.truncate(len),
            Piece::Heap(bytes) => bytes.truncate(len),
        }
    }

    /// The bytes on the heap: copied if they are in a driver's buffer.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Piece::Ring(buffer) => Bytes::copy_from_slice(buffer),
            Piece::Heap(bytes) => bytes.clone(),
        }
    }
}

impl<B: ReceivedBuffer> Deref for Piece<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Piece::Ring(buffer) => buffer,
            Piece::Heap(bytes) => bytes,
        }
    }
}

/// How a stream of received bytes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN, and before it close_notify where TLS is spoken.
    Clean,
    /// FIN without close_notify (RFC 8446 §6.1): may have been cut short by anyone.
    Truncated,
    /// The connection failed.
    Failed(io::ErrorKind),
}

/// Received bytes and the end of them.
pub(crate) struct Inbound<B> {
    pieces: VecDeque<Piece<B>>,
    bytes: usize,
    end: Option<End>,
    /// Receiving was stopped because too much is unread.
    pub(crate) paused: bool,
    /// Receiving stopped because the shard had no free buffer.
    pub(crate) starved: bool,
    /// The reader cannot begin with what is there: however much that is, more is wanted. It bounds
    /// by itself how much it takes.
    pub(crate) wanted: bool,
}

impl<B> Inbound<B> {
    pub(crate) fn new() -> Inbound<B> {
        Inbound {
            pieces: VecDeque::new(),
            bytes: 0,
            end: None,
            paused: false,
            starved: false,
            wanted: false,
        }
    }
}

impl<B: ReceivedBuffer> Inbound<B> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Unread bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// How many pieces they are in.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    pub(crate) fn front(&self) -> Option<&Piece<B>> {
        self.pieces.front()
    }

    pub(crate) fn push(&mut self, piece: Piece<B>) {
        debug_assert!(!piece.is_empty(), "an empty piece is none");
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    /// Records the end; the first one counts.
    pub(crate) fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Drops the first `n` bytes of the front piece.
    ///
    /// # Panics
    /// If the front piece is shorter.
    pub(crate) fn consume(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        self.wanted = false;
        let front = self.pieces.front_mut().expect("consumed from nothing");
        if n == front.len() {
            self.pieces.pop_front();
        } else {
            front.advance(n);
        }
        self.bytes -= n;
    }

    /// Drops the first `consumed` bytes of the front piece, and gives the `data` among them; `None` if there is none.
    ///
    /// # Panics
    /// If the front piece is shorter.
    pub(crate) fn take(&mut self, consumed: usize, data: Range<usize>) -> Option<Piece<B>> {
        if data.is_empty() {
            self.consume(consumed);
            return None;
        }
        let front = self.pieces.front()?;
        let mut piece = if consumed == front.len() {
            self.wanted = false;
            self.bytes -= consumed;
            self.pieces.pop_front()?
        } else {
            let front = front.clone();
            self.consume(consumed);
            front
        };
        piece.truncate(data.end);
        if data.start > 0 {
            piece.advance(data.start);
        }
        Some(piece)
    }

    /// Takes the whole front piece.
    pub(crate) fn pop(&mut self) -> Option<Piece<B>> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Puts all unread pieces together on the heap, for a parser that needs its input in one place.
    /// Returns whether there was more than one. What was put together before grows in place, so that
    /// a head that comes byte by byte is not copied anew for each.
    pub(crate) fn gather(&mut self) -> bool {
        if self.pieces.len() < 2 {
            return false;
        }
        let mut together = match self.pieces.pop_front() {
            Some(Piece::Heap(bytes)) => match bytes.try_into_mut() {
                Ok(bytes) => bytes,
                Err(shared) => BytesMut::from(&shared[..]),
            },
            Some(Piece::Ring(buffer)) => BytesMut::from(&buffer[..]),
            None => return false,
        };
        for piece in self.pieces.drain(..) {
            together.extend_from_slice(&piece);
        }
        self.pieces.push_front(Piece::Heap(together.freeze()));
        true
    }

    /// Forgets everything unread.
    pub(crate) fn clear(&mut self) {
        self.pieces.clear();
        self.bytes = 0;
    }
}
