//! Spans and events, for real.

use crate::endpoint::Endpoint;
use crate::error::Error;
use std::fmt::Display;
use std::future::Future;
use tracing::field::{Empty, display};
use tracing::{Instrument, Level, debug_span, enabled, error, trace_span, warn};

/// A span that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Span(tracing::Span);

impl Default for Span {
    fn default() -> Span {
        Span(tracing::Span::none())
    }
}

impl Span {
    pub(crate) fn error(&self, error: &dyn Display) {
        self.0.record("error", display(error));
    }

    /// The connection can be used.
    pub(crate) fn opened(&self, endpoint: Option<&Endpoint>) {
        if let Some(endpoint) = endpoint {
            self.0.record("network.peer.address", display(endpoint));
        }
        tracing::debug!(target: "ringpool::connection", parent: &self.0, "opened");
    }

    pub(crate) fn resumed(&self, resumed: bool) {
        self.0.record("tls.resumed", resumed);
    }

    /// The connection begins to end.
    pub(crate) fn ends(&self, reason: &'static str, uses: u64) {
        self.0.record("reason", reason);
        self.0.record("uses", uses);
    }
}

/// The span that a caller on another thread is in, if requests have spans.
#[derive(Debug, Default)]
pub(crate) struct Caller(Option<tracing::Span>);

impl Caller {
    pub(crate) fn current() -> Caller {
        Caller(has_requests().then(tracing::Span::current))
    }
}

fn has_requests() -> bool {
    enabled!(target: "ringpool::request", Level::TRACE)
}

pub(crate) fn connection(upstream: &str, shard: usize) -> Span {
    // Of nobody: it outlives the request that it is dialled for, if there is one.
    Span(debug_span!(
        target: "ringpool::connection", parent: None, "connection",
        upstream, shard, network.peer.address = Empty, reason = Empty, uses = Empty, error = Empty,
    ))
}

pub(crate) fn connect(of: &Span, endpoint: &Endpoint) -> Span {
    Span(debug_span!(
        target: "ringpool::connection", parent: &of.0, "connect",
        network.peer.address = %endpoint, error = Empty,
    ))
}

pub(crate) fn handshake(of: &Span) -> Span {
    Span(debug_span!(
        target: "ringpool::tls", parent: &of.0, "handshake",
        tls.resumed = Empty, error = Empty,
    ))
}

pub(crate) fn lookup(host: &str) -> Span {
    Span(debug_span!(
        target: "ringpool::dns", parent: None, "lookup",
        dns.question.name = host, error = Empty,
    ))
}

/// Of the request that is polled.
pub(crate) fn wait() -> Span {
    Span(trace_span!(target: "ringpool::wait", "wait_for_connection"))
}

/// The request that is polled goes over the connection of this span.
pub(crate) fn link(to: &Span) {
    if has_requests() {
        tracing::Span::current().follows_from(&to.0);
    }
}

pub(crate) fn answered(status: u16) {
    if has_requests() {
        tracing::Span::current().record("http.response.status_code", status);
    }
}

pub(crate) fn failed(error: &Error) {
    if has_requests() {
        let span = tracing::Span::current();
        span.record("error.type", error.kind().name());
        span.record("error", display(error));
    }
}

pub(crate) fn lost(shard: usize, why: &Error) {
    error!(target: "ringpool::shard", shard, error = %why, "a shard was lost");
}

pub(crate) fn small_ring(shard: usize, asked: u32, entries: u32) {
    warn!(target: "ringpool::shard", shard, asked, entries, "memory was short: a shard has a smaller ring");
}

/// The span of a request to the upstream, and by the method, that `what` says.
pub(crate) fn request<'a>(caller: Caller, what: impl FnOnce() -> (&'a str, &'static str)) -> Span {
    if !has_requests() {
        return Span::default();
    }
    let (upstream, method) = what();
    let parent = caller.0.unwrap_or_else(tracing::Span::current);
    Span(trace_span!(
        target: "ringpool::request", parent: &parent, "request",
        upstream, http.request.method = method,
        http.response.status_code = Empty, error.type = Empty, error = Empty,
    ))
}

/// Polls `run` within the span.
pub(crate) fn within<F: Future>(span: Span, run: F) -> impl Future<Output = F::Output> + use<F> {
    run.instrument(span.0)
}
