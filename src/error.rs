//! The one error type of the crate.
//!
//! Owns: what failed, where, in which phase, and what may be done about it. Never: secrets, or the
//! bytes of a request.

use crate::endpoint::Endpoint;
use crate::trip::Attempt;
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

type Source = Box<dyn StdError + Send + Sync>;

/// Everything that can go wrong with a call, a checkout or the engine.
///
/// `Display` is one line that a person can act on; [`source`](StdError::source) goes on from there.
/// What a program wants to know is behind [`kind`](Error::kind), [`is_retryable`](Error::is_retryable)
/// and [`request_sent`](Error::request_sent).
pub struct Error(Box<Details>);

struct Details {
    kind: ErrorKind,
    message: Cow<'static, str>,
    upstream: Option<Arc<str>>,
    endpoint: Option<Endpoint>,
    attempts: u32,
    sent: RequestSent,
    retryable: bool,
    retry_after: Option<Duration>,
    history: Vec<Attempt>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong; the message lists every mistake.
    Config,
    /// This machine, kernel or connection cannot do what was asked; the message names the remedy.
    Unsupported,
    /// The caller's own request is malformed.
    Request,
    /// The caller's request body failed, or broke its promised length.
    RequestBody,
    /// The upstream's name could not be resolved.
    Resolve,
    /// No connection could be made.
    Dial,
    /// The TLS handshake, or the TLS layer later on, failed.
    Tls(TlsFailure),
    /// A time limit ran out in this phase.
    Timeout(Phase),
    /// The peer closed or reset the connection before the exchange was over; or the shard that held it
    /// was lost by a defect of this engine, as the message says then.
    Closed,
    /// The peer broke the protocol.
    Protocol,
    /// The peer's message passed one of the configured limits.
    Limit,
    /// The engine has too much to do, and this call mattered least: a queue is full, or everybody
    /// has waited too long for too long. [`retry_after`](Error::retry_after) says when to come back.
    Shed,
    /// No endpoint of the upstream is worth a call just now: all are ejected or cannot be connected
    /// to. [`retry_after`](Error::retry_after) says when one will be tried again.
    Breaker,
    /// The engine refuses: a cap on connections or upstreams is reached, or descriptors ran out.
    Refused,
    /// The configuration's `access` does not let the engine connect there.
    Forbidden,
    /// The engine is draining or has stopped.
    Draining,
}

/// Why TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsFailure {
    /// The peer's certificate chain ends at no trusted root.
    UnknownIssuer,
    /// The peer's certificate has expired.
    Expired,
    /// The peer's certificate is not valid yet.
    NotYetValid,
    /// The peer's certificate is for another name.
    WrongName,
    /// The peer's certificate was taken back by its issuer.
    Revoked,
    /// Whether the peer's certificate was taken back is not known: its issuer has no current list.
    RevocationUnknown,
    /// The peer's certificate is good, but its key is none of those that are pinned.
    NotPinned,
    /// The peer's certificate was refused for another reason.
    Certificate,
    /// The peer sent an alert.
    Alert,
    /// What answered does not speak TLS.
    NotTls,
    /// The peer ended the connection without close_notify where that matters (RFC 8446 §6.1).
    Truncated,
    /// The peer kept sending what carries nothing: session tickets, key updates, empty records.
    Flood,
    /// Anything else the peer did against the TLS protocol.
    Protocol,
}

/// Where a call was when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for a connection.
    Wait,
    /// Making a connection: TCP, and TLS with it.
    Dial,
    /// Sending the request.
    Send,
    /// Waiting for the response's head.
    Head,
    /// Receiving the response's body, or a lease's bytes.
    Body,
    /// Waiting for the engine to become ready.
    Ready,
}

