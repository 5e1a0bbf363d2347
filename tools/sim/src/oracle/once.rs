//! Invariant 6: a call that is not idempotent reaches a backend at most once, unless it is provably
//! unprocessed. And: what is told of attempts is true.

use super::calls::Call;
use super::facts::{Answer, Arrival, Failure};

/// Whether this arrival may be.
pub(super) fn check_arrival(call: &Call, arrival: &Arrival) -> Result<(), String> {
    let nonce = arrival.nonce;
    if call.claimed_unsent {
        return Err(format!(
            "request {nonce} arrived though its caller was told that nothing of it was sent"
        ));
    }
    if !call.facts.is_idempotent() && !call.arrivals.is_empty() {
        return Err(format!(
            "request {nonce} ({}) reached a server twice",
            call.facts.method
        ));
    }
    Ok(())
}

/// Whether a response tells its attempts as they were.
pub(super) fn check_answer(
    nonce: u64,
    call: &Call,
    answer: &Answer,
    attempts_max: u32,
) -> Result<(), String> {
    let Some(trip) = &answer.trip else {
        return Ok(());
    };
    if trip.failed.len() + 1 != trip.attempts as usize {
        return Err(format!(
            "call {nonce} counts {} attempts and lists {} failed ones",
            trip.attempts,
            trip.failed.len()
        ));
    }
    count(nonce, call, trip.attempts, attempts_max)
}

/// Whether an error tells its attempts as they were.
pub(super) fn check_failure(
    nonce: u64,
    call: &Call,
    failure: &Failure,
    attempts_max: u32,
) -> Result<(), String> {
    let claims = failure.unsent && failure.attempts <= 1;
    let repeatable = failure.retryable && !call.facts.is_idempotent();
    if (claims || repeatable) && !call.arrivals.is_empty() && call.facts.method != "LINE" {
        return Err(format!(
            "call {nonce} arrived, and its caller is told that it was not sent, or may be repeated: {}",
            failure.text
        ));
    }
    // Older errors list only what went before the last attempt.
    if failure.history > failure.attempts as usize {
        return Err(format!(
            "call {nonce} failed after {} attempts and lists {}",
            failure.attempts, failure.history
        ));
    }
    if call.facts.method == "LINE" {
        return Ok(());
    }
    count(nonce, call, failure.attempts, attempts_max)
}

fn count(nonce: u64, call: &Call, attempts: u32, attempts_max: u32) -> Result<(), String> {
    if attempts > attempts_max {
        return Err(format!(
            "call {nonce} was tried {attempts} times, with at most {attempts_max} allowed"
        ));
    }
    if call.arrivals.len() > attempts as usize {
        return Err(format!(
            "call {nonce} counts {attempts} attempts and reached servers {} times",
            call.arrivals.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::{arrival, facts, failure};
    use super::*;

    fn call(method: &'static str, arrivals: usize) -> Call {
        let mut call = Call::new(facts(method));
        call.arrivals = (0..arrivals).map(|_| arrival(0)).collect();
        call
    }

    #[test]
    fn only_what_is_idempotent_may_come_twice() {
        assert!(check_arrival(&call("POST", 0), &arrival(0)).is_ok());
        assert!(check_arrival(&call("POST", 1), &arrival(0)).is_err());
        assert!(check_arrival(&call("GET", 1), &arrival(0)).is_ok());
        let mut unsent = call("GET", 0);
        unsent.claimed_unsent = true;
        assert!(check_arrival(&unsent, &arrival(0)).is_err());
    }

    #[test]
    fn what_is_told_of_attempts_has_to_be_true() {
        let told = |arrivals, failure: Failure| {
            check_failure(0, &call("POST", arrivals), &failure, 3).is_ok()
        };
        assert!(told(1, failure()));
        assert!(!told(2, failure()), "one attempt, two arrivals");
        let unsent = Failure {
            unsent: true,
            ..failure()
        };
        assert!(told(0, unsent.clone()) && !told(1, unsent));
        let repeatable = Failure {
            retryable: true,
            ..failure()
        };
        assert!(!told(1, repeatable));
        let many = Failure {
            attempts: 4,
            ..failure()
        };
        assert!(!told(1, many));
        let listed = Failure {
            history: 2,
            ..failure()
        };
        assert!(!told(1, listed));
    }
}
