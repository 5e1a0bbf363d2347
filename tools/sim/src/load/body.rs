//! Request bodies that come piece by piece, and may fail on the way.

use crate::world::filler;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A request's body as its caller makes it: a piece, a pause, a piece.
pub struct Drip {
    bytes: Bytes,
    piece: usize,
    /// With so many bytes left it fails.
    fails_at: Option<usize>,
    /// Whether its length is told.
    sized: bool,
    pauses: bool,
}

/// The caller's own mishap.
#[derive(Debug)]
pub struct Mishap;

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the caller's own body failed")
    }
}

impl std::error::Error for Mishap {}

/// The whole body of a call.
pub fn whole(nonce: u64, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    filler::fill(&mut bytes, nonce, len);
    bytes.into()
}

impl Drip {
    /// The body of a call in pieces of up to `piece` bytes.
    pub fn new(nonce: u64, len: usize, piece: usize, sized: bool, fails: bool) -> Drip {
        Drip {
            bytes: whole(nonce, len),
            piece: piece.max(1),
            fails_at: fails.then_some(len / 2),
            sized,
            pauses: false,
        }
    }
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Mishap;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Mishap>>> {
        self.pauses = !self.pauses;
        if self.pauses {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.fails_at.is_some_and(|left| self.bytes.len() <= left) {
            return Poll::Ready(Some(Err(Mishap)));
        }
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.piece.min(self.bytes.len());
        let piece = self.bytes.split_to(len);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.sized {
            true => SizeHint::with_exact(self.bytes.len() as u64),
            false => SizeHint::default(),
        }
    }
}
