//! Whose part a call is, as its caller says (W3C Trace Context).
//!
//! Owns: the words, and how they are written. Never: makes an id.

use std::fmt;
use std::str::FromStr;

/// Goes out as the header `traceparent`, if it is among a request's extensions
/// (`request.extensions_mut().insert(TraceParent { .. })`) and the request has no such header already.
///
/// Where the upstream has [`trace_context`](crate::config::UpstreamConfig::trace_context) and the engine the feature `opentelemetry`,
/// calls without one get that of the caller's current OpenTelemetry context, and its `tracestate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace, not zero.
    pub trace_id: u128,
    /// The span that the call is part of, not zero.
    pub span_id: u64,
    /// Flags; 1: sampled.
    pub flags: u8,
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TraceParent {
            trace_id,
            span_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// What is no `traceparent` of version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParentError;

impl fmt::Display for TraceParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a traceparent of version 00")
    }
}

impl std::error::Error for TraceParentError {}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    fn from_str(text: &str) -> Result<TraceParent, TraceParentError> {
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else {
            return Err(TraceParentError);
        };
        let is_hex = |part: &str, len: usize| {
            let digit = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
            part.len() == len && part.bytes().all(digit)
        };
        let whole = is_hex(trace_id, 32) && is_hex(span_id, 16) && is_hex(flags, 2);
        if version != "00" || !whole {
            return Err(TraceParentError);
        }
        let parsed = || {
            Some(TraceParent {
                trace_id: u128::from_str_radix(trace_id, 16).ok()?,
                span_id: u64::from_str_radix(span_id, 16).ok()?,
                flags: u8::from_str_radix(flags, 16).ok()?,
            })
        };
        let parent = parsed().ok_or(TraceParentError)?;
        match parent.trace_id == 0 || parent.span_id == 0 {
            true => Err(TraceParentError),
            false => Ok(parent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!((parent.to_string(), parent.flags), (text.to_owned(), 1));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(
                wrong.parse::<TraceParent>(),
                Err(TraceParentError),
                "{wrong}"
            );
        }
    }
}
