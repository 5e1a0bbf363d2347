//! Decodes chunked response bodies (RFC 9112 §7.1).
//!
//! Owns: how far into the chunks we are, and the raw trailers at their end.
//! Never: needs a byte of framing twice, or takes one beyond the last line.

use super::Limits;
use super::body::{BodyStep, take};
use super::error::ProtocolError;
use super::head::{HEADERS_MANY, parse_fields};
use std::ops::Range;

/// Finds the data in a chunked body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    at: At,
    /// Bytes of padding and extensions so far.
    extension_bytes: usize,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// A digit of a chunk's size, or the end of them.
    Size { size: u64, digits: u8 },
    /// Padding, an extension, or CR.
    Padding { size: u64 },
    /// More of an extension, or CR.
    Extension { size: u64 },
    /// The LF after a chunk's size.
    SizeLf { size: u64 },
    /// Data, at least one byte.
    Data { left: u64 },
    /// The CR after data.
    DataCr,
    /// The LF after data.
    DataLf,
    /// A trailer line, or the CR of the last, empty one.
    TrailerStart,
    /// The rest of a trailer line.
    TrailerLine,
    /// The LF of a trailer line.
    TrailerLf,
    /// The LF of the last, empty line.
    EndLf,
    /// Nothing.
    Done,
}

const SIZE: At = At::Size { size: 0, digits: 0 };

impl Chunked {
    pub(super) const fn new() -> Chunked {
        Chunked {
            at: SIZE,
            extension_bytes: 0,
        }
    }

    pub(super) fn step(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        trailers: &mut Vec<u8>,
    ) -> Result<BodyStep, ProtocolError> {
        let start = self.framing(bytes, limits, trailers)?;
        let At::Data { left } = self.at else {
            return Ok(self.found(start, start..start));
        };
        let end = start + take(left, bytes.len() - start);
        self.at = match left - (end - start) as u64 {
            0 => At::DataCr,
            left => At::Data { left },
        };
        // Framing behind the data is taken along, so that the end comes with the last piece of data.
        // If it is malformed, the data goes first, and the next step finds the fault again.
        let (before, trailers_before) = (*self, trailers.len());
        match self.framing(&bytes[end..], limits, trailers) {
            Ok(len) => Ok(self.found(end + len, start..end)),
            Err(_) => {
                *self = before;
                trailers.truncate(trailers_before);
                Ok(self.found(end, start..end))
            }
        }
    }

    fn found(&self, consumed: usize, data: Range<usize>) -> BodyStep {
        BodyStep {
            consumed,
            data,
            done: self.at == At::Done,
        }
    }

    /// Consumes framing up to the next data, the end of the body, or the end of `bytes`.
    fn framing(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        trailers: &mut Vec<u8>,
    ) -> Result<usize, ProtocolError> {
        for (n, &byte) in bytes.iter().enumerate() {
            self.at = match self.at {
                At::Data { .. } | At::Done => return Ok(n),
                At::Size { size, digits } => self.size(size, digits, byte, limits)?,
                At::Padding { size } => self.padding(size, byte, limits)?,
                At::Extension { size } => self.extension(size, byte, limits)?,
                At::SizeLf { size: 0 } if byte == b'\n' => At::TrailerStart,
                At::SizeLf { size } if byte == b'\n' => At::Data { left: size },
                At::SizeLf { .. } => return Err(ProtocolError::ChunkSize),
                At::DataCr if byte == b'\r' => At::DataLf,
                At::DataLf if byte == b'\n' => SIZE,
                At::DataCr | At::DataLf => return Err(ProtocolError::ChunkEnd),
                At::TrailerStart | At::TrailerLine | At::TrailerLf | At::EndLf => {
                    trailer(self.at, byte, limits, trailers)?
                }
            };
        }
        Ok(bytes.len())
    }

