//! What tasks on a simulated shard use: the same calls as on a real one.

use crate::client::body::Body;
use crate::client::engine::unknown;
use crate::driver::sim::Sim;
use crate::error::Error;
use crate::protocol::http1::Head;
use crate::shard::forward;
use crate::shard::lease::Lease as ShardLease;
use crate::shard::local::{LocalShard, LocalUpstream};
use crate::shard::terms::CheckoutTerms;
use crate::time::Time;
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::future::{Future, poll_fn};
use std::time::Duration;

/// The shard that runs this task.
#[derive(Clone)]
pub struct Shard {
    local: LocalShard<Sim>,
}

impl Shard {
    pub(super) fn new(local: LocalShard<Sim>) -> Shard {
        Shard { local }
    }

    pub(super) fn local(&self) -> &LocalShard<Sim> {
        &self.local
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
        let upstream = self.upstream(upstream)?;
        let mut exchange = forward::exchange(&upstream, &head, None).await?;
        let status = exchange.head().status();
        let mut body = BytesMut::new();
        while let Some(chunk) = exchange.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok((status, body.freeze()))
    }

    /// A call, and its whole response.
    ///
    /// # Errors
    /// As [`Upstream::call`](crate::Upstream::call) and its body's.
    pub async fn call(
        &self,
        upstream: &str,
        request: http::Request<Body>,
    ) -> Result<http::Response<Bytes>, Error> {
        let upstream = self.upstream(upstream)?;
        let (parts, body) = request.into_parts();
        let response = forward::call(&upstream, parts, body.into_source()).await?;
        let (parts, mut body) = response.into_parts();
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
        let upstream = self.upstream(upstream)?;
        let terms = CheckoutTerms::begin(&upstream);
        let lease = upstream
            .checkout(terms.class, terms.deadline, false)
            .await?;
        Ok(Lease { lease })
    }

    pub(super) fn upstream(&self, name: &str) -> Result<LocalUpstream<Sim>, Error> {
        let shared = self.local.named(name).ok_or_else(|| unknown(name))?;
        Ok(self.local.upstream(shared))
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shard({})", self.index())
    }
}

/// An exclusive hold on one connection, on its own shard. Dropping it closes the connection.
pub struct Lease {
    lease: ShardLease<Sim>,
}

impl Lease {
    /// Whether the connection had been used by somebody before.
    pub fn reused(&self) -> bool {
        self.lease.reused()
    }

    /// The next bytes that the peer sent; `None` after it closed its side.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.lease.read().await?.map(|piece| piece.to_bytes()))
    }

    /// Queues bytes for sending; waits only while much is queued already.
    ///
    /// # Errors
    /// That the connection failed shows at the next read.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.lease.write(bytes).await
    }

    /// Waits until the driver has taken everything written.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.lease.flush().await
    }

    /// Gives the connection back for others to use.
    pub fn release(self) {
        self.lease.release();
    }

    /// Closes the connection. The same as dropping the lease.
    pub fn discard(self) {
        self.lease.discard();
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease(reused: {})", self.reused())
    }
}
