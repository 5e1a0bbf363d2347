//! Response heads: parsing them, and reading one that was parsed.
//!
//! Owns: the syntax of status line and headers (RFC 9112 §4 and §5), read in one pass. Refused: whatever is before the
//! status line, a version but 1.0 and 1.1, a status below 100, LF without CR and CR without LF, NUL and other control
//! characters, folded lines, and white space before a colon. Accepted: a missing reason, and bytes from 0x80 in values and reason.
//! Never: allocates (but for `to_http`), or keeps anything of a head besides its framing facts.

use super::error::ProtocolError;
use super::framing::Facts;
use super::scan::{text_end, token_end};
use super::syntax::trim;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

/// The most headers that any limit allows.
pub(super) const HEADERS_MANY: usize = 256;
/// The longest header name that the `http` crate can hold.
const NAME_BYTES_MAX: usize = (1 << 16) - 1;
/// The shortest status line is `HTTP/1.1 200`, and a byte that ends it.
const STATUS_LINE_MIN: usize = 13;

/// A complete head: its size, and what it says about framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) len: usize,
    pub(super) facts: Facts,
}

/// Parses the head at the beginning of `bytes`. `None`: it goes on past their end, and is fine so far.
pub(super) fn parse(
    bytes: &[u8],
    headers_max: usize,
    is_connect: bool,
) -> Result<Option<Parsed>, ProtocolError> {
    let Some((status, minor)) = parse_status(bytes) else {
        return no_status(bytes);
    };
    let Some(fields) = line_end(bytes, reason_end(bytes), ProtocolError::StatusLine)? else {
        return Ok(None);
    };
    let mut facts = Facts::new(status, minor);
    let note = |name: &[u8], value: &[u8]| facts.note(name, value, is_connect);
    let Some(len) = parse_fields(bytes, fields, headers_max, note)? else {
        return Ok(None);
    };
    let facts = facts.whole()?;
    Ok(Some(Parsed { len, facts }))
}

/// Status and minor version. What follows them is a space, or the end of the line. `None`: [`no_status`] says why.
#[inline]
fn parse_status(bytes: &[u8]) -> Option<(u16, u8)> {
    let line = bytes.first_chunk::<STATUS_LINE_MIN>()?;
    let [version @ .., b' ', x, y, z, b' ' | b'\r'] = line else {
        return None;
    };
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return None,
    };
    if !matches!((x, y, z), (b'1'..=b'9', b'0'..=b'9', b'0'..=b'9')) {
        return None;
    }
    let digit = |b: &u8| u16::from(b - b'0');
    Some((100 * digit(x) + 10 * digit(y) + digit(z), minor))
}

/// What is wrong with the beginning of a status line, byte by byte; it may end anywhere. `None`: nothing, as far as it goes.
#[cold]
fn no_status(bytes: &[u8]) -> Result<Option<Parsed>, ProtocolError> {
    for (n, &b) in bytes.iter().take(STATUS_LINE_MIN).enumerate() {
        let (good, error) = match n {
            0..5 => (b == b"HTTP/"[n], ProtocolError::StatusLine),
            5 => (b == b'1', ProtocolError::Version),
            6 => (b == b'.', ProtocolError::Version),
            7 => (matches!(b, b'0' | b'1'), ProtocolError::Version),
            8 => (b == b' ', ProtocolError::Version),
            9 => (matches!(b, b'1'..=b'9'), ProtocolError::StatusLine),
            10 | 11 => (b.is_ascii_digit(), ProtocolError::StatusLine),
            _ if b == b'\n' => (false, ProtocolError::LineEnd),
            _ => (matches!(b, b' ' | b'\r'), ProtocolError::StatusLine),
        };
        if !good {
            return Err(error);
        }
    }
    debug_assert!(bytes.len() < STATUS_LINE_MIN, "a status, and not found");
    Ok(None)
}

/// Where the reason ends, which may be empty: the first control character after the status.
#[inline]
fn reason_end(bytes: &[u8]) -> usize {
    text_end(bytes, STATUS_LINE_MIN - 1)
}

/// Parses header lines from `at` on, and the empty one that ends them, and tells each name and value, with the white space
/// around it, to `each`. Where they end; `None`: past the end of `bytes`.
#[inline]
pub(super) fn parse_fields(
    bytes: &[u8],
    mut at: usize,
    headers_max: usize,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), ProtocolError>,
) -> Result<Option<usize>, ProtocolError> {
    let mut left = headers_max;
    loop {
        let colon = token_end(bytes, at);
        match bytes.get(colon) {
            Some(b':') if colon > at => {}
            // No name: this is the end, or nothing that a head can have.
            Some(b'\r' | b'\n') if colon == at => {
                return line_end(bytes, at, ProtocolError::LineEnd);
            }
            Some(_) => return Err(ProtocolError::HeaderName),
            None => return Ok(None),
        }
        if left == 0 {
            return Err(ProtocolError::TooManyHeaders);
        }
        left -= 1;
        let name = &bytes[at..colon];
        if name.len() > NAME_BYTES_MAX {
            return Err(ProtocolError::HeaderName);
        }
        let end = text_end(bytes, colon + 1);
        let Some(next) = line_end(bytes, end, ProtocolError::HeaderValue)? else {
            return Ok(None);
        };
        each(name, &bytes[colon + 1..end])?;
        at = next;
    }
}

