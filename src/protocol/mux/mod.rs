//! A small multiplexing protocol of our own, so that streams are exercised by tests and the simulator
//! as an HTTP/2 would use them. No server outside of them speaks it; no service is built with it.
//!
//! A connection carries frames, in both directions:
//!
//! ```text
//! stream u32 | kind u8 | length u16 | payload          (all numbers big-endian)
//! ```
//!
//! | kind | on a stream | payload |
//! |---|---|---|
//! | DATA | yes | bytes, at least one |
//! | END | yes | the last bytes of this direction, maybe none |
//! | RESET | yes | u32, why: the stream is over in both directions |
//! | LIMIT | no | u32: so many streams the server serves at once, from now on |
//! | GOAWAY | no | u32: the last stream that the server will serve |
//! | PING, PONG | no | 8 bytes, the same in both |
//!
//! Frames that are not on a stream name stream 0. The client opens streams, by their first frame, with ids
//! from 1 that rise. Until the first LIMIT it opens [`LIMIT_BEFORE_FIRST`] at a time. Streams have no
//! windows: who does not read one stream stops them all.
//!
//! | file | owns |
//! |---|---|
//! | `frame` | the syntax: one header, and the frames written |
//! | `decoder` | frames out of bytes that come in pieces |
//! | `session` | the client's rules: what the server may say, and when |
//! | `error` | everything that a peer can do wrong |

mod decoder;
mod error;
mod frame;
mod session;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event, Step};
pub use error::MuxError;
pub use frame::{Kind, PAYLOAD_MAX, encode, encode_header};
pub use session::Session;

/// How many streams a client may have open before the server's first LIMIT. One: the server has not
/// refused it, and a client need not wait for the server to speak first.
pub const LIMIT_BEFORE_FIRST: u32 = 1;

/// Why a stream was reset: whoever asked does not want the answer any more.
pub const CANCELLED: u32 = 1;

/// Why a stream was reset: the server has processed nothing of it.
pub const REFUSED: u32 = 2;
