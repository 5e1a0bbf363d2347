//! One exchange on one connection: a request going out, its response coming in, and the verdict.
//!
//! Owns: how far the exchange is, and everything that speaks against using the connection again.
//! Whatever is in doubt condemns it. Never: keeps bytes (but for trailers); the caller accumulates
//! what a partial head needs.
//!
//! ```text
//! Head ⇄ Informational          (1xx)
//! Head → Body → Complete        Head → Complete (no body)
//! Head → Tunnel                 (101, or 2xx to CONNECT)
//! any  → Failed                 (for good)
//! ```

use super::Limits;
use super::body::{BodyStep, Decoder};
use super::chunked::Chunked;
use super::chunks::is_forbidden_trailer;
use super::error::ProtocolError;
use super::framing::{Facts, Framing};
use super::head::{self, HEADERS_MANY, Headers, Parsed, to_header_map};
use super::method::MethodKind;
use super::request::RequestFacts;
use super::verdict::{Verdict, Why};
use http::HeaderMap;

/// What [`Exchange::head`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStep {
    /// Not yet a whole head: call again with the same bytes and more.
    Partial,
    /// A 1xx response of `len` bytes; another head follows.
    Informational {
        /// The status, 100 or 102 to 199.
        status: u16,
        /// The size of the head; drop these bytes before the next call.
        len: usize,
    },
    /// The head of the response, `len` bytes. What follows is its body, or another protocol (101, or
    /// 2xx to CONNECT).
    Final {
        /// The size of the head; drop these bytes before reading the body.
        len: usize,
        /// The status: 101, or 200 to 999.
        status: u16,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    Body(Decoder),
    Complete,
    Tunnel,
    Failed(ProtocolError),
}

/// A request going out on a connection, and its response coming in.
#[derive(Clone, Debug)]
pub struct Exchange {
    request: RequestFacts,
    limits: Limits,
    state: State,
    request_sent: bool,
    /// Some byte of a response has come.
    started: bool,
    /// 100 (Continue) has come.
    continued: bool,
    /// 1xx responses so far.
    informational: u32,
    /// How much of a partial head was looked at, and how much of it parsed.
    head_scanned: usize,
    head_parsed: usize,
    content_length: Option<u64>,
    /// The first thing found that speaks against reuse once all is complete.
    objection: Option<Why>,
    trailers: Vec<u8>,
}

// Getters.
impl Exchange {
    /// An exchange of which nothing is sent yet.
    #[inline]
    pub fn new(request: RequestFacts, limits: &Limits) -> Exchange {
        Exchange {
            request,
            limits: Limits {
                headers_max: limits.headers_max.min(HEADERS_MANY),
                ..*limits
            },
            state: State::Head,
            request_sent: false,
            started: false,
            continued: false,
            informational: 0,
            head_scanned: 0,
            head_parsed: 0,
            content_length: None,
            objection: request.closes.then_some(Why::RequestCloses),
            trailers: Vec::new(),
        }
    }

    /// The request's method.
    #[inline]
    pub fn method(&self) -> MethodKind {
        self.request.method
    }

    /// Whether the response is complete; a tunnel counts as that.
    pub fn is_complete(&self) -> bool {
        match self.state {
            State::Complete | State::Tunnel => true,
            State::Head | State::Body(_) | State::Failed(_) => false,
        }
    }

    /// Whether any byte of a response has come, be it of a 1xx one. Until then a peer that closes
    /// may not have seen the request.
    pub fn response_started(&self) -> bool {
        self.started
    }

    /// Whether the body has to be held back: the request expects 100 (Continue), and nothing has
    /// come that allows or forbids it. The caller sends it anyway after a while (RFC 9110 §10.1.1).
    pub fn awaits_continue(&self) -> bool {
        let waiting = match self.state {
            State::Head => true,
            State::Body(_) | State::Complete | State::Tunnel | State::Failed(_) => false,
        };
        self.request.expects_continue && !self.continued && waiting
    }

    /// Whether 100 (Continue) has come.
    pub fn was_continued(&self) -> bool {
        self.continued
    }

    /// The size of the response's body in bytes: zero where there is none, `None` where it is not
    /// known before the end, or the head has not come.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// How many bytes of the body are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Body(decoder) => decoder.remaining(),
            State::Complete | State::Tunnel => Some(0),
            State::Head | State::Failed(_) => None,
        }
    }

    /// The trailers of a complete chunked body, without those that must not be trailers; `None` if
    /// there were none. Allocates.
    pub fn trailers(&self) -> Option<HeaderMap> {
        if self.trailers.is_empty() || !self.is_complete() {
            return None;
        }
        let mut map = to_header_map(Headers::of_section(&self.trailers));
        for (name, _) in Headers::of_section(&self.trailers) {
            if is_forbidden_trailer(name) {
                map.remove(name);
            }
        }
        Some(map)
    }

    /// What is to become of the connection; `leftover`: bytes came that belong to no response. Ask
    /// when the exchange is over, for whatever reason.
    pub fn verdict(&self, leftover: bool) -> Verdict {
        let complete = match self.state {
            State::Failed(_) => Err(Why::ProtocolError),
            State::Head | State::Body(_) => Err(Why::ResponseUnfinished),
            State::Complete | State::Tunnel if !self.request_sent => Err(Why::RequestUnfinished),
            State::Tunnel => return Verdict::Upgraded,
            State::Complete if leftover => Err(Why::ExcessBytes),
            State::Complete => Ok(()),
        };
        match (complete, self.objection) {
            (Err(why), _) | (Ok(()), Some(why)) => Verdict::Condemn(why),
            (Ok(()), None) => Verdict::Reusable,
        }
    }
}

