//! Streams of `mux:` upstreams, from tasks on a simulated shard.

use super::shard::Shard;
use crate::driver::sim::Sim;
use crate::error::Error;
use crate::shard::stream_lease::{StreamCheckout, StreamLease};
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// An exclusive hold on one stream. Dropping it before the stream is over in both directions resets it.
pub struct Stream {
    lease: StreamLease<Sim>,
}

impl Shard {
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
        let deadline = self.local().now() + timeout;
        let upstream = self.upstream(upstream)?;
        upstream.stream_call(payload, deadline).await
    }

    /// Takes a stream, to be done with within `timeout`.
    ///
    /// # Errors
    /// As any checkout's.
    pub async fn stream(&self, upstream: &str, timeout: Duration) -> Result<Stream, Error> {
        let deadline = self.local().now() + timeout;
        let upstream = self.upstream(upstream)?;
        let lease = StreamCheckout::new(&upstream, deadline)?.await?;
        lease.expect_by(deadline);
        Ok(Stream { lease })
    }
}

impl Stream {
    /// The next bytes that the peer sent; `None` after the stream's end.
    ///
    /// # Errors
    /// If the stream or its connection failed.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        Ok(self.lease.read().await?.map(|piece| piece.to_bytes()))
    }

    /// Queues bytes for sending, with `last` the last of this direction; waits only while much is
    /// queued already.
    ///
    /// # Errors
    /// If the stream or its connection failed.
    pub async fn write(&mut self, bytes: Bytes, last: bool) -> Result<(), Error> {
        self.lease.write(bytes, last).await
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}
