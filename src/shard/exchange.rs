//! The low-level exchange: one HTTP/1.1 request and its response on one leased connection.
//!
//! Owns: the lease while the exchange lasts, and the view of the response's head. Never: allocates on
//! the steady path. The connection goes back to the pool, or is closed, the moment the exchange is
//! complete, whatever the caller still does with what it got.

#![allow(
    clippy::manual_async_fn,
    reason = "a block has its arguments where they were put; an `async fn` copies each once more"
)]

mod failing;
mod response;

use super::again::Again;
use super::bytes_in::Piece;
use super::connection::Holder;
use super::lease::Lease;
use super::local::LocalUpstream;
use super::recycled::Recycled;
use super::terms::Terms;
use crate::audit::CloseCause;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::protocol::http1::{self, HeadError, RequestFacts, ResponseHead, Verdict};
use crate::time::Time;
use crate::trip::Attempt;
use bytes::Bytes;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

/// A request under way and its response.
pub(crate) struct Exchange<D: Driver>(Recycled<Parts<D>>);

impl<D: Driver> Deref for Exchange<D> {
    type Target = Parts<D>;

    #[inline]
    fn deref(&self) -> &Parts<D> {
        &self.0
    }
}

impl<D: Driver> DerefMut for Exchange<D> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Parts<D> {
        &mut self.0
    }
}

/// What an exchange is made of: half a KiB, which futures would move about.
pub(crate) struct Parts<D: Driver> {
    upstream: LocalUpstream<D>,
    /// Gone once the exchange is complete.
    lease: Option<Lease<D>>,
    state: http1::Exchange,
    /// The response's head, exactly.
    head: Option<Piece<D::Buffer>>,
    /// How far the request is.
    request: Leaving,
    /// What the pool has been told of how it went.
    told: Told,
    /// By then a response's head should have come, whatever time the caller has: silence from then on
    /// speaks against the endpoint.
    overdue: Time,
    terms: Terms,
    facts: Facts,
}

/// How far a request is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// More of it is to be written.
    Writing,
    /// All of it is written, and the kernel may not have all of it.
    Whole,
    /// The kernel has all of it, and the protocol has been told.
    Sent,
}

/// What the pool knows of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// A good head came.
    Served,
    /// It failed in a way that speaks against the endpoint.
    Fault,
}

/// What the caller may want to know about how it went.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) endpoint: Option<Endpoint>,
    /// When the call began.
    pub(crate) begun: Time,
    /// When this attempt began.
    pub(crate) attempt: Time,
    pub(crate) granted: Time,
    pub(crate) head: Time,
    pub(crate) reused: bool,
    /// It was sent along with the handshake.
    pub(crate) early: bool,
    /// The attempts before this one.
    pub(crate) failed: Vec<Attempt>,
    /// How far they got.
    pub(crate) sent_before: RequestSent,
}

