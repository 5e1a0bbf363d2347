//! Requests, taken apart as they arrive.
//!
//! Owns: how far the request under way has come. Never: keeps a body.

use httparse::{EMPTY_HEADER, Status};

/// The largest head, and the most header fields.
const HEAD_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 32;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// 13 bytes.
    Small,
    /// 64 KiB.
    Large,
    /// 13 bytes, and the connection's end.
    Close,
    /// 13 bytes, when so many such requests wait for them.
    Hold(usize),
}

/// Why a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The beginning of a head that came in pieces.
    partial: Vec<u8>,
    /// What is asked for, while its body comes, and how much of that is missing.
    body: Option<(Asked, usize)>,
}

impl Requests {
    /// Takes what was received; `each` hears of every request that is complete with it.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Asked),
    ) -> Result<(), Malformed> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            if let Some((asked, missing)) = self.body.take() {
                let taken = missing.min(bytes.len());
                bytes = &bytes[taken..];
                self.go_on(asked, missing - taken, &mut each);
                continue;
            }
            let before = self.partial.len();
            let head = if before == 0 {
                parse(bytes)?
            } else {
                self.partial.extend_from_slice(bytes);
                parse(&self.partial)?
            };
            match head {
                Some((len, asked, body)) => {
                    self.partial.clear();
                    bytes = &bytes[len - before..];
                    self.go_on(asked, body, &mut each);
                }
                None if before + bytes.len() > HEAD_MAX => return Err(Malformed),
                None => {
                    if before == 0 {
                        self.partial.extend_from_slice(bytes);
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn go_on(&mut self, asked: Asked, missing: usize, each: &mut impl FnMut(Asked)) {
        if missing == 0 {
            each(asked);
        } else {
            self.body = Some((asked, missing));
        }
    }
}

/// The length of a complete head, what it asks for, and the length of the body that follows.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Asked, usize)>, Malformed> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let Status::Complete(len) = request.parse(bytes).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let asked = asked(request.path.ok_or(Malformed)?)?;
    let mut body = 0;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).map_err(|_| Malformed)?;
            body = value.trim().parse().map_err(|_| Malformed)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            // No client has a reason to: every length is known.
            return Err(Malformed);
        }
    }
    Ok(Some((len, asked, body)))
}

fn asked(path: &str) -> Result<Asked, Malformed> {
    match path {
        "/small" | "/upload" => Ok(Asked::Small),
        "/large" => Ok(Asked::Large),
        "/close" => Ok(Asked::Close),
        other => {
            let count = other.strip_prefix("/hold/").ok_or(Malformed)?;
            Ok(Asked::Hold(count.parse().map_err(|_| Malformed)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(requests: &mut Requests, bytes: &[u8]) -> Result<Vec<Asked>, Malformed> {
        let mut asked = Vec::new();
        requests.feed(bytes, |one| asked.push(one))?;
        Ok(asked)
    }

    #[test]
    fn requests_come_in_any_pieces() {
        let stream = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n\
            POST /upload HTTP/1.1\r\nCONTENT-length: 5\r\n\r\nhello\
            GET /large HTTP/1.1\r\n\r\nGET /hold/7 HTTP/1.1\r\n\r\nGET /close HTTP/1.1\r\n\r\n";
        let expected = [
            Asked::Small,
            Asked::Small,
            Asked::Large,
            Asked::Hold(7),
            Asked::Close,
        ];
        for size in 1..=stream.len() {
            let mut requests = Requests::default();
            let mut asked = Vec::new();
            for piece in stream.chunks(size) {
                asked.extend(feed(&mut requests, piece).unwrap());
            }
            assert_eq!(asked, expected, "pieces of {size}");
        }
    }

    #[test]
    fn an_upload_is_answered_when_all_of_it_has_come() {
        let mut requests = Requests::default();
        let head = b"POST /upload HTTP/1.1\r\nContent-Length: 3\r\n\r\nab";
        assert_eq!(feed(&mut requests, head).unwrap(), []);
        assert_eq!(feed(&mut requests, b"c").unwrap(), [Asked::Small]);
    }

    #[test]
    fn what_is_no_request_of_ours_is_refused() {
        for bytes in [
            "\0\0",
            "GET /other HTTP/1.1\r\n\r\n",
            "GET /hold/x HTTP/1.1\r\n\r\n",
            "POST /upload HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            "POST /upload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut requests = Requests::default();
            assert_eq!(
                feed(&mut requests, bytes.as_bytes()),
                Err(Malformed),
                "{bytes}"
            );
        }
        let endless = format!("GET /small HTTP/1.1\r\nx: {}", "y".repeat(HEAD_MAX));
        assert!(feed(&mut Requests::default(), endless.as_bytes()).is_err());
    }
}
