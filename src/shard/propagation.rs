//! Whose part a call is, told to whoever answers it: the header `traceparent`.
//!
//! Never: writes over what the caller has written; looks for a context that nobody has asked for.

use super::upstream::UpstreamShared;
use crate::config::TraceParent;
use http::request::Parts;
use http::{HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
#[cfg(feature = "opentelemetry")]
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Adds the header, if the request says what it is, or the upstream's settings want the current context's. To be called where
/// the caller's future is polled: that is where its context is.
#[inline]
pub(crate) fn propagate(parts: &mut Parts, upstream: &UpstreamShared) {
    if !parts.extensions.is_empty() || upstream.wants_trace_context() {
        add(parts, upstream);
    }
}

#[inline(never)]
fn add(parts: &mut Parts, upstream: &UpstreamShared) {
    if parts.headers.contains_key(TRACEPARENT) {
        return;
    }
    let own = parts.extensions.get::<TraceParent>().copied();
    let parent = own.or_else(|| {
        upstream
            .wants_trace_context()
            .then(|| current(parts))
            .flatten()
    });
    if let Some(parent) = parent
        && let Ok(value) = HeaderValue::try_from(parent.to_string())
    {
        parts.headers.insert(TRACEPARENT, value);
    }
}

/// That of OpenTelemetry's current context, with the `tracestate` that goes with it.
#[cfg(feature = "opentelemetry")]
fn current(parts: &mut Parts) -> Option<TraceParent> {
    use opentelemetry::trace::TraceContextExt;

    let context = opentelemetry::Context::current();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return None;
    }
    let state = span.trace_state().header();
    if !parts.headers.contains_key(TRACESTATE)
        && let Ok(state) = HeaderValue::try_from(state)
        && !state.is_empty()
    {
        parts.headers.insert(TRACESTATE, state);
    }
    Some(TraceParent {
        trace_id: u128::from_be_bytes(span.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(span.span_id().to_bytes()),
        flags: span.trace_flags().to_u8(),
    })
}

#[cfg(not(feature = "opentelemetry"))]
fn current(_parts: &mut Parts) -> Option<TraceParent> {
    None
}
