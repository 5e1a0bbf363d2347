//! What code on a shard's own thread holds: no queue, no wake-up, no contended atomic between it and its
//! connections.

#![allow(
    clippy::manual_async_fn,
    reason = "a block has its arguments where they were put; an `async fn` copies each once more"
)]

use super::body::Body;
use super::lease::{Detached, DetachedGuard};
use crate::config::{CallOptions, Class};
use crate::driver::uring::{RingBuffer, Uring};
use crate::error::Error;
use crate::protocol::http1::{Head, ResponseHead};
use crate::shard::bytes_in::Piece;
use crate::shard::call::Payload;
use crate::shard::forward;
use crate::shard::lease::Lease as ShardLease;
use crate::shard::local::{LocalShard, LocalUpstream};
use crate::time::Time;
use crate::trip::{Travelled, Trip};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

/// The shard whose thread this is. Neither `Send` nor `Sync`: it stays here.
#[derive(Clone)]
pub struct Shard {
    local: LocalShard<Uring>,
}

impl Shard {
    pub(crate) fn new(local: LocalShard<Uring>) -> Shard {
        Shard { local }
    }

    /// Which shard it is, counted from 0.
    pub fn index(&self) -> usize {
        self.local.index()
    }

    /// A named upstream, as seen from this shard.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) if the configuration has none of that name.
    pub fn upstream(&self, name: &str) -> Result<Upstream, Error> {
        Ok(Upstream {
            local: self.local.named(name)?,
        })
    }

    /// Runs another task on this shard.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.local.spawn(task);
    }

    /// Waits on the shard's own timers, which tick about every millisecond.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.local.sleep(duration)
    }

    /// Whether the engine drains: no call and no checkout may begin any more, and tasks that have not
    /// ended by the drain's deadline are dropped.
    pub fn is_draining(&self) -> bool {
        self.local.is_draining()
    }

    /// Waits until the engine drains: for tasks that go on until then.
    pub fn draining(&self) -> impl Future<Output = ()> + use<> {
        self.local.draining()
    }

    /// Time since the engine started, as of the beginning of this turn of the shard's loop. Free.
    pub fn turn_time(&self) -> Duration {
        self.local.now().since(Time::ZERO)
    }

    /// Time since the engine started, this very moment: one reading of the clock.
    pub fn time(&self) -> Duration {
        self.local.clock_now().since(Time::ZERO)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.index())
    }
}

/// A named upstream, for tasks on a shard.
#[derive(Clone)]
pub struct Upstream {
    local: LocalUpstream<Uring>,
}

impl Upstream {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.local.shared().name
    }

    /// A handle on the same upstream whose calls, exchanges and checkouts are of `class`, unless they
    /// say otherwise.
    #[must_use = "this handle stays as it is"]
    pub fn with_class(&self, class: Class) -> Upstream {
        self.with_options(class.into())
    }

    /// A handle on the same upstream for calls and exchanges that go by `options`; where those say
    /// nothing, by this handle's. Checkouts go by their `class` and `timeout`.
    #[must_use = "this handle stays as it is"]
    pub fn with_options(&self, options: CallOptions) -> Upstream {
        Upstream {
            local: self.local.with_options(options),
        }
    }

    /// The low-level exchange: sends `head` without a body and waits for the response's head, which
    /// is read in place. Over plain connections it allocates nothing, once the shard's lists have had
    /// their length; a head that comes in pieces is put together on the heap.
    ///
    /// Tried again where [`call`](crate::Upstream::call) would be. Its own options come with the handle
    /// ([`with_options`](Upstream::with_options)).
    ///
    /// # Errors
    /// As [`call`](crate::Upstream::call).
    pub fn exchange(&self, head: Head<'_>) -> impl Future<Output = Result<Exchange, Error>> {
        async move {
            let exchange = forward::exchange(&self.local, &head, None).await?;
            Ok(Exchange { exchange })
        }
    }

    /// As [`exchange`](Upstream::exchange), with a body that is copied and sent together with the head.
    ///
    /// # Errors
    /// As there.
    pub fn exchange_with(
        &self,
        head: Head<'_>,
        body: &[u8],
    ) -> impl Future<Output = Result<Exchange, Error>> {
        async move {
            let body = Payload::Borrowed(body);
            let exchange = forward::exchange(&self.local, &head, Some(&body)).await?;
            Ok(Exchange { exchange })
        }
    }

    /// As [`exchange_with`](Upstream::exchange_with), with a body that the kernel takes from where it is, together with
    /// the head: for bodies of 4 KiB and more. Shorter ones are copied, and so are those that are encrypted.
    ///
    /// # Errors
    /// As there.
    pub fn exchange_shared(
        &self,
        head: Head<'_>,
        body: Bytes,
    ) -> impl Future<Output = Result<Exchange, Error>> {
        async move {
            let body = Payload::Shared(&body);
            let exchange = forward::exchange(&self.local, &head, Some(&body)).await?;
            Ok(Exchange { exchange })
        }
    }

    /// As [`Upstream::call`](crate::Upstream::call), without leaving the shard.
    ///
    /// # Errors
    /// As there.
    pub async fn call<B: Into<Body>>(
        &self,
        request: http::Request<B>,
    ) -> Result<http::Response<ResponseBody>, Error> {
        let (parts, body) = request.into_parts();
        let response = forward::call(&self.local, parts, body.into().into_source()).await?;
        Ok(response.map(|body| ResponseBody { body, ended: false }))
    }

    /// Takes a connection for exclusive use as a byte stream.
    ///
    /// # Errors
    /// If none comes free, or can be dialled, within `wait_timeout`.
    pub async fn checkout(&self) -> Result<Lease, Error> {
        // Not in one `match`: what lives across an await is kept in memory on the quick way as well.
        if let Some(lease) = self.local.lease_idle() {
            return Ok(Lease { lease });
        }
        let lease = self.local.lease()?.await?;
        Ok(Lease { lease })
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({:?})", self.name())
    }
}

