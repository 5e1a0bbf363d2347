//! A request as its caller describes it, before it becomes bytes.
//!
//! Owns: the borrowed head, and the facts about a request that its response depends on.
//! Never: allocates, or checks what it is given: encoding does.

use super::method::MethodKind;
use super::syntax::has_token;
use arrayvec::ArrayVec;
use http::{HeaderMap, Method};
use std::fmt;

/// How many headers a [`Head`] holds itself; more go in as a slice.
pub const HEADERS_INLINE_MAX: usize = 16;

/// A request head as the caller gives it; borrows everything, allocates nothing, checks nothing
/// before it is encoded.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    method: &'a str,
    target: &'a str,
    inline: ArrayVec<(&'a str, &'a [u8]), HEADERS_INLINE_MAX>,
    more: &'a [(&'a str, &'a [u8])],
    /// More headers were added than fit.
    overflowed: bool,
}

impl<'a> Head<'a> {
    /// A head without headers. `target` is the request target as it goes on the wire: `/path?query`
    /// for most, `host:port` for CONNECT.
    pub const fn new(method: &'a str, target: &'a str) -> Head<'a> {
        Head {
            method,
            target,
            inline: ArrayVec::new_const(),
            more: &[],
            overflowed: false,
        }
    }

    /// `GET target`
    pub const fn get(target: &'a str) -> Head<'a> {
        Head::new("GET", target)
    }

    /// `POST target`
    pub const fn post(target: &'a str) -> Head<'a> {
        Head::new("POST", target)
    }

    /// `PUT target`
    pub const fn put(target: &'a str) -> Head<'a> {
        Head::new("PUT", target)
    }

    /// `DELETE target`
    pub const fn delete(target: &'a str) -> Head<'a> {
        Head::new("DELETE", target)
    }

    /// `HEAD target`
    // Not a constructor of the type by its name, but of the method.
    #[allow(clippy::self_named_constructors)]
    pub const fn head(target: &'a str) -> Head<'a> {
        Head::new("HEAD", target)
    }

    /// Adds a header. Up to [`HEADERS_INLINE_MAX`] fit; one more, and the exchange fails with an
    /// error of kind [`Request`](crate::ErrorKind::Request).
    #[must_use]
    #[inline]
    pub fn header(mut self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Head<'a> {
        self.overflowed |= self.inline.try_push((name, value.as_ref())).is_err();
        self
    }

    /// Sets the headers that follow those added one by one; any number. Replaces an earlier slice.
    #[must_use]
    pub const fn headers(mut self, headers: &'a [(&'a str, &'a [u8])]) -> Head<'a> {
        self.more = headers;
        self
    }

    /// The method.
    pub const fn method(&self) -> &'a str {
        self.method
    }

    /// The request target.
    pub const fn target(&self) -> &'a str {
        self.target
    }

    /// All headers, in the order in which they are sent.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.inline.iter().chain(self.more).copied()
    }

    /// Whether more headers were added than fit.
    pub(super) const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Whether it is HEAD, whose response has no body.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// Whether it is CONNECT, which makes a tunnel.
    pub fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    /// Whether doing it twice is like doing it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(
            self.method,
            "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"
        )
    }
}

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// So many bytes follow the head.
    Length(u64),
    /// Chunks follow the head.
    Chunked,
}

/// What the reading of a response depends on in its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Which method it is, for whoever counts.
    pub method: MethodKind,
    /// The method is HEAD: the response has no body.
    pub is_head: bool,
    /// The method is CONNECT: a 2xx response makes a tunnel.
    pub is_connect: bool,
    /// The body is held back until the peer says 100 (Continue).
    pub expects_continue: bool,
    /// The request has an Upgrade header: 101 is a possible answer.
    pub upgrade_asked: bool,
    /// The request says `Connection: close`.
    pub closes: bool,
}

impl RequestFacts {
    /// The facts of a request with this head and body.
    pub fn of(head: &Head<'_>, body: RequestBody) -> RequestFacts {
        let mut facts = RequestFacts {
            method: MethodKind::of(head.method()),
            is_head: head.is_head(),
            is_connect: head.is_connect(),
            ..RequestFacts::default()
        };
        for (name, value) in head.iter() {
            facts.note(name, value, body);
        }
        facts
    }

