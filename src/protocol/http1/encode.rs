//! Request heads as bytes, appended to a buffer.
//!
//! Owns: what may be sent. Whatever a caller passes in, the bytes are one well-formed request: no
//! header can be smuggled in through a method, target, name, value or host, and the headers that
//! frame the body are ours. Never: sends something else than what it was given (no defaults such as
//! user-agent), or leaves part of a head behind when it fails.

use super::request::{Head, HeadError, RequestBody};
use super::syntax::{is_host, is_named, is_target, is_token, is_value, parse_decimal, trim};
use arrayvec::ArrayVec;
use http::HeaderMap;

/// What ends a request line.
const VERSION: &[u8] = b" HTTP/1.1\r\n";

/// A Host header as it is sent (RFC 9110 §7.2), checked once for all requests that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What follows the target of a request with it: the version, and the header. `None`: what was given cannot stand there.
    line: Option<Box<[u8]>>,
}

impl Host {
    /// The header for `uri-host [":" port]`. One that is malformed shows when a request is to be encoded with it.
    pub fn new(host: &str) -> Host {
        let line = is_host(host.as_bytes()).then(|| {
            let mut line = VERSION.to_vec();
            push_header(&mut line, b"host", host.as_bytes());
            line.into_boxed_slice()
        });
        Host { line }
    }
}

/// Appends a request head to `out`: request line, `host` unless the caller set one, the
/// caller's headers, and the headers that frame `body`. A content-length or transfer-encoding of the
/// caller's must agree with `body`, and is sent once.
///
/// # Errors
/// What is malformed; `out` is as before.
pub fn encode_head(
    out: &mut Vec<u8>,
    head: &Head<'_>,
    host: &Host,
    body: RequestBody,
) -> Result<(), HeadError> {
    if head.overflowed() {
        return Err(HeadError::TooManyHeaders);
    }
    encode(
        out,
        head.method(),
        head.target(),
        || head.iter(),
        host,
        body,
    )
}

/// As [`encode_head`], for types of the `http` crate.
///
/// # Errors
/// What is malformed; `out` is as before.
pub fn encode_http_head(
    out: &mut Vec<u8>,
    method: &http::Method,
    target: &str,
    headers: &HeaderMap,
    host: &Host,
    body: RequestBody,
) -> Result<(), HeadError> {
    let headers = || headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes()));
    encode(out, method.as_str(), target, headers, host, body)
}

fn encode<'h, I: Iterator<Item = (&'h str, &'h [u8])>>(
    out: &mut Vec<u8>,
    method: &str,
    target: &str,
    headers: impl Fn() -> I,
    host: &Host,
    body: RequestBody,
) -> Result<(), HeadError> {
    if matches!(method, "CONNECT" | "TRACE") && body != RequestBody::None {
        return Err(HeadError::BodyForbidden);
    }
    let own_host = headers().any(|(name, _)| is_named(name.as_bytes(), b"host"));
    let before = out.len();
    let written = encode_line(out, method, target, own_host, host)
        .and_then(|()| encode_headers(out, headers(), body))
        .and_then(|length_given| encode_framing(out, method, body, length_given));
    if written.is_err() {
        out.truncate(before);
    }
    written
}

/// Appends the request line, and Host unless it is the caller's: it goes first (RFC 9110 §7.2).
#[inline]
fn encode_line(
    out: &mut Vec<u8>,
    method: &str,
    target: &str,
    own_host: bool,
    host: &Host,
) -> Result<(), HeadError> {
    match method {
        "GET" => out.extend_from_slice(b"GET "),
        "POST" => out.extend_from_slice(b"POST "),
        _ if is_token(method.as_bytes()) => {
            out.extend_from_slice(method.as_bytes());
            out.push(b' ');
        }
        _ => return Err(HeadError::Method),
    }
    if !is_target(target.as_bytes()) {
        return Err(HeadError::Target);
    }
    out.extend_from_slice(target.as_bytes());
    let version = match own_host {
        true => VERSION,
        false => host.line.as_deref().ok_or(HeadError::Host)?,
    };
    out.extend_from_slice(version);
    Ok(())
}

