//! Everything that a peer can do wrong.

use super::frame::Kind;
use std::fmt;

/// How a peer broke the protocol. The connection is of no use afterwards: where one frame is wrong,
/// nobody knows where the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MuxError {
    /// There is no such kind of frame.
    Kind(u8),
    /// Frames of this kind are not that long.
    Length(Kind, u16),
    /// On a stream what belongs to the connection, or the other way round.
    Place(Kind, u32),
    /// A frame on a stream that nobody has opened.
    Unopened(u32),
    /// The last stream to be served rose: those above it may have been sent elsewhere.
    GoAwayRose(u32),
    /// A PONG without a PING.
    Unasked,
    /// More PINGs than were answered, because the peer does not take the answers.
    PingFlood,
}

impl MuxError {
    /// Whether it is too much of something, rather than something wrong.
    pub fn is_limit(&self) -> bool {
        matches!(self, MuxError::PingFlood)
    }
}

impl fmt::Display for MuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MuxError::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            MuxError::Length(kind, length) => write!(f, "a {kind:?} frame of {length} bytes"),
            MuxError::Place(kind, stream) => write!(f, "a {kind:?} frame on stream {stream}"),
            MuxError::Unopened(stream) => {
                write!(f, "a frame on stream {stream}, which nobody has opened")
            }
            MuxError::GoAwayRose(last) => {
                write!(f, "the last stream to be served has risen to {last}")
            }
            MuxError::Unasked => f.write_str("an answer to a ping that nobody sent"),
            MuxError::PingFlood => f.write_str("too many pings whose answers are not read"),
        }
    }
}

impl std::error::Error for MuxError {}
