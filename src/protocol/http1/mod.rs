//! The client side of HTTP/1.1 (RFC 9112): requests out, responses in, and the verdict on whether
//! the connection may serve again.
//!
//! Strict by choice. A connection is shared by unrelated requests one after the other, so a peer
//! with which we might disagree about where a message ends is refused, not repaired: only CRLF ends
//! a line, there is no folding, no stray bytes before a status line, no doubtful lengths.
//!
//! | file | owns |
//! |---|---|
//! | `exchange` | one request and its response on one connection, up to the verdict |
//! | `verdict` | what is to become of the connection, and why |
//! | `head` | response heads: parsing, and a view that borrows |
//! | `framing` | where a response body ends (RFC 9112 §6.3) |
//! | `body`, `chunked` | decoding response bodies as they come in, without copying |
//! | `method` | methods, as they are counted |
//! | `request` | a request as its caller describes it |
//! | `encode`, `chunks` | request heads and bodies, written into a buffer |
//! | `syntax` | the pieces that headers are made of |
//! | `scan` | where such a piece ends, eight bytes at a time |
//! | `error` | everything that a peer can do wrong |

mod body;
mod chunked;
mod chunks;
mod encode;
mod error;
mod exchange;
mod framing;
mod head;
mod method;
mod request;
mod scan;
mod syntax;
mod verdict;

pub use chunks::{CHUNK_END, encode_chunk, encode_chunk_header, encode_last_chunk};
pub use encode::{Host, encode_head, encode_http_head};
pub use error::ProtocolError;
pub use exchange::{Exchange, HeadStep};
pub use head::{Headers, ResponseHead};
pub use method::MethodKind;
pub use request::{HEADERS_INLINE_MAX, Head, HeadError, RequestBody, RequestFacts};
pub use verdict::Verdict;

/// How much of our memory and time one response may claim outside its body. The caller's deadline
/// limits the time that it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one response head, status line and last empty line included. 64 KiB: the largest
    /// that common servers and proxies are configured to send is 32 KiB.
    pub head_bytes_max: usize,
    /// Headers of one response, and again of its trailers; at most 256. 100: the common
    /// limit of servers, far above the 10 to 30 that responses carry.
    pub headers_max: usize,
    /// Informational (1xx) responses before the final one. 16: one is usual, a few are possible (100,
    /// 103), a peer that sends more keeps the caller waiting at no cost to itself.
    pub informational_max: u32,
    /// Bytes of padding and extensions after the chunk sizes of one body. 16 KiB: nobody uses
    /// extensions, but one on every one-byte chunk would let a peer send much for little.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of one trailer section. 16 KiB: checksums, timings and a gRPC status take under 1 KiB.
    pub trailer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes_max: 64 * 1024,
            headers_max: 100,
            informational_max: 16,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 16 * 1024,
        }
    }
}