// Inputs.
impl Exchange {
    /// The request is sent to its end, body included. To be told before bytes are taken in that came
    /// after it, or the response counts as early.
    pub fn request_sent(&mut self) {
        self.request_sent = true;
    }

    /// Looks for a response head at the beginning of `bytes`: everything received and not consumed,
    /// contiguous.
    ///
    /// # Errors
    /// What is malformed or over a limit; the exchange has failed for good.
    ///
    /// # Panics
    /// If the final head was found before.
    pub fn head(&mut self, bytes: &[u8]) -> Result<HeadStep, ProtocolError> {
        match self.state {
            State::Head => {}
            State::Failed(error) => return Err(error),
            State::Body(_) | State::Complete | State::Tunnel => {
                panic!("an exchange has one final head")
            }
        }
        self.started |= !bytes.is_empty();
        let step = self.find_head(bytes).and_then(|found| match found {
            Some(parsed) => self.accept(parsed),
            None => Ok(HeadStep::Partial),
        });
        step.map_err(|error| self.fail(error))
    }

    /// One step of decoding the body: `bytes` is what was received and not consumed. Call again with
    /// the rest while there is some, and again as bytes come in, until it is done.
    ///
    /// # Errors
    /// What is malformed or over a limit; the exchange has failed for good.
    ///
    /// # Panics
    /// If the final head was not found before.
    pub fn body(&mut self, bytes: &[u8]) -> Result<BodyStep, ProtocolError> {
        let decoder = match &mut self.state {
            State::Body(decoder) => decoder,
            State::Failed(error) => return Err(*error),
            State::Complete | State::Tunnel => {
                return Ok(BodyStep {
                    consumed: 0,
                    data: 0..0,
                    done: true,
                });
            }
            State::Head => panic!("a body comes after its head"),
        };
        match decoder.step(bytes, &self.limits, &mut self.trailers) {
            Ok(step) => {
                if step.done {
                    self.state = State::Complete;
                }
                Ok(step)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The peer has ended the stream, and all bytes before that were taken in. `clean`: it said so
    /// itself, by close_notify under TLS, by FIN without TLS.
    ///
    /// # Errors
    /// Where the response is not complete by this.
    pub fn end_of_stream(&mut self, clean: bool) -> Result<(), ProtocolError> {
        let error = match self.state {
            State::Head if self.started => ProtocolError::TruncatedHead,
            State::Head => ProtocolError::ClosedBeforeResponse,
            State::Body(Decoder::UntilClose) if !clean => ProtocolError::UncleanEnd,
            State::Body(Decoder::UntilClose) | State::Complete => {
                self.state = State::Complete;
                self.object(Why::PeerClosed);
                return Ok(());
            }
            State::Body(Decoder::Length(_) | Decoder::Chunked(_)) => ProtocolError::TruncatedBody,
            State::Tunnel => return Ok(()),
            State::Failed(error) => error,
        };
        Err(self.fail(error))
    }
}

// Helpers.
impl Exchange {
    /// Parses when that is worth it: at first, when the end of the head may have come, and when the
    /// head has doubled since (to find faults early). So the work is linear in the size of the head
    /// however finely it is cut.
    fn find_head(&mut self, bytes: &[u8]) -> Result<Option<Parsed>, ProtocolError> {
        let head_bytes_max = self.limits.head_bytes_max;
        let window = &bytes[..bytes.len().min(head_bytes_max)];
        let worth_it = window.len() >= 2 * self.head_parsed
            || window.len() == head_bytes_max
            || head::may_end(window, self.head_scanned);
        self.head_scanned = window.len();
        if !worth_it {
            return Ok(None);
        }
        self.head_parsed = window.len();
        let parsed = head::parse(window, self.limits.headers_max, self.request.is_connect)?;
        if parsed.is_none() && window.len() == head_bytes_max {
            return Err(ProtocolError::HeadTooLarge);
        }
        Ok(parsed)
    }

    fn accept(&mut self, parsed: Parsed) -> Result<HeadStep, ProtocolError> {
        let Parsed { len, facts } = parsed;
        let status = facts.status;
        if facts.announces_forbidden_body() {
            self.object(Why::ForbiddenBody);
        }
        if status == 101 && !self.request.upgrade_asked {
            return Err(ProtocolError::UnexpectedUpgrade);
        }
        if status < 200 && status != 101 {
            self.informational += 1;
            if self.informational > self.limits.informational_max {
                return Err(ProtocolError::TooManyInformational);
            }
            self.continued |= status == 100;
            (self.head_scanned, self.head_parsed) = (0, 0);
            return Ok(HeadStep::Informational { status, len });
        }
        self.begin_body(&facts);
        Ok(HeadStep::Final { len, status })
    }

    fn begin_body(&mut self, facts: &Facts) {
        if !self.request_sent {
            self.object(Why::EarlyResponse);
        }
        if !facts.persists() {
            self.object(Why::PeerCloses);
        }
        (self.state, self.content_length) = match facts.framing(&self.request) {
            Framing::Bodiless => (State::Complete, Some(0)),
            Framing::Length(length) => (State::Body(Decoder::Length(length)), Some(length)),
            Framing::Chunked => (State::Body(Decoder::Chunked(Chunked::new())), None),
            Framing::UntilClose => (State::Body(Decoder::UntilClose), None),
            Framing::Tunnel => (State::Tunnel, Some(0)),
        };
    }

    fn object(&mut self, why: Why) {
        self.objection.get_or_insert(why);
    }

    fn fail(&mut self, error: ProtocolError) -> ProtocolError {
        self.state = State::Failed(error);
        error
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdict_tests;
