//! Decodes a response body as it comes in.
//!
//! Owns: how far into the body we are. Takes in whatever it is given and needs nothing again, so a
//! caller never has to gather pieces of framing.
//! Never: copies data (only trailers are kept), or takes a byte beyond the body's end.

use super::Limits;
use super::chunked::Chunked;
use super::error::ProtocolError;
use std::ops::Range;

/// What one step of decoding found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyStep {
    /// How many bytes are done with: the data, and framing before and after it.
    pub consumed: usize,
    /// Where in the given bytes a piece of the body is; may be empty.
    pub data: Range<usize>,
    /// Whether the body is complete.
    pub done: bool,
}

/// Finds the data in a body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decoder {
    /// So many bytes are left, at least one.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked(Chunked),
    /// All that comes is data.
    UntilClose,
}

impl Decoder {
    /// One step: at most one piece of data. If there are bytes, it consumes some.
    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        trailers: &mut Vec<u8>,
    ) -> Result<BodyStep, ProtocolError> {
        match self {
            Decoder::Length(left) => {
                let len = take(*left, bytes.len());
                *left -= len as u64;
                Ok(BodyStep {
                    consumed: len,
                    data: 0..len,
                    done: *left == 0,
                })
            }
            Decoder::Chunked(chunked) => chunked.step(bytes, limits, trailers),
            Decoder::UntilClose => Ok(BodyStep {
                consumed: bytes.len(),
                data: 0..bytes.len(),
                done: false,
            }),
        }
    }

    /// How many bytes of data are left, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self {
            Decoder::Length(left) => Some(*left),
            Decoder::Chunked(_) | Decoder::UntilClose => None,
        }
    }
}

/// How many of `available` bytes belong to the `left` that are wanted.
pub(super) fn take(left: u64, available: usize) -> usize {
    usize::try_from(left).map_or(available, |left| left.min(available))
}
