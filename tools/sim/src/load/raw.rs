//! A raw checkout from outside: take a connection, say a line, hear one, give it back.

use crate::oracle::{Answer, Ending, Failure, Said};
use bytes::Bytes;
use ringpool::simulation::{Checkout, RawLease};
use std::time::Duration;

/// One such conversation.
pub struct Talk {
    line: String,
    heard: Vec<u8>,
    at: At,
}

enum At {
    Waiting(Checkout),
    Talking(Box<RawLease>, Duration),
    Over,
}

impl Talk {
    /// Begins with a checkout.
    pub fn new(checkout: Checkout, nonce: u64, upstream: &str) -> Talk {
        Talk {
            line: format!("{nonce} {upstream}\n"),
            heard: Vec::new(),
            at: At::Waiting(checkout),
        }
    }

    /// Until when its holder waits for the answer.
    pub fn ends_by(&self) -> Option<Duration> {
        match &self.at {
            At::Talking(_, until) => Some(*until),
            At::Waiting(_) | At::Over => None,
        }
    }

    /// Goes on; how it ended, if it has. `Some(None)`: its holder has given up.
    pub fn poll(&mut self, now: Duration) -> Option<Option<Ending>> {
        if let At::Waiting(checkout) = &mut self.at {
            match checkout.poll()? {
                Ok(mut lease) => {
                    lease.write(Bytes::from(self.line.clone()));
                    self.at = At::Talking(Box::new(lease), now + super::TALK_MAX);
                }
                Err(error) => {
                    self.at = At::Over;
                    return Some(Some(Ending::Failed(Failure::of(&error))));
                }
            }
        }
        self.talk(now)
    }

    fn talk(&mut self, now: Duration) -> Option<Option<Ending>> {
        let At::Talking(lease, until) = &mut self.at else {
            return None;
        };
        let ending = loop {
            match lease.poll_read() {
                None if now >= *until => break None,
                None => return None,
                Some(Ok(Some(bytes))) => {
                    self.heard.extend_from_slice(&bytes);
                    if self.heard.contains(&b'\n') {
                        break Some(heard(&self.heard));
                    }
                }
                Some(Ok(None)) => break Some(cut("the server closed the connection".into())),
                Some(Err(error)) => break Some(cut(error.to_string())),
            }
        };
        if let At::Talking(lease, _) = std::mem::replace(&mut self.at, At::Over) {
            match ending {
                Some(Ending::Answered(_)) => lease.release(),
                Some(Ending::Failed(_)) | None => lease.discard(),
            }
        }
        Some(ending)
    }
}

/// What a line that was heard amounts to.
pub fn heard(line: &[u8]) -> Ending {
    let text = String::from_utf8_lossy(line);
    Ending::Answered(Answer {
        status: 200,
        said: Some(Said::of(text.trim_end())),
        body: Bytes::copy_from_slice(line),
        trip: None,
    })
}

/// A conversation that broke off: its holder knows no more than that.
pub fn cut(text: String) -> Ending {
    Ending::Failed(Failure {
        kind: "closed",
        tls: None,
        attempts: 1,
        history: 0,
        unsent: false,
        retryable: false,
        text,
    })
}
