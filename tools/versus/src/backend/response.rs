//! The responses, made once.

use super::request::Asked;
use crate::scenario::{LARGE, SMALL, Work};

const SMALL_BODY: [u8; SMALL] = *b"Hello, world!";

/// Every response there is, as bytes.
pub(super) struct Responses {
    small: Vec<u8>,
    large: Vec<u8>,
    close: Vec<u8>,
}

impl Responses {
    pub(super) fn new() -> Responses {
        Responses {
            small: response("", &SMALL_BODY),
            large: response("", &[b'x'; LARGE]),
            close: response("Connection: close\r\n", &SMALL_BODY),
        }
    }

    pub(super) fn to(&self, asked: Asked) -> &[u8] {
        match asked {
            Asked::Small | Asked::Hold(_) => &self.small,
            Asked::Large => &self.large,
            Asked::Close => &self.close,
        }
    }
}

/// The length of the whole response to a request of that kind.
pub(crate) fn response_len(work: Work) -> usize {
    Responses::new().to(asked(work)).len()
}

fn asked(work: Work) -> Asked {
    match work {
        Work::Small | Work::Upload => Asked::Small,
        Work::Large => Asked::Large,
        Work::Connect => Asked::Close,
    }
}

fn response(header: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n{header}\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_long_as_scenarios_say() {
        for work in [Work::Small, Work::Large, Work::Upload, Work::Connect] {
            let (len, body) = (response_len(work), work.response_body());
            let mut headers = [httparse::EMPTY_HEADER; 4];
            let mut response = httparse::Response::new(&mut headers);
            let (responses, asked) = (Responses::new(), asked(work));
            let parsed = response.parse(responses.to(asked)).unwrap();
            assert_eq!(parsed, httparse::Status::Complete(len - body), "{work:?}");
        }
    }
}