/// A response of the low-level exchange. When its body has been read to the end its connection has
/// gone back to the pool already; dropping it before closes the connection.
pub struct Exchange {
    exchange: forward::Exchange<Uring>,
}

impl Exchange {
    /// The status code, 101 or 200 to 999.
    pub fn status(&self) -> u16 {
        self.head().status()
    }

    /// The response's head, read in the buffer that it was received into.
    pub fn head(&self) -> ResponseHead<'_> {
        self.exchange.head()
    }

    /// The length of the body, if the head tells it.
    pub fn content_length(&self) -> Option<u64> {
        self.exchange.content_length()
    }

    /// The next piece of the body, `None` after its end. While pieces are not asked for, the peer is
    /// held back.
    ///
    /// # Errors
    /// If the peer closed, broke the protocol, or sent nothing for `call_timeout`.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>, Error> {
        Ok(self.exchange.chunk().await?.map(Chunk))
    }

    /// Whether the connection had carried another request before.
    pub fn reused(&self) -> bool {
        self.exchange.reused()
    }

    /// How the call went.
    pub fn trip(&self) -> Trip {
        self.exchange.trip()
    }

    /// The connection as a raw stream, if the response was 101 (Switching Protocols) or a 2xx to
    /// CONNECT.
    pub fn into_upgraded(self) -> Option<Lease> {
        Some(Lease {
            lease: self.exchange.into_upgraded()?,
        })
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("head", &self.head())
            .finish_non_exhaustive()
    }
}

/// A piece of a received body: a view of the buffer that it was received into, which goes back to the
/// shard when the last view of it is dropped. May be held across awaits; a shard has a limited number
/// of buffers (`receive_buffers`), so copy what is to be kept for long.
#[derive(Clone)]
pub struct Chunk(Piece<RingBuffer>);

impl Chunk {
    /// The bytes on the heap, to be kept or sent to another thread.
    pub fn to_bytes(&self) -> Bytes {
        self.0.to_bytes()
    }
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len())
    }
}

/// A response's body on the shard.
pub struct ResponseBody {
    body: forward::Body<Uring>,
    ended: bool,
}

impl ResponseBody {
    /// The connection as a raw stream, if the response was 101 (Switching Protocols) or a 2xx to
    /// CONNECT.
    pub fn into_upgraded(self) -> Option<Lease> {
        Some(Lease {
            lease: self.body.into_upgraded()?,
        })
    }
}

impl Travelled for ResponseBody {
    fn trip(&self) -> Option<Trip> {
        Some(self.body.trip())
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = match self.body.poll_piece(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(Some(piece))) => Some(Ok(Frame::data(piece.to_bytes()))),
            Poll::Ready(Ok(None)) => self
                .body
                .take_trailers()
                .map(|trailers| Ok(Frame::trailers(trailers))),
            Poll::Ready(Err(error)) => Some(Err(error)),
        };
        self.ended = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .remaining()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}

/// An exclusive hold on one connection, on its own shard. See [`Lease`](crate::Lease).
pub struct Lease {
    lease: ShardLease<Uring>,
}

impl Lease {
    /// Whether the connection had been used by somebody before.
    pub fn reused(&self) -> bool {
        self.lease.reused()
    }

    /// The next bytes that the peer sent, as they came; `None` after it closed its side.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn read(&mut self) -> Result<Option<Chunk>, Error> {
        Ok(self.lease.read().await?.map(Chunk))
    }

    /// Queues all of `bytes` for sending; waits only while much is queued already.
    ///
    /// # Errors
    /// If the TLS layer can encrypt no more. That the connection failed shows at the next read.
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.lease.write(Bytes::copy_from_slice(bytes)).await
    }

    /// As [`write_all`](Lease::write_all), without a copy where the bytes are many.
    ///
    /// # Errors
    /// As there.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.lease.write(bytes).await
    }

    /// Waits until the kernel has taken everything written.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.lease.flush().await
    }

    /// Gives the connection back for others to use. If bytes are unread or unsent, or the peer has
    /// closed it, it is closed instead.
    #[inline]
    pub fn release(self) {
        self.lease.release();
    }

    /// Closes the connection. The same as dropping the lease.
    pub fn discard(self) {
        self.lease.discard();
    }

    /// Takes the socket out of the engine. See [`Lease::detach`](crate::Lease::detach).
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where TLS is spoken.
    pub async fn detach(self) -> Result<Detached, Error> {
        let detached = self.lease.detach().await?;
        Ok(Detached {
            socket: detached.socket,
            received: detached.received,
            guard: DetachedGuard::new(detached.permit),
        })
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("reused", &self.reused())
            .finish_non_exhaustive()
    }
}
