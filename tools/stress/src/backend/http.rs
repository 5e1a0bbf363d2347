//! The conversation on one connection: requests in, answers out, in order.
//!
//! Pipelined requests that arrive together are answered together, in one send. Anything that is
//! not understood gets its status and the end of the connection.

use std::io::{self, Write};
use std::sync::atomic::Ordering;

use super::Service;
use super::body::{Body, Malformed};
use super::faults::FaultKind;
use super::nonces::NONCE;
use super::plain::Channel;
use super::request::{Refused, Request};
use super::spoil::spoil;
use super::trouble::Line;

/// Answers are sent when they amount to this much, or when no complete request is left.
const SEND_AT: usize = 64 << 10;
/// Every body is this text, over and over.
const TEXT: &[u8; 13] = b"hello, world\n";
/// A run of whole repetitions, so that long bodies are copied in large pieces.
static BLOCK: [u8; 13 * 1024] = {
    let mut block = [0; 13 * 1024];
    let mut at = 0;
    while at < block.len() {
        block[at] = TEXT[at % TEXT.len()];
        at += 1;
    }
    block
};

/// What the backend says about a request that it refuses.
const BAD_REQUEST: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const HEAD_TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Answers requests until the peer closes, asks for it, or says something that makes no sense.
pub(super) async fn converse<C: Channel>(channel: &mut C, service: &Service) -> io::Result<()> {
    let mut conversation = Conversation {
        channel,
        service,
        input: Vec::new(),
        at: 0,
        output: Vec::new(),
    };
    loop {
        let farewell = match conversation.next().await {
            Ok(Next::Answered) => continue,
            Ok(Next::PeerClosed) => &b""[..],
            Ok(Next::LastAnswered) => b"",
            Ok(Next::Refused(Refused::Malformed)) => BAD_REQUEST,
            Ok(Next::Refused(Refused::TooLarge)) => HEAD_TOO_LARGE,
            Ok(Next::Spoilt) => return Ok(()),
            Err(error) => return Err(error),
        };
        conversation.output.extend_from_slice(farewell);
        conversation.flush().await?;
        return conversation.channel.finish().await;
    }
}

pub(super) struct Conversation<'a, C> {
    pub(super) channel: &'a mut C,
    pub(super) service: &'a Service,
    /// What has been received; everything before `at` is dealt with.
    input: Vec<u8>,
    at: usize,
    /// Answers that are not sent yet.
    pub(super) output: Vec<u8>,
}

/// What became of one request.
pub(super) enum Next {
    Answered,
    /// Answered, and the connection closes after it.
    LastAnswered,
    PeerClosed,
    Refused(Refused),
    /// A fault has ended the connection, or keeps it from an end of its own.
    Spoilt,
}

impl<C: Channel> Conversation<'_, C> {
    /// Reads one request whole and answers it.
    async fn next(&mut self) -> io::Result<Next> {
        let mut request = loop {
            match Request::parse(&self.input[self.at..]) {
                Ok(Some(request)) => break request,
                Ok(None) => {
                    if !self.receive().await? {
                        return Ok(Next::PeerClosed);
                    }
                }
                Err(refused) => return Ok(Next::Refused(refused)),
            }
        };
        self.at += request.length;
        if request.expects && request.body != Body::Done && self.at == self.input.len() {
            self.output.extend_from_slice(CONTINUE);
        }
        let mut body = request.body;
        loop {
            match body.discard(&self.input[self.at..]) {
                Ok(used) => self.at += used,
                Err(Malformed) => return Ok(Next::Refused(Refused::Malformed)),
            }
            if body == Body::Done {
                break;
            }
            if !self.receive().await? {
                return Ok(Next::PeerClosed);
            }
        }
        let struck = self.service.strike();
        let takes = self.service.takes(struck);
        if !takes.is_zero() {
            self.flush().await?;
            self.service.nap(takes).await;
        }
        request.close |= self.channel.line().is_some_and(Line::is_leaving);
        match struck.map(|struck| struck.kind) {
            None | Some(FaultKind::Stall(_)) => self.answer(&request).await?,
            Some(kind) => {
                let size = request.size.unwrap_or(self.service.body);
                return spoil(self, kind, if request.head_only { 0 } else { size }).await;
            }
        }
        Ok(if request.close {
            Next::LastAnswered
        } else {
            Next::Answered
        })
    }

    async fn answer(&mut self, request: &Request) -> io::Result<()> {
        let connection = match (request.close, request.old) {
            (true, _) => "Connection: close\r\n",
            (false, true) => "Connection: keep-alive\r\n",
            (false, false) => "",
        };
        if let Some(nonce) = request.nonce {
            self.service.nonces.see(nonce);
            let fields = format!("{connection}{NONCE}: {nonce}\r\n");
            return self.answer_text(request, &fields, &nonce.to_string()).await;
        }
        if request.asks_nonces {
            let open = self.service.open.load(Ordering::Relaxed);
            let told = self.service.nonces.tell(open).to_string();
            return self.answer_text(request, connection, &told).await;
        }
        let size = request.size.unwrap_or(self.service.body);
        self.begin_answer(connection, size)?;
        self.text(if request.head_only { 0 } else { size }).await
    }

    /// So many bytes of a body, which may be repeated.
    pub(super) async fn text(&mut self, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let piece = left.min(BLOCK.len() as u64) as usize;
            self.output.extend_from_slice(&BLOCK[..piece]);
            left -= piece as u64;
            self.flush_if_large().await?;
        }
        self.flush_if_large().await
    }

    async fn answer_text(&mut self, request: &Request, fields: &str, text: &str) -> io::Result<()> {
        self.begin_answer(fields, text.len() as u64)?;
        if request.apart {
            self.flush().await?;
        }
        if !request.head_only {
            self.output.extend_from_slice(text.as_bytes());
        }
        self.flush_if_large().await
    }

    pub(super) fn begin_answer(&mut self, fields: &str, size: u64) -> io::Result<()> {
        write!(
            self.output,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}Content-Length: {size}\r\n\r\n"
        )
    }

    /// Receives more, everything owed sent before; false at the end of the stream.
    pub(super) async fn receive(&mut self) -> io::Result<bool> {
        self.flush().await?;
        self.input.drain(..self.at);
        self.at = 0;
        self.set_busy(!self.input.is_empty());
        let leaving = self.channel.line().is_some_and(Line::is_leaving);
        if leaving && self.input.is_empty() {
            return Ok(false); // It was told so while it was still answering.
        }
        let received = self.channel.receive(&mut self.input).await?;
        self.set_busy(true);
        Ok(received > 0)
    }

    /// What is received is of no use.
    pub(super) fn forget(&mut self) {
        self.at = self.input.len();
    }

    fn set_busy(&self, busy: bool) {
        if let Some(line) = self.channel.line() {
            line.set_busy(busy);
        }
    }

    async fn flush_if_large(&mut self) -> io::Result<()> {
        if self.output.len() >= SEND_AT {
            self.flush().await
        } else {
            Ok(())
        }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            Ok(())
        } else {
            self.channel.send(&mut self.output).await
        }
    }
}
