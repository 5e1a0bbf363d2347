//! The head of a request: what the backend needs to know of it, and no more.
//!
//! Strict where laxness would hide a fault of the client under test: two lengths, a length beside
//! chunks, a missing Host are refused.

use httparse::{EMPTY_HEADER, Header, Status};

use super::BODY_MAX;
use super::body::Body;
use super::nonces::NONCES_MAX;

/// The largest head, in bytes.
pub(super) const HEAD_MAX: usize = 16 << 10;
/// The most header fields in one head.
const FIELDS_MAX: usize = 64;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// Bytes of the head.
    pub(super) length: usize,
    /// Where the body ends.
    pub(super) body: Body,
    /// Whether the body waits for `100 Continue`.
    pub(super) expects: bool,
    /// Whether it is HEAD, whose answer has no body.
    pub(super) head_only: bool,
    /// The size asked for by `?size=N`.
    pub(super) size: Option<u64>,
    /// What the answer must repeat: `?nonce=N`.
    pub(super) nonce: Option<u64>,
    /// Whether that answer's body is sent apart from its head.
    pub(super) apart: bool,
    /// Whether it asks what nonces have been seen.
    pub(super) asks_nonces: bool,
    /// Whether the connection closes after the answer.
    pub(super) close: bool,
    /// HTTP/1.0, where staying open must be said.
    pub(super) old: bool,
}

/// A head that is refused, and with which status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// 400.
    Malformed,
    /// 431.
    TooLarge,
}

impl Request {
    /// Parses the head at the start of `bytes`; `None` if it is not complete yet.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, Refused> {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        let length = match head.parse(&bytes[..bytes.len().min(HEAD_MAX)]) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if bytes.len() >= HEAD_MAX => return Err(Refused::TooLarge),
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refused::TooLarge),
            Err(_) => return Err(Refused::Malformed),
        };
        let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version)
        else {
            return Err(Refused::Malformed);
        };
        let mut request = Self {
            length,
            body: Body::Done,
            expects: false,
            head_only: method == "HEAD",
            size: None,
            nonce: None,
            apart: false,
            asks_nonces: false,
            close: version == 0,
            old: version == 0,
        };
        if method == "CONNECT" {
            return Err(Refused::Malformed);
        }
        request.read_target(target)?;
        request.read_fields(head.headers)?;
        Ok(Some(request))
    }

    fn read_target(&mut self, target: &str) -> Result<(), Refused> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        self.close |= path == "/close";
        self.apart = path == super::nonces::APART;
        self.asks_nonces = path == super::nonces::PATH;
        for pair in query.split('&') {
            if let Some(size) = pair.strip_prefix("size=") {
                self.size = Some(number(size.as_bytes(), BODY_MAX)?);
            } else if let Some(nonce) = pair.strip_prefix("nonce=") {
                self.nonce = Some(number(nonce.as_bytes(), NONCES_MAX - 1)?);
            }
        }
        Ok(())
    }

    fn read_fields(&mut self, fields: &[Header<'_>]) -> Result<(), Refused> {
        let (mut hosts, mut length, mut chunked) = (0, None, false);
        for field in fields {
            if field.name.eq_ignore_ascii_case("content-length") {
                let value = number(field.value, u64::MAX)?;
                if length.replace(value).is_some() {
                    return Err(Refused::Malformed);
                }
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || self.old || !field.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refused::Malformed);
                }
                chunked = true;
            } else if field.name.eq_ignore_ascii_case("connection") {
                if has_token(field.value, b"close") {
                    self.close = true;
                } else if self.old && has_token(field.value, b"keep-alive") {
                    self.close = false;
                }
            } else if field.name.eq_ignore_ascii_case("expect") {
                self.expects |= field.value.eq_ignore_ascii_case(b"100-continue");
            } else if field.name.eq_ignore_ascii_case("host") {
                hosts += 1;
            }
        }
        if hosts > 1 || (hosts == 0 && !self.old) {
            return Err(Refused::Malformed);
        }
        self.body = match (length, chunked) {
            (Some(_), true) => return Err(Refused::Malformed),
            (Some(length), false) if length > 0 => Body::Length(length),
            (Some(_) | None, false) => Body::Done,
            (None, true) => Body::CHUNKED,
        };
        Ok(())
    }
}

/// A number in plain digits, at most `most`.
fn number(text: &[u8], most: u64) -> Result<u64, Refused> {
    if text.is_empty() {
        return Err(Refused::Malformed);
    }
    text.iter()
        .try_fold(0_u64, |sum, byte| {
            let digit = (*byte as char).to_digit(10)?;
            sum.checked_mul(10)?
                .checked_add(u64::from(digit))
                .filter(|sum| *sum <= most)
        })
        .ok_or(Refused::Malformed)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Option<Request>, Refused> {
        Request::parse(head.as_bytes())
    }

    fn complete(head: &str) -> Request {
        parse(head)
            .expect("it is well formed")
            .expect("it is complete")
    }

    #[test]
    fn a_plain_get_stays_open() {
        let head = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let request = complete(&format!("{head}GET /next"));
        assert_eq!(request.length, head.len());
        assert_eq!(request.body, Body::Done);
        assert!(!request.close && !request.head_only);
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn closing_is_asked_for_in_three_ways() {
        assert!(complete("GET /close HTTP/1.1\r\nHost: x\r\n\r\n").close);
        assert!(complete("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n").close);
        assert!(complete("GET / HTTP/1.0\r\n\r\n").close);
        assert!(!complete("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").close);
    }

    #[test]
    fn bodies_are_framed_by_length_or_chunks() {
        let length = complete("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n");
        assert_eq!(length.body, Body::Length(7));
        let chunks = complete(
            "PUT /?a=1&size=5 HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\n\
             Transfer-Encoding: Chunked\r\n\r\n",
        );
        assert_eq!(
            (chunks.body, chunks.expects, chunks.size),
            (Body::CHUNKED, true, Some(5))
        );
    }

    #[test]
    fn a_nonce_is_a_number_within_bounds() {
        let nonce = |target: &str| {
            let parsed = parse(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            parsed.map(|request| request.and_then(|request| request.nonce))
        };
        assert_eq!(nonce("/?nonce=7"), Ok(Some(7)));
        assert_eq!(nonce("/"), Ok(None));
        assert_eq!(nonce("/?nonce=x"), Err(Refused::Malformed));
        let beyond = format!("/?nonce={NONCES_MAX}");
        assert_eq!(nonce(&beyond), Err(Refused::Malformed));
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        for fields in [
            "",
            "Host: x\r\nHost: y\r\n",
            "Host: x\r\nContent-Length: -1\r\n",
            "Host: x\r\nContent-Length: 99999999999999999999\r\n",
            "Host: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
            "Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Host: x\r\nTransfer-Encoding: gzip\r\n",
        ] {
            let head = format!("POST / HTTP/1.1\r\n{fields}\r\n");
            assert_eq!(parse(&head), Err(Refused::Malformed), "{fields}");
        }
        assert_eq!(parse("\x16\x03\x01\x02"), Err(Refused::Malformed));
        assert_eq!(
            parse("GET /?size=x HTTP/1.1\r\nHost: x\r\n\r\n"),
            Err(Refused::Malformed)
        );
    }

    #[test]
    fn heads_have_limits() {
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(HEAD_MAX));
        assert_eq!(parse(&long), Err(Refused::TooLarge));
        let many = format!(
            "GET / HTTP/1.1\r\n{}\r\n",
            "A: b\r\n".repeat(FIELDS_MAX + 1)
        );
        assert_eq!(parse(&many), Err(Refused::TooLarge));
    }
}