    /// As [`of`](RequestFacts::of), for types of the `http` crate.
    pub fn of_http(method: &Method, headers: &HeaderMap, body: RequestBody) -> RequestFacts {
        let mut facts = RequestFacts {
            method: MethodKind::of_http(method),
            is_head: method == Method::HEAD,
            is_connect: method == Method::CONNECT,
            ..RequestFacts::default()
        };
        // All of them, by length, rather than three look-ups: requests have few.
        for (name, value) in headers {
            facts.note(name.as_str(), value.as_bytes(), body);
        }
        facts
    }

    /// In line: what is noted byte by byte is then handed on as a word, without a wait for the bytes.
    #[inline(always)]
    fn note(&mut self, name: &str, value: &[u8], body: RequestBody) {
        match name.len() {
            6 if name.eq_ignore_ascii_case("expect") => {
                // Without a body there is nothing to hold back (RFC 9110 §10.1.1).
                let has_body = !matches!(body, RequestBody::None | RequestBody::Length(0));
                self.expects_continue |= has_body && has_token(value, "100-continue");
            }
            7 if name.eq_ignore_ascii_case("upgrade") => self.upgrade_asked = true,
            10 if name.eq_ignore_ascii_case("connection") => {
                self.closes |= has_token(value, "close");
            }
            _ => {}
        }
    }
}

/// Why a head cannot be sent. Headers are counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeadError {
    /// The method is not a token.
    Method,
    /// The target is empty or holds something else than visible ASCII.
    Target,
    /// The host is not one, or it was given twice.
    Host,
    /// A header's name is not a token.
    HeaderName(usize),
    /// A header's value holds a control character.
    HeaderValue(usize),
    /// More than [`HEADERS_INLINE_MAX`] headers were added one by one.
    TooManyHeaders,
    /// The caller's content-length contradicts the body.
    ContentLength,
    /// The caller's transfer-encoding contradicts the body.
    TransferEncoding,
    /// CONNECT and TRACE have no body.
    BodyForbidden,
    /// A trailer that must be a header: framing, routing and the like (RFC 9110 §6.5.1).
    Trailer,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeadError::Method => f.write_str("the method is not a token"),
            HeadError::Target => f.write_str("the target is not visible ASCII"),
            HeadError::Host => f.write_str("the host is malformed or given twice"),
            HeadError::HeaderName(n) => write!(f, "the name of header {n} is not a token"),
            HeadError::HeaderValue(n) => write!(f, "header {n} holds a control character"),
            HeadError::TooManyHeaders => write!(
                f,
                "more than {HEADERS_INLINE_MAX} headers, the rest must be given as a slice"
            ),
            HeadError::ContentLength => f.write_str("content-length contradicts the body"),
            HeadError::TransferEncoding => f.write_str("transfer-encoding contradicts the body"),
            HeadError::BodyForbidden => f.write_str("the method does not allow a body"),
            HeadError::Trailer => f.write_str("a trailer that must be a header"),
        }
    }
}

impl std::error::Error for HeadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotence_is_by_method() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            assert!(Head::new(method, "/").is_idempotent());
        }
        for method in ["POST", "PATCH", "CONNECT", "get", "X"] {
            assert!(!Head::new(method, "/").is_idempotent());
        }
    }

    #[test]
    fn facts_are_read_from_either_kind_of_head() {
        let five = RequestBody::Length(5);
        for (headers, body, expected) in [
            (&[][..], five, RequestFacts::default()),
            (
                &[
                    ("Connection", "x, Close"),
                    ("connection", "Upgrade"),
                    ("UPGRADE", "raw"),
                ],
                RequestBody::None,
                RequestFacts {
                    closes: true,
                    upgrade_asked: true,
                    ..RequestFacts::default()
                },
            ),
            (
                &[("Expect", "100-Continue")],
                five,
                RequestFacts {
                    expects_continue: true,
                    ..RequestFacts::default()
                },
            ),
            (
                &[("Expect", "100-continue")],
                RequestBody::None,
                RequestFacts::default(),
            ),
        ] {
            let add = |head: Head<'static>, &(name, value): &(&'static str, &'static str)| {
                head.header(name, value)
            };
            let head = headers.iter().fold(Head::post("/"), add);
            let expected = RequestFacts {
                method: MethodKind::Post,
                ..expected
            };
            assert_eq!(RequestFacts::of(&head, body), expected, "{headers:?}");
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            let facts = RequestFacts::of_http(&Method::POST, &map, body);
            assert_eq!(facts, expected, "{headers:?}");
        }
        assert!(RequestFacts::of(&Head::head("/"), five).is_head);
        assert!(RequestFacts::of_http(&Method::CONNECT, &HeaderMap::new(), five).is_connect);
    }
}