/// Appends the caller's headers but for those that frame the body, which are checked against `body`.
/// Tells whether there was a content-length.
fn encode_headers<'h>(
    out: &mut Vec<u8>,
    headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    body: RequestBody,
) -> Result<bool, HeadError> {
    let mut host_given = false;
    let mut length_given = false;
    for (n, (name, value)) in headers.enumerate() {
        if !is_token(name.as_bytes()) {
            return Err(HeadError::HeaderName(n));
        }
        if !is_value(value) {
            return Err(HeadError::HeaderValue(n));
        }
        let name = name.as_bytes();
        match name.len() {
            4 if is_named(name, b"host") => {
                if host_given || !is_host(value) {
                    return Err(HeadError::Host);
                }
                host_given = true;
            }
            14 if is_named(name, b"content-length") => {
                let expected = match body {
                    RequestBody::None => Some(0),
                    RequestBody::Length(length) => Some(length),
                    RequestBody::Chunked => None,
                };
                if expected.is_none() || parse_decimal(trim(value)) != expected {
                    return Err(HeadError::ContentLength);
                }
                length_given = true;
                continue;
            }
            17 if is_named(name, b"transfer-encoding") => {
                let chunked = trim(value).eq_ignore_ascii_case(b"chunked");
                if body != RequestBody::Chunked || !chunked {
                    return Err(HeadError::TransferEncoding);
                }
                continue;
            }
            _ => {}
        }
        push_header(out, name, value);
    }
    Ok(length_given)
}

/// Appends what frames the body, and the end of the head.
fn encode_framing(
    out: &mut Vec<u8>,
    method: &str,
    body: RequestBody,
    length_given: bool,
) -> Result<(), HeadError> {
    let length = match body {
        RequestBody::Length(length) => Some(length),
        // A method that implies a body says so where there is none (RFC 9110 §8.6).
        RequestBody::None if length_given || matches!(method, "POST" | "PUT" | "PATCH") => Some(0),
        RequestBody::None => None,
        RequestBody::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            None
        }
    };
    if let Some(length) = length {
        out.extend_from_slice(b"content-length: ");
        push_number(out, length, 10);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

pub(super) fn push_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64, base: u64) {
    let mut digits = ArrayVec::<u8, 20>::new();
    loop {
        digits.push(b"0123456789abcdef"[(number % base) as usize]);
        number /= base;
        if number == 0 {
            break;
        }
    }
    out.extend(digits.iter().rev());
}

#[cfg(test)]
mod tests {
    use super::super::HEADERS_INLINE_MAX;
    use super::*;

    fn encoded(head: &Head<'_>, body: RequestBody) -> Result<String, HeadError> {
        let mut out = b"before".to_vec();
        let result = encode_head(&mut out, head, &Host::new("host:80"), body);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap();
        assert!(result.is_ok() || text.is_empty(), "nothing is left behind");
        result.map(|()| text.to_string())
    }

