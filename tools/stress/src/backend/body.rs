//! Request bodies, read only to be thrown away: where they end is all that matters.
//!
//! Sans-IO: bytes in, how many belonged to the body out.

/// The longest line (chunk size with extensions, or trailer) that is accepted.
const LINE_MAX: u32 = 4096;
/// The most bytes of trailers that are accepted.
const TRAILERS_MAX: u32 = 16 << 10;

/// How far the reading of a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// It has been read whole.
    Done,
    /// This many bytes are to come.
    Length(u64),
    /// In the digits of a chunk's size; the second counts them.
    ChunkSize(u64, u32),
    /// Behind the size, in an extension or before the line's end; the second counts bytes.
    ChunkExtension(u64, u32),
    /// In a chunk's data.
    ChunkData(u64),
    /// Before the CR LF behind a chunk's data; true once the CR was seen.
    ChunkEnd(bool),
    /// In the trailers: bytes of the current line, and of all lines.
    Trailers(u32, u32),
}

/// A body whose framing makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Body {
    /// A body in chunks, before its first byte.
    pub(super) const CHUNKED: Self = Self::ChunkSize(0, 0);

    /// Takes from `bytes` what belongs to the body, and says how much that was.
    pub(super) fn discard(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match *self {
                Self::Done | Self::Length(0) => {
                    *self = Self::Done;
                    return Ok(used);
                }
                Self::Length(left) => {
                    let taken = left.min(rest.len() as u64);
                    *self = Self::Length(left - taken);
                    used += taken as usize;
                    if taken < left {
                        return Ok(used);
                    }
                }
                Self::ChunkData(left) => {
                    let taken = left.min(rest.len() as u64);
                    used += taken as usize;
                    if taken < left {
                        *self = Self::ChunkData(left - taken);
                        return Ok(used);
                    }
                    *self = Self::ChunkEnd(false);
                }
                Self::ChunkSize(..)
                | Self::ChunkExtension(..)
                | Self::ChunkEnd(..)
                | Self::Trailers(..) => {
                    let Some(&byte) = rest.first() else {
                        return Ok(used);
                    };
                    *self = self.step(byte)?;
                    used += 1;
                }
            }
        }
    }

    /// One byte of what surrounds the chunks.
    fn step(self, byte: u8) -> Result<Self, Malformed> {
        match self {
            Self::ChunkSize(size, digits) => match (byte as char).to_digit(16) {
                Some(digit) if digits < 15 => {
                    Ok(Self::ChunkSize(size * 16 + u64::from(digit), digits + 1))
                }
                Some(_) => Err(Malformed),
                None if digits > 0 && matches!(byte, b';' | b' ' | b'\t' | b'\r') => {
                    Ok(Self::ChunkExtension(size, 1))
                }
                None if digits > 0 && byte == b'\n' => Ok(Self::after_size(size)),
                None => Err(Malformed),
            },
            Self::ChunkExtension(size, _) if byte == b'\n' => Ok(Self::after_size(size)),
            Self::ChunkExtension(_, LINE_MAX) => Err(Malformed),
            Self::ChunkExtension(size, length) => Ok(Self::ChunkExtension(size, length + 1)),
            Self::ChunkEnd(false) if byte == b'\r' => Ok(Self::ChunkEnd(true)),
            Self::ChunkEnd(_) if byte == b'\n' => Ok(Self::CHUNKED),
            Self::ChunkEnd(_) => Err(Malformed),
            Self::Trailers(0, _) if byte == b'\n' => Ok(Self::Done),
            Self::Trailers(_, all) if byte == b'\n' => Ok(Self::Trailers(0, all + 1)),
            Self::Trailers(line, all) if line >= LINE_MAX || all >= TRAILERS_MAX => Err(Malformed),
            Self::Trailers(line, all) => {
                Ok(Self::Trailers(line + u32::from(byte != b'\r'), all + 1))
            }
            Self::Done | Self::Length(_) | Self::ChunkData(_) => Ok(self),
        }
    }

    fn after_size(size: u64) -> Self {
        match size {
            0 => Self::Trailers(0, 0),
            size => Self::ChunkData(size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"5\r\nhello\r\nA;name=\"v\"\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n";

    #[test]
    fn a_length_ends_where_it_says() {
        let mut body = Body::Length(5);
        assert_eq!(body.discard(b"abc"), Ok(3));
        assert_eq!(body, Body::Length(2));
        assert_eq!(body.discard(b"deGET /"), Ok(2));
        assert_eq!(body, Body::Done);
        assert_eq!(body.discard(b"GET /"), Ok(0));
    }

    #[test]
    fn chunks_end_at_the_same_byte_however_they_are_cut() {
        for cut in 0..=WHOLE.len() {
            let mut body = Body::CHUNKED;
            assert_eq!(body.discard(&WHOLE[..cut]), Ok(cut));
            let mut rest = WHOLE[cut..].to_vec();
            rest.extend_from_slice(b"GET / HTTP/1.1");
            assert_eq!(body.discard(&rest), Ok(WHOLE.len() - cut), "cut at {cut}");
            assert_eq!(body, Body::Done);
        }
    }

    #[test]
    fn what_is_no_chunk_is_malformed() {
        for bad in [
            &b"\r\n"[..],
            b"xyz\r\n",
            b"-1\r\n",
            b"1\r\nab",
            b"1111111111111111\r\n",
        ] {
            assert_eq!({ Body::CHUNKED }.discard(bad), Err(Malformed), "{bad:?}");
        }
    }

    #[test]
    fn lines_and_trailers_have_limits() {
        let mut endless = b"1;".to_vec();
        endless.resize(2 * LINE_MAX as usize, b'x');
        assert_eq!({ Body::CHUNKED }.discard(&endless), Err(Malformed));
        let mut trailers = b"0\r\n".to_vec();
        trailers.extend(b"a: b\r\n".repeat(TRAILERS_MAX as usize));
        assert_eq!({ Body::CHUNKED }.discard(&trailers), Err(Malformed));
    }
}
