//! Whether a call is tried again, when, and on what: the rules are told at
//! [`RetryConfig`](crate::config::RetryConfig).
//!
//! Owns: what is known of the attempts before. Never: repeats what may have had an effect that must
//! not come twice, or goes past the call's deadline.

use super::local::LocalUpstream;
use super::terms::Terms;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase, RequestSent, TlsFailure};
use crate::time::Time;
use crate::trip::Attempt;
use std::time::Duration;

/// The attempt that comes next.
#[derive(Debug)]
pub(crate) struct Again {
    /// Only a newly dialled connection will do.
    pub(super) fresh: bool,
    /// It may be sent along with a handshake, if it may at all.
    pub(super) early: bool,
    /// How far the attempts before got.
    pub(super) sent: RequestSent,
    /// They themselves. No attempt failed, no allocation.
    pub(super) failed: Vec<Attempt>,
}

/// What an attempt failed by, as far as trying again goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection could be made.
    Undialled,
    /// A connection that others had used before was closed before any byte of a response: its peer
    /// had most likely let go of it already. That says nothing about the endpoint.
    Stale,
    /// Closed before any byte of a response, or no response in time.
    Unanswered,
    /// Another attempt would be unsafe, or in vain.
    Final,
}

impl Failure {
    /// By what no connection was got.
    pub(super) fn of_checkout(kind: ErrorKind) -> Failure {
        match kind {
            ErrorKind::Dial => Failure::Undialled,
            // Negotiating TLS met an end: as good as a connection refused.
            ErrorKind::Tls(_) if is_close(kind) => Failure::Undialled,
            // A dial that ran into its limit has had as long as a caller waits.
            ErrorKind::Timeout(_) | ErrorKind::Tls(_) => Failure::Final,
            ErrorKind::Config
            | ErrorKind::Unsupported
            | ErrorKind::Request
            | ErrorKind::RequestBody
            | ErrorKind::Resolve
            | ErrorKind::Closed
            | ErrorKind::Protocol
            | ErrorKind::Limit
            | ErrorKind::Shed
            | ErrorKind::Breaker
            | ErrorKind::Refused
            | ErrorKind::Forbidden
            | ErrorKind::Draining => Failure::Final,
        }
    }

    /// By what an exchange on a connection, `reused` or not, ended before its response's head.
    pub(super) fn of_exchange(kind: ErrorKind, reused: bool, response_started: bool) -> Failure {
        match kind {
            _ if is_close(kind) && response_started => Failure::Final,
            _ if is_close(kind) && reused => Failure::Stale,
            _ if is_close(kind) => Failure::Unanswered,
            ErrorKind::Timeout(Phase::Send | Phase::Head) => Failure::Unanswered,
            ErrorKind::Timeout(Phase::Wait | Phase::Dial | Phase::Body | Phase::Ready)
            | ErrorKind::Tls(_)
            | ErrorKind::Config
            | ErrorKind::Unsupported
            | ErrorKind::Request
            | ErrorKind::RequestBody
            | ErrorKind::Resolve
            | ErrorKind::Dial
            | ErrorKind::Closed
            | ErrorKind::Protocol
            | ErrorKind::Limit
            | ErrorKind::Shed
            | ErrorKind::Breaker
            | ErrorKind::Refused
            | ErrorKind::Forbidden
            | ErrorKind::Draining => Failure::Final,
        }
    }
}

impl Again {
    pub(super) fn first() -> Again {
        Again {
            fresh: false,
            early: true,
            sent: RequestSent::No,
            failed: Vec::new(),
        }
    }

    /// The error of this attempt, begun at `attempt`, that got no connection. It counts as one if it came
    /// to a dial.
    pub(super) fn without_connection<D: Driver>(
        self,
        upstream: &LocalUpstream<D>,
        terms: &Terms,
        attempt: Time,
        error: Error,
    ) -> Error {
        let mut history = self.failed;
        if is_dial(error.kind()) {
            history.push(Attempt {
                endpoint: error.endpoint().cloned(),
                reused: false,
                begun: attempt.since(terms.begun),
                took: upstream.shard.now().since(attempt),
                failure: error.kind(),
            });
        }
        error
            .after_sending(self.sent, terms.idempotent)
            .with_history(history)
    }

    /// The error of this attempt, begun at `attempt`, that ended on a connection with so much `sent`.
    pub(super) fn on_connection<D: Driver>(
        self,
        upstream: &LocalUpstream<D>,
        terms: &Terms,
        attempt: Time,
        error: Error,
        reused: bool,
        sent: RequestSent,
    ) -> Error {
        let mut history = self.failed;
        history.push(Attempt {
            endpoint: error.endpoint().cloned(),
            reused,
            begun: attempt.since(terms.begun),
            took: upstream.shard.now().since(attempt),
            failure: error.kind(),
        });
        error
            .after_sending(sent.max(self.sent), terms.idempotent)
            .with_history(history)
    }

    /// The attempt after one that ended by `error`, when its time has come; or the error, for the
    /// caller, if there is to be none.
    pub(super) async fn after<D: Driver>(
        upstream: &LocalUpstream<D>,
        terms: &Terms,
        error: Error,
        failure: Failure,
    ) -> Result<Again, Error> {
        let safe = terms.idempotent || error.request_sent() == RequestSent::No;
        if failure == Failure::Final || !safe || error.attempts() >= terms.attempts_max {
            return Err(error);
        }
        if upstream.shard.is_stopping() {
            return Err(error);
        }
        let stale = failure == Failure::Stale;
        let now = upstream.shard.now();
        let pause = upstream.backoff(error.attempts(), stale);
        if now + pause >= terms.deadline {
            return Err(error);
        }
        // Last: what is taken is used.
        if !upstream.take_retry() {
            return Err(error.given_up("too many calls are being repeated (the retry budget)"));
        }
        if pause > Duration::ZERO {
            let _between = BetweenAttempts::of(upstream);
            upstream.shard.sleep(pause).await;
        }
        Ok(Again {
            fresh: stale,
            early: true,
            sent: error.request_sent(),
            failed: error.into_history(),
        })
    }
}

/// A call that holds nothing: counted, or else a drain could not tell of it. Those from other threads
/// are counted anyway.
struct BetweenAttempts<'a, D: Driver>(&'a LocalUpstream<D>);

impl<'a, D: Driver> BetweenAttempts<'a, D> {
    fn of(upstream: &'a LocalUpstream<D>) -> Option<BetweenAttempts<'a, D>> {
        if upstream.outside {
            return None;
        }
        upstream.change_between(1);
        Some(BetweenAttempts(upstream))
    }
}

impl<D: Driver> Drop for BetweenAttempts<'_, D> {
    fn drop(&mut self) {
        self.0.change_between(-1);
    }
}

/// Whether a checkout failed by a dial.
fn is_dial(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Dial | ErrorKind::Tls(_) | ErrorKind::Timeout(Phase::Dial)
    )
}

/// Whether the connection was closed. Over TLS many a server closes without close_notify.
fn is_close(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Closed | ErrorKind::Tls(TlsFailure::Truncated)
    )
}