    #[test]
    fn a_head_is_encoded_to_the_byte() {
        let (none, chunked) = (RequestBody::None, RequestBody::Chunked);
        for (head, body, text) in [
            (
                Head::get("/"),
                none,
                "GET / HTTP/1.1\r\nhost: host:80\r\n\r\n",
            ),
            (
                Head::get("/a?b=c")
                    .header("Accept", "*/*")
                    .header("x", b"\xc3\xa9\t1"),
                none,
                "GET /a?b=c HTTP/1.1\r\nhost: host:80\r\nAccept: */*\r\nx: \u{e9}\t1\r\n\r\n",
            ),
            (
                Head::get("/")
                    .header("a", "1")
                    .headers(&[("HOST", b"own"), ("b", b"2")]),
                none,
                "GET / HTTP/1.1\r\na: 1\r\nHOST: own\r\nb: 2\r\n\r\n",
            ),
            (
                Head::post("/"),
                none,
                "POST / HTTP/1.1\r\nhost: host:80\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                Head::delete("/").header("content-length", "0"),
                none,
                "DELETE / HTTP/1.1\r\nhost: host:80\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                Head::put("/").header("Content-Length", " 10"),
                RequestBody::Length(10),
                "PUT / HTTP/1.1\r\nhost: host:80\r\ncontent-length: 10\r\n\r\n",
            ),
            (
                Head::new("PATCH", "/"),
                RequestBody::Length(u64::MAX),
                "PATCH / HTTP/1.1\r\nhost: host:80\r\ncontent-length: 18446744073709551615\r\n\r\n",
            ),
            (
                Head::post("/").header("transfer-encoding", "Chunked"),
                chunked,
                "POST / HTTP/1.1\r\nhost: host:80\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
            (
                Head::new("CONNECT", "a:443"),
                none,
                "CONNECT a:443 HTTP/1.1\r\nhost: host:80\r\n\r\n",
            ),
        ] {
            assert_eq!(encoded(&head, body).as_deref(), Ok(text));
        }
    }

    #[test]
    fn http_types_give_the_same_bytes() {
        let mut headers = HeaderMap::new();
        headers.append("a", "1".parse().unwrap());
        headers.append("a", "2".parse().unwrap());
        headers.append("content-length", "3".parse().unwrap());
        let mut out = Vec::new();
        let body = RequestBody::Length(3);
        encode_http_head(
            &mut out,
            &http::Method::POST,
            "/",
            &headers,
            &Host::new("h"),
            body,
        )
        .unwrap();
        let text = "POST / HTTP/1.1\r\nhost: h\r\na: 1\r\na: 2\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(out, text.as_bytes());
        headers.append("content-length", "4".parse().unwrap());
        let result = encode_http_head(
            &mut out,
            &http::Method::POST,
            "/",
            &headers,
            &Host::new("h"),
            body,
        );
        assert_eq!(result, Err(HeadError::ContentLength));
        assert_eq!(out, text.as_bytes());
    }

    #[test]
    fn nothing_can_be_injected() {
        let bad = [
            "a b",
            "a\r\nb: c",
            "a\nb",
            "a\rb",
            "a\0",
            "a\t",
            "\u{e9}",
            "a:b",
            "",
        ];
        for text in bad {
            assert!(encoded(&Head::new(text, "/"), RequestBody::None).is_err());
            let named = Head::get("/").header("fine", "1").header(text, "x");
            assert_eq!(
                encoded(&named, RequestBody::None),
                Err(HeadError::HeaderName(1))
            );
        }
        for target in [
            "",
            "/a b",
            "/\r\nx: y",
            "/\n",
            "/\0",
            "/\t",
            "/\x7f",
            "/\u{e9}",
        ] {
            let result = encoded(&Head::get(target), RequestBody::None);
            assert_eq!(result, Err(HeadError::Target), "{target:?}");
        }
        for value in ["a\r\nb: c", "a\n", "\r", "\0", "\x1b", "\x7f"] {
            let valued = Head::get("/").headers(&[("a", b"")]).header("x", value);
            assert_eq!(
                encoded(&valued, RequestBody::None),
                Err(HeadError::HeaderValue(0))
            );
        }
        for host in ["a b", "a\r\nx: y", "a/b", "u@a", "a,b", "a\0", "\u{e9}"] {
            let mut out = Vec::new();
            let result = encode_head(
                &mut out,
                &Head::get("/"),
                &Host::new(host),
                RequestBody::None,
            );
            assert_eq!(result, Err(HeadError::Host), "{host:?}");
            let own = Head::get("/").header("Host", host);
            assert!(encoded(&own, RequestBody::None).is_err(), "{host:?}");
        }
        let twice = Head::get("/").header("host", "a").header("Host", "a");
        assert_eq!(encoded(&twice, RequestBody::None), Err(HeadError::Host));
    }

    #[test]
    fn framing_headers_must_agree_with_the_body() {
        use HeadError::{BodyForbidden, ContentLength, TransferEncoding};
        let (none, five) = (RequestBody::None, RequestBody::Length(5));
        let length = |value| Head::post("/").header("Content-Length", value);
        let coding = |value| Head::post("/").header("Transfer-Encoding", value);
        for (head, body, error) in [
            (length("6"), five, ContentLength),
            (length("+5"), five, ContentLength),
            (length("5, 5"), five, ContentLength),
            (length("5"), none, ContentLength),
            (length("5"), RequestBody::Chunked, ContentLength),
            (
                length("5").header("content-length", "6"),
                five,
                ContentLength,
            ),
            (coding("chunked"), five, TransferEncoding),
            (coding("chunked"), none, TransferEncoding),
            (
                coding("gzip, chunked"),
                RequestBody::Chunked,
                TransferEncoding,
            ),
            (Head::new("CONNECT", "a:1"), five, BodyForbidden),
            (Head::new("TRACE", "/"), RequestBody::Chunked, BodyForbidden),
        ] {
            assert_eq!(encoded(&head, body), Err(error), "{head:?}");
        }
        let twice = length("5").header("content-length", "5");
        let text = encoded(&twice, five).unwrap();
        assert_eq!(text.matches("content-length").count(), 1);
    }

    #[test]
    fn one_header_too_many_is_told_when_encoded() {
        let add = |head: Head<'static>, n| (0..n).fold(head, |head, _| head.header("a", "b"));
        let full = add(Head::get("/"), HEADERS_INLINE_MAX);
        assert!(encoded(&full, RequestBody::None).is_ok());
        let over = full.header("a", "b");
        let result = encoded(&over, RequestBody::None);
        assert_eq!(result, Err(HeadError::TooManyHeaders));
    }
}