/// Where the line goes on that ends with the CRLF at `at`; `None`: past the end of `bytes`. `otherwise`: what it is if
/// something else is there.
#[inline]
fn line_end(
    bytes: &[u8],
    at: usize,
    otherwise: ProtocolError,
) -> Result<Option<usize>, ProtocolError> {
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(Some(at + 2)),
        Some(_) | None => no_line_end(bytes, at, otherwise),
    }
}

#[cold]
fn no_line_end(
    bytes: &[u8],
    at: usize,
    otherwise: ProtocolError,
) -> Result<Option<usize>, ProtocolError> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r') | None, None) => Ok(None),
        (Some(b'\n'), _) => Err(ProtocolError::LineEnd),
        _ => Err(otherwise),
    }
}

/// Whether a line that ends at or after `from` is the last of a head, or one that no head can have:
/// a cheap look, to tell whether parsing again is worth it.
pub(super) fn may_end(bytes: &[u8], from: usize) -> bool {
    (from..bytes.len())
        .any(|n| bytes[n] == b'\n' && (n < 2 || bytes[n - 1] != b'\r' || bytes[n - 2] == b'\n'))
}

/// A view of a head that `Exchange::head` has found complete. It holds no
/// more than the bytes, and reads them as it is asked.
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    bytes: &'a [u8],
}

impl<'a> ResponseHead<'a> {
    /// A view of `validated`: exactly the bytes that `Exchange::head` gave the length of. Of other
    /// bytes it tells nonsense, but does not panic.
    pub const fn new(validated: &'a [u8]) -> ResponseHead<'a> {
        ResponseHead { bytes: validated }
    }

    /// The status code, from 100 to 999.
    #[inline]
    pub fn status(&self) -> u16 {
        // "HTTP/1.1 200"
        match self.bytes.get(9..12) {
            Some(&[x, y, z]) => {
                let digit = |b: u8| u16::from(b & 0x0f);
                100 * digit(x) + 10 * digit(y) + digit(z)
            }
            Some(_) | None => 0,
        }
    }

    /// The peer's minor version: 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub fn version(&self) -> u8 {
        u8::from(self.bytes.get(7) == Some(&b'1'))
    }

    /// The reason phrase, which may be empty; any bytes but control characters.
    pub fn reason(&self) -> &'a [u8] {
        let end = reason_end(self.bytes);
        self.bytes.get(STATUS_LINE_MIN..end).unwrap_or_default()
    }

    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers in their order, names as the peer wrote them.
    pub fn headers(&self) -> Headers<'a> {
        let fields = self.bytes.get(reason_end(self.bytes) + 2..);
        Headers::of_section(fields.unwrap_or_default())
    }

    /// The same as types of the `http` crate; allocates.
    pub fn to_http(&self) -> http::Response<()> {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or_default();
        *response.version_mut() = match self.version() {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        append_to(response.headers_mut(), self.headers());
        response
    }
}

impl std::fmt::Debug for ResponseHead<'_> {
    /// Names only: values may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.status())?;
        f.debug_list()
            .entries(self.headers().map(|(name, _)| name))
            .finish()
    }
}

/// Iterates over the headers of a head: names, and values without the white space around them.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    fields: Fields<'a>,
}

impl<'a> Headers<'a> {
    /// The headers of a section that has no status line, such as trailers.
    pub(super) const fn of_section(validated: &'a [u8]) -> Headers<'a> {
        let fields = Fields { rest: validated };
        Headers { fields }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<(&'a str, &'a [u8])> {
        let (name, value) = self.fields.next()?;
        Some((std::str::from_utf8(name).ok()?, value))
    }
}

/// The same, as bytes: that names are ASCII is known already.
#[derive(Clone, Debug)]
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    /// As many as there are lines, at most.
    fn len_max(&self) -> usize {
        memchr::memchr_iter(b'\n', self.rest).count()
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let colon = token_end(self.rest, 0);
        if self.rest.get(colon) != Some(&b':') {
            return None;
        }
        let end = text_end(self.rest, colon + 1);
        let field = (&self.rest[..colon], trim(&self.rest[colon + 1..end]));
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        Some(field)
    }
}

/// The headers as a map.
pub(super) fn to_header_map(headers: Headers<'_>) -> HeaderMap {
    let mut map = HeaderMap::new();
    append_to(&mut map, headers);
    map
}

/// Adds the headers to a map; what it cannot hold is left out (a validated head has no such).
fn append_to(map: &mut HeaderMap, headers: Headers<'_>) {
    let fields = headers.fields;
    map.reserve(fields.len_max());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
}

#[cfg(test)]
mod against_httparse;
#[cfg(test)]
mod tests;
