//! What a server makes of the bytes that it receives.
//!
//! Owns: a parser for the requests that an honest client sends, and no others: anything else is reported as
//! what it is, a defect of the engine. Shares nothing with the engine's own encoder.

/// Takes requests apart, however the bytes were split.
#[derive(Default)]
pub struct Requests {
    buffer: Vec<u8>,
    at: Part,
}

#[derive(Clone, Copy, Default)]
enum Part {
    #[default]
    Head,
    Length(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Broken,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Its method.
    pub method: String,
    /// Which call it belongs to.
    pub nonce: u64,
    /// How large a response body it asks for.
    pub wants: usize,
    /// What Host says.
    pub host: String,
    /// Whether it waits for an interim response.
    pub expects_continue: bool,
    /// Whether a body follows.
    pub has_body: bool,
}

/// What was found next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A request begins.
    Head(RequestHead),
    /// A piece of its body.
    Body(Vec<u8>),
    /// It is complete.
    End,
    /// Something that no client may send.
    Broken(String),
}

impl Requests {
    /// More bytes came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What they amount to; `None` until there are more.
    pub fn next(&mut self) -> Option<Found> {
        match self.at {
            Part::Head => self.head(),
            Part::Length(0) => {
                self.at = Part::Head;
                Some(Found::End)
            }
            Part::Length(left) => self.take(left).map(|(piece, left)| {
                self.at = Part::Length(left);
                Found::Body(piece)
            }),
            Part::ChunkSize => {
                let line = self.line()?;
                let size = line.split(';').next().unwrap_or_default();
                match u64::from_str_radix(size, 16) {
                    Ok(0) => self.at = Part::Trailers,
                    Ok(size) => self.at = Part::Chunk(size),
                    Err(_) => return Some(self.broken(format!("chunk size {line:?}"))),
                }
                self.next()
            }
            Part::Chunk(left) => self.take(left).map(|(piece, left)| {
                self.at = if left == 0 {
                    Part::ChunkEnd
                } else {
                    Part::Chunk(left)
                };
                Found::Body(piece)
            }),
            Part::ChunkEnd => match self.line()?.as_str() {
                "" => {
                    self.at = Part::ChunkSize;
                    self.next()
                }
                line => Some(self.broken(format!("{line:?} after a chunk"))),
            },
            Part::Trailers => {
                if self.line()?.is_empty() {
                    self.at = Part::Head;
                    return Some(Found::End);
                }
                self.next()
            }
            Part::Broken => None,
        }
    }

    fn broken(&mut self, what: String) -> Found {
        self.at = Part::Broken;
        Found::Broken(what)
    }

    fn take(&mut self, left: u64) -> Option<(Vec<u8>, u64)> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let take = self.buffer.len().min(most);
        (take > 0).then(|| (self.buffer.drain(..take).collect(), left - take as u64))
    }

    fn line(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\r\n")?;
        let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 2);
        Some(line)
    }

    fn head(&mut self) -> Option<Found> {
        // TLS has no end of a head in it: it is told by its first byte.
        if let Some(byte) = self
            .buffer
            .first()
            .filter(|byte| !byte.is_ascii_uppercase())
        {
            return Some(self.broken(format!("a request begins with {byte:#x}")));
        }
        let end = self
            .buffer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        match parse_head(&text) {
            Ok((head, body)) => {
                self.at = body;
                Some(Found::Head(head))
            }
            Err(what) => Some(self.broken(format!("{what} in {text:?}"))),
        }
    }
}

fn parse_head(text: &str) -> Result<(RequestHead, Part), &'static str> {
    let mut lines = text.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (first.next(), first.next(), first.next(), first.next())
    else {
        return Err("a bad request line");
    };
    let mut parts = target.strip_prefix("/n/").unwrap_or_default().split('/');
    let nonce = parts.next().and_then(|nonce| nonce.parse().ok());
    let wants = parts.next().and_then(|wants| wants.parse().ok());
    let mut head = RequestHead {
        method: method.to_owned(),
        nonce: nonce.ok_or("no nonce")?,
        wants: wants.ok_or("no size")?,
        host: String::new(),
        expects_continue: false,
        has_body: false,
    };
    let (mut length, mut chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "host" if head.host.is_empty() => head.host = value.to_owned(),
            "host" => return Err("Host twice"),
            "content-length" if length.is_none() => {
                length = Some(value.parse::<u64>().map_err(|_| "a bad Content-Length")?);
            }
            "content-length" => return Err("Content-Length twice"),
            "transfer-encoding" => chunked = true,
            "expect" => head.expects_continue = true,
            _ => {}
        }
    }
    if chunked && length.is_some() {
        return Err("both lengths");
    }
    head.has_body = chunked || length.is_some_and(|length| length > 0);
    let body = match chunked {
        true => Part::ChunkSize,
        false => Part::Length(length.unwrap_or(0)),
    };
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, piece: usize) -> Vec<Found> {
        let mut requests = Requests::default();
        let mut found = Vec::new();
        for bytes in text.as_bytes().chunks(piece) {
            requests.feed(bytes);
            while let Some(next) = requests.next() {
                found.push(next);
            }
        }
        found
    }

    fn body(found: &[Found]) -> Vec<u8> {
        let mut body = Vec::new();
        for piece in found {
            if let Found::Body(piece) = piece {
                body.extend_from_slice(piece);
            }
        }
        body
    }

    #[test]
    fn requests_are_found_however_they_are_split() {
        let text = "PUT /n/7/12 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\n\r\nhello\
                    POST /n/8/0 HTTP/1.1\r\nhost: a:1\r\nTransfer-Encoding: chunked\r\n\r\n\
                    3\r\nabc\r\n0\r\n\r\n";
        for piece in [1, 2, 7, 1000] {
            let found = all(text, piece);
            let ends = found.iter().filter(|one| **one == Found::End).count();
            assert_eq!(ends, 2, "in pieces of {piece}");
            assert_eq!(body(&found), b"helloabc");
        }
    }

    #[test]
    fn what_no_client_may_send_is_told() {
        for text in [
            "PUT /n/7/1 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "PUT /n/7/1 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /other HTTP/1.1\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            let found = all(text, 1000);
            assert!(matches!(found[..], [Found::Broken(_)]), "{found:?}");
        }
    }
}
