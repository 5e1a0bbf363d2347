//! An exclusive hold on one connection, and the way to get one.
//!
//! A lease that is dropped in whatever state discards its connection: only who knows that it is clean
//! gives it back.

use super::bytes_in::{End, Piece};
use super::checkout::{CheckedOut, Wish};
use super::connection::Holder;
use super::core::Core;
use super::local::{LocalShard, LocalUpstream};
use super::policy::Policy;
use super::transport::{Expired, Readable};
use super::upstream::UpstreamShared;
use super::waking::LocalWaker;
use crate::audit::CloseCause;
use crate::config::Class;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase};
use crate::pool::{Before, Grant, Permit};
use crate::slab::Key;
use crate::time::Time;
use bytes::Bytes;
use std::fmt;
use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

/// So many grants of one checkout may turn out to be of no use. Already a second one is rare: what the kernel
/// knows of is looked at before anything is granted. A pool in error must not keep the shard here.
pub(super) const GRANTS_MAX: usize = 16;

/// A checkout under way. Dropping it gives its place in the queue up, or what it was just granted.
pub(crate) struct Checkout<'a, D: Driver> {
    upstream: &'a LocalUpstream<D>,
    class: Class,
    deadline: Time,
    fresh: bool,
    waiter: Option<Key>,
}

impl<'a, D: Driver> Checkout<'a, D> {
    pub(super) fn new(
        upstream: &'a LocalUpstream<D>,
        class: Class,
        deadline: Time,
        fresh: bool,
    ) -> Checkout<'a, D> {
        Checkout {
            upstream,
            class,
            deadline,
            fresh,
            waiter: None,
        }
    }

    pub(super) fn shard(&self) -> &LocalShard<D> {
        &self.upstream.shard
    }

    /// Waits for a grant that `take` can make something of. Of what it cannot, it has disposed.
    pub(super) fn poll_taken<T>(
        &mut self,
        cx: &mut TaskContext<'_>,
        take: impl Fn(&mut Core<D>, Grant) -> Option<T>,
    ) -> Poll<Result<T, Error>> {
        for _ in 0..GRANTS_MAX {
            let grant = ready!(self.poll_grant(cx))?;
            if let Some(taken) = take(&mut self.upstream.shard.core.borrow_mut(), grant) {
                return Poll::Ready(Ok(taken));
            }
        }
        let upstream = self.upstream;
        let mut core = upstream.shard.core.borrow_mut();
        let key = upstream.key(&mut core);
        core.count_nothing_usable(key);
        drop(core);
        Poll::Ready(Err(upstream.name_error(nothing_usable())))
    }

    /// Waits for a grant. What the holder finds at the other end of it is not looked at yet.
    fn poll_grant(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Grant, Error>> {
        let upstream = self.upstream;
        let mut core = upstream.shard.core.borrow_mut();
        let answer = match self.waiter {
            None => {
                let wish = Wish {
                    upstream: upstream.key(&mut core),
                    class: self.class,
                    deadline: self.deadline,
                    fresh: self.fresh,
                    outside: upstream.outside,
                };
                match core.begin_checkout(wish, cx.waker()) {
                    Ok(CheckedOut::Granted(grant)) => Ok(grant),
                    Ok(CheckedOut::Waiting(waiter)) => {
                        self.waiter = Some(waiter);
                        return Poll::Pending;
                    }
                    Err(error) => Err(error),
                }
            }
            Some(waiter) => match core.poll_checkout(waiter, cx.waker()) {
                Some(answer) => answer,
                None => return Poll::Pending,
            },
        };
        self.waiter = None;
        Poll::Ready(answer.map_err(|error| upstream.name_error(error)))
    }
}

/// All that a checkout was granted has gone bad since.
pub(super) fn nothing_usable() -> Error {
    let what = "nothing that was granted was of use any more";
    Error::new(ErrorKind::Closed, what)
}

impl<D: Driver> Future for Checkout<'_, D> {
    type Output = Result<Lease<D>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let url = &self.upstream.shared().url;
        if url.is_multiplexed() {
            let what = format!("{url} has streams, which share connections: none can be leased");
            let error = Error::new(ErrorKind::Unsupported, what);
            return Poll::Ready(Err(self.upstream.name_error(error)));
        }
        let outside = self.upstream.outside;
        let grant = ready!(self.poll_taken(cx, |core, grant| {
            if core.is_stale(grant.conn) {
                return None;
            }
            if outside {
                core.held_by(grant.conn, Holder::Outside);
            }
            Some(grant)
        }))?;
        Poll::Ready(Ok(Lease::granted(self.upstream, grant)))
    }
}