/// How much of the request may have reached the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestSent {
    /// Nothing was handed to the kernel.
    No,
    /// Some of it was.
    Partly,
    /// All of it was.
    Whole,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The upstream's name, where one was involved.
    pub fn upstream(&self) -> Option<&str> {
        self.0.upstream.as_deref()
    }

    /// The address that was dialled or talked to, where it came that far.
    pub fn endpoint(&self) -> Option<&Endpoint> {
        self.0.endpoint.as_ref()
    }

    /// How many times the request was tried: on a connection, or by a dial for it that failed. 0 if it
    /// never came to that: refused, shed, or still waiting when its time was over.
    pub fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// Whether the same call may succeed later and is safe to repeat: it provably had no effect, or
    /// it is idempotent (RFC 9110 §9.2.2) and the failure is a passing one.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// How much of the request may have reached the peer.
    pub fn request_sent(&self) -> RequestSent {
        self.0.sent
    }

    /// How long to wait before coming back makes sense, if that is known: with
    /// [`Shed`](ErrorKind::Shed) and [`Breaker`](ErrorKind::Breaker).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Every attempt that was made, in order, the last one included: as many as
    /// [`attempts`](Error::attempts).
    pub fn history(&self) -> &[Attempt] {
        &self.0.history
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Details {
            kind,
            message: message.into(),
            upstream: None,
            endpoint: None,
            attempts: 0,
            sent: RequestSent::No,
            retryable: is_passing(kind),
            retry_after: None,
            history: Vec::new(),
            source: None,
        }))
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> Error {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn at_upstream(mut self, upstream: &Arc<str>) -> Error {
        self.0.upstream.get_or_insert_with(|| upstream.clone());
        self
    }

    pub(crate) fn at_endpoint(mut self, endpoint: Option<&Endpoint>) -> Error {
        if self.0.endpoint.is_none() {
            self.0.endpoint = endpoint.cloned();
        }
        self
    }

    /// Records how far the request got, and with it whether repeating it is safe.
    pub(crate) fn after_sending(mut self, sent: RequestSent, idempotent: bool) -> Error {
        self.0.sent = sent;
        self.0.retryable = is_passing(self.0.kind) && (idempotent || sent == RequestSent::No);
        self
    }

    pub(crate) fn with_retry_after(mut self, after: Duration) -> Error {
        self.0.retry_after = Some(after);
        self
    }

    /// Records the attempts that were made, the failed one included.
    pub(crate) fn with_history(mut self, history: Vec<Attempt>) -> Error {
        self.0.attempts = u32::try_from(history.len()).unwrap_or(u32::MAX);
        self.0.history = history;
        self
    }

    /// The attempts that were made, for another one to go on from.
    pub(crate) fn into_history(self) -> Vec<Attempt> {
        self.0.history
    }

    /// Adds why the call is not tried again, though it might have been.
    pub(crate) fn given_up(mut self, why: &str) -> Error {
        self.0.message = format!("{}; not tried again: {why}", self.0.message).into();
        self
    }

    /// The same failure, for another caller that it hit as well.
    pub(crate) fn duplicate(&self) -> Error {
        Error(Box::new(Details {
            kind: self.0.kind,
            message: self.0.message.clone(),
            upstream: self.0.upstream.clone(),
            endpoint: self.0.endpoint.clone(),
            attempts: self.0.attempts,
            sent: self.0.sent,
            retryable: self.0.retryable,
            retry_after: self.0.retry_after,
            history: self.0.history.clone(),
            source: self.0.source.clone(),
        }))
    }

    pub(crate) fn timeout(phase: Phase, after: Duration) -> Error {
        let what = match phase {
            Phase::Wait => "no connection came free",
            Phase::Dial => "no connection could be made",
            Phase::Send => "the request could not be sent",
            Phase::Head => "no response came",
            Phase::Body => "the rest of the response did not come",
            Phase::Ready => "not everything was ready",
        };
        Error::new(
            ErrorKind::Timeout(phase),
            format!("{what} within {after:?}"),
        )
    }

    pub(crate) fn draining() -> Error {
        Error::new(ErrorKind::Draining, "the engine is draining or has stopped")
    }
}

/// Whether a failure of this kind may be gone the next time.
fn is_passing(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Resolve
        | ErrorKind::Dial
        | ErrorKind::Timeout(_)
        | ErrorKind::Closed
        | ErrorKind::Shed
        | ErrorKind::Breaker
        | ErrorKind::Refused
        | ErrorKind::Tls(TlsFailure::Truncated) => true,
        ErrorKind::Config
        | ErrorKind::Unsupported
        | ErrorKind::Request
        | ErrorKind::RequestBody
        | ErrorKind::Tls(_)
        | ErrorKind::Protocol
        | ErrorKind::Limit
        | ErrorKind::Forbidden
        | ErrorKind::Draining => false,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &self.0;
        if let Some(upstream) = &details.upstream {
            write!(f, "{upstream}: ")?;
        }
        f.write_str(&details.message)?;
        if let Some(endpoint) = &details.endpoint {
            write!(f, " (at {endpoint})")?;
        }
        if details.attempts > 1 {
            write!(f, " after {} attempts", details.attempts)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("upstream", &self.0.upstream)
            .field("endpoint", &self.0.endpoint)
            .field("attempts", &self.0.attempts)
            .field("sent", &self.0.sent)
            .field("retryable", &self.0.retryable)
            .field("retry_after", &self.0.retry_after)
            .field("history", &self.0.history)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl ErrorKind {
    /// A short name for counters and reports: lower case, words joined by `_`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::Request => "request",
            ErrorKind::RequestBody => "request_body",
            ErrorKind::Resolve => "resolve",
            ErrorKind::Dial => "dial",
            ErrorKind::Tls(_) => "tls",
            ErrorKind::Timeout(Phase::Wait) => "timeout_wait",
            ErrorKind::Timeout(Phase::Dial) => "timeout_dial",
            ErrorKind::Timeout(Phase::Send) => "timeout_send",
            ErrorKind::Timeout(Phase::Head) => "timeout_head",
            ErrorKind::Timeout(Phase::Body) => "timeout_body",
            ErrorKind::Timeout(Phase::Ready) => "timeout_ready",
            ErrorKind::Closed => "closed",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Limit => "limit",
            ErrorKind::Shed => "shed",
            ErrorKind::Breaker => "breaker",
            ErrorKind::Refused => "refused",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Draining => "draining",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    #[test]
    fn one_line_says_where_and_what() {
        let upstream: Arc<str> = "users".into();
        let endpoint = Endpoint::Inet(SocketAddr::from(([127, 0, 0, 1], 80)));
        let error = Error::new(ErrorKind::Dial, "connection refused")
            .at_upstream(&upstream)
            .at_endpoint(Some(&endpoint))
            .caused_by(std::io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(
            error.to_string(),
            "users: connection refused (at 127.0.0.1:80)"
        );
        assert!(error.source().is_some() && error.is_retryable());
    }

    #[test]
    fn a_request_that_went_out_is_retryable_only_if_idempotent() {
        let closed = || Error::new(ErrorKind::Closed, "closed");
        assert!(
            closed()
                .after_sending(RequestSent::No, false)
                .is_retryable()
        );
        assert!(
            !closed()
                .after_sending(RequestSent::Partly, false)
                .is_retryable()
        );
        assert!(
            closed()
                .after_sending(RequestSent::Whole, true)
                .is_retryable()
        );
        let malformed = Error::new(ErrorKind::Protocol, "nonsense");
        assert!(
            !malformed
                .after_sending(RequestSent::Whole, true)
                .is_retryable()
        );
    }

    #[test]
    fn an_error_crosses_threads() {
        fn crosses<T: Send + Sync + 'static>() {}
        crosses::<Error>();
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
