//! An exclusive hold on one stream of a multiplexed connection, and the way to get one.
//!
//! A lease that is dropped before its stream is over in both directions resets it; the connection
//! stays, because frames are whole and others use it.

use super::bytes_in::Piece;
use super::framing::FRAME_MAX;
use super::lease::Checkout;
use super::local::{LocalShard, LocalUpstream};
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::slab::Key;
use crate::time::Time;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

/// A checkout of a stream under way. Dropping it gives its place in the queue up, or the slot it was
/// just granted.
pub(crate) struct StreamCheckout<'a, D: Driver>(Checkout<'a, D>);

impl<'a, D: Driver> StreamCheckout<'a, D> {
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) if the upstream's connections carry one thing at a
    /// time.
    pub(crate) fn new(
        upstream: &'a LocalUpstream<D>,
        deadline: Time,
    ) -> Result<StreamCheckout<'a, D>, Error> {
        if !upstream.shared().url.is_multiplexed() {
            let what = format!("{} has no streams", upstream.shared().url);
            return Err(upstream.name_error(Error::new(ErrorKind::Unsupported, what)));
        }
        let class = upstream.options.class.unwrap_or(upstream.policy().class);
        Ok(StreamCheckout(upstream.checkout(class, deadline, false)))
    }
}

impl<D: Driver> Future for StreamCheckout<'_, D> {
    type Output = Result<StreamLease<D>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let taken = self.0.poll_taken(cx, |core, grant| {
            let reused = grant.before.is_used();
            core.take_stream(grant).map(|key| (key, reused))
        });
        let (key, reused) = ready!(taken)?;
        let shard = self.0.shard().clone();
        Poll::Ready(Ok(StreamLease { shard, key, reused }))
    }
}

/// An exclusive hold on a stream.
pub struct StreamLease<D: Driver> {
    shard: LocalShard<D>,
    key: Key,
    reused: bool,
}

impl<D: Driver> StreamLease<D> {
    /// Whether the connection had carried something before.
    pub(crate) fn reused(&self) -> bool {
        self.reused
    }

    /// Bounds what is done with the stream from now on.
    pub(crate) fn expect_by(&self, at: Time) {
        self.shard
            .core
            .borrow_mut()
            .set_stream_deadline(self.key, at);
    }

    /// The next piece of what the peer sends; `None` after its end.
    ///
    /// # Errors
    /// If the stream or its connection failed.
    pub async fn read(&mut self) -> Result<Option<Piece<D::Buffer>>, Error> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        let mut core = self.shard.core.borrow_mut();
        core.poll_stream_read(self.key, cx.waker())
    }

    /// Queues all of `bytes` for sending, which with `last` end the request; waits only while much is queued
    /// already.
    ///
    /// # Errors
    /// If the stream or its connection failed.
    pub async fn write(&mut self, mut bytes: Bytes, last: bool) -> Result<(), Error> {
        poll_fn(|cx| self.poll_write(&mut bytes, last, cx)).await
    }

    /// Takes from `bytes` what there is room for; done when all of it was taken. What it returns then
    /// is not what the peer has, but what is queued for sending.
    pub(crate) fn poll_write(
        &mut self,
        bytes: &mut Bytes,
        last: bool,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Error>> {
        let mut core = self.shard.core.borrow_mut();
        loop {
            ready!(core.poll_stream_room(self.key, cx.waker()))?;
            let frame = bytes.split_to(bytes.len().min(FRAME_MAX));
            let done = bytes.is_empty();
            core.write_stream(self.key, &frame, last && done)?;
            if done {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// How much of what was written the peer may have processed.
    pub(crate) fn sent(&self) -> RequestSent {
        self.shard.core.borrow().stream_sent(self.key)
    }

    /// Where the connection goes to, as long as there is one.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        self.shard.core.borrow().stream_endpoint(self.key).cloned()
    }
}

impl<D: Driver> Drop for StreamLease<D> {
    fn drop(&mut self) {
        self.shard.core.borrow_mut().end_stream(self.key);
    }
}
