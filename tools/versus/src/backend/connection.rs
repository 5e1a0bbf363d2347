//! One connection: what was asked for on it and is not answered yet.

use super::request::{Asked, Malformed, Requests};
use super::response::Responses;
use super::stream::Stream;
use std::collections::VecDeque;
use std::io;

/// Requests that one connection may have unanswered.
const PIPELINED_MAX: usize = 64;

pub(super) struct Connection {
    pub(super) stream: Stream,
    requests: Requests,
    /// Responses that are due, in order, and how much of the first is sent.
    due: VecDeque<Asked>,
    sent: usize,
}

/// What is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits for its socket.
    Stay,
    /// It has ended.
    Close,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Connection {
        Connection {
            stream,
            requests: Requests::default(),
            due: VecDeque::new(),
            sent: 0,
        }
    }

    /// Does what the socket allows. `hold` hears of requests that wait for others, and `answered` of how many
    /// others there were.
    pub(super) fn go_on(
        &mut self,
        responses: &Responses,
        buffer: &mut [u8],
        closed: bool,
        mut hold: impl FnMut(usize),
        answered: &mut u64,
    ) -> Then {
        loop {
            match self.send(responses) {
                Ok(Then::Stay) => {}
                Ok(Then::Close) => return Then::Close,
                Err(error) => return blocked(&error),
            }
            let read = match self.stream.read(buffer) {
                Ok(0) => return Then::Close,
                Ok(read) => read,
                Err(error) => return blocked(&error),
            };
            let before = self.due.len();
            let due = &mut self.due;
            let each = |asked| match asked {
                Asked::Hold(count) => hold(count),
                Asked::Small | Asked::Large | Asked::Close => due.push_back(asked),
            };
            if self.requests.feed(&buffer[..read], each) == Err(Malformed)
                || self.due.len() > PIPELINED_MAX
            {
                return Then::Close;
            }
            *answered += (self.due.len() - before) as u64;
            if read < buffer.len() && self.stream.is_emptied_by_short_reads() && !closed {
                return match self.send(responses) {
                    Ok(then) => then,
                    Err(error) => blocked(&error),
                };
            }
        }
    }

    /// Answers a request that was held.
    pub(super) fn answer_held(&mut self, responses: &Responses) -> Then {
        self.due.push_back(Asked::Small);
        match self.send(responses) {
            Ok(then) => then,
            Err(error) => blocked(&error),
        }
    }

    fn send(&mut self, responses: &Responses) -> io::Result<Then> {
        while let Some(asked) = self.due.front() {
            let left = &responses.to(*asked)[self.sent..];
            self.sent += self.stream.write(left)?;
            if self.sent < responses.to(*asked).len() {
                continue;
            }
            self.sent = 0;
            if self.due.pop_front() == Some(Asked::Close) {
                self.stream.flush()?;
                return Ok(Then::Close);
            }
        }
        self.stream.flush()?;
        Ok(Then::Stay)
    }
}

fn blocked(error: &io::Error) -> Then {
    match error.kind() {
        io::ErrorKind::WouldBlock => Then::Stay,
        _ => Then::Close,
    }
}
