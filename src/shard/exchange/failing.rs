//! How an exchange fails: what an end in the middle of it means, and who is told.
//!
//! Never: decides whether the call is tried again.

use super::{Exchange, Facts, Leaving, Parts, Told};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind, Phase, RequestSent};
use crate::protocol::http1;
use crate::shard::account::speaks_against_endpoint;
use crate::shard::again::{Again, Failure};
use crate::shard::bytes_in::End;
use crate::time::Time;

impl<D: Driver> Exchange<D> {
    /// What it failed by, before its response's head.
    pub(in crate::shard) fn failure(&self, kind: ErrorKind) -> Failure {
        let started = self.state.response_started();
        Failure::of_exchange(kind, self.facts.reused, started)
    }

    /// Ends the exchange with `error`, which learns how far the request got.
    pub(in crate::shard) fn fail(&mut self, error: Error) -> Error {
        let sent = match &self.lease {
            Some(lease) => match lease.shard.core.borrow().sent(lease.key()) {
                RequestSent::Whole if self.request == Leaving::Writing => RequestSent::Partly,
                sent => sent,
            },
            None => RequestSent::Whole,
        };
        self.judge_failure(error.kind());
        self.lease = None;
        let (facts, upstream) = (&self.facts, &self.upstream);
        let error = upstream
            .name_error(error)
            .at_endpoint(facts.endpoint.as_ref());
        let again = Again {
            fresh: false,
            early: false,
            sent: facts.sent_before,
            failed: facts.failed.clone(),
        };
        again.on_connection(
            upstream,
            &self.terms,
            facts.attempt,
            error,
            facts.reused,
            sent,
        )
    }

    /// Tells the pool, before the connection goes, what the failure says about its endpoint.
    fn judge_failure(&mut self, kind: ErrorKind) {
        let stale = self.failure(kind) == Failure::Stale;
        let this = &mut *self.0;
        let Some(lease) = &this.lease else {
            return;
        };
        let mut core = lease.shard.core.borrow_mut();
        let now = core.now();
        let impatient = match kind {
            ErrorKind::Timeout(Phase::Send | Phase::Head) => now < this.overdue,
            ErrorKind::Timeout(Phase::Body) => this.terms.body_timeout < this.terms.call_timeout,
            _ => false,
        };
        if impatient {
            // It was the caller who had no more time: that others would not have been answered either is
            // not known.
            return;
        }
        if kind == ErrorKind::Timeout(Phase::Head) {
            // Cut off, it counts as having taken that long: else the limit would never rise again.
            core.note_cut_off(lease.key(), now.since(this.facts.granted));
        }
        if !speaks_against_endpoint(kind) || stale || this.facts.has_failed_here() {
            return;
        }
        match std::mem::replace(&mut this.told, Told::Fault) {
            Told::Nothing => core.note_fault(lease.key(), false),
            Told::Served => core.note_fault(lease.key(), true),
            Told::Fault => {}
        }
    }
}

impl<D: Driver> Parts<D> {
    /// No head in time: the attempt's own, or the call's.
    pub(super) fn late(&self, now: Time) -> Error {
        let since = if now >= self.terms.deadline {
            self.facts.begun
        } else {
            self.facts.granted
        };
        Error::timeout(Phase::Head, now.since(since))
    }
}

impl Facts {
    /// Whether the endpoint was told of a failure of this call already. It is calls that are counted: one that
    /// no server survives says no more by its third attempt than by its first.
    fn has_failed_here(&self) -> bool {
        self.failed.iter().any(|attempt| {
            let failure = Failure::of_exchange(attempt.failure, attempt.reused, false);
            attempt.endpoint == self.endpoint
                && speaks_against_endpoint(attempt.failure)
                && failure != Failure::Stale
        })
    }
}

pub(super) fn head_cut_short(state: &mut http1::Exchange, error: Error, end: End) -> Error {
    let cut = state.end_of_stream(end == End::Clean);
    match (end, cut) {
        // As within a body: the connection's failure says more than what it cut short.
        (End::Failed(_), _) => error,
        (End::Clean | End::Truncated, Err(cut)) if state.response_started() => {
            crate::shard::faults::protocol(cut)
        }
        (End::Clean | End::Truncated, Err(_) | Ok(())) => error,
    }
}

/// The stream ended within a body: fine where the body ends with the connection. `Err(None)` leaves
/// the reason to the connection.
pub(super) fn body_ended(state: &mut http1::Exchange, end: End) -> Result<(), Option<Error>> {
    match end {
        End::Failed(_) => Err(None),
        End::Clean => state
            .end_of_stream(true)
            .map_err(|cut| Some(crate::shard::faults::protocol(cut))),
        End::Truncated => state.end_of_stream(false).map_err(|_| None),
    }
}
