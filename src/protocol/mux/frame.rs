//! The syntax of frames.
//!
//! Owns: headers, read and written. Never: knows what a frame means on its connection.

use super::error::MuxError;

/// Bytes of a frame's header.
pub(super) const HEADER_LEN: usize = 7;

/// The longest payload.
pub const PAYLOAD_MAX: usize = u16::MAX as usize;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a stream.
    Data,
    /// The last bytes of a stream in this direction.
    End,
    /// The stream is over.
    Reset,
    /// How many streams there may be.
    Limit,
    /// The last stream that will be served.
    GoAway,
    /// To be answered.
    Ping,
    /// The answer.
    Pong,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        let kind = match byte {
            0 => Kind::Data,
            1 => Kind::End,
            2 => Kind::Reset,
            3 => Kind::Limit,
            4 => Kind::GoAway,
            5 => Kind::Ping,
            6 => Kind::Pong,
            _ => return None,
        };
        Some(kind)
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::End => 1,
            Kind::Reset => 2,
            Kind::Limit => 3,
            Kind::GoAway => 4,
            Kind::Ping => 5,
            Kind::Pong => 6,
        }
    }

    fn is_on_a_stream(self) -> bool {
        match self {
            Kind::Data | Kind::End | Kind::Reset => true,
            Kind::Limit | Kind::GoAway | Kind::Ping | Kind::Pong => false,
        }
    }

    fn may_be_long(self, length: u16) -> bool {
        match self {
            // Frames that say nothing cost their reader more than their writer.
            Kind::Data => length > 0,
            Kind::End => true,
            Kind::Reset | Kind::Limit | Kind::GoAway => length == 4,
            Kind::Ping | Kind::Pong => length == 8,
        }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) stream: u32,
    pub(super) kind: Kind,
    pub(super) length: u16,
}

impl Header {
    pub(super) fn read(bytes: [u8; HEADER_LEN]) -> Result<Header, MuxError> {
        let [s0, s1, s2, s3, kind, l0, l1] = bytes;
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        let length = u16::from_be_bytes([l0, l1]);
        let kind = Kind::of(kind).ok_or(MuxError::Kind(kind))?;
        if !kind.may_be_long(length) {
            return Err(MuxError::Length(kind, length));
        }
        if kind.is_on_a_stream() != (stream != 0) {
            return Err(MuxError::Place(kind, stream));
        }
        Ok(Header {
            stream,
            kind,
            length,
        })
    }
}

/// Appends a frame's header; `length` bytes have to follow.
pub fn encode_header(out: &mut Vec<u8>, stream: u32, kind: Kind, length: u16) {
    out.extend_from_slice(&stream.to_be_bytes());
    out.push(kind.byte());
    out.extend_from_slice(&length.to_be_bytes());
}

/// Appends a whole frame.
///
/// # Panics
/// If `payload` is longer than [`PAYLOAD_MAX`].
pub fn encode(out: &mut Vec<u8>, stream: u32, kind: Kind, payload: &[u8]) {
    let length = u16::try_from(payload.len()).expect("a payload has up to PAYLOAD_MAX bytes");
    encode_header(out, stream, kind, length);
    out.extend_from_slice(payload);
}
