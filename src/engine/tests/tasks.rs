//! Calls of tasks on the shards, and a server that sends back what it was sent.

use super::rig::Rig;
use super::web::endpoint;
use crate::client::body::Body;
use crate::driver::sim::{Answers, Network, Peer, Sim};
use crate::error::Error;
use crate::protocol::http1::Head;
use crate::shard::call::Payload;
use crate::shard::forward;
use crate::shard::local::LocalUpstream;
use crate::trip::Trip;
use bytes::Bytes;
use futures_channel::oneshot;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context as TaskContext, Poll};

/// Something that a task on a shard does. Dropping it drops the task's future.
pub(super) struct Task<T> {
    pub(super) told: oneshot::Receiver<T>,
    _gone: oneshot::Sender<()>,
}

impl<T: 'static> Task<T> {
    /// On shard `shard`, with the upstream `a`.
    pub(super) fn new<F: Future<Output = T> + 'static>(
        rig: &Rig,
        shard: usize,
        work: impl FnOnce(LocalUpstream<Sim>) -> F,
    ) -> Task<T> {
        let local = rig.shards[shard].local();
        let work = work(local.upstream(rig.upstream("a")));
        let (tell, told) = oneshot::channel();
        let (gone, mut is_gone) = oneshot::channel::<()>();
        local.spawn(async move {
            let mut work = pin!(work);
            let done = poll_fn(|cx| match Pin::new(&mut is_gone).poll(cx) {
                Poll::Ready(_) => Poll::Ready(None),
                Poll::Pending => work.as_mut().poll(cx).map(Some),
            });
            if let Some(done) = done.await {
                // A test need not listen.
                let _ = tell.send(done);
            }
        });
        Task { told, _gone: gone }
    }

    /// What came of it, if that is known.
    pub(super) fn told(&mut self) -> Option<T> {
        self.told.try_recv().expect("it is asked once")
    }

    /// Settles, and what came of it.
    #[track_caller]
    pub(super) fn settled(mut self, rig: &mut Rig) -> T {
        rig.settle();
        self.told().expect("it is done when all sleep")
    }
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
    pub(super) trip: Trip,
}

impl Whole {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// The low-level exchange, read to its end.
pub(super) async fn exchange(
    upstream: LocalUpstream<Sim>,
    head: Head<'_>,
    body: Option<&[u8]>,
) -> Result<Whole, Error> {
    let body = body.map(Payload::Borrowed);
    let mut exchange = forward::exchange(&upstream, &head, body.as_ref()).await?;
    let mut read = Vec::new();
    let length = exchange.content_length();
    while let Some(chunk) = exchange.chunk().await? {
        read.extend_from_slice(&chunk);
    }
    assert!(length.is_none_or(|length| length == read.len() as u64));
    assert!(exchange.chunk().await?.is_none(), "an end stays one");
    let head = exchange.head().to_http();
    let trip = exchange.trip();
    assert_eq!(exchange.reused(), trip.reused);
    assert!(exchange.into_upgraded().is_none());
    Ok(Whole {
        status: head.status().as_u16(),
        headers: head.headers().clone(),
        body: read,
        trailers: None,
        trip,
    })
}

pub(super) async fn get(upstream: LocalUpstream<Sim>, path: &str) -> Result<Whole, Error> {
    exchange(upstream, Head::get(path), None).await
}

/// A call, read to its end.
pub(super) async fn call(
    upstream: LocalUpstream<Sim>,
    request: http::Request<Body>,
) -> Result<Whole, Error> {
    let (parts, body) = request.into_parts();
    let response = forward::call(&upstream, parts, body.into_source()).await?;
    let trip = response.body().trip();
    let (parts, mut body) = response.into_parts();
    let mut read = Vec::new();
    while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await? {
        read.extend_from_slice(&piece);
    }
    assert_eq!(body.remaining(), Some(0));
    let trailers = body.take_trailers();
    assert!(body.take_trailers().is_none(), "they are given once");
    assert!(body.into_upgraded().is_none());
    Ok(Whole {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: read,
        trailers,
        trip,
    })
}

/// A body in pieces, each of which lets the task wait for it once.
pub(super) struct Pieces {
    frames: VecDeque<Result<Frame<Bytes>, Error>>,
    waited: bool,
}

impl Pieces {
    pub(super) fn body(frames: impl IntoIterator<Item = Result<Frame<Bytes>, Error>>) -> Body {
        Body::stream(Pieces {
            frames: frames.into_iter().collect(),
            waited: false,
        })
    }

    /// So many of so many bytes of text.
    pub(super) fn bytes(count: usize, length: usize) -> Vec<Bytes> {
        let byte = |at: usize| b'a' + (at * 31 % 26) as u8;
        (0..count)
            .map(|n| (n..n + length).map(byte).collect())
            .collect()
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.waited = !self.waited;
        if self.waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front())
    }
}

/// Sends back every request's body, framed as it came. `/half/…`: sends a head, half a body and FIN.
struct Echo {
    unread: Vec<u8>,
}

/// Listens at the host of the upstream `a`.
pub(super) fn echo(network: &Network) {
    network.listen(endpoint(1), || Box::new(Echo { unread: Vec::new() }));
}

impl Peer for Echo {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.unread.extend_from_slice(bytes);
        let text = String::from_utf8_lossy(&self.unread);
        let Some((head, _)) = text.split_once("\r\n\r\n") else {
            return;
        };
        let begun = head.len() + 4;
        if head.contains(" /half/") {
            out.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
            return out.end();
        }
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let (framing, end) = if lower.contains("transfer-encoding: chunked") {
            // From the empty line on, for the last chunk may be the only one. What is sent here is text:
            // no byte of it looks like this.
            let body = &text[begun - 2..];
            let Some(last) = body.find("\r\n0\r\n") else {
                return;
            };
            let Some(end) = body[last + 3..].find("\r\n\r\n") else {
                return;
            };
            let end = last + 3 + end + 2;
            ("Transfer-Encoding: chunked".to_owned(), begun + end)
        } else {
            let length = length.map_or(0, |length| length.parse().expect("a number"));
            if self.unread.len() < begun + length {
                return;
            }
            (format!("Content-Length: {length}"), begun + length)
        };
        out.send(format!(
            "HTTP/1.1 200 OK\r\nX-Echo: Yes\r\n{framing}\r\n\r\n"
        ));
        out.send(&self.unread[begun..end]);
        self.unread.drain(..end);
    }
}
