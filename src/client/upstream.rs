//! A handle on an upstream, for any thread.

use super::body::Body;
use super::lease::Lease;
use crate::config::{CallOptions, Class};
use crate::driver::Driver;
use crate::driver::uring::Uring;
use crate::engine::EngineShared;
use crate::error::Error;
use crate::shard::crossing::Answer;
use crate::shard::propagation::propagate;
use crate::shard::serve_lease::{self, RemoteCheckout, RemoteLease};
use crate::shard::sharing::movable::{Movable, Request, Underway};
use crate::shard::upstream::UpstreamShared;
use futures_channel::oneshot;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

/// A handle on a named upstream. Cheap to clone; works on any thread and under any runtime, for its
/// futures need only a waker.
#[derive(Clone)]
pub struct Upstream {
    engine: Arc<EngineShared<Uring>>,
    shared: Arc<UpstreamShared>,
    options: CallOptions,
}

impl Upstream {
    pub(crate) fn new(engine: Arc<EngineShared<Uring>>, shared: Arc<UpstreamShared>) -> Upstream {
        Upstream {
            engine,
            shared,
            options: CallOptions::default(),
        }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// A handle on the same upstream whose calls and checkouts are of `class`, unless they say otherwise.
    #[must_use = "this handle stays as it is"]
    pub fn with_class(&self, class: Class) -> Upstream {
        self.with_options(class.into())
    }

    /// A handle on the same upstream for calls that go by `options`; where those say nothing, by this
    /// handle's. Checkouts go by their `class` and `timeout`.
    #[must_use = "this handle stays as it is"]
    pub fn with_options(&self, options: CallOptions) -> Upstream {
        Upstream {
            options: options.or(self.options),
            ..self.clone()
        }
    }

    /// Sends a request; returns when the head of the response is there.
    ///
    /// The request's URI gives path and query; where the request goes is the upstream's affair. Host is
    /// set from the upstream's URL unless the request has one. Content-Length and
    /// Transfer-Encoding follow from the body. How the call went the response tells as its
    /// [`Trip`](crate::Trip).
    ///
    /// What [`CallOptions`] the request has among its extensions goes for it; a [`Class`] may be there
    /// alone as well.
    ///
    /// The request is tried again if no connection could be made, if its connection was closed before any
    /// byte of a response, or if no response came in the time that one attempt has
    /// ([`AttemptConfig`](crate::config::AttemptConfig)). Only where that is safe: the method is idempotent
    /// (RFC 9110 §9.2.2), or the caller vouches for the request, or nothing of it was sent; and only if
    /// its body can be sent again: it is empty or bytes, or nothing was taken from it. How often, and after
    /// which pauses, [`RetryConfig`](crate::config::RetryConfig) says; one deadline holds for all. The
    /// attempts that failed are told with the response's trip, and by [`Error::history`].
    ///
    /// Dropping the future gives the call up; a connection in the middle of it is closed.
    ///
    /// # Errors
    /// See [`ErrorKind`](crate::ErrorKind). A response of any status is a response, not an error.
    pub async fn call<B: Into<Body>>(
        &self,
        request: http::Request<B>,
    ) -> Result<http::Response<Body>, Error> {
        let shard = self.engine.shard_for(&self.shared);
        let underway = Underway::new(&self.engine.mailboxes[shard], &self.shared);
        let call = Addressed {
            options: self.options,
            request,
        };
        let mut answer = send(&self.engine, &self.shared, shard, underway, call)?;
        let answered = poll_fn(|cx| answer.poll_head(cx, &self.shared)).await?;
        Ok(Body::response(answered, answer.into_upload()))
    }

    /// Takes a connection for exclusive use as a byte stream. Works for every kind of upstream.
    ///
    /// # Errors
    /// If none comes free, or can be dialled, within `wait_timeout`.
    pub async fn checkout(&self) -> Result<Lease, Error> {
        let shard = self.engine.shard_for(&self.shared);
        let underway = Underway::lease(&self.engine.mailboxes[shard], &self.shared);
        let answer = checkout(&self.engine, shard, underway, self.options);
        answer.await.map(Lease::new)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.shared.name)
            .field("url", &self.shared.url.to_string())
            .finish_non_exhaustive()
    }
}

/// A request, and what the caller's handle says.
pub(crate) struct Addressed<B> {
    pub(crate) options: CallOptions,
    pub(crate) request: http::Request<B>,
}

/// Carries a request to a shard. What it gives back waits for the response's head, and feeds the call its body.
#[inline(always)]
pub(crate) fn send<D: Driver, B: Into<Body>>(
    engine: &EngineShared<D>,
    upstream: &UpstreamShared,
    shard: usize,
    underway: Underway,
    call: Addressed<B>,
) -> Result<Answer, Error> {
    let Addressed { options, request } = call;
    let (parts, body) = request.into_parts();
    let (source, upload) = body.into().into_source().split();
    let request = Request::Http(parts, source);
    let (mut call, answer) = Movable::new(underway, options, request);
    if let Request::Http(parts, _) = &mut call.request {
        propagate(parts, upstream);
    }
    engine
        .submit_call(shard, call)
        .map_err(|error| error.at_upstream(&upstream.name))?;
    Ok(answer.with(upload))
}

/// Asks a shard for a connection, and waits for it.
pub(crate) async fn checkout<D: Driver>(
    engine: &EngineShared<D>,
    shard: usize,
    underway: Underway,
    options: CallOptions,
) -> Result<RemoteLease, Error> {
    let name = underway.upstream().name.clone();
    let (reply, answer) = oneshot::channel();
    let checkout = RemoteCheckout { options, reply };
    engine
        .submit(
            shard,
            Box::new(move |local| {
                local.spawn_serving(serve_lease::checkout(local.clone(), checkout, underway))
            }),
        )
        .map_err(|error| error.at_upstream(&name))?;
    match answer.await {
        Ok(lease) => lease,
        Err(oneshot::Canceled) => Err(engine.mailboxes[shard].refusal().at_upstream(&name)),
    }
}
