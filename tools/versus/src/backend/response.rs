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
    let responses = Responses::new();
    let asked = match work {
        Work::Small | Work::Upload => Asked::Small,
        Work::Large => Asked::Large,
        Work::Connect => Asked::Close,
    };
    responses.to(asked).len()
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
            let body = work.response_body();
            let head = response_len(work) - body;
            assert!((70..120).contains(&head), "{work:?}: {head}");
        }
    }
}
