//! Invariant 3: every call ends exactly once, by its deadline. And: once faults have stopped, it succeeds.
//!
//! The course of every call is kept here; the other invariants of calls are checked as it goes.

use super::facts::{Arrival, CallFacts, Ending, Failure};
use super::{Invariant, Oracle, identity, once, reuse};
use ringpool::TlsFailure;
use std::time::Duration;

/// What is known of one call.
pub(super) struct Call {
    pub(super) facts: CallFacts,
    pub(super) arrivals: Vec<Arrival>,
    /// An error said that nothing of it was sent.
    pub(super) claimed_unsent: bool,
    course: Course,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    Open,
    Ended,
    GivenUp,
}

impl Call {
    pub(super) fn new(facts: CallFacts) -> Call {
        Call {
            facts,
            arrivals: Vec::new(),
            claimed_unsent: false,
            course: Course::Open,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.course == Course::Open
    }

    pub(super) fn is_late(&self, now: Duration) -> bool {
        let lost = self.arrivals.is_empty() && now > self.facts.arrives_by;
        self.is_open() && (lost || now > self.facts.bound)
    }

    pub(super) fn late_story(&self, nonce: usize) -> String {
        let facts = &self.facts;
        format!(
            "call {nonce} ({} to up{}), begun at {:?}, should have ended by {:?}; it arrived {} times",
            facts.method,
            facts.upstream,
            facts.begun,
            if self.arrivals.is_empty() {
                facts.arrives_by.min(facts.bound)
            } else {
                facts.bound
            },
            self.arrivals.len()
        )
    }
}

impl Oracle {
    /// A caller begins; the call's nonce.
    pub fn called(&mut self, facts: CallFacts) -> u64 {
        self.calls.push(Call::new(facts));
        self.open += 1;
        self.calls.len() as u64 - 1
    }

    /// A caller has gone before the end.
    pub fn given_up(&mut self, nonce: u64) {
        self.open -= 1;
        self.calls[nonce as usize].course = Course::GivenUp;
    }

    /// A call has ended.
    pub fn ended(&mut self, nonce: u64, ending: &Ending) {
        let call = &mut self.calls[nonce as usize];
        if call.course != Course::Open {
            let what = format!("call {nonce} ended, which was over: {:?}", call.course);
            return self.judge(Invariant::Ends, Err(what));
        }
        call.course = Course::Ended;
        self.open -= 1;
        let drained = self
            .drain
            .check(nonce, &self.calls[nonce as usize], ending, self.now);
        self.judge(Invariant::Ends, drained);
        let call = &self.calls[nonce as usize];
        let upstream = call.facts.upstream;
        let attempts_max = self.attempts_max[upstream];
        match ending {
            Ending::Answered(answer) => {
                let known = |upstream, server, since| {
                    self.was_known(upstream, server, since, call.facts.begun)
                };
                let whose = identity::check(nonce, call, answer, known);
                let counted = once::check_answer(nonce, call, answer, attempts_max);
                self.judge(Invariant::Identity, whose);
                self.judge(Invariant::Once, counted);
            }
            Ending::Failed(failure) => {
                let counted = once::check_failure(nonce, call, failure, attempts_max);
                let succeeds = succeeds(nonce, &call.facts, failure);
                let claims = failure.unsent || (failure.retryable && !call.facts.is_idempotent());
                self.calls[nonce as usize].claimed_unsent = claims;
                let blamed = self.tls.check(nonce, upstream, failure);
                self.judge(Invariant::Once, counted);
                self.judge(Invariant::Liveness, succeeds);
                self.judge(Invariant::Identity, blamed);
            }
        }
    }

    /// A request reached a server: which arrival of its call it is.
    pub fn arrived(&mut self, arrival: Arrival) -> usize {
        let nonce = arrival.nonce;
        if nonce as usize >= self.calls.len() {
            let what = format!("a request {nonce} arrived that nobody made");
            self.judge(Invariant::Identity, Err(what));
            return 0;
        }
        let call = &self.calls[nonce as usize];
        let host = &self.hosts[call.facts.upstream];
        let known = arrival.spoiled.is_some_and(|since| {
            self.was_known(arrival.upstream, arrival.server, since, call.facts.begun)
        });
        let whose = identity::check_arrival(&call.facts, &arrival, host);
        let once = once::check_arrival(call, &arrival);
        let fit = reuse::check(&arrival, known);
        let owner = match arrival.pipelined {
            true => Err(format!(
                "request {nonce} came on connection {} while another was being answered",
                arrival.connection
            )),
            false => Ok(()),
        };
        self.judge(Invariant::Identity, whose);
        self.judge(Invariant::Once, once);
        self.judge(Invariant::Reuse, fit);
        self.judge(Invariant::Ownership, owner);
        let arrivals = &mut self.calls[nonce as usize].arrivals;
        arrivals.push(arrival);
        arrivals.len() - 1
    }

    /// A request is complete at a server.
    pub fn uploaded(&mut self, nonce: u64, bytes: usize) {
        let Some(call) = self.calls.get(nonce as usize) else {
            return;
        };
        if call.facts.brings != bytes {
            let what = format!(
                "request {nonce} came with {bytes} bytes of body instead of {}",
                call.facts.brings
            );
            self.judge(Invariant::Identity, Err(what));
        }
    }

    /// A server got what no client may send.
    pub fn broken_request(&mut self, what: String) {
        self.judge(Invariant::Identity, Err(what));
    }