    fn size(
        &mut self,
        size: u64,
        digits: u8,
        byte: u8,
        limits: &Limits,
    ) -> Result<At, ProtocolError> {
        if let Some(digit) = (byte as char).to_digit(16) {
            // Sixteen digits fit in 64 bits; leading zeroes count, since a line of them has no end.
            if digits == 16 {
                return Err(ProtocolError::ChunkSizeOverflow);
            }
            return Ok(At::Size {
                size: size << 4 | u64::from(digit),
                digits: digits + 1,
            });
        }
        if digits == 0 {
            return Err(ProtocolError::ChunkSize);
        }
        self.padding(size, byte, limits)
    }

    /// The grammar has white space only before an extension; old servers pad with it. Nothing else may follow it: what
    /// others take for another digit, or for a size of its own, is not skipped.
    fn padding(&mut self, size: u64, byte: u8, limits: &Limits) -> Result<At, ProtocolError> {
        match byte {
            b' ' | b'\t' => {
                self.extension(size, byte, limits)?;
                Ok(At::Padding { size })
            }
            b';' | b'\r' => self.extension(size, byte, limits),
            _ => Err(ProtocolError::ChunkSize),
        }
    }

    /// Extensions are skipped, whatever they say (RFC 9112 §7.1.1), but for control characters: a
    /// lone LF in one is where other parsers end the line.
    fn extension(&mut self, size: u64, byte: u8, limits: &Limits) -> Result<At, ProtocolError> {
        if byte == b'\r' {
            return Ok(At::SizeLf { size });
        }
        if byte.is_ascii_control() && byte != b'\t' {
            return Err(ProtocolError::ChunkSize);
        }
        self.extension_bytes += 1;
        if self.extension_bytes > limits.chunk_extension_bytes_max {
            return Err(ProtocolError::ChunkExtensionsTooLarge);
        }
        Ok(At::Extension { size })
    }
}

/// Takes in one byte of the trailer section. Its lines are kept raw, and checked at its end; the
/// last, empty line is kept only where others came before it.
fn trailer(at: At, byte: u8, limits: &Limits, trailers: &mut Vec<u8>) -> Result<At, ProtocolError> {
    let next = match (at, byte) {
        (At::TrailerStart, b'\r') => At::EndLf,
        (At::EndLf, b'\n') => At::Done,
        (At::TrailerLine, b'\r') => At::TrailerLf,
        (At::TrailerLf, b'\n') => At::TrailerStart,
        (At::TrailerStart | At::TrailerLine, b'\n') | (At::TrailerLf | At::EndLf, _) => {
            return Err(ProtocolError::Trailers);
        }
        (_, _) => At::TrailerLine,
    };
    if trailers.is_empty() && matches!(next, At::EndLf | At::Done) {
        return Ok(next);
    }
    if trailers.len() == limits.trailer_bytes_max {
        return Err(ProtocolError::TrailersTooLarge);
    }
    trailers.push(byte);
    if next == At::Done {
        check_trailers(trailers, limits)?;
    }
    Ok(next)
}

