//! Calls of tasks on a shard: they run here, go to a home of the upstream, or wait where a sibling may take
//! them.
//!
//! Owns: the one decision, at a call's beginning, and the face that responses from here and from elsewhere
//! have in common. Never: costs a call that finds a connection free here more than that decision.

#![allow(
    clippy::manual_async_fn,
    reason = "a block has its arguments where they were put; an `async fn` copies each once more"
)]

use super::answer::Answered;
use super::bytes_in::Piece;
use super::call::{self, Encoded, LocalBody, Payload};
use super::crossing::RemoteUpload;
use super::exchange::Exchange as LocalExchange;
use super::forwarded::Forwarded;
use super::homing::Place;
use super::lease::Lease;
use super::local::LocalUpstream;
use super::mailbox::Work;
use super::propagation::propagate;
use super::sharing::movable::{Movable, Request, Underway};
use super::sharing::moving::{Moved, Moving};
use super::terms::Terms;
use super::upload::Source;
use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::Error;
use crate::protocol::http1::{Head, MethodKind, RequestFacts, ResponseHead};
use crate::trace;
use crate::trip::Trip;
use http::HeaderMap;
use std::future::{Future, poll_fn};
use std::task::{Context as TaskContext, Poll};

/// A low-level exchange whose response's head is there.
pub(crate) enum Exchange<D: Driver> {
    Here(LocalExchange<D>),
    Forwarded(Box<Forwarded>),
}

/// Sends `head` with `body` and waits for the response's head.
#[inline]
pub(crate) fn exchange<'a, D: Driver>(
    upstream: &'a LocalUpstream<D>,
    head: &'a Head<'a>,
    body: Option<&'a Payload<'a>>,
) -> impl Future<Output = Result<Exchange<D>, Error>> {
    let span = trace::request(trace::Caller::default(), || {
        let method = MethodKind::of(head.method());
        (&upstream.shared().name, method.name())
    });
    trace::within(span, move || exchange_within(upstream, head, body))
}

fn exchange_within<D: Driver>(
    upstream: &LocalUpstream<D>,
    head: &Head<'_>,
    body: Option<&Payload<'_>>,
) -> impl Future<Output = Result<Exchange<D>, Error>> {
    async move {
        call::check_http(upstream)?;
        let begun = upstream.let_in()?;
        let options = CallOptions::default();
        let terms = Terms::of(upstream, begun, options, head.is_idempotent());
        let mut first = match upstream.place(&terms) {
            Place::Here(first) => first,
            Place::Away(to) => {
                let request = Encoded::new(upstream, head, body)?;
                if request.may_upgrade() {
                    upstream.begin_call();
                    None
                } else {
                    // Boxed: what is rare does not make every caller's future larger.
                    match Box::pin(away(upstream, to, Request::Encoded(request), None, terms))
                        .await?
                    {
                        Away::Answered(response, upload) => {
                            let forwarded = Forwarded::exchange(response, upload);
                            return Ok(Exchange::Forwarded(Box::new(forwarded)));
                        }
                        Away::Back(_, _, first) => Some(first),
                    }
                }
            }
        };
        let exchange = call::exchange(upstream, head, body, &terms, &mut first).await;
        exchange.map(Exchange::Here)
    }
}

/// A response's body, for a task on a shard.
pub(crate) enum Body<D: Driver> {
    Here(LocalBody<D>),
    Forwarded(Box<Forwarded>),
}

/// Sends a request and waits for the response's head.
#[inline]
pub(crate) fn call<D: Driver>(
    upstream: &LocalUpstream<D>,
    parts: http::request::Parts,
    source: Source,
) -> impl Future<Output = Result<http::Response<Body<D>>, Error>> {
    let span = trace::request(trace::Caller::default(), || {
        let method = MethodKind::of_http(&parts.method);
        (&upstream.shared().name, method.name())
    });
    trace::within(span, move || call_within(upstream, parts, source))
}

