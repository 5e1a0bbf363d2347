//! Response heads: parsing them, and reading one that was parsed.
//!
//! Owns: the syntax of status line and headers, which httparse checks. Refused on top of that, since
//! httparse lets it pass: empty lines before the status line, LF without CR, a status below 100.
//! httparse itself refuses NUL and other control characters, CR without LF, folded lines, and white
//! space before a colon; it accepts a missing reason, and bytes from 0x80 in values and reason.
//! Never: allocates (but for `to_http`), or keeps anything of a head besides its framing facts.

use super::error::ProtocolError;
use super::framing::Facts;
use super::syntax::trim;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use std::mem::MaybeUninit;

/// Headers parsed on the first attempt: 1 KiB of stack, enough for nearly every response.
const HEADERS_FEW: usize = 32;
/// Headers parsed on the second attempt, 8 KiB of stack.
pub(super) const HEADERS_MANY: usize = 256;
/// The longest header name that the `http` crate can hold.
const NAME_BYTES_MAX: usize = (1 << 16) - 1;

/// A complete head: its size, and what it says about framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) len: usize,
    pub(super) facts: Facts,
}

/// Parses the head at the beginning of `bytes`. `None`: it goes on past their end.
pub(super) fn parse(
    bytes: &[u8],
    headers_max: usize,
    is_connect: bool,
) -> Result<Option<Parsed>, ProtocolError> {
    if bytes.first().is_some_and(|&b| b != b'H') {
        return Err(ProtocolError::StatusLine);
    }
    let mut few = [const { MaybeUninit::uninit() }; HEADERS_FEW];
    match parse_into(bytes, &mut few, headers_max, is_connect) {
        Err(ProtocolError::TooManyHeaders) if headers_max > HEADERS_FEW => {
            let mut many = [const { MaybeUninit::uninit() }; HEADERS_MANY];
            parse_into(bytes, &mut many, headers_max, is_connect)
        }
        result => result,
    }
}

fn parse_into<'b>(
    bytes: &'b [u8],
    headers: &mut [MaybeUninit<httparse::Header<'b>>],
    headers_max: usize,
    is_connect: bool,
) -> Result<Option<Parsed>, ProtocolError> {
    let mut response = httparse::Response::new(&mut []);
    let status = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, bytes, headers)
        .map_err(|error| translate(error, bytes))?;
    let len = match status {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial if has_bare_line_feed(bytes) => {
            return Err(ProtocolError::LineEnd);
        }
        httparse::Status::Partial => return Ok(None),
    };
    if has_bare_line_feed(&bytes[..len]) {
        return Err(ProtocolError::LineEnd);
    }
    let (Some(code @ 100..), Some(minor)) = (response.code, response.version) else {
        return Err(ProtocolError::StatusLine);
    };
    if response.headers.len() > headers_max {
        return Err(ProtocolError::TooManyHeaders);
    }
    if response
        .headers
        .iter()
        .any(|h| h.name.len() > NAME_BYTES_MAX)
    {
        return Err(ProtocolError::HeaderName);
    }
    let facts = Facts::of(code, minor, response.headers, is_connect)?;
    Ok(Some(Parsed { len, facts }))
}

fn translate(error: httparse::Error, bytes: &[u8]) -> ProtocolError {
    match error {
        httparse::Error::HeaderName => ProtocolError::HeaderName,
        httparse::Error::HeaderValue => ProtocolError::HeaderValue,
        httparse::Error::NewLine => ProtocolError::LineEnd,
        httparse::Error::TooManyHeaders => ProtocolError::TooManyHeaders,
        httparse::Error::Version if bytes.starts_with(b"HTTP/") => ProtocolError::Version,
        httparse::Error::Version | httparse::Error::Status | httparse::Error::Token => {
            ProtocolError::StatusLine
        }
    }
}

/// Whether a LF comes without its CR. Looks at every byte, without a branch, so that the compiler
/// can take many at once.
fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    pairs.fold(false, |bare, (&a, &b)| bare | ((b == b'\n') & (a != b'\r')))
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
    pub fn status(&self) -> u16 {
        // "HTTP/1.1 200"
        let digits = self.bytes.get(9..12).unwrap_or_default();
        let digit = |number: u16, &b: &u8| number * 10 + u16::from(b.wrapping_sub(b'0') % 10);
        digits.iter().fold(0, digit)
    }

    /// The peer's minor version: 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub fn version(&self) -> u8 {
        u8::from(self.bytes.get(7) == Some(&b'1'))
    }

    /// The reason phrase, which may be empty; any bytes but control characters.
    pub fn reason(&self) -> &'a [u8] {
        let (line, _) = split_line(self.bytes);
        line.get(13..).unwrap_or_default()
    }

    /// The value of the first header called `name`, in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// All headers in their order, names as the peer wrote them.
    pub fn headers(&self) -> Headers<'a> {
        let (_, rest) = split_line(self.bytes);
        Headers::of_section(rest)
    }

    /// The same as types of the `http` crate; allocates.
    pub fn to_http(&self) -> http::Response<()> {
        let mut response = http::Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or_default();
        *response.version_mut() = match self.version() {
            0 => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        *response.headers_mut() = to_header_map(self.headers());
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

    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let (line, rest) = split_line(self.rest);
        self.rest = rest;
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], trim(&line[colon + 1..])))
    }
}

