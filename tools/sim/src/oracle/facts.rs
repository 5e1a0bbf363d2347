//! What callers and servers tell the oracle.

use crate::world::{Signature, Stray};
use std::time::Duration;

/// A call, as its caller means it.
#[derive(Clone, Debug)]
pub struct CallFacts {
    /// Which upstream it is for.
    pub upstream: usize,
    /// Whose servers it is for: see [`UpstreamKnobs::home`](crate::knobs::UpstreamKnobs::home).
    pub home: usize,
    /// Its method; `LINE` for a raw checkout.
    pub method: &'static str,
    /// How much response body it asks for.
    pub wants: usize,
    /// How much request body it has.
    pub brings: usize,
    /// When it began.
    pub begun: Duration,
    /// When it has to be over.
    pub bound: Duration,
    /// When it has to be over if it has not come to any server.
    pub arrives_by: Duration,
    /// Whether it has to succeed.
    pub must_succeed: bool,
    /// Whether a task makes it, which may begin some time later.
    pub in_task: bool,
}

impl CallFacts {
    /// RFC 9110 §9.2.2.
    pub fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE")
    }
}

/// A request that reached a server.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Which call it belongs to.
    pub nonce: u64,
    /// Whose server it reached.
    pub upstream: usize,
    /// Which of them.
    pub server: usize,
    /// On which connection.
    pub connection: u64,
    /// How many requests that connection had brought before.
    pub uses_before: u32,
    /// Its method.
    pub method: String,
    /// What Host said.
    pub host: String,
    /// What Host said in the first request on this connection.
    pub made_for: String,
    /// When.
    pub at: Duration,
    /// Whether the one before it on this connection was still being answered.
    pub pipelined: bool,
    /// Since when the connection had been of no use.
    pub spoiled: Option<Duration>,
    /// Whether the server will answer it as it should.
    pub answerable: bool,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// With a response.
    Answered(Answer),
    /// With an error.
    Failed(Failure),
}

/// A complete response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What its head says of its origin, where the head could be read.
    pub said: Option<Said>,
    /// Its body.
    pub body: bytes::Bytes,
    /// What the engine says of its way, where it does.
    pub trip: Option<ringpool::Trip>,
}

/// What a response says of its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Where it is from and whose it is.
    Signed(Signature),
    /// That nobody had asked for it.
    Stray(Stray),
    /// Nothing that could be read.
    Nonsense(String),
}

impl Said {
    /// From the line that says it.
    pub fn of(line: &str) -> Said {
        let signed = Signature::read(line).map(Said::Signed);
        signed
            .or_else(|| Stray::read(line).map(Said::Stray))
            .unwrap_or_else(|| Said::Nonsense(line.chars().take(80).collect()))
    }
}

/// What an error says.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The name of its kind.
    pub kind: &'static str,
    /// Why TLS failed, if it did.
    pub tls: Option<ringpool::TlsFailure>,
    /// How many attempts it counts.
    pub attempts: u32,
    /// How many of them it lists.
    pub history: usize,
    /// Whether it says that nothing was sent.
    pub unsent: bool,
    /// Whether it says that the call may be repeated.
    pub retryable: bool,
    /// As one line.
    pub text: String,
}

impl Failure {
    /// What `error` says.
    pub fn of(error: &ringpool::Error) -> Failure {
        Failure {
            kind: error.kind().name(),
            tls: match error.kind() {
                ringpool::ErrorKind::Tls(failure) => Some(failure),
                _ => None,
            },
            attempts: error.attempts(),
            history: error.history().len(),
            unsent: error.request_sent() == ringpool::RequestSent::No,
            retryable: error.is_retryable(),
            text: error.to_string(),
        }
    }
}
