//! The verdict on a connection after an exchange.
//!
//! Owns: the names of everything that speaks against using a connection again.

use std::fmt;

/// What is to become of a connection after an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can take another request.
    Reusable,
    /// It must be closed.
    Condemn(Why),
    /// It speaks another protocol now; bytes left over belong to that.
    Upgraded,
}

/// Why a connection cannot be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The response was malformed or cut short.
    ProtocolError,
    /// The response is not complete.
    ResponseUnfinished,
    /// The request is not sent to its end, for instance because the peer answered an expectation
    /// with a final status.
    RequestUnfinished,
    /// The response began before the request was sent to its end.
    EarlyResponse,
    /// Bytes came after the response.
    ExcessBytes,
    /// The response announced a body where there can be none.
    ForbiddenBody,
    /// The peer has closed its side.
    PeerClosed,
    /// The request said `Connection: close`.
    RequestCloses,
    /// The peer said `Connection: close`, or speaks HTTP/1.0 without keep-alive.
    PeerCloses,
}

impl Why {
    /// The reason in a few words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::ProtocolError => "malformed or truncated response",
            Why::ResponseUnfinished => "response not read to its end",
            Why::RequestUnfinished => "request not sent to its end",
            Why::EarlyResponse => "response began before the request ended",
            Why::ExcessBytes => "bytes after the response",
            Why::ForbiddenBody => "body announced where there can be none",
            Why::PeerClosed => "closed by the peer",
            Why::RequestCloses => "request asked to close",
            Why::PeerCloses => "peer announced to close",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
