//! Calls of tasks on a shard: run here, or forwarded to a home of the upstream.
//!
//! Owns: the one decision, at a call's beginning, and the face that both have in common. Never: costs a
//! call that runs here more than that decision.

use super::bytes_in::Piece;
use super::call::{self, Encoded, LocalBody};
use super::exchange::Exchange as LocalExchange;
use super::forwarded::{self, Forwarded};
use super::lease::Lease;
use super::local::LocalUpstream;
use super::upload::Source;
use crate::driver::Driver;
use crate::error::Error;
use crate::protocol::http1::{Head, RequestFacts, ResponseHead};
use crate::trip::Trip;
use http::HeaderMap;
use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};

/// A low-level exchange whose response's head is there.
#[expect(clippy::large_enum_variant, reason = "the usual one allocates nothing")]
pub(crate) enum Exchange<D: Driver> {
    Here(LocalExchange<D>),
    Forwarded(Box<Forwarded>),
}

/// Sends `head` with `body` and waits for the response's head.
pub(crate) async fn exchange<D: Driver>(
    upstream: &LocalUpstream<D>,
    head: &Head<'_>,
    body: Option<&[u8]>,
) -> Result<Exchange<D>, Error> {
    let Some(home) = upstream.place() else {
        let exchange = call::exchange(upstream, head, body).await;
        return exchange.map(Exchange::Here);
    };
    let request = Encoded::new(upstream, head, body)?;
    if request.may_upgrade() {
        let exchange = call::exchange(upstream, head, body).await;
        return exchange.map(Exchange::Here);
    }
    // Boxed: what is rare does not make every caller's future larger.
    let exchange = Box::pin(forwarded::exchange(upstream, home, request)).await;
    exchange.map(|exchange| Exchange::Forwarded(Box::new(exchange)))
}

/// A response's body, for a task on a shard.
#[expect(clippy::large_enum_variant, reason = "the usual one allocates nothing")]
pub(crate) enum Body<D: Driver> {
    Here(LocalBody<D>),
    Forwarded(Box<Forwarded>),
}

/// Sends a request and waits for the response's head.
pub(crate) async fn call<D: Driver>(
    upstream: &LocalUpstream<D>,
    parts: http::request::Parts,
    source: Source,
) -> Result<http::Response<Body<D>>, Error> {
    match upstream.place() {
        Some(home) if !may_upgrade(&parts, &source) => {
            let response = Box::pin(forwarded::call(upstream, home, parts, source)).await;
            response.map(|response| response.map(|body| Body::Forwarded(Box::new(body))))
        }
        Some(_) | None => {
            let response = call::call(upstream, parts, source, None).await;
            response.map(|response| response.map(Body::Here))
        }
    }
}

/// Whether the connection may become a raw stream. Such a call stays: what it leads to belongs to the shard
/// that reads it.
fn may_upgrade(parts: &http::request::Parts, source: &Source) -> bool {
    let facts = RequestFacts::of_http(&parts.method, &parts.headers, source.framing());
    facts.is_connect || facts.upgrade_asked
}

impl<D: Driver> LocalUpstream<D> {
    /// On which other shard a call runs that begins now, if not on this one.
    fn place(&self) -> Option<usize> {
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        core.place(key)
    }
}

impl<D: Driver> Exchange<D> {
    /// The response's head, as received.
    pub(crate) fn head(&self) -> ResponseHead<'_> {
        match self {
            Exchange::Here(exchange) => exchange.head(),
            Exchange::Forwarded(forwarded) => forwarded.head(),
        }
    }

    pub(crate) fn content_length(&self) -> Option<u64> {
        match self {
            Exchange::Here(exchange) => exchange.content_length(),
            Exchange::Forwarded(forwarded) => forwarded.content_length(),
        }
    }

    /// The next piece of the body, `None` after its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Piece<D::Buffer>>, Error> {
        match self {
            Exchange::Here(exchange) => exchange.chunk().await,
            Exchange::Forwarded(forwarded) => poll_fn(|cx| forwarded.poll_piece(cx)).await,
        }
    }

    /// Whether its connection had carried another request before.
    pub(crate) fn reused(&self) -> bool {
        match self {
            Exchange::Here(exchange) => exchange.facts().reused,
            Exchange::Forwarded(forwarded) => forwarded.trip().is_some_and(|trip| trip.reused),
        }
    }

    /// How it went.
    pub(crate) fn trip(&self) -> Trip {
        match self {
            Exchange::Here(exchange) => exchange.trip(),
            Exchange::Forwarded(forwarded) => {
                let trip = forwarded.trip().cloned();
                trip.expect("an exchange's response tells its trip")
            }
        }
    }

    /// The connection as a raw stream, after 101 or a 2xx to CONNECT.
    pub(crate) fn into_upgraded(self) -> Option<Lease<D>> {
        match self {
            Exchange::Here(exchange) => exchange.into_upgraded(),
            Exchange::Forwarded(_) => None,
        }
    }
}

impl<D: Driver> Body<D> {
    /// The next piece, `None` after the end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Option<Piece<D::Buffer>>, Error>> {
        match self {
            Body::Here(body) => body.poll_piece(cx),
            Body::Forwarded(forwarded) => forwarded.poll_piece(cx),
        }
    }

    /// The trailers, once, after the body's end.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Body::Here(body) => body.take_trailers(),
            Body::Forwarded(forwarded) => forwarded.take_trailers(),
        }
    }

    /// Bytes still to come, if that is known.
    pub(crate) fn remaining(&self) -> Option<u64> {
        match self {
            Body::Here(body) => body.remaining(),
            Body::Forwarded(forwarded) => forwarded.remaining(),
        }
    }

    /// The connection as a raw stream, after 101 or a 2xx to CONNECT.
    pub(crate) fn into_upgraded(self) -> Option<Lease<D>> {
        match self {
            Body::Here(body) => body.into_upgraded(),
            Body::Forwarded(_) => None,
        }
    }
}
