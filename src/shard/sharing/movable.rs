//! A call from outside that has not begun: everything of it can go to another shard. Once it was answered, it goes back to
//! its caller with the response.
//!
//! Owns: the request, and what its caller is owed. Never: the least of it on a connection while it may move; what has begun
//! stays where it is.

use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::{Error, RequestSent};
use crate::shard::answer::{Answered, RemoteResponse};
use crate::shard::call::Encoded;
use crate::shard::crossing::Answer;
use crate::shard::entrance::Entrance;
use crate::shard::local::LocalUpstream;
use crate::shard::mailbox::Mailbox;
use crate::shard::terms::Terms;
use crate::shard::upload::Source;
use crate::shard::upstream::UpstreamShared;
use crate::trace;
use futures_channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};

type Sender = oneshot::Sender<Result<Answered, Error>>;

/// How the answer of a call that has begun gets to its caller. Dropped before that, it tells that the shard
/// broke down in the middle of the call, and cannot say any more how far it got.
pub(crate) struct Reply {
    sender: Option<Sender>,
    underway: Underway,
}

impl Reply {
    /// Answers; false if the caller has gone. With the whole of it the call is [over](Reply::over) before.
    pub(crate) fn send(&mut self, answer: Result<Answered, Error>) -> bool {
        let sender = self.sender.take().expect("it is sent once");
        sender.send(answer).is_ok()
    }

    /// The call is not under way any more.
    pub(crate) fn over(&mut self) {
        self.underway.end();
    }

    /// Where the call is counted.
    pub(crate) fn entrance(&self) -> &Arc<Entrance> {
        &self.underway.entrance
    }

    pub(crate) fn sender(&mut self) -> &mut Sender {
        self.sender.as_mut().expect("it is not sent yet")
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|sender| !sender.is_canceled()) {
            self.underway.end();
            let error = self.underway.entrance.refusal();
            let error = error.after_sending(RequestSent::Whole, false);
            // A caller who has gone in the meantime does not mind.
            let _ = sender.send(Err(error.at_upstream(&self.underway.upstream.name)));
        }
    }
}

/// A call that has not begun, on its way to a shard or waiting on one.
pub(crate) struct Movable {
    /// What the caller's handle says; the request's own word counts first.
    pub(crate) options: CallOptions,
    pub(crate) request: Request,
    pub(crate) caller: Caller,
    /// What it goes by, once a shard has taken it up; it goes by that wherever it runs.
    pub(crate) terms: Option<Terms>,
    /// It was in another shard's mailbox before: once is enough.
    pub(crate) passed_on: bool,
    /// What its caller was in the middle of.
    pub(crate) within: trace::Caller,
    /// What it came to, on its way back.
    pub(in crate::shard) response: Option<RemoteResponse>,
}

/// A request that can cross to another thread.
#[expect(
    clippy::large_enum_variant,
    reason = "the call that it is a part of is on the heap"
)]
pub(crate) enum Request {
    Http(http::request::Parts, Source),
    /// Of the low-level exchange.
    Encoded(Encoded),
}

impl Request {
    fn options(&self) -> CallOptions {
        match self {
            Request::Http(parts, _) => CallOptions::of(&parts.extensions),
            Request::Encoded(_) => CallOptions::default(),
        }
    }

    /// One that came with the `http` crate's types, as it came.
    pub(in crate::shard) fn into_http(self) -> (http::request::Parts, Source) {
        match self {
            Request::Http(parts, source) => (parts, source),
            Request::Encoded(_) => unreachable!("a request stays of its kind"),
        }
    }

    /// Of one that came with the `http` crate's types.
    #[cfg(test)]
    pub(crate) fn path(&self) -> Option<&str> {
        match self {
            Request::Http(parts, _) => Some(parts.uri.path()),
            Request::Encoded(_) => None,
        }
    }

    /// Its method's name.
    pub(in crate::shard) fn method(&self) -> &str {
        match self {
            Request::Http(parts, _) => parts.method.as_str(),
            Request::Encoded(request) => request.method(),
        }
    }

    fn is_idempotent(&self) -> bool {
        match self {
            Request::Http(parts, _) => parts.method.is_idempotent(),
            Request::Encoded(request) => request.is_idempotent(),
        }
    }
}

impl Movable {
    /// A call, and what is held of it by its caller. `options`: what the caller's handle says. In line, with its place
    /// made before it: so it is put together there rather than copied to it.
    #[inline(always)]
    pub(crate) fn new(
        underway: Underway,
        options: CallOptions,
        request: Request,
    ) -> (Box<Movable>, Answer) {
        let place = Box::new_uninit();
        let (reply, answer) = oneshot::channel();
        let movable = Movable {
            options,
            request,
            caller: Caller::new(reply, underway),
            terms: None,
            passed_on: false,
            within: trace::Caller::current(),
            response: None,
        };
        (Box::write(place, movable), Answer::new(answer))
    }

