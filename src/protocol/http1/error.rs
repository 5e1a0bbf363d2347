//! Everything that a peer can do wrong in HTTP/1.1, each by its own name.
//!
//! Never: holds bytes of the peer (they may be secret, and would need an allocation).

use std::fmt;

/// Why a response could not be understood. The connection it came on is of no further use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The first line is not `HTTP/1.x SP 3DIGIT [SP reason]`, or the status is below 100; stray
    /// bytes before a response, even an empty line, count as this.
    StatusLine,
    /// The peer speaks HTTP, but neither 1.0 nor 1.1.
    Version,
    /// A header's name is not a token: also white space before the colon, and a folded line.
    HeaderName,
    /// A header's value holds a control character, such as NUL or a CR without LF.
    HeaderValue,
    /// A line of the head ends with LF alone, or with a CR that no LF follows.
    LineEnd,
    /// The head is larger than [`Limits::head_bytes_max`](super::Limits::head_bytes_max).
    HeadTooLarge,
    /// More headers than [`Limits::headers_max`](super::Limits::headers_max).
    TooManyHeaders,
    /// More 1xx responses than [`Limits::informational_max`](super::Limits::informational_max).
    TooManyInformational,
    /// 101 Switching Protocols, though no upgrade was asked for.
    UnexpectedUpgrade,
    /// A content-length that is not a plain decimal number under 2⁶⁴.
    ContentLength,
    /// Several values of content-length that differ.
    ContentLengthConflict,
    /// Both content-length and transfer-encoding (RFC 9112 §6.3: the mark of request smuggling).
    ContentLengthWithTransferEncoding,
    /// A transfer-encoding other than `chunked` alone; we ask for no other.
    TransferEncoding,
    /// transfer-encoding in an HTTP/1.0 response, which cannot have one (RFC 9112 §6.1).
    TransferEncodingInHttp10,
    /// A chunk's size is not hexadecimal, or its line is malformed.
    ChunkSize,
    /// A chunk's size does not fit in 64 bits.
    ChunkSizeOverflow,
    /// A chunk's data is not followed by CRLF.
    ChunkEnd,
    /// More chunk extensions than
    /// [`Limits::chunk_extension_bytes_max`](super::Limits::chunk_extension_bytes_max).
    ChunkExtensionsTooLarge,
    /// The trailers are malformed.
    Trailers,
    /// More trailers than [`Limits::trailer_bytes_max`](super::Limits::trailer_bytes_max) or
    /// [`Limits::headers_max`](super::Limits::headers_max).
    TrailersTooLarge,
    /// The connection ended before the first byte of a response.
    ClosedBeforeResponse,
    /// The connection ended inside a head, or after a 1xx response.
    TruncatedHead,
    /// The connection ended inside a body whose length was known, or before its last chunk.
    TruncatedBody,
    /// A body that lasts until the connection closes ended without TLS close_notify, so it may have
    /// been cut short by anybody.
    UncleanEnd,
}

impl ProtocolError {
    /// Whether the response might have been fine, but passed one of our limits.
    pub const fn is_limit(self) -> bool {
        use ProtocolError as E;
        match self {
            E::HeadTooLarge
            | E::TooManyHeaders
            | E::TooManyInformational
            | E::ChunkExtensionsTooLarge
            | E::TrailersTooLarge => true,
            E::StatusLine
            | E::Version
            | E::HeaderName
            | E::HeaderValue
            | E::LineEnd
            | E::UnexpectedUpgrade
            | E::ContentLength
            | E::ContentLengthConflict
            | E::ContentLengthWithTransferEncoding
            | E::TransferEncoding
            | E::TransferEncodingInHttp10
            | E::ChunkSize
            | E::ChunkSizeOverflow
            | E::ChunkEnd
            | E::Trailers
            | E::ClosedBeforeResponse
            | E::TruncatedHead
            | E::TruncatedBody
            | E::UncleanEnd => false,
        }
    }

    /// What went wrong, in one line.
    pub const fn as_str(self) -> &'static str {
        use ProtocolError as E;
        match self {
            E::StatusLine => "malformed status line",
            E::Version => "unsupported HTTP version",
            E::HeaderName => "malformed header name",
            E::HeaderValue => "malformed header value",
            E::LineEnd => "a line of the head does not end with CRLF",
            E::HeadTooLarge => "response head too large",
            E::TooManyHeaders => "too many headers",
            E::TooManyInformational => "too many informational responses",
            E::UnexpectedUpgrade => "switching protocols without being asked",
            E::ContentLength => "malformed content-length",
            E::ContentLengthConflict => "conflicting values of content-length",
            E::ContentLengthWithTransferEncoding => "content-length beside transfer-encoding",
            E::TransferEncoding => "unsupported transfer-encoding",
            E::TransferEncodingInHttp10 => "transfer-encoding in an HTTP/1.0 response",
            E::ChunkSize => "malformed chunk size",
            E::ChunkSizeOverflow => "chunk size over 64 bits",
            E::ChunkEnd => "chunk data not followed by CRLF",
            E::ChunkExtensionsTooLarge => "chunk extensions too large",
            E::Trailers => "malformed trailers",
            E::TrailersTooLarge => "trailers too large",
            E::ClosedBeforeResponse => "connection closed before any byte of the response",
            E::TruncatedHead => "connection closed inside the response head",
            E::TruncatedBody => "connection closed inside the response body",
            E::UncleanEnd => "connection closed without close_notify, the body may be cut short",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for ProtocolError {}