/// The headers as a map; what the map cannot hold is left out (a validated head has no such).
pub(super) fn to_header_map(headers: Headers<'_>) -> HeaderMap {
    let fields = headers.fields;
    let mut map = HeaderMap::with_capacity(fields.len_max());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
    map
}

/// The first line without its CRLF, and what follows it.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(end) => {
            let line = &bytes[..end];
            (line.strip_suffix(b"\r").unwrap_or(line), &bytes[end + 1..])
        }
        None => (bytes, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_whole(text: &str) -> Result<Option<Parsed>, ProtocolError> {
        parse(text.as_bytes(), 100, false)
    }

    #[test]
    fn a_head_is_read_in_place() {
        let text =
            "HTTP/1.1 404 Not Found\r\nServer:x\r\nX-Empty:\r\nx-a: \t1 2 \r\nX-A: 2\r\n\r\nbody";
        let parsed = parse_whole(text).unwrap().unwrap();
        assert_eq!(parsed.len, text.len() - 4);
        let head = ResponseHead::new(&text.as_bytes()[..parsed.len]);
        assert_eq!((head.status(), head.version()), (404, 1));
        assert_eq!(head.reason(), b"Not Found");
        assert_eq!(head.header("SERVER"), Some(&b"x"[..]));
        assert_eq!(head.header("x-empty"), Some(&b""[..]));
        assert_eq!(head.header("X-a"), Some(&b"1 2"[..]));
        assert_eq!(head.header("x-b"), None);
        assert_eq!(head.headers().count(), 4);
        let response = head.to_http();
        assert_eq!(response.status(), 404);
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(response.headers().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn a_reason_is_optional_and_free() {
        for (line, reason) in [
            ("HTTP/1.0 200", &b""[..]),
            ("HTTP/1.0 200 ", b""),
            ("HTTP/1.0 200 All is  well", b"All is  well"),
            ("HTTP/1.0 999 \u{e9}", "\u{e9}".as_bytes()),
        ] {
            let text = format!("{line}\r\n\r\n");
            let parsed = parse_whole(&text).unwrap().unwrap();
            assert_eq!(parsed.len, text.len());
            let head = ResponseHead::new(text.as_bytes());
            assert_eq!((head.reason(), head.version()), (reason, 0), "{line}");
            assert_eq!(head.status(), parsed.facts.status);
            assert_eq!(head.headers().count(), 0);
        }
    }

    #[test]
    fn malformed_heads_are_refused_by_name() {
        use ProtocolError as E;
        for (text, error) in [
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", E::StatusLine),
            ("\nHTTP/1.1 200 OK\r\n\r\n", E::StatusLine),
            (" HTTP/1.1 200 OK\r\n\r\n", E::StatusLine),
            ("ICY 200 OK\r\n\r\n", E::StatusLine),
            ("HTTX/1.1 200 OK\r\n\r\n", E::StatusLine),
            ("http/1.1 200 OK\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 099 Low\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 +20 OK\r\n\r\n", E::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 200 O\0K\r\n\r\n", E::StatusLine),
            ("HTTP/1.1 200 O\rK\r\n\r\n", E::StatusLine),
            ("HTTP/1.2 200 OK\r\n\r\n", E::Version),
            ("HTTP/2.0 200 OK\r\n\r\n", E::Version),
            ("HTTP/11 200 OK\r\n\r\n", E::Version),
            ("HTTP/1.1\t200 OK\r\n\r\n", E::Version),
            ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\na : c\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\n: c\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\nnothing\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\n a: b\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\na\0: b\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\n\u{e9}: b\r\n\r\n", E::HeaderName),
            ("HTTP/1.1 200 OK\r\na: b\0c\r\n\r\n", E::HeaderValue),
            ("HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n", E::HeaderValue),
            ("HTTP/1.1 200 OK\r\na: b\x7fc\r\n\r\n", E::HeaderValue),
            ("HTTP/1.1 200 OK\r\na: b\r\n\rx", E::LineEnd),
            ("HTTP/1.1 200 OK\n\n", E::LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\n\r\n", E::LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\nc: d", E::LineEnd),
            ("HTTP/1.1 200 OK\r\na: b\r\n\n", E::LineEnd),
        ] {
            assert_eq!(parse_whole(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn headers_are_counted() {
        for count in [0, 31, 32, 33, 100, 101, 256, 257] {
            let text = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
            for max in [10, 32, 100, 256] {
                let parsed = parse(text.as_bytes(), max, false);
                if count <= max {
                    assert_eq!(parsed.unwrap().unwrap().len, text.len(), "{count} of {max}");
                } else {
                    assert_eq!(
                        parsed,
                        Err(ProtocolError::TooManyHeaders),
                        "{count} of {max}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_view_of_anything_does_not_panic() {
        for bytes in [
            &b""[..],
            b"\n",
            b"HTTP",
            b"HTTP/1.1 \xff\xff\xff",
            b"a:b\n\xff:\n:",
        ] {
            let head = ResponseHead::new(bytes);
            let _ = (
                head.status(),
                head.reason(),
                head.header("x"),
                head.to_http(),
            );
        }
    }
}