fn check_trailers(trailers: &[u8], limits: &Limits) -> Result<(), ProtocolError> {
    let headers_max = limits.headers_max.min(HEADERS_MANY);
    match parse_fields(trailers, 0, headers_max, |_, _| Ok(())) {
        Ok(Some(_)) => Ok(()),
        Err(ProtocolError::TooManyHeaders) => Err(ProtocolError::TrailersTooLarge),
        Ok(None) | Err(_) => Err(ProtocolError::Trailers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Decoder;
    use super::super::{encode_chunk, encode_last_chunk};
    use super::*;
    use proptest::prelude::*;

    struct Decoded {
        data: Vec<u8>,
        consumed: usize,
        trailers: Vec<u8>,
        result: Result<bool, ProtocolError>,
    }

    /// Decodes `pieces` one after the other, as far as they go.
    fn decode<'a>(
        mut decoder: Decoder,
        limits: &Limits,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> Decoded {
        let mut decoded = Decoded {
            data: Vec::new(),
            consumed: 0,
            trailers: Vec::new(),
            result: Ok(false),
        };
        for mut piece in pieces {
            while !piece.is_empty() && decoded.result == Ok(false) {
                match decoder.step(piece, limits, &mut decoded.trailers) {
                    Ok(step) => {
                        assert!(step.consumed > 0, "a step makes progress");
                        decoded.data.extend(&piece[step.data]);
                        decoded.consumed += step.consumed;
                        decoded.result = Ok(step.done);
                        piece = &piece[step.consumed..];
                    }
                    Err(error) => decoded.result = Err(error),
                }
            }
        }
        decoded
    }

    fn chunked(text: &str) -> Decoded {
        let decoder = Decoder::Chunked(Chunked::new());
        let whole = decode(decoder, &Limits::default(), [text.as_bytes()]);
        for at in 1..text.len() {
            let (a, b) = text.as_bytes().split_at(at);
            let split = decode(decoder, &Limits::default(), [a, b]);
            assert_eq!(split.result, whole.result, "{text:?} split at {at}");
            assert_eq!(split.data, whole.data, "{text:?} split at {at}");
            if whole.result == Ok(true) {
                assert_eq!(split.trailers, whole.trailers, "{text:?} split at {at}");
                assert_eq!(split.consumed, whole.consumed, "{text:?} split at {at}");
            }
        }
        whole
    }

    #[test]
    fn chunks_are_found_wherever_they_are_split() {
        for (text, data) in [
            ("0\r\n\r\n", ""),
            ("000\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
            (
                "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
                "01234567890123456789",
            ),
            ("2;name=value\r\nab\r\n0;last=\"1\"\r\n\r\n", "ab"),
            ("2  \r\n\r\n\r\n0\t;x\r\n\r\n", "\r\n"),
            ("2 ; a=b ;c\r\nab\r\n0 \r\n\r\n", "ab"),
            ("0000000000000002\r\nab\r\n0\r\n\r\n", "ab"),
        ] {
            let decoded = chunked(text);
            assert_eq!(decoded.result, Ok(true), "{text:?}");
            assert_eq!(decoded.data, data.as_bytes(), "{text:?}");
            assert_eq!(decoded.consumed, text.len(), "{text:?}");
        }
    }

    #[test]
    fn the_end_comes_with_the_last_data_and_takes_nothing_more() {
        let mut decoder = Decoder::Chunked(Chunked::new());
        let bytes = b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1";
        let step = decoder
            .step(bytes, &Limits::default(), &mut Vec::new())
            .unwrap();
        assert_eq!(
            step,
            BodyStep {
                consumed: 15,
                data: 3..8,
                done: true
            }
        );
        let step = Decoder::Length(3)
            .step(b"abcdef", &Limits::default(), &mut Vec::new())
            .unwrap();
        assert_eq!((step.consumed, step.data, step.done), (3, 0..3, true));
    }

    #[test]
    fn malformed_chunks_are_refused_after_the_data_before_them() {
        use ProtocolError as E;
        for (text, data, error) in [
            ("x", "", E::ChunkSize),
            ("\r\n", "", E::ChunkSize),
            (" 5\r\nhello", "", E::ChunkSize),
            ("+5\r\nhello", "", E::ChunkSize),
            ("-1\r\n", "", E::ChunkSize),
            ("0x5\r\nhello", "", E::ChunkSize),
            (";a\r\n", "", E::ChunkSize),
            ("5 0\r\nhello", "", E::ChunkSize),
            ("5\tx\r\nhello", "", E::ChunkSize),
            ("5 x;a\r\nhello", "", E::ChunkSize),
            ("5\nhello", "", E::ChunkSize),
            ("5\rhello", "", E::ChunkSize),
            ("5;a\nhello", "", E::ChunkSize),
            ("5;a\0\r\nhello", "", E::ChunkSize),
            ("5;a\r\r\nhello", "", E::ChunkSize),
            ("5\r\nhello0\r\n\r\n", "hello", E::ChunkEnd),
            ("5\r\nhello\n0\r\n\r\n", "hello", E::ChunkEnd),
            ("5\r\nhello\rx", "hello", E::ChunkEnd),
            ("5\r\nhello\r\ng", "hello", E::ChunkSize),
            ("10000000000000000\r\n", "", E::ChunkSizeOverflow),
            ("00000000000000001\r\n", "", E::ChunkSizeOverflow),
            ("0\r\n\n", "", E::Trailers),
            ("0\r\n\rx", "", E::Trailers),
            ("0\r\na: b\n\r\n", "", E::Trailers),
            ("0\r\na: b\rc\r\n\r\n", "", E::Trailers),
            ("0\r\na b\r\n\r\n", "", E::Trailers),
            ("0\r\na: b\r\n c\r\n\r\n", "", E::Trailers),
            ("1\r\nz\r\n0\r\na : b\r\n\r\n", "z", E::Trailers),
            ("1\r\nz\r\n0\r\na: \0\r\n\r\n", "z", E::Trailers),
        ] {
            let decoded = chunked(text);
            assert_eq!(decoded.result, Err(error), "{text:?}");
            assert_eq!(decoded.data, data.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn the_largest_chunk_is_not_believed_to_be_there() {
        let decoded = chunked("ffffffffffffffff\r\nabc");
        assert_eq!(
            (decoded.result, &decoded.data[..]),
            (Ok(false), &b"abc"[..])
        );
    }

    #[test]
    fn trailers_are_kept_raw() {
        let decoded = chunked("1\r\nz\r\n0\r\nA: b\r\nc:d\r\n\r\n");
        assert_eq!(decoded.result, Ok(true));
        assert_eq!(decoded.trailers, b"A: b\r\nc:d\r\n\r\n");
    }

    #[test]
    fn extensions_and_trailers_are_limited() {
        let limits = Limits {
            chunk_extension_bytes_max: 4,
            trailer_bytes_max: 8,
            headers_max: 1,
            ..Limits::default()
        };
        for (text, result) in [
            ("1;a\r\nz\r\n0;b\r\n\r\n", Ok(true)),
            (
                "1;a\r\nz\r\n0;bc\r\n\r\n",
                Err(ProtocolError::ChunkExtensionsTooLarge),
            ),
            ("1     \r\n", Err(ProtocolError::ChunkExtensionsTooLarge)),
            ("0\r\na: b\r\n\r\n", Ok(true)),
            ("0\r\na: bc\r\n\r\n", Err(ProtocolError::TrailersTooLarge)),
            (
                "0\r\na:\r\nb:\r\n\r\n",
                Err(ProtocolError::TrailersTooLarge),
            ),
        ] {
            let limits = Limits {
                trailer_bytes_max: if text.contains("b:") { 99 } else { 8 },
                ..limits
            };
            let decoder = Decoder::Chunked(Chunked::new());
            assert_eq!(
                decode(decoder, &limits, [text.as_bytes()]).result,
                result,
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded_in_any_pieces(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                encode_chunk(&mut wire, chunk);
            }
            encode_last_chunk(&mut wire, None).unwrap();
            let len = wire.len();
            wire.extend(b"excess");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]);
            let decoded = decode(Decoder::Chunked(Chunked::new()), &Limits::default(), pieces);
            prop_assert_eq!(decoded.result, Ok(true));
            prop_assert_eq!(decoded.data, chunks.concat());
            prop_assert_eq!(decoded.consumed, len);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_stand_still(
            bytes in prop::collection::vec(
                prop::sample::select(&b"0019af;\r\n \t:ax\0\xff"[..]), 0..60),
        ) {
            let decoder = Decoder::Chunked(Chunked::new());
            let whole = decode(decoder, &Limits::default(), [&bytes[..]]);
            let single = decode(decoder, &Limits::default(), bytes.chunks(1));
            prop_assert_eq!(whole.result, single.result);
            prop_assert_eq!(whole.data, single.data);
        }
    }
}
