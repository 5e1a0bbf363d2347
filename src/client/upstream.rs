//! A handle on an upstream, for any thread.

use super::body::{Body, RemoteUpload};
use super::lease::Lease;
use crate::driver::Driver;
use crate::driver::uring::Uring;
use crate::engine::EngineShared;
use crate::error::Error;
use crate::shard::serve::{self, RemoteBody, RemoteCall, Underway};
use crate::shard::serve_lease::{self, RemoteCheckout, RemoteLease};
use crate::shard::upstream::UpstreamShared;
use futures_channel::oneshot;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

/// A handle on a named upstream. Cheap to clone; works on any thread and under any runtime, for its
/// futures need only a waker.
#[derive(Clone)]
pub struct Upstream {
    engine: Arc<EngineShared<Uring>>,
    shared: Arc<UpstreamShared>,
}

impl Upstream {
    pub(crate) fn new(engine: Arc<EngineShared<Uring>>, shared: Arc<UpstreamShared>) -> Upstream {
        Upstream { engine, shared }
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Sends a request; returns when the head of the response is there.
    ///
    /// The request's URI gives path and query; where the request goes is the upstream's affair. Host is
    /// set from the upstream's URL unless the request has one. Content-Length and
    /// Transfer-Encoding follow from the body. The response carries a [`Trip`](crate::Trip) among its
    /// extensions.
    ///
    /// The request is tried once more, on a fresh connection, if the first one was closed before any
    /// byte of a response, the method is idempotent (RFC 9110 §9.2.2) or nothing was sent, and the
    /// body can be sent again (it is empty or bytes).
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
        send(&self.engine, shard, underway, self.shared.clone(), request).await
    }

    /// Takes a connection for exclusive use as a byte stream. Works for every kind of upstream.
    ///
    /// # Errors
    /// If none comes free, or can be dialled, within `wait_timeout`.
    pub async fn checkout(&self) -> Result<Lease, Error> {
        let shard = self.engine.shard_for(&self.shared);
        let underway = Underway::new(&self.engine.mailboxes[shard], &self.shared);
        let answer = checkout(&self.engine, shard, underway, self.shared.clone());
        answer.await.map(Lease::new)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.shared.name)
            .field("url", &self.shared.config.url.to_string())
            .finish_non_exhaustive()
    }
}

/// Carries a request to a shard, feeds it the body, and waits for the response's head.
pub(crate) async fn send<D: Driver, B: Into<Body>>(
    engine: &EngineShared<D>,
    shard: usize,
    underway: Underway<D>,
    upstream: Arc<UpstreamShared>,
    request: http::Request<B>,
) -> Result<http::Response<Body>, Error> {
    let (parts, body) = request.into_parts();
    let (source, mut upload) = body.into().into_remote_source();
    let name = upstream.name.clone();
    let (reply, mut answer) = oneshot::channel();
    let call = RemoteCall {
        upstream,
        parts,
        source,
        reply,
    };
    engine
        .submit(
            shard,
            Box::new(move |local| local.spawn(serve::call(local.clone(), call, underway))),
        )
        .map_err(|error| error.at_upstream(&name))?;
    let answer = poll_fn(|cx| {
        if upload
            .as_mut()
            .is_some_and(|upload: &mut RemoteUpload| upload.poll(cx).is_ready())
        {
            upload = None;
        }
        match Pin::new(&mut answer).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(answer)) => Poll::Ready(answer),
            // The shard dropped the call: it is stopping.
            Poll::Ready(Err(oneshot::Canceled)) => {
                Poll::Ready(Err(Error::draining().at_upstream(&name)))
            }
        }
    })
    .await?;
    Ok(answer.map(|body: RemoteBody| Body::from_remote(body, upload)))
}

/// Asks a shard for a connection, and waits for it.
pub(crate) async fn checkout<D: Driver>(
    engine: &EngineShared<D>,
    shard: usize,
    underway: Underway<D>,
    upstream: Arc<UpstreamShared>,
) -> Result<RemoteLease, Error> {
    let name = upstream.name.clone();
    let (reply, answer) = oneshot::channel();
    let checkout = RemoteCheckout { upstream, reply };
    engine
        .submit(
            shard,
            Box::new(move |local| {
                local.spawn(serve_lease::checkout(local.clone(), checkout, underway))
            }),
        )
        .map_err(|error| error.at_upstream(&name))?;
    match answer.await {
        Ok(lease) => lease,
        Err(oneshot::Canceled) => Err(Error::draining().at_upstream(&name)),
    }
}
