//! What is spoken on a multiplexed connection, behind one small type: the streams of a shard are the same
//! whatever frames carry them.
//!
//! Owns: the way between a protocol's words and the shard's. Never: knows a stream by more than its id.

#![cfg_attr(
    not(any(test, feature = "simulation")),
    allow(
        dead_code,
        unused_variables,
        clippy::ptr_arg,
        reason = "services speak no such protocol yet"
    )
)]

use crate::config::UpstreamUrl;
use crate::error::Error;
use std::ops::Range;

#[cfg(any(test, feature = "simulation"))]
use crate::error::ErrorKind;
#[cfg(any(test, feature = "simulation"))]
use crate::protocol::mux;

/// The longest piece of a stream that is written as one frame: other streams have their turns in between.
pub(super) const FRAME_MAX: usize = 16 * 1024;

/// A connection's protocol.
pub(super) enum Framing {
    /// The simulator's.
    #[cfg(any(test, feature = "simulation"))]
    Mux(mux::Session),
}

/// What the peer said, in the shard's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Bytes of a stream: these of the input; nothing follows them if `last`.
    Data {
        stream: u32,
        bytes: Range<usize>,
        last: bool,
    },
    /// The peer ended a stream. `refused`: it has processed nothing of it.
    Reset {
        stream: u32,
        code: u32,
        refused: bool,
    },
    /// So many streams may there be at once.
    Limit(u32),
    /// The peer will go; it serves the streams up to `last`, and nothing of those above it has been
    /// processed.
    GoAway { last: u32 },
}

/// What one step took of its input, and what it found.
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) news: Option<News>,
}

impl Framing {
    /// The protocol of an upstream, if it has one that multiplexes.
    pub(super) fn of(url: &UpstreamUrl) -> Option<Framing> {
        if !url.is_multiplexed() {
            return None;
        }
        #[cfg(any(test, feature = "simulation"))]
        return Some(Framing::Mux(mux::Session::default()));
        #[cfg(not(any(test, feature = "simulation")))]
        None
    }

    /// How many streams there may be until the peer says otherwise.
    pub(super) fn limit_before_first(&self) -> u32 {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(_) => mux::LIMIT_BEFORE_FIRST,
        }
    }

    /// Takes what belongs together from the beginning of `input`.
    pub(super) fn step(&mut self, input: &[u8]) -> Result<Step, Error> {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(ref mut session) => {
                let step = session.step(input).map_err(fault)?;
                Ok(Step {
                    consumed: step.consumed,
                    news: step.event.and_then(news),
                })
            }
        }
    }

    /// The id of a new stream, whose first frame is to be written at once. `None`: there are no more.
    pub(super) fn open(&mut self) -> Option<u32> {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(ref mut session) => session.open(),
        }
    }

    /// Appends the beginning of a frame; `length` bytes of the stream have to follow.
    ///
    /// # Panics
    /// If that is more than [`FRAME_MAX`].
    pub(super) fn begin_data(&self, out: &mut Vec<u8>, stream: u32, length: usize, last: bool) {
        assert!(length <= FRAME_MAX, "a frame of {length} bytes");
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(_) => {
                let kind = if last {
                    mux::Kind::End
                } else {
                    mux::Kind::Data
                };
                // FRAME_MAX fits 16 bits.
                mux::encode_header(out, stream, kind, length as u16);
            }
        }
    }

    /// Appends the end of a stream before its time: nobody wants the answer any more.
    pub(super) fn cancel(&self, out: &mut Vec<u8>, stream: u32) {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(_) => {
                let code = mux::CANCELLED.to_be_bytes();
                mux::encode(out, stream, mux::Kind::Reset, &code);
            }
        }
    }

    /// Whether the peer asked something that the protocol answers by itself.
    pub(super) fn has_replies(&self) -> bool {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(ref session) => session.has_pongs(),
        }
    }

    /// Appends those answers. As long as they cannot be written the protocol keeps them, and bounds
    /// how many.
    pub(super) fn write_replies(&mut self, out: &mut Vec<u8>) {
        match *self {
            #[cfg(any(test, feature = "simulation"))]
            Framing::Mux(ref mut session) => session.write_pongs(out),
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
fn news(event: mux::Event) -> Option<News> {
    match event {
        mux::Event::Data {
            stream,
            bytes,
            last,
        } => Some(News::Data {
            stream,
            bytes,
            last,
        }),
        mux::Event::Reset { stream, code } => Some(News::Reset {
            stream,
            code,
            refused: code == mux::REFUSED,
        }),
        mux::Event::Limit(streams) => Some(News::Limit(streams)),
        mux::Event::GoAway(last) => Some(News::GoAway { last }),
        // The session answers by itself.
        mux::Event::Ping(_) | mux::Event::Pong(_) => None,
    }
}

#[cfg(any(test, feature = "simulation"))]
fn fault(error: mux::MuxError) -> Error {
    let kind = if error.is_limit() {
        ErrorKind::Limit
    } else {
        ErrorKind::Protocol
    };
    Error::new(kind, error.to_string()).caused_by(error)
}