    /// One of an upstream's servers did something by which TLS may fail in these ways, now or later.
    pub fn tls_misdeed(&mut self, upstream: usize, explains: &[TlsFailure]) {
        self.tls.add(upstream, explains);
    }

    /// A server was cut off, or joined again.
    pub fn partitioned(&mut self, upstream: usize, server: usize, on: bool, now: Duration) {
        let open = self
            .gaps
            .iter_mut()
            .find(|gap| gap.0 == upstream && gap.1 == server && gap.3.is_none());
        match (open, on) {
            (Some(gap), false) => gap.3 = Some(now),
            (None, true) => self.gaps.push((upstream, server, now, None)),
            (Some(_), true) | (None, false) => {}
        }
    }

    /// The clock went on without anybody having turned. A body that would have moved meanwhile moves
    /// only now, and has from now on to move again.
    pub fn jumped(&mut self, from: Duration, to: Duration) {
        self.jumps.push((from, to));
        self.replaced
            .iter_mut()
            .for_each(|one| one.excuse(to - from));
        for call in self
            .calls
            .iter_mut()
            .filter(|call| call.course == Course::Open)
        {
            call.facts.bound += to - from;
            call.facts.arrives_by += to - from;
        }
    }
}

fn succeeds(nonce: u64, facts: &CallFacts, failure: &Failure) -> Result<(), String> {
    if !facts.must_succeed {
        return Ok(());
    }
    Err(format!(
        "call {nonce} ({} to up{}) failed though faults had stopped: {}",
        facts.method, facts.upstream, failure.text
    ))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::knobs::Knobs;

    pub(in crate::oracle) fn facts(method: &'static str) -> CallFacts {
        CallFacts {
            upstream: 0,
            home: 0,
            method,
            wants: 3,
            brings: 0,
            begun: Duration::from_secs(1),
            bound: Duration::from_secs(3),
            arrives_by: Duration::from_secs(2),
            must_succeed: false,
            in_task: false,
        }
    }

    pub(in crate::oracle) fn failure() -> Failure {
        Failure {
            kind: "closed",
            tls: None,
            attempts: 1,
            history: 1,
            unsent: false,
            retryable: false,
            text: "closed".into(),
        }
    }

    pub(in crate::oracle) fn arrival(nonce: u64) -> Arrival {
        Arrival {
            nonce,
            upstream: 0,
            server: 0,
            connection: 4,
            uses_before: 0,
            method: "GET".into(),
            host: "up0.test:8000".into(),
            made_for: "up0.test:8000".into(),
            at: Duration::from_secs(1),
            pipelined: false,
            spoiled: None,
            answerable: true,
        }
    }

    fn verdict(course: impl FnOnce(&mut Oracle)) -> Option<Invariant> {
        let mut oracle = Oracle::new(&Knobs::of(0));
        course(&mut oracle);
        oracle.verdict().map(|violation| violation.invariant)
    }

    #[test]
    fn a_call_ends_once_and_in_time() {
        let end = Ending::Failed(failure());
        let once = verdict(|oracle| {
            let nonce = oracle.called(facts("GET"));
            oracle.ended(nonce, &end);
            oracle.at(Duration::from_secs(9));
            oracle.quiet(&[]);
        });
        assert_eq!(once, None);
        let twice = verdict(|oracle| {
            let nonce = oracle.called(facts("GET"));
            oracle.ended(nonce, &end);
            oracle.ended(nonce, &end);
        });
        assert_eq!(twice, Some(Invariant::Ends));
        let late = verdict(|oracle| {
            oracle.called(facts("GET"));
            oracle.at(Duration::from_secs(9));
            oracle.quiet(&[]);
        });
        assert_eq!(late, Some(Invariant::Ends));
    }

    #[test]
    fn what_must_succeed_must() {
        let failed = verdict(|oracle| {
            let nonce = oracle.called(CallFacts {
                must_succeed: true,
                ..facts("GET")
            });
            oracle.ended(nonce, &Ending::Failed(failure()));
        });
        assert_eq!(failed, Some(Invariant::Liveness));
    }

    #[test]
    fn two_on_one_connection_are_seen() {
        let both = verdict(|oracle| {
            let nonce = oracle.called(facts("GET"));
            oracle.arrived(Arrival {
                pipelined: true,
                ..arrival(nonce)
            });
        });
        assert_eq!(both, Some(Invariant::Ownership));
    }

    #[test]
    fn a_spoiled_connection_is_an_offence_only_if_that_was_known() {
        let use_after = |spoiled: Duration, gap: bool| {
            verdict(|oracle| {
                if gap {
                    oracle.partitioned(0, 0, true, spoiled);
                    oracle.partitioned(0, 0, false, spoiled);
                }
                let nonce = oracle.called(facts("GET"));
                oracle.arrived(Arrival {
                    spoiled: Some(spoiled),
                    ..arrival(nonce)
                });
            })
        };
        let news = Knobs::of(0).news();
        assert_eq!(use_after(Duration::ZERO, false), Some(Invariant::Reuse));
        assert_eq!(use_after(Duration::ZERO, true), None);
        assert_eq!(use_after(Duration::from_secs(1) - news, false), None);
    }

    #[test]
    fn a_request_that_lost_bytes_is_seen() {
        let short = verdict(|oracle| {
            let nonce = oracle.called(facts("PUT"));
            oracle.uploaded(nonce, 5);
        });
        assert_eq!(short, Some(Invariant::Identity));
    }
}