impl<D: Driver> Exchange<D> {
    /// Takes a connection and writes to it what `encode` appends: the request's head, at least;
    /// nothing is handed to the kernel before [`flush`](Exchange::flush).
    pub(crate) fn open(
        upstream: &LocalUpstream<D>,
        request: RequestFacts,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), HeadError>,
        terms: &Terms,
        again: Again,
    ) -> impl Future<Output = Result<Exchange<D>, Error>> {
        async move {
            let attempt = upstream.shard.now();
            let patience = terms.wait_until(attempt);
            let lease = match upstream.checkout(terms.class, patience, again.fresh).await {
                Ok(lease) => lease,
                Err(error) => {
                    return Err(again.without_connection(upstream, terms, attempt, error));
                }
            };
            Exchange::begin(upstream, lease, request, encode, terms, attempt, again)
        }
    }

    /// As [`open`](Exchange::open), for a first attempt that has asked for a connection already.
    pub(super) fn first(
        upstream: &LocalUpstream<D>,
        got: Result<Lease<D>, Error>,
        request: RequestFacts,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), HeadError>,
        terms: &Terms,
    ) -> Result<Exchange<D>, Error> {
        let again = Again::first();
        match got {
            Ok(lease) => {
                Exchange::begin(upstream, lease, request, encode, terms, terms.begun, again)
            }
            Err(error) => Err(again.without_connection(upstream, terms, terms.begun, error)),
        }
    }

    /// Writes to a connection that was taken for an attempt begun at `attempt`.
    fn begin(
        upstream: &LocalUpstream<D>,
        lease: Lease<D>,
        request: RequestFacts,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), HeadError>,
        terms: &Terms,
        attempt: Time,
        again: Again,
    ) -> Result<Exchange<D>, Error> {
        let mut core = lease.shard.core.borrow_mut();
        let granted = core.now();
        let (endpoint, limit) = core.begin_exchange(lease.key(), terms.deadline, upstream.outside);
        let early = terms.idempotent && again.early;
        let encode = |out: &mut Vec<u8>| encode(out).map_err(WriteError::Head);
        let written = core.write_early_or(lease.key(), early, encode);
        drop(core);
        let early = match written {
            Ok(early) => early,
            Err(WriteError::Head(error)) => {
                // Nothing was written: the connection is as good as before.
                lease.release();
                return Err(malformed(upstream, error));
            }
            Err(WriteError::Other(error)) => return Err(upstream.name_error(error)),
        };
        let reused = lease.reused();
        let place = upstream.shard.exchanges.keep(|| Parts {
            upstream: upstream.clone(),
            lease: Some(lease),
            state: http1::Exchange::new(request, &terms.limits),
            head: None,
            request: Leaving::Writing,
            told: Told::Nothing,
            overdue: limit.min(terms.begun + terms.call_timeout),
            terms: *terms,
            facts: Facts {
                endpoint,
                begun: terms.begun,
                attempt,
                granted,
                head: granted,
                reused,
                early,
                failed: again.failed,
                sent_before: again.sent,
            },
        });
        Ok(Exchange(place))
    }

    /// All of the request is written: it is handed to the kernel with the shard's next submission.
    pub(super) fn send(&mut self) {
        self.request = Leaving::Whole;
        self.flush();
    }

    /// Hands what was written to the kernel with the shard's next submission.
    pub(crate) fn flush(&mut self) {
        if let Some(lease) = &self.lease {
            lease.shard.core.borrow_mut().flush(lease.key());
        }
    }

    /// The response's head, as received. Before [`poll_head`](Exchange::poll_head) is done there is
    /// an empty one.
    pub(crate) fn head(&self) -> ResponseHead<'_> {
        ResponseHead::new(self.head_bytes())
    }

    /// The same in bytes.
    pub(super) fn head_bytes(&self) -> &[u8] {
        self.head.as_deref().unwrap_or_default()
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        self.state.content_length()
    }

    pub(crate) fn remaining(&self) -> Option<u64> {
        self.state.remaining()
    }

    pub(crate) fn trailers(&self) -> Option<http::HeaderMap> {
        self.state.trailers()
    }

    /// Whether the whole response has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.lease.is_none() || self.state.is_complete()
    }

    /// Whether the connection speaks another protocol from here on: 101, or a 2xx to CONNECT.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.lease.is_some() && self.state.is_complete()
    }

    pub(crate) fn upstream(&self) -> &LocalUpstream<D> {
        &self.upstream
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The request cannot be sent again: an answer that it came too early is the caller's.
    pub(super) fn stays_as_it_is(&mut self) {
        self.0.facts.early = false;
    }

    /// Whether the server wants to have the request once more, after the handshake (RFC 8470 §5.2). It has not acted on it.
    pub(super) fn came_too_early(&self) -> bool {
        self.facts.early && self.head().status() == http::StatusCode::TOO_EARLY.as_u16()
    }

    /// The same attempt again, not early.
    pub(super) fn not_early(self) -> Again {
        let Parts { facts, .. } = self.0.into_inner();
        Again {
            fresh: false,
            early: false,
            sent: facts.sent_before,
            failed: facts.failed,
        }
    }

    /// How long the body may stand still.
    pub(crate) fn body_timeout(&self) -> Duration {
        self.terms.body_timeout
    }

    /// Whether the peer may still ask for the body, or refuse it, by an interim response.
    pub(crate) fn awaits_continue(&self) -> bool {
        self.state.awaits_continue()
    }

    /// Whether the peer has asked for the body by 100 (Continue).
    pub(crate) fn was_continued(&self) -> bool {
        self.state.was_continued()
    }

    /// The connection as a raw stream, after 101 or a 2xx to CONNECT; what the peer has sent already
    /// is its first bytes.
    pub(crate) fn into_upgraded(mut self) -> Option<Lease<D>> {
        self.note_sent();
        let unread = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.shard.core.borrow().has_unread(lease.key()));
        match self.state.verdict(unread) {
            Verdict::Upgraded => {
                let lease = self.lease.take()?;
                let mut core = lease.shard.core.borrow_mut();
                core.expect_by(lease.key(), Time::NEVER);
                if !self.upstream.outside {
                    core.held_by(lease.key(), Holder::Task);
                }
                drop(core);
                Some(lease)
            }
            Verdict::Reusable | Verdict::Condemn(_) => None,
        }
    }

    /// Appends to the request's body.
    pub(super) fn write_body(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), HeadError>,
    ) -> Result<(), Error> {
        let Some(lease) = &self.lease else {
            return Ok(());
        };
        let result = lease
            .shard
            .core
            .borrow_mut()
            .write_with(lease.key(), |out| fill(out).map_err(WriteError::Head));
        match result {
            Ok(()) => Ok(()),
            Err(WriteError::Head(error)) => Err(malformed(&self.upstream, error)),
            Err(WriteError::Other(error)) => Err(self.upstream.name_error(error)),
        }
    }

    pub(super) fn write_body_shared(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &self.lease {
            Some(lease) => lease
                .shard
                .core
                .borrow_mut()
                .write_shared(lease.key(), bytes),
            None => Ok(()),
        }
    }

    /// Whether nothing more of the request will leave.
    pub(super) fn cannot_send(&self) -> bool {
        self.lease
            .as_ref()
            .is_none_or(|lease| lease.shard.core.borrow().cannot_send(lease.key()))
    }

    pub(super) fn poll_room(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Error>> {
        match &mut self.lease {
            Some(lease) => lease.poll_room(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The request's end has been written; what is left is up to the kernel.
    pub(crate) fn request_written(&mut self) {
        self.request = Leaving::Whole;
        self.note_sent();
    }

    /// Tells the protocol, before it sees more of the response, that the request is with the kernel.
    fn note_sent(&mut self) {
        let parts = &mut *self.0;
        if parts.request == Leaving::Whole
            && let Some(lease) = &parts.lease
            && lease.shard.core.borrow().is_flushed(lease.key())
        {
            parts.request = Leaving::Sent;
            parts.state.request_sent();
        }
    }

    /// The exchange is over: the connection goes back, or goes.
    fn complete(&mut self) {
        self.note_sent();
        let Some(lease) = self.lease.take() else {
            return;
        };
        let unread = lease.shard.core.borrow().has_unread(lease.key());
        match self.state.verdict(unread) {
            Verdict::Reusable => lease.release(),
            Verdict::Condemn(_) => {
                if unread {
                    let mut core = lease.shard.core.borrow_mut();
                    core.ends_by(lease.key(), CloseCause::StrayBytes);
                }
                lease.discard();
            }
            Verdict::Upgraded => self.lease = Some(lease),
        }
    }
}

enum WriteError {
    Head(HeadError),
    Other(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> WriteError {
        WriteError::Other(error)
    }
}

pub(super) fn malformed<D: Driver>(upstream: &LocalUpstream<D>, error: HeadError) -> Error {
    upstream.name_error(Error::new(ErrorKind::Request, error.to_string()).caused_by(error))
}
