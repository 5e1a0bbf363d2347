//! The response to a call of a task here that another shard runs: what comes back is on the heap.
//!
//! Owns: the response as far as it has come. Never: tries again, or watches the time: the shard that
//! runs the call does both.

use super::answer::{Answered, RemoteBody};
use super::bytes_in::Piece;
use super::crossing::{Incoming, RemoteUpload};
use super::transport::gone;
use crate::driver::ReceivedBuffer;
use crate::error::Error;
use crate::protocol::http1::ResponseHead;
use crate::trip::Trip;
use bytes::Bytes;
use http::HeaderMap;
use std::task::{Context as TaskContext, Poll, ready};

/// A response from another shard.
pub(crate) struct Forwarded {
    /// Of a low-level exchange; a call has given it away with the rest of the response.
    head: Bytes,
    content_length: Option<u64>,
    trip: Trip,
    rest: Rest,
    trailers: Option<HeaderMap>,
}

/// What of a body is still to be read.
enum Rest {
    Whole(Bytes),
    Pieces(Incoming),
    /// Nothing.
    Ended,
    /// It was cut short.
    Failed,
}

impl Forwarded {
    /// The response to a request in bytes.
    pub(super) fn exchange(response: Answered, upload: Option<RemoteUpload>) -> Forwarded {
        let (head, content_length, trip, body) = response.into_raw();
        Forwarded {
            head,
            content_length,
            ..Forwarded::new(body, trip, upload)
        }
    }

    pub(super) fn new(body: RemoteBody, trip: Trip, upload: Option<RemoteUpload>) -> Forwarded {
        let rest = match body {
            RemoteBody::Whole(bytes) => Rest::Whole(bytes),
            RemoteBody::Pieces(pieces, left, from) => {
                Rest::Pieces(Incoming::new(pieces, left, from, upload))
            }
            // Nothing is forwarded that asks for it.
            RemoteBody::Upgraded(_) => Rest::Failed,
        };
        Forwarded {
            head: Bytes::new(),
            content_length: None,
            trip,
            rest,
            trailers: None,
        }
    }

    pub(super) fn head(&self) -> ResponseHead<'_> {
        ResponseHead::new(&self.head)
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// How it went.
    pub(super) fn trip(&self) -> &Trip {
        &self.trip
    }

    pub(super) fn remaining(&self) -> Option<u64> {
        match &self.rest {
            Rest::Whole(bytes) => Some(bytes.len() as u64),
            Rest::Pieces(incoming) => incoming.left(),
            Rest::Ended => Some(0),
            Rest::Failed => None,
        }
    }

    /// The next piece of the body, `None` after its end.
    pub(super) fn poll_piece<B: ReceivedBuffer>(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<B>>, Error>> {
        loop {
            let incoming = match &mut self.rest {
                Rest::Whole(bytes) => {
                    let bytes = std::mem::take(bytes);
                    self.rest = Rest::Ended;
                    let piece = (!bytes.is_empty()).then_some(Piece::Heap(bytes));
                    return Poll::Ready(Ok(piece));
                }
                // As on a connection: after a failure there is no end.
                Rest::Failed => return Poll::Ready(Err(gone())),
                Rest::Ended => return Poll::Ready(Ok(None)),
                Rest::Pieces(incoming) => incoming,
            };
            match ready!(incoming.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Ok(Some(Piece::Heap(data)))),
                    Err(frame) => self.trailers = frame.into_trailers().ok(),
                },
                None => self.rest = Rest::Ended,
                Some(Err(error)) => {
                    self.rest = Rest::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// The trailers, once, after the body's end.
    pub(super) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}
