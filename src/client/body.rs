//! Bodies of requests and responses.

use super::lease::Lease;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::shard::pipe::{Cut, PipeReceiver, PipeSender, pipe};
use crate::shard::serve::{PIPE_ROOM, RemoteBody};
use crate::shard::upload::{BoxedBody, Source};
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
pub struct Body(Kind);

enum Kind {
    Whole(Bytes),
    Stream(BoxedBody),
    Incoming(Incoming),
    Upgraded(Lease),
}

/// The rest of a response, and of the request if the peer answered before it had all of it.
struct Incoming {
    pieces: PipeReceiver<Result<Frame<Bytes>, Error>>,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    upload: Option<RemoteUpload>,
    ended: bool,
}

impl Body {
    /// No body.
    pub fn empty() -> Body {
        Body(Kind::Whole(Bytes::new()))
    }

    /// A body that is read piece by piece while it is sent, by the task that awaits the call. With
    /// an exact size hint it goes out with that Content-Length, else in chunks.
    pub fn stream<B>(body: B) -> Body
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        Body(Kind::Stream(Box::pin(Boxing(Box::pin(body)))))
    }

    /// The connection as a raw stream, if the response was 101 (Switching Protocols) or a 2xx to
    /// CONNECT; `None` otherwise.
    pub fn into_upgraded(self) -> Option<Lease> {
        match self.0 {
            Kind::Upgraded(lease) => Some(lease),
            Kind::Whole(_) | Kind::Stream(_) | Kind::Incoming(_) => None,
        }
    }

    /// For the shard that this thread is.
    pub(crate) fn into_source(self) -> Source {
        match self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Source::Empty,
            Kind::Whole(bytes) => Source::Full(bytes),
            Kind::Stream(body) => Source::Stream(body),
            incoming @ (Kind::Incoming(_) | Kind::Upgraded(_)) => {
                Source::Stream(Box::pin(Boxing(Box::pin(Body(incoming)))))
            }
        }
    }

    /// For a shard on another thread: what crosses, and what this thread has to feed it with.
    pub(crate) fn into_remote_source(self) -> (Source, Option<RemoteUpload>) {
        match self.into_source() {
            Source::Stream(body) => {
                let (sender, receiver) = pipe(PIPE_ROOM);
                let length = body.size_hint().exact();
                (
                    Source::Pipe(receiver, length),
                    Some(RemoteUpload {
                        body,
                        pipe: Some(sender),
                    }),
                )
            }
            whole => (whole, None),
        }
    }

    pub(crate) fn from_remote(body: RemoteBody, upload: Option<RemoteUpload>) -> Body {
        Body(match body {
            RemoteBody::Whole(bytes) => Kind::Whole(bytes),
            RemoteBody::Pieces(pieces, left) => Kind::Incoming(Incoming {
                pieces,
                left,
                upload,
                ended: false,
            }),
            RemoteBody::Upgraded(remote) => Kind::Upgraded(Lease::new(remote)),
        })
    }
}

impl Default for Body {
    fn default() -> Body {
        Body::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
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
                Body(Kind::Whole(Bytes::from(bytes)))
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

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx).map_err(body_failed),
            Kind::Incoming(incoming) => incoming.poll_frame(cx),
            Kind::Upgraded(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Incoming(incoming) => incoming.ended,
            Kind::Upgraded(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => body.size_hint(),
            Kind::Incoming(incoming) => incoming
                .left
                .map_or_else(SizeHint::default, SizeHint::with_exact),
            Kind::Upgraded(_) => SizeHint::with_exact(0),
        }
    }
}

impl Incoming {
    fn poll_frame(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(upload) = &mut self.upload
            && upload.poll(cx).is_ready()
        {
            self.upload = None;
        }
        let piece = match self.pieces.poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(piece) => piece,
        };
        let frame = match piece {
            None => None,
            Some(Ok(frame)) => Some(frame),
            // The shard stopped while the response was being read, and there was no room for its last word.
            Some(Err(Cut)) => Some(Err(
                Error::draining().after_sending(RequestSent::Whole, false)
            )),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(left), Some(data)) = (&mut self.left, frame.data_ref()) {
                    *left = left.saturating_sub(data.len() as u64);
                }
            }
            Some(Err(_)) | None => {
                self.ended = true;
                self.upload = None;
            }
        }
        Poll::Ready(frame)
    }
}

/// A request's body on its way to a shard, polled by the caller.
pub(crate) struct RemoteUpload {
    body: BoxedBody,
    /// Gone when everything is sent, or nobody wants it.
    pipe: Option<PipeSender<Result<Frame<Bytes>, Error>>>,
}

impl RemoteUpload {
    /// Carries pieces over while there is room. Ready when there is nothing left to do.
    pub(crate) fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let Some(pipe) = &mut self.pipe else {
                return Poll::Ready(());
            };
            match pipe.poll_room(cx) {
                Poll::Pending => return Poll::Pending,
                // The shard has stopped taking: it has the answer already, or an error.
                Poll::Ready(Err(_)) => {
                    self.pipe = None;
                    return Poll::Ready(());
                }
                Poll::Ready(Ok(())) => {}
            }
            match self.body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => pipe.send(Ok(frame)),
                Poll::Ready(Some(Err(error))) => {
                    pipe.send(Err(body_failed(error)));
                    self.pipe = None;
                }
                Poll::Ready(None) => {
                    if let Some(pipe) = self.pipe.take() {
                        pipe.finish();
                    }
                }
            }
        }
    }
}

fn body_failed(error: Box<dyn StdError + Send + Sync>) -> Error {
    Error::new(
        ErrorKind::RequestBody,
        format!("the request's body failed: {error}"),
    )
    .caused_by(error)
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