    /// What is asked, of a call that has begun.
    pub(in crate::shard) fn into_request(self: Box<Movable>) -> Request {
        self.request
    }

    /// What it goes by: the settings of the shard, and the moment, that it came in at.
    ///
    /// # Errors
    /// As [`Terms::begin`].
    pub(in crate::shard) fn terms<D: Driver>(
        &mut self,
        upstream: &LocalUpstream<D>,
    ) -> Result<Terms, Error> {
        if let Some(terms) = self.terms {
            return Ok(terms);
        }
        let request = &self.request;
        let terms = Terms::begin(upstream, request.options(), request.is_idempotent())?;
        self.terms = Some(terms);
        Ok(terms)
    }
}

/// Who waits for the answer. Dropped before the call has begun, it tells that nothing of it was sent.
pub(crate) struct Caller(Option<(Sender, Underway)>);

/// Counts a call, on its shard and on its upstream, as long as it is under way: until just before its
/// caller has the end of the answer, so that an upstream is not in use any more for one who knows it.
pub(crate) struct Underway {
    entrance: Arc<Entrance>,
    upstream: Arc<UpstreamShared>,
    what: What,
    ended: bool,
}

#[derive(Clone, Copy)]
enum What {
    Call,
    Lease,
}

impl Caller {
    fn new(reply: Sender, underway: Underway) -> Caller {
        Caller(Some((reply, underway)))
    }

    /// The call begins: what becomes of it is told by whoever runs it.
    pub(crate) fn begin(&mut self) -> Reply {
        let (sender, underway) = self.0.take().expect("it is taken once");
        Reply {
            sender: Some(sender),
            underway,
        }
    }

    /// The call cannot be made.
    pub(crate) fn fail(&mut self, error: Error) {
        let (reply, underway) = self.0.take().expect("it is taken once");
        drop(underway);
        // A caller who has gone in the meantime does not mind.
        let _ = reply.send(Err(error));
    }

    /// Whether the caller is gone already.
    pub(crate) fn is_gone(&self) -> bool {
        let (reply, _) = self.0.as_ref().expect("it is taken with the caller");
        reply.is_canceled()
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
            let error = underway.entrance.refusal();
            let error = error.at_upstream(&underway.upstream.name);
            drop(underway);
            // A caller who has gone in the meantime does not mind.
            let _ = reply.send(Err(error));
        }
    }
}

impl Underway {
    /// Counts a call.
    pub(crate) fn new<D: Driver>(mailbox: &Mailbox<D>, upstream: &Arc<UpstreamShared>) -> Underway {
        Underway::begin(mailbox, upstream, What::Call)
    }

    /// Counts a checkout, and the lease that comes of it.
    pub(crate) fn lease<D: Driver>(
        mailbox: &Mailbox<D>,
        upstream: &Arc<UpstreamShared>,
    ) -> Underway {
        Underway::begin(mailbox, upstream, What::Lease)
    }

    fn begin<D: Driver>(
        mailbox: &Mailbox<D>,
        upstream: &Arc<UpstreamShared>,
        what: What,
    ) -> Underway {
        let entrance = mailbox.entrance().clone();
        entrance.begin_call();
        let underway = Underway {
            entrance,
            upstream: upstream.clone(),
            what,
            ended: false,
        };
        underway.count().fetch_add(1, Ordering::Relaxed);
        underway
    }

    pub(crate) fn upstream(&self) -> &Arc<UpstreamShared> {
        &self.upstream
    }

    fn count(&self) -> &AtomicUsize {
        let counts = self.upstream.outside(self.entrance.index());
        match self.what {
            What::Call => &counts.calls,
            What::Lease => &counts.leases,
        }
    }

    fn move_to<D: Driver>(&mut self, mailbox: &Mailbox<D>) {
        let before = std::mem::replace(&mut self.entrance, mailbox.entrance().clone());
        // The new count first: the upstream is in use all the while.
        self.count().fetch_add(1, Ordering::Relaxed);
        let counts = self.upstream.outside(before.index());
        match self.what {
            What::Call => counts.calls.fetch_sub(1, Ordering::Relaxed),
            What::Lease => counts.leases.fetch_sub(1, Ordering::Relaxed),
        };
        before.move_call(&self.entrance);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.count().fetch_sub(1, Ordering::Relaxed);
            // Last: whoever sees that nothing is under way finds nothing counted.
            self.entrance.end_call();
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.end();
    }
}