impl<D: Driver> Drop for Checkout<'_, D> {
    fn drop(&mut self) {
        if let Some(waiter) = self.waiter {
            self.upstream
                .shard
                .core
                .borrow_mut()
                .cancel_checkout(waiter);
        }
    }
}

/// An exclusive hold on a connection: a byte stream in both directions. Whole words and nothing smaller: a lease is moved
/// from hand to hand, and what was just written in pieces cannot be read in one without waiting for the stores.
pub struct Lease<D: Driver> {
    pub(super) shard: LocalShard<D>,
    /// Its upstream's, for the name: an atomic count fewer on the way of each lease.
    policy: Rc<Policy>,
    /// The connection, until it was given back.
    held: Option<Key>,
    /// What it was before.
    before: Before,
}

impl<D: Driver> Lease<D> {
    /// The hold on what was granted.
    #[inline]
    pub(super) fn granted(upstream: &LocalUpstream<D>, grant: Grant) -> Lease<D> {
        Lease {
            shard: upstream.shard.clone(),
            policy: upstream.policy.clone(),
            held: Some(grant.conn),
            before: grant.before,
        }
    }

    /// The connection.
    #[inline]
    pub(super) fn key(&self) -> Key {
        self.held.expect("it is held as long as anybody has it")
    }

    /// Whether the connection had carried something before.
    pub fn reused(&self) -> bool {
        self.before.is_used()
    }

    /// The next piece of what the peer sends, as it came; `None` after its end.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn read(&mut self) -> Result<Option<Piece<D::Buffer>>, Error> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        let mut core = self.shard.core.borrow_mut();
        match core.poll_readable(self.key(), cx.waker()) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(Readable::Bytes)) => Poll::Ready(Ok(core.pop_piece(self.key()))),
            Poll::Ready(Ok(Readable::End(End::Clean))) => Poll::Ready(Ok(None)),
            Poll::Ready(Ok(Readable::End(end))) => {
                Poll::Ready(Err(self.located(&core, core.end_error(self.key(), end))))
            }
            Poll::Ready(Err(Expired)) => Poll::Ready(Err(self.located(
                &core,
                Error::new(ErrorKind::Timeout(Phase::Body), "nothing came in time"),
            ))),
        }
    }

    /// Writes all of `bytes`: returns when they are queued for sending and there is room for more,
    /// not when the peer has them.
    ///
    /// # Errors
    /// If TLS can encrypt no more. That the connection failed shows at the next read.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        poll_fn(|cx| self.poll_room(cx)).await?;
        self.put(bytes)
    }

    pub(crate) fn poll_room(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        let mut core = self.shard.core.borrow_mut();
        let result = core.poll_room(self.key(), cx.waker());
        self.checked(&core, result)
    }

    /// Queues bytes, after [`poll_room`](Lease::poll_room) found room.
    pub(crate) fn put(&mut self, bytes: Bytes) -> Result<(), Error> {
        let mut core = self.shard.core.borrow_mut();
        if bytes.is_empty() {
            return Ok(());
        }
        let result = core.write_shared(self.key(), bytes);
        core.flush(self.key());
        result.map_err(|error| self.located(&core, error))
    }

    /// Bounds what is done with the connection from now on.
    pub(crate) fn expect_within(&self, patience: Duration) {
        let mut core = self.shard.core.borrow_mut();
        let by = core.now() + patience;
        core.expect_by(self.key(), by);
    }

    /// Waits until the kernel has taken everything written.
    ///
    /// # Errors
    /// If the connection failed.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_flushed(cx)).await
    }

    pub(crate) fn poll_flushed(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        let mut core = self.shard.core.borrow_mut();
        let result = core.poll_flushed(self.key(), cx.waker());
        self.checked(&core, result)
    }

    /// Gives the connection back for others to use: the caller knows that the last conversation on it
    /// is over. If bytes are unread or unsent, or the peer has closed, it is discarded instead.
    #[inline]
    pub fn release(mut self) {
        if let Some(key) = self.held.take() {
            self.shard.core.borrow_mut().release(key);
        }
    }

    /// Closes the connection.
    pub fn discard(self) {
        drop(self);
    }

    /// Takes the socket out of the engine, once everything written was sent. Its permit is held until
    /// the guard that comes with it is dropped.
    ///
    /// # Errors
    /// [`Unsupported`](ErrorKind::Unsupported) where TLS is spoken: its state cannot move. The
    /// connection is closed then, as on any other error.
    pub(crate) async fn detach(mut self) -> Result<Detached, Error> {
        if self
            .shard
            .core
            .borrow()
            .connections
            .get(self.key())
            .is_some_and(|c| c.tls.is_some())
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a TLS connection cannot be detached: its keys stay with the engine",
            ));
        }
        self.flush().await?;
        self.shard.core.borrow_mut().begin_detach(self.key());
        poll_fn(|cx| {
            self.shard
                .core
                .borrow_mut()
                .poll_detachable(self.key(), cx.waker())
        })
        .await;
        let detached = self.shard.core.borrow_mut().finish_detach(self.key());
        if detached.is_ok() {
            self.held = None;
        }
        detached
    }

    fn checked(&self, core: &Core<D>, result: Poll<Result<(), Error>>) -> Poll<Result<(), Error>> {
        result.map_err(|error| self.located(core, error))
    }

    fn located(&self, core: &Core<D>, error: Error) -> Error {
        error
            .at_upstream(self.policy.name())
            .at_endpoint(core.endpoint(self.key()))
    }
}

