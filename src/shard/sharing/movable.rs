//! A call from outside that has not begun: everything of it can go to another shard.
//!
//! Owns: the request, and what its caller is owed. Never: the least of it on a connection; what has begun
//! stays where it is.

use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::Error;
use crate::shard::local::LocalUpstream;
use crate::shard::mailbox::{Depth, Mailbox};
use crate::shard::serve::RemoteBody;
use crate::shard::terms::Terms;
use crate::shard::upload::Source;
use crate::shard::upstream::UpstreamShared;
use futures_channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

/// How a call's answer gets to its caller.
pub(crate) type Reply = oneshot::Sender<Result<http::Response<RemoteBody>, Error>>;

/// A call that has not begun, on its way to a shard or waiting on one.
pub(crate) struct Movable {
    /// What the caller's handle says; the request's own word counts first.
    pub(crate) options: CallOptions,
    pub(crate) parts: http::request::Parts,
    pub(crate) source: Source,
    pub(crate) caller: Caller,
    /// What it goes by, once a shard has taken it up; it goes by that wherever it runs.
    pub(crate) terms: Option<Terms>,
}

impl Movable {
    pub(crate) fn new(
        caller: Caller,
        options: CallOptions,
        parts: http::request::Parts,
        source: Source,
    ) -> Movable {
        Movable {
            options,
            parts,
            source,
            caller,
            terms: None,
        }
    }
}

impl Movable {
    /// What it goes by: the settings of the shard, and the moment, that it came in at.
    pub(in crate::shard) fn terms<D: Driver>(&mut self, upstream: &LocalUpstream<D>) -> Terms {
        let begin = || {
            let options = CallOptions::of(&self.parts.extensions);
            Terms::of(upstream, options, self.parts.method.is_idempotent())
        };
        *self.terms.get_or_insert_with(begin)
    }
}

/// Who waits for the answer. Dropped before the call has begun, it tells that nothing of it was sent.
pub(crate) struct Caller(Option<(Reply, Underway)>);

/// Counts a call, on its shard and on its upstream, as long as it is under way: until just before its
/// caller has the end of the answer, so that an upstream is not in use any more for one who knows it.
pub(crate) struct Underway {
    depth: Arc<Depth>,
    upstream: Arc<UpstreamShared>,
}

impl Caller {
    pub(crate) fn new(reply: Reply, underway: Underway) -> Caller {
        Caller(Some((reply, underway)))
    }

    /// The call begins: what becomes of it is told by whoever runs it.
    pub(crate) fn begin(mut self) -> (Reply, Underway) {
        self.0.take().expect("it is taken once")
    }

    /// The call cannot be made.
    pub(crate) fn fail(self, error: Error) {
        let (reply, underway) = self.begin();
        drop(underway);
        // A caller who has gone in the meantime does not mind.
        let _ = reply.send(Err(error));
    }

    /// Waits until the caller is gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let (reply, _) = self.0.as_mut().expect("it is taken with the caller");
        reply.poll_canceled(cx)
    }

    pub(crate) fn upstream(&self) -> &Arc<UpstreamShared> {
        let (_, underway) = self.0.as_ref().expect("it is taken with the caller");
        &underway.upstream
    }

    /// The call is this shard's from now on.
    pub(crate) fn move_to<D: Driver>(&mut self, mailbox: &Mailbox<D>) {
        let (_, underway) = self.0.as_mut().expect("it is taken with the caller");
        underway.move_to(mailbox);
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Some((reply, underway)) = self.0.take() {
            let error = Error::draining().at_upstream(&underway.upstream.name);
            drop(underway);
            // A caller who has gone in the meantime does not mind.
            let _ = reply.send(Err(error));
        }
    }
}

impl Underway {
    pub(crate) fn new<D: Driver>(mailbox: &Mailbox<D>, upstream: &Arc<UpstreamShared>) -> Underway {
        upstream.calls.fetch_add(1, Ordering::Relaxed);
        Underway {
            depth: mailbox.begin_call(),
            upstream: upstream.clone(),
        }
    }

    pub(crate) fn upstream(&self) -> &Arc<UpstreamShared> {
        &self.upstream
    }

    fn move_to<D: Driver>(&mut self, mailbox: &Mailbox<D>) {
        let before = std::mem::replace(&mut self.depth, mailbox.begin_call());
        before.end_call();
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.depth.end_call();
        self.upstream.calls.fetch_sub(1, Ordering::Relaxed);
    }
}
