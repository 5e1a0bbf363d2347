//! Heads beside httparse, which has read the responses of many servers: ours accepts what it accepts, but for what is refused on
//! purpose, reads the same of it, and refuses what it refuses by the same name.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const HEADERS_MAX: usize = 8;

/// What httparse makes of a head, and the rules of ours that it does not know.
fn reference(bytes: &[u8], is_connect: bool) -> Result<Option<Parsed>, ProtocolError> {
    if bytes.first().is_some_and(|&b| b != b'H') {
        return Err(ProtocolError::StatusLine);
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(bytes).map_err(|error| match error {
        httparse::Error::HeaderName => ProtocolError::HeaderName,
        httparse::Error::HeaderValue => ProtocolError::HeaderValue,
        httparse::Error::NewLine => ProtocolError::LineEnd,
        httparse::Error::TooManyHeaders => ProtocolError::TooManyHeaders,
        httparse::Error::Version if bytes.starts_with(b"HTTP/") => ProtocolError::Version,
        httparse::Error::Version | httparse::Error::Status | httparse::Error::Token => {
            ProtocolError::StatusLine
        }
    })?;
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
    if response.headers.len() > HEADERS_MAX {
        return Err(ProtocolError::TooManyHeaders);
    }
    let mut facts = Facts::new(code, minor);
    for header in &*response.headers {
        facts.note(header.name.as_bytes(), header.value, is_connect)?;
    }
    let facts = facts.whole()?;
    let head = ResponseHead::new(&bytes[..len]);
    let pairs = response.headers.iter().map(|h| (h.name, h.value));
    assert!(head.headers().eq(pairs), "the same headers in {head:?}");
    assert_eq!(head.status(), code);
    assert_eq!(head.version(), minor);
    let reason = String::from_utf8_lossy(head.reason());
    // httparse leaves out a reason that is not ASCII.
    if reason.is_ascii() {
        assert_eq!(Some(&*reason), response.reason);
    }
    Ok(Some(Parsed { len, facts }))
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let is_bare = |n: usize| bytes[n] == b'\n' && (n == 0 || bytes[n - 1] != b'\r');
    (0..bytes.len()).any(is_bare)
}

/// Whether ours may say so sooner, or instead of another fault that comes later.
fn is_found_in_passing(error: ProtocolError, bytes: &[u8]) -> bool {
    match error {
        ProtocolError::LineEnd
        | ProtocolError::TooManyHeaders
        | ProtocolError::ContentLength
        | ProtocolError::ContentLengthConflict
        | ProtocolError::TransferEncoding => true,
        ProtocolError::StatusLine => bytes.get(9) == Some(&b'0'),
        _ => false,
    }
}

fn compare(bytes: &[u8]) {
    for is_connect in [false, true] {
        let ours = parse(bytes, HEADERS_MAX, is_connect);
        let theirs = reference(bytes, is_connect);
        match (ours, theirs) {
            (ours, theirs) if ours == theirs => {}
            (Err(error), Ok(None) | Err(_)) if is_found_in_passing(error, bytes) => {}
            (ours, theirs) => panic!("{ours:?}, httparse: {theirs:?}: {:?}", bytes.escape_ascii()),
        }
    }
}

/// Pieces that heads are made of, sound and not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let common = prop::sample::select(vec![
        &b"\r\n"[..],
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b":",
        b": ",
        b" ",
        b"\t",
        b"\0",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"a",
        b"-",
        b"a: b\r\n",
        b"Content-Length: 5\r\n",
        b"content-length:6",
        b"Content-Length: 5, 5 \r\n",
        b"CONTENT-LENGTH:\t7\t\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"transfer-encoding:\tChunked \r\n",
        b"Connection: close\r\n",
        b"connection: keep-alive, x\r\n",
        b"X-Long-Name-With_Underscore.1: a value of some length\t\r\n",
        b" folded\r\n",
        b"name",
        b"x-y-z-123456789",
        b"@",
        b"[",
        b"`",
        b"{",
        b"~",
        b"(",
        b"value \xe4\xb8\xad\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ]);
    prop_oneof![
        8 => common.prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..12),
    ]
}

fn status_line() -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(vec![
        &b"HTTP/1.1 200 OK\r\n"[..],
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"HTTP/1.1 204\r\n",
        b"HTTP/1.1 304 \r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 099 Low\r\n",
        b"HTTP/1.1 999 \xe9 a\tb\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 2",
        b"HTTP/1.2 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTX/1.1 200 OK\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.1 2000\r\n",
    ]);
    prop_oneof![
        8 => lines.prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..20),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn heads_are_read_as_httparse_reads_them(
        line in status_line(),
        pieces in vec(piece(), 0..14),
        edit in prop::option::weighted(0.5, (any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut bytes = [line, pieces.concat()].concat();
        if let Some((at, b)) = edit && !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = b;
        }
        compare(&bytes);
        let cut = bytes.len() / 2;
        compare(&bytes[..cut]);
        bytes.extend_from_slice(b"\r\n\r\n");
        compare(&bytes);
    }
}

#[test]
fn every_byte_at_every_place_of_a_head() {
    let sound = b"HTTP/1.1 200 OK\r\nServer: a b\r\nContent-Length:\t5 \r\nX-a_b.c: \xe9\r\nConnection: close\r\n\r\nbody";
    for at in 0..sound.len() {
        for b in 0..=255 {
            let mut bytes = sound.to_vec();
            bytes[at] = b;
            compare(&bytes);
            compare(&bytes[..=at]);
            bytes = sound.to_vec();
            bytes.insert(at, b);
            compare(&bytes);
        }
        compare(&sound[..at]);
    }
}
