//! What tasks on a simulated shard use: the same calls as on a real one.

use crate::client::body::Body;
use crate::driver::sim::Sim;
use crate::error::Error;
use crate::protocol::http1::Head;
use crate::shard::forward;
use crate::shard::lease;
use crate::shard::local::LocalShard;
use crate::shard::stream_lease::{StreamCheckout, StreamLease};
use crate::time::Time;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::future::{Future, poll_fn};
use std::time::Duration;

/// An exclusive hold on one connection: the very one that [`on_shard::Lease`](crate::on_shard::Lease) has within.
/// Dropping it closes the connection.
pub type Lease = lease::Lease<Sim>;

/// An exclusive hold on one stream of a `mux:` upstream. Dropping it before the stream is over in both
/// directions resets it.
pub type Stream = StreamLease<Sim>;

/// The shard that runs this task.
#[derive(Clone)]
pub struct Shard {
    local: LocalShard<Sim>,
}

impl Shard {
    pub(super) fn new(local: LocalShard<Sim>) -> Shard {
        Shard { local }
    }

    /// Which shard it is, counted from 0.
    pub fn index(&self) -> usize {
        self.local.index()
    }

    /// The time at the beginning of this turn, since the clock's zero.
    pub fn now(&self) -> Duration {
        self.local.now().since(Time::ZERO)
    }

    /// Runs another task on this shard.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.local.spawn(task);
    }

    /// Waits on the shard's own timers.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.local.sleep(duration)
    }

    /// The low-level exchange: the status and the whole body.
    ///
    /// # Errors
    /// As [`on_shard::Upstream::exchange`](crate::on_shard::Upstream::exchange) and its body's.
    pub async fn exchange(&self, upstream: &str, head: Head<'_>) -> Result<(u16, Bytes), Error> {
        let upstream = self.local.named(upstream)?;
        let mut exchange = forward::exchange(&upstream, &head, None).await?;
        let status = exchange.head().status();
        let mut body = BytesMut::new();
        while let Some(chunk) = exchange.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok((status, body.freeze()))
    }

    /// A call, and its whole response, with its [`Trip`](crate::Trip) among the extensions.
    ///
    /// # Errors
    /// As [`Upstream::call`](crate::Upstream::call) and its body's.
    pub async fn call(
        &self,
        upstream: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Bytes>, Error> {
        let upstream = self.local.named(upstream)?;
        let (parts, body) = request.into_parts();
        let response = forward::call(&upstream, parts, body.into_source()).await?;
        let (mut parts, mut body) = response.into_parts();
        parts.extensions.insert(body.trip());
        let mut read = BytesMut::new();
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await? {
            read.extend_from_slice(&piece);
        }
        Ok(http::Response::from_parts(parts, read.freeze()))
    }

    /// Takes a connection for exclusive use as a byte stream.
    ///
    /// # Errors
    /// If none comes free, or can be dialled, within `wait_timeout`.
    pub async fn checkout(&self, upstream: &str) -> Result<Lease, Error> {
        self.local.named(upstream)?.lease()?.await
    }

    /// A call over a stream of its own: `payload` there, the whole answer back, within `timeout`.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on an upstream without streams, and as any
    /// call's.
    pub async fn stream_call(
        &self,
        upstream: &str,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Error> {
        let upstream = self.local.named(upstream)?;
        let deadline = self.local.now() + timeout;
        upstream.stream_call(payload, deadline).await
    }

    /// Takes a stream, to be done with within `timeout`.
    ///
    /// # Errors
    /// As any checkout's.
    pub async fn stream(&self, upstream: &str, timeout: Duration) -> Result<Stream, Error> {
        let upstream = self.local.named(upstream)?;
        let deadline = self.local.now() + timeout;
        upstream.let_in()?;
        let stream = StreamCheckout::new(&upstream, deadline)?.await?;
        stream.expect_by(deadline);
        Ok(stream)
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.index())
    }
}