impl<D: Driver> Lease<D> {
    /// Closes a connection that was not given back.
    #[cold]
    fn discard_held(&self, key: Key) {
        self.shard.core.borrow_mut().discard(key);
    }
}

impl<D: Driver> Drop for Lease<D> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(key) = self.held {
            self.discard_held(key);
        }
    }
}

/// A socket that has left the engine.
#[derive(Debug)]
pub(crate) struct Detached {
    pub(crate) socket: OwnedFd,
    /// What was received and not read.
    pub(crate) received: Bytes,
    pub(crate) permit: OutsidePermit,
}

/// The permit of a connection that has left the engine. When it is dropped, those who wait for one
/// learn it.
pub(crate) struct OutsidePermit {
    permit: Option<Permit>,
    announce: Box<dyn Fn() + Send + Sync>,
    /// Counts it as long as it is out.
    upstream: Arc<UpstreamShared>,
    shard: usize,
}

impl OutsidePermit {
    fn count(&self) -> &AtomicUsize {
        &self.upstream.outside(self.shard).detached
    }
}

impl Drop for OutsidePermit {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
        // First back, then told.
        self.permit = None;
        (self.announce)();
    }
}

impl fmt::Debug for OutsidePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutsidePermit")
    }
}

impl<D: Driver> Core<D> {
    fn begin_detach(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.detaching = true;
            if connection.operations.receive {
                connection.operations.cancels += 1;
                self.driver.cancel(key, crate::driver::Scope::Receive);
            }
        }
    }

    fn poll_detachable(&mut self, key: Key, waker: &std::task::Waker) -> Poll<()> {
        match self.connections.get_mut(key) {
            Some(connection) if !connection.operations.none_in_flight() => {
                connection.reader = Some(LocalWaker::of(waker));
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(()),
        }
    }

    fn finish_detach(&mut self, key: Key) -> Result<Detached, Error> {
        let socket = self.driver.detach(key).map_err(|error| {
            Error::new(ErrorKind::Unsupported, "this connection cannot be detached")
                .caused_by(error)
        })?;
        let connection = self.connections.get(key);
        let state = connection.and_then(|connection| self.upstreams.get(connection.upstream));
        let Some(upstream) = state.map(|state| state.shared.clone()) else {
            return Err(super::transport::gone());
        };
        self.ends_by(key, CloseCause::Detached);
        self.leave_pool(key);
        let mut received = Vec::new();
        while let Some(piece) = self.pop_piece(key) {
            received.extend_from_slice(&piece);
        }
        let permit = match self.connections.get_mut(key) {
            Some(connection) => {
                connection.operations.socket = false;
                connection.permit.take()
            }
            None => None,
        };
        self.condemn(key);
        let mailboxes = self.mailboxes.clone();
        let announce = Box::new(move || {
            mailboxes
                .iter()
                .for_each(|mailbox| mailbox.announce_capacity())
        });
        let permit = OutsidePermit {
            permit,
            announce,
            upstream,
            shard: self.index,
        };
        permit.count().fetch_add(1, Ordering::Relaxed);
        Ok(Detached {
            socket,
            received: received.into(),
            permit,
        })
    }
}