async fn call_within<D: Driver>(
    upstream: &LocalUpstream<D>,
    mut parts: http::request::Parts,
    mut source: Source,
) -> Result<http::Response<Body<D>>, Error> {
    call::check_http(upstream)?;
    propagate(&mut parts, upstream.shared());
    let options = CallOptions::of(&parts.extensions);
    let terms = Terms::begin(upstream, options, parts.method.is_idempotent())?;
    let mut first = match upstream.place(&terms) {
        Place::Here(first) => first,
        Place::Away(_) if may_upgrade(&parts, &source) => {
            upstream.begin_call();
            None
        }
        Place::Away(to) => {
            let (crossing, upload) = source.split();
            let request = Request::Http(parts, crossing);
            match Box::pin(away(upstream, to, request, upload, terms)).await? {
                Away::Answered(response, upload) => {
                    let (response, trip) = response.into_http();
                    let forwarded = |body| Forwarded::new(body, trip, upload);
                    return Ok(response.map(|body| Body::Forwarded(Box::new(forwarded(body)))));
                }
                Away::Back(call, upload, first) => {
                    (parts, source) = call.into_request().into_http();
                    source = upload.map_or(source, RemoteUpload::into_source);
                    Some(first)
                }
            }
        }
    };
    let body = call::run(upstream, &parts, source, &terms, &mut first).await?;
    Ok(body.into_http().map(Body::Here))
}

/// Whether the connection may become a raw stream. Such a call stays: what it leads to belongs to the shard
/// that reads it.
fn may_upgrade(parts: &http::request::Parts, source: &Source) -> bool {
    let facts = RequestFacts::of_http(&parts.method, &parts.headers, source.framing());
    facts.is_connect || facts.upgrade_asked
}

/// What became of a call that did not begin here at once.
enum Away<D: Driver> {
    /// Another shard has run it. What is left of its body comes along.
    Answered(Answered, Option<RemoteUpload>),
    /// It begins here after all, by what it has got. Nothing was taken of its body.
    Back(Box<Movable>, Option<RemoteUpload>, Result<Lease<D>, Error>),
}

/// Makes a call one from outside: of the shard `to`, or of this one, where it waits unless a sibling takes
/// it.
async fn away<D: Driver>(
    upstream: &LocalUpstream<D>,
    to: Option<usize>,
    request: Request,
    upload: Option<RemoteUpload>,
    terms: Terms,
) -> Result<Away<D>, Error> {
    let mailbox = upstream.shard.mailbox_for(to);
    let underway = Underway::new(&mailbox, upstream.shared());
    let (mut call, mut answer) = Movable::new(underway, upstream.options, request);
    call.terms = Some(terms);
    match to {
        Some(_) => {
            let sent = mailbox.submit(Work::Call(call));
            sent.map_err(|error| upstream.name_error(error))?;
        }
        None => {
            let patience = terms.wait_until(terms.begun);
            match Moving::new(upstream, terms.class, patience, call, None).await {
                Moved::Stayed(mut call, first) => {
                    upstream.begin_call();
                    // The one who waits for its answer is here.
                    drop(call.caller.begin());
                    return Ok(Away::Back(call, upload, first));
                }
                Moved::Gone => upstream.note_strayed(),
            }
        }
    }
    answer = answer.with(upload);
    let answered = poll_fn(|cx| answer.poll_head(cx, upstream.shared())).await?;
    Ok(Away::Answered(answered, answer.into_upload()))
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
            Exchange::Forwarded(forwarded) => forwarded.trip().reused,
        }
    }

    /// How it went.
    pub(crate) fn trip(&self) -> Trip {
        match self {
            Exchange::Here(exchange) => exchange.trip(),
            Exchange::Forwarded(forwarded) => forwarded.trip().clone(),
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

    /// How the call went.
    pub(crate) fn trip(&self) -> Trip {
        match self {
            Body::Here(body) => body.trip(),
            Body::Forwarded(forwarded) => forwarded.trip().clone(),
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
