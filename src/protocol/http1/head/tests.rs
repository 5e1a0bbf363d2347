//! Heads by example: what is read of them, and by what name they are refused.

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
