//! Spans and events, for real.
//!
//! Never: calls a subscriber but through `contained`.

use crate::endpoint::Endpoint;
use crate::error::Error;
use std::fmt::Display;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use tracing::field::{Empty, display};
use tracing::level_filters::LevelFilter;
use tracing::{Level, debug_span, enabled, error, trace_span, warn};

/// Calls the subscriber. A panic of it ends here: what it was told is lost, and nothing else. Here it could end a shard, or, where a span is
/// dropped because of another panic, the process.
fn contained<T: Default>(call: impl FnOnce() -> T) -> T {
    // Nothing of the engine's is changed in there.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_default()
}

/// A span that ends when it is dropped. One that nobody wants to know of is `None`, and a pointer long: every connection has two.
#[derive(Debug, Default)]
pub(crate) struct Span(Option<Box<tracing::Span>>);

impl Drop for Span {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            contained(|| drop(span));
        }
    }
}

impl Span {
    fn of(span: tracing::Span) -> Span {
        Span((!span.is_disabled()).then(|| Box::new(span)))
    }

    fn current() -> Span {
        contained(|| Span::of(tracing::Span::current()))
    }

    /// Tells something of the span that is current.
    fn tell_current(what: impl FnOnce(&tracing::Span)) {
        contained(|| what(&tracing::Span::current()));
    }

    /// What others name it by.
    fn id(&self) -> Option<tracing::Id> {
        self.0.as_ref().and_then(|span| span.id())
    }

    /// Tells something of it, if anybody wants to know.
    fn tell(&self, what: impl FnOnce(&tracing::Span)) {
        if let Some(span) = &self.0 {
            contained(|| what(span));
        }
    }

    pub(crate) fn error(&self, error: &dyn Display) {
        self.tell(|span| {
            span.record("error", display(error));
        });
    }

    /// The connection can be used.
    pub(crate) fn opened(&self, endpoint: Option<&Endpoint>) {
        self.tell(|span| {
            if let Some(endpoint) = endpoint {
                span.record("network.peer.address", display(endpoint));
            }
            tracing::debug!(target: "ringpool::connection", parent: span, "opened");
        });
    }

    pub(crate) fn resumed(&self, resumed: bool) {
        self.tell(|span| {
            span.record("tls.resumed", resumed);
        });
    }

    /// The connection begins to end.
    pub(crate) fn ends(&self, reason: &'static str, uses: u64) {
        self.tell(|span| {
            span.record("reason", reason);
            span.record("uses", uses);
        });
    }

    /// Is left when what is returned is dropped.
    fn enter(&self) -> Entered<'_> {
        self.tell(|span| {
            span.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        });
        Entered(self)
    }
}

/// This thread is in the span.
struct Entered<'a>(&'a Span);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.tell(|span| {
            span.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        });
    }
}

/// The span that a caller on another thread is in, if requests have spans.
#[derive(Debug, Default)]
pub(crate) struct Caller(Option<Span>);

impl Caller {
    pub(crate) fn current() -> Caller {
        Caller(has_requests().then(Span::current))
    }
}

/// Whether anybody may want what is told at TRACE: one look at memory.
#[inline]
fn may_trace() -> bool {
    Level::TRACE <= LevelFilter::current()
}

#[inline]
fn has_requests() -> bool {
    may_trace() && contained(|| enabled!(target: "ringpool::request", Level::TRACE))
}

pub(crate) fn connection(upstream: &str, shard: usize) -> Span {
    // Of nobody: it outlives the request that it is dialled for, if there is one.
    contained(|| {
        Span::of(debug_span!(
            target: "ringpool::connection", parent: None, "connection",
            upstream, shard, network.peer.address = Empty, reason = Empty, uses = Empty, error = Empty,
        ))
    })
}

pub(crate) fn connect(of: &Span, endpoint: &Endpoint) -> Span {
    contained(|| {
        Span::of(debug_span!(
            target: "ringpool::connection", parent: of.id(), "connect",
            network.peer.address = %endpoint, error = Empty,
        ))
    })
}

pub(crate) fn handshake(of: &Span) -> Span {
    contained(|| {
        Span::of(debug_span!(
            target: "ringpool::tls", parent: of.id(), "handshake",
            tls.resumed = Empty, error = Empty,
        ))
    })
}

pub(crate) fn lookup(host: &str) -> Span {
    contained(|| {
        Span::of(debug_span!(
            target: "ringpool::dns", parent: None, "lookup",
            dns.question.name = host, error = Empty,
        ))
    })
}

/// Of the request that is polled.
#[inline]
pub(crate) fn wait() -> Span {
    if !may_trace() {
        return Span::default();
    }
    contained(|| Span::of(trace_span!(target: "ringpool::wait", "wait_for_connection")))
}

/// The request that is polled goes over the connection of this span.
#[inline]
pub(crate) fn link(to: &Span) {
    if has_requests() {
        Span::tell_current(|span| {
            span.follows_from(to.id());
        });
    }
}

#[inline]
pub(crate) fn answered(status: u16) {
    if has_requests() {
        Span::tell_current(|span| {
            span.record("http.response.status_code", status);
        });
    }
}

pub(crate) fn failed(error: &Error) {
    if has_requests() {
        Span::tell_current(|span| {
            span.record("error.type", error.kind().name());
            span.record("error", display(error));
        });
    }
}

pub(crate) fn lost(shard: usize, why: &Error) {
    contained(|| error!(target: "ringpool::shard", shard, error = %why, "a shard was lost"));
}

pub(crate) fn small_ring(shard: usize, asked: u32, entries: u32) {
    contained(|| {
        warn!(target: "ringpool::shard", shard, asked, entries, "memory was short: a shard has a smaller ring");
    });
}

/// The span of a request to the upstream, and by the method, that `what` says.
pub(crate) fn request<'a>(caller: Caller, what: impl FnOnce() -> (&'a str, &'static str)) -> Span {
    if !has_requests() {
        return Span::default();
    }
    let (upstream, method) = what();
    contained(|| {
        let parent = match &caller.0 {
            Some(caller) => caller.id(),
            None => tracing::Span::current().id(),
        };
        Span::of(trace_span!(
            target: "ringpool::request", parent: parent, "request",
            upstream, http.request.method = method,
            http.response.status_code = Empty, error.type = Empty, error = Empty,
        ))
    })
}

pin_project_lite::pin_project! {
    /// A future that is polled within a span.
    pub(crate) struct Within<F> {
        #[pin]
        run: F,
        // After it: what it drops is still the request's.
        span: Span,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _entered = this.span.enter();
        this.run.poll(cx)
    }
}

/// Polls what `run` makes within the span: made where it is to be, a future is not copied on its way.
#[inline]
pub(crate) fn within<F: Future>(span: Span, run: impl FnOnce() -> F) -> Within<F> {
    Within { run: run(), span }
}
