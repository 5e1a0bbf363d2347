//! A request's body on its way out, from wherever it comes.
//!
//! Owns: the source, the framing and the promise of a length. Never: reads ahead of what the
//! connection has room for.

use super::exchange::Exchange;
use super::local::LocalSleep;
use super::pipe::{Cut, PipeReceiver};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::{
    CHUNK_END, RequestBody, encode_chunk, encode_chunk_header, encode_last_chunk,
};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

/// A body of the caller's, on the caller's own thread.
pub(crate) type BoxedBody =
    Pin<Box<dyn HttpBody<Data = Bytes, Error = Box<dyn StdError + Send + Sync>> + Send>>;

/// Where a request's body comes from.
pub(crate) enum Source {
    Empty,
    Full(Bytes),
    Stream(BoxedBody),
    /// From a caller on another thread, with its length if it knows.
    Pipe(PipeReceiver<Result<Frame<Bytes>, Error>>, Option<u64>),
}

impl Source {
    pub(crate) fn framing(&self) -> RequestBody {
        let known = |length: Option<u64>| length.map_or(RequestBody::Chunked, RequestBody::Length);
        match self {
            Source::Empty => RequestBody::None,
            Source::Full(bytes) => RequestBody::Length(bytes.len() as u64),
            Source::Stream(body) => known(body.size_hint().exact()),
            Source::Pipe(_, length) => known(*length),
        }
    }

    /// The same body once more, if that is possible.
    pub(crate) fn again(&self) -> Option<Source> {
        match self {
            Source::Empty => Some(Source::Empty),
            Source::Full(bytes) => Some(Source::Full(bytes.clone())),
            Source::Stream(_) | Source::Pipe(..) => None,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match self {
            Source::Empty => Poll::Ready(None),
            Source::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Stream(body) => body.as_mut().poll_frame(cx).map_err(body_failed),
            Source::Pipe(pipe, _) => pipe.poll_next(cx).map(|piece| {
                piece.map(|piece| match piece {
                    Ok(frame) => frame,
                    Err(Cut) => Err(Error::new(
                        ErrorKind::RequestBody,
                        "the caller gave the request's body up",
                    )),
                })
            }),
        }
    }
}

/// How many frames of a body one poll takes.
const FRAMES_PER_POLL: usize = 64;

/// A body being sent.
pub(crate) struct Upload<D: Driver> {
    source: Source,
    framing: RequestBody,
    left: u64,
    step: Step<D>,
}

enum Step<D: Driver> {
    /// Held back until the peer says 100 (Continue), or this long.
    Waiting(LocalSleep<D>),
    Sending,
    Done,
}

impl<D: Driver> Upload<D> {
    /// Framed as the request's head says: a body may tell another length when it is asked again. `hold` holds it back for an
    /// interim response.
    pub(crate) fn new(
        source: Source,
        framing: RequestBody,
        hold: Option<LocalSleep<D>>,
    ) -> Upload<D> {
        let left = match framing {
            RequestBody::Length(length) => length,
            RequestBody::None | RequestBody::Chunked => 0,
        };
        let step = hold.map_or(Step::Sending, Step::Waiting);
        Upload {
            source,
            framing,
            left,
            step,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// Whether nothing of the body has left for want of 100 (Continue).
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.step, Step::Waiting(_))
    }

    /// Sends as much as there is and as the connection has room for. Ready when all is written.
    pub(crate) fn poll(
        &mut self,
        exchange: &mut Exchange<D>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Error>> {
        let result = self.poll_steps(exchange, cx);
        exchange.flush();
        result
    }

    fn poll_steps(
        &mut self,
        exchange: &mut Exchange<D>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Error>> {
        for _ in 0..FRAMES_PER_POLL {
            match &mut self.step {
                Step::Done => return Poll::Ready(Ok(())),
                Step::Waiting(sleep) => {
                    if exchange.awaits_continue() && Pin::new(sleep).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    self.step = Step::Sending;
                }
                Step::Sending => {
                    // Nothing more will leave: the rest of the body is not asked for, and the reader
                    // finds out why.
                    if exchange.cannot_send() {
                        self.step = Step::Done;
                        return Poll::Ready(Ok(()));
                    }
                    // Whole on the wire, though the source may still have to say that it ends.
                    if matches!(self.framing, RequestBody::Length(_)) && self.left == 0 {
                        exchange.request_written();
                    }
                    if !matches!(self.framing, RequestBody::None) {
                        match exchange.poll_room(cx) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(result) => result?,
                        }
                    }
                    let frame = match self.source.poll_frame(cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(frame) => frame.transpose()?,
                    };
                    self.write(exchange, frame)?;
                }
            }
        }
        // A source that is always ready has had its share of this turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn write(
        &mut self,
        exchange: &mut Exchange<D>,
        frame: Option<Frame<Bytes>>,
    ) -> Result<(), Error> {
        let Some(frame) = frame else {
            return self.finish(exchange, None);
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => Ok(()),
            Ok(data) => self.write_data(exchange, data),
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => self.finish(exchange, Some(&trailers)),
                // A kind of frame that HTTP/1.1 has no place for.
                Err(_) => Ok(()),
            },
        }
    }

    fn write_data(&mut self, exchange: &mut Exchange<D>, data: Bytes) -> Result<(), Error> {
        match self.framing {
            // One piece, and with TLS one record, where the copy is cheap.
            RequestBody::Chunked if data.len() < 4096 => exchange.write_body(|out| {
                encode_chunk(out, &data);
                Ok(())
            }),
            RequestBody::Chunked => {
                exchange.write_body(|out| {
                    encode_chunk_header(out, data.len());
                    Ok(())
                })?;
                exchange.write_body_shared(data)?;
                exchange.write_body(|out| {
                    out.extend_from_slice(CHUNK_END);
                    Ok(())
                })
            }
            RequestBody::None | RequestBody::Length(_) => {
                let Some(left) = self.left.checked_sub(data.len() as u64) else {
                    return Err(broken_promise("the request's body is longer than it said"));
                };
                self.left = left;
                exchange.write_body_shared(data)
            }
        }
    }

    fn finish(
        &mut self,
        exchange: &mut Exchange<D>,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), Error> {
        match self.framing {
            RequestBody::None => {}
            RequestBody::Length(_) if self.left > 0 => {
                return Err(broken_promise("the request's body is shorter than it said"));
            }
            // Trailers need chunks; a body of known length has no place for them (RFC 9112 §7.1.2).
            RequestBody::Length(_) if trailers.is_some_and(|trailers| !trailers.is_empty()) => {
                return Err(broken_promise(
                    "the request's body told its length beforehand and ends with trailers: HTTP/1.1 \
                     has no place for both",
                ));
            }
            RequestBody::Length(_) => {}
            RequestBody::Chunked => exchange.write_body(|out| encode_last_chunk(out, trailers))?,
        }
        self.step = Step::Done;
        exchange.request_written();
        Ok(())
    }
}

/// What a body of the caller's failed by.
pub(crate) fn body_failed(error: Box<dyn StdError + Send + Sync>) -> Error {
    Error::new(
        ErrorKind::RequestBody,
        format!("the request's body failed: {error}"),
    )
    .caused_by(error)
}

fn broken_promise(what: &'static str) -> Error {
    Error::new(ErrorKind::RequestBody, what)
}
