//! Frames out of bytes that come in pieces, cut anywhere.
//!
//! Owns: what is left of a header, or of a short payload, between two pieces. Never: keeps a stream's
//! bytes; those are passed on where they lie, as they come.

use super::error::MuxError;
use super::frame::{HEADER_LEN, Header, Kind};
use std::ops::Range;

/// What a frame said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of a stream: these of the input. A frame's bytes may come as several of these.
    Data {
        /// Whose.
        stream: u32,
        /// Where, in the input of this step.
        bytes: Range<usize>,
        /// Nothing follows in this direction.
        last: bool,
    },
    /// The stream is over.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        code: u32,
    },
    /// How many streams there may be at once.
    Limit(u32),
    /// The last stream that will be served.
    GoAway(u32),
    /// To be answered with the same bytes.
    Ping([u8; 8]),
    /// An answer.
    Pong([u8; 8]),
}

/// What one step took of its input, and what it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many bytes are done with; more than none if there was input.
    pub consumed: usize,
    /// What they said, if they are the end of something.
    pub event: Option<Event>,
}

/// Takes bytes, gives events.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Within a header.
    Header(Gathered<HEADER_LEN>),
    /// Within a stream's bytes.
    Bytes { stream: u32, left: u16, last: bool },
    /// Within the payload of another frame.
    Payload(Header, Gathered<8>),
}

impl Default for State {
    fn default() -> State {
        State::Header(Gathered::default())
    }
}

impl Decoder {
    /// Whether the bytes so far end with a whole frame.
    pub fn is_between_frames(&self) -> bool {
        matches!(&self.state, State::Header(gathered) if gathered.len == 0)
    }

    /// Takes what belongs together from the beginning of `input`.
    ///
    /// # Errors
    /// If that is no frame. What follows an error means nothing.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, MuxError> {
        match &mut self.state {
            State::Header(gathered) => {
                let consumed = gathered.take(input, HEADER_LEN);
                let event = match gathered.whole() {
                    Some(header) => self.begin(Header::read(header)?, consumed),
                    None => None,
                };
                Ok(Step { consumed, event })
            }
            State::Bytes { stream, left, last } => {
                let consumed = input.len().min(usize::from(*left));
                if consumed == 0 {
                    return Ok(Step::nothing());
                }
                // Not longer than what is left, which is 16 bits wide.
                *left -= consumed as u16;
                let done = *left == 0;
                let event = Event::Data {
                    stream: *stream,
                    bytes: 0..consumed,
                    last: *last && done,
                };
                if done {
                    self.state = State::default();
                }
                Ok(Step {
                    consumed,
                    event: Some(event),
                })
            }
            State::Payload(header, gathered) => {
                let header = *header;
                let consumed = gathered.take(input, usize::from(header.length));
                let done = gathered.len == usize::from(header.length);
                let event = done.then(|| said(header, gathered.bytes));
                if done {
                    self.state = State::default();
                }
                Ok(Step { consumed, event })
            }
        }
    }

    /// A header is complete: what comes next? Only an END without bytes says something by itself.
    fn begin(&mut self, header: Header, at: usize) -> Option<Event> {
        let Header {
            stream,
            kind,
            length,
        } = header;
        self.state = match kind {
            Kind::End if length == 0 => {
                self.state = State::default();
                return Some(Event::Data {
                    stream,
                    bytes: at..at,
                    last: true,
                });
            }
            Kind::Data | Kind::End => State::Bytes {
                stream,
                left: length,
                last: kind == Kind::End,
            },
            Kind::Reset | Kind::Limit | Kind::GoAway | Kind::Ping | Kind::Pong => {
                State::Payload(header, Gathered::default())
            }
        };
        None
    }
}

impl Step {
    fn nothing() -> Step {
        Step {
            consumed: 0,
            event: None,
        }
    }
}

/// What a frame with a short payload said.
fn said(header: Header, payload: [u8; 8]) -> Event {
    let [b0, b1, b2, b3, ..] = payload;
    let number = u32::from_be_bytes([b0, b1, b2, b3]);
    match header.kind {
        Kind::Reset => Event::Reset {
            stream: header.stream,
            code: number,
        },
        Kind::Limit => Event::Limit(number),
        Kind::GoAway => Event::GoAway(number),
        Kind::Ping => Event::Ping(payload),
        Kind::Pong => Event::Pong(payload),
        Kind::Data | Kind::End => unreachable!("a stream's bytes are not gathered"),
    }
}

/// The beginning of something of up to `N` bytes.
#[derive(Debug)]
struct Gathered<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Gathered<N> {
    fn default() -> Gathered<N> {
        Gathered {
            bytes: [0; N],
            len: 0,
        }
    }
}

impl<const N: usize> Gathered<N> {
    /// Takes what is missing up to `length`; returns how much that was.
    fn take(&mut self, input: &[u8], length: usize) -> usize {
        let taken = input.len().min(length - self.len);
        self.bytes[self.len..self.len + taken].copy_from_slice(&input[..taken]);
        self.len += taken;
        taken
    }

    fn whole(&self) -> Option<[u8; N]> {
        (self.len == N).then_some(self.bytes)
    }
}
