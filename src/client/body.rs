//! Bodies of requests and responses.

use super::lease::Lease;
use crate::error::Error;
use crate::shard::answer::{Answered, RemoteBody};
use crate::shard::crossing::{Incoming, RemoteUpload};
use crate::shard::upload::{BoxedBody, Source, body_failed};
use crate::trip::{Travelled, Trip};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

/// The body of a request or of a response.
///
/// A request's body may be empty, bytes, or any [`http_body::Body`]; a response's is read as an
/// [`http_body::Body`] itself, frame by frame, and holds the peer back while it is not read. Dropping
/// it unread closes the connection that it came on, unless it was complete.
pub struct Body {
    kind: Kind,
    /// Of a response.
    trip: Option<Trip>,
}

enum Kind {
    Whole(Bytes),
    Stream(BoxedBody),
    Incoming(Incoming),
    Upgraded(Lease),
}

impl Body {
    fn of(kind: Kind) -> Body {
        Body { kind, trip: None }
    }

    /// No body.
    pub fn empty() -> Body {
        Body::of(Kind::Whole(Bytes::new()))
    }

    /// A body that is read piece by piece while it is sent, by the task that awaits the call. With
    /// an exact size hint it goes out with that Content-Length, else in chunks.
    pub fn stream<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        Body::of(Kind::Stream(Box::pin(Boxing(Box::pin(body)))))
    }

    /// The connection as a raw stream, if the response was 101 (Switching Protocols) or a 2xx to
    /// CONNECT; `None` otherwise.
    pub fn into_upgraded(self) -> Option<Lease> {
        match self.kind {
            Kind::Upgraded(lease) => Some(lease),
            Kind::Whole(_) | Kind::Stream(_) | Kind::Incoming(_) => None,
        }
    }

    /// For the shard that this thread is.
    pub(crate) fn into_source(self) -> Source {
        match self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Source::Empty,
            Kind::Whole(bytes) => Source::Full(bytes),
            Kind::Stream(body) => Source::Stream(body),
            incoming @ (Kind::Incoming(_) | Kind::Upgraded(_)) => {
                Source::Stream(Box::pin(Boxing(Box::pin(Body::of(incoming)))))
            }
        }
    }

    /// A response that came from a shard, and what is left of its request.
    pub(crate) fn response(answer: Answered, upload: Option<RemoteUpload>) -> http::Response<Body> {
        let (response, trip) = answer.into_http();
        response.map(|body| Body::from_remote(body, trip, upload))
    }

    fn from_remote(body: RemoteBody, trip: Trip, upload: Option<RemoteUpload>) -> Body {
        let kind = match body {
            RemoteBody::Whole(bytes) => Kind::Whole(bytes),
            RemoteBody::Pieces(pieces, left, from) => {
                Kind::Incoming(Incoming::new(pieces, left, from, upload))
            }
            RemoteBody::Upgraded(remote) => Kind::Upgraded(Lease::new(remote)),
        };
        Body {
            kind,
            trip: Some(trip),
        }
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Whole(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Stream(_) => f.write_str("Body(stream)"),
            Kind::Incoming(_) => f.write_str("Body(incoming)"),
            Kind::Upgraded(_) => f.write_str("Body(upgraded)"),
        }
    }
}

macro_rules! from_bytes {
    ($($from:ty),+) => {$(
        impl From<$from> for Body {
            fn from(bytes: $from) -> Body {
                Body::of(Kind::Whole(Bytes::from(bytes)))
            }
        }
    )+};
}

from_bytes!(Bytes, Vec<u8>, String, &'static [u8], &'static str);

impl From<()> for Body {
    fn from((): ()) -> Body {
        Body::empty()
    }
}

impl Travelled for Body {
    fn trip(&self) -> Option<Trip> {
        self.trip.clone()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.kind {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx).map_err(body_failed),
            Kind::Incoming(incoming) => incoming.poll_frame(cx),
            Kind::Upgraded(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Incoming(incoming) => incoming.is_ended(),
            Kind::Upgraded(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
            Kind::Incoming(incoming) => incoming
                .left()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Upgraded(_) => SizeHint::with_exact(0),
        }
    }
}

/// A body with its error boxed.
struct Boxing<B>(Pin<Box<B>>);

impl<B> HttpBody for Boxing<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
