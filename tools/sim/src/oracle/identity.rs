//! Invariant 4: a response goes to the call that asked for it, on a connection of the identity that it
//! asked for.

use super::calls::Call;
use super::facts::{Answer, Arrival, CallFacts, Said};
use crate::world::{Signature, filler};
use std::time::Duration;

/// Whether a response is the one that was asked for, whole. `known` says whether what a server did was sure
/// to be known when the call began.
pub(super) fn check(
    nonce: u64,
    call: &Call,
    answer: &Answer,
    known: impl Fn(usize, usize, Duration) -> bool,
) -> Result<(), String> {
    let line = answer.body.split(|&byte| byte == b'\n').next();
    let line = line.filter(|line| !line.is_empty());
    let from_body = line.map(|line| Said::of(&String::from_utf8_lossy(line)));
    if let (Some(head), Some(body)) = (&answer.said, &from_body)
        && head != body
    {
        return Err(format!(
            "call {nonce} got the head of one response and the body of another: {head:?}, {body:?}"
        ));
    }
    match answer.said.clone().or(from_body) {
        Some(Said::Signed(signature)) => {
            check_signature(nonce, call, &signature)?;
            check_trip(nonce, call, answer, &signature)?;
            check_body(nonce, call, answer)
        }
        Some(Said::Stray(stray)) if known(stray.upstream, stray.server, stray.at) => Err(format!(
            "call {nonce} was answered by what its connection had brought unasked, at {:?}",
            stray.at
        )),
        // It crossed the request on its way: nobody can tell the two apart.
        Some(Said::Stray(_)) => Ok(()),
        Some(Said::Nonsense(text)) => Err(format!("call {nonce} was answered by {text:?}")),
        None if call.facts.method == "HEAD" || answer.status == 204 => Ok(()),
        None => Err(format!("call {nonce} got an empty answer")),
    }
}

fn check_signature(nonce: u64, call: &Call, signature: &Signature) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("call {nonce} {what}: {signature:?}"));
    if signature.nonce != nonce {
        return wrong("got another call's response");
    }
    if signature.upstream != call.facts.home {
        return wrong("was answered by another upstream");
    }
    let Some(arrival) = call.arrivals.get(signature.arrival) else {
        return wrong("was answered without having arrived");
    };
    if arrival.connection != signature.connection || arrival.server != signature.server {
        return wrong("was answered on another connection than it arrived on");
    }
    if !arrival.answerable {
        return wrong("got for an answer what is none");
    }
    Ok(())
}

fn check_trip(
    nonce: u64,
    call: &Call,
    answer: &Answer,
    signature: &Signature,
) -> Result<(), String> {
    let Some(trip) = &answer.trip else {
        return Ok(());
    };
    let arrival = &call.arrivals[signature.arrival];
    if arrival.uses_before > 0 && !trip.reused {
        return Err(format!(
            "call {nonce} went over a used connection, and is told that it was new"
        ));
    }
    let mut place = trip.endpoint.iter().map(ToString::to_string);
    let expected = format!("10.0.{}.{}:", arrival.upstream, arrival.server + 1);
    if place.any(|place| !place.starts_with(&expected)) {
        return Err(format!(
            "call {nonce} is told that it went to {:?}, and went to {expected}",
            trip.endpoint
        ));
    }
    Ok(())
}

fn check_body(nonce: u64, call: &Call, answer: &Answer) -> Result<(), String> {
    if call.facts.method == "HEAD" || answer.status == 204 {
        return match answer.body.is_empty() {
            true => Ok(()),
            false => Err(format!("call {nonce} got a body where none can be")),
        };
    }
    let line = answer.body.iter().position(|&byte| byte == b'\n');
    let content = &answer.body[line.map_or(0, |end| end + 1)..];
    if call.facts.method != "LINE" && content.len() != call.facts.wants {
        return Err(format!(
            "call {nonce} asked for {} bytes and got {}",
            call.facts.wants,
            content.len()
        ));
    }
    if !filler::matches(content, nonce, 0) {
        return Err(format!("call {nonce} got bytes that are not its own"));
    }
    Ok(())
}

/// Whether a request reached whom it was meant for.
pub(super) fn check_arrival(
    facts: &CallFacts,
    arrival: &Arrival,
    host: &str,
) -> Result<(), String> {
    let nonce = arrival.nonce;
    if arrival.upstream != facts.home {
        return Err(format!(
            "request {nonce} is for up{} and reached up{}",
            facts.home, arrival.upstream
        ));
    }
    if arrival.host != host {
        return Err(format!(
            "request {nonce} for {host:?} names {:?}",
            arrival.host
        ));
    }
    if arrival.made_for != arrival.host {
        return Err(format!(
            "request {nonce} for {host:?} came on a connection made for {:?}",
            arrival.made_for
        ));
    }
    if arrival.method != facts.method {
        return Err(format!(
            "request {nonce} was {} and came as {}",
            facts.method, arrival.method
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::{arrival, facts};
    use super::*;
    use crate::world::Stray;
    use bytes::Bytes;

    fn signature() -> Signature {
        Signature {
            nonce: 0,
            upstream: 0,
            server: 0,
            connection: 4,
            arrival: 0,
        }
    }

    fn call() -> Call {
        let mut call = Call::new(facts("GET"));
        call.arrivals.push(arrival(0));
        call
    }

    fn answer(signature: &Signature, nonce: u64) -> Answer {
        let mut body = format!("{}\n", signature.write()).into_bytes();
        filler::fill(&mut body, nonce, 3);
        Answer {
            status: 200,
            said: Some(Said::Signed(signature.clone())),
            body: Bytes::from(body),
            trip: None,
        }
    }

    fn judged(answer: &Answer, call: &Call, known: bool) -> bool {
        check(0, call, answer, |_, _, _| known).is_ok()
    }

    #[test]
    fn the_right_answer_is_right_and_any_other_is_not() {
        assert!(judged(&answer(&signature(), 0), &call(), false));
        for wrong in [
            Signature {
                nonce: 1,
                ..signature()
            },
            Signature {
                upstream: 1,
                ..signature()
            },
            Signature {
                server: 1,
                ..signature()
            },
            Signature {
                connection: 5,
                ..signature()
            },
            Signature {
                arrival: 1,
                ..signature()
            },
        ] {
            assert!(!judged(&answer(&wrong, 0), &call(), false), "{wrong:?}");
        }
        let mut mixed = answer(&signature(), 0);
        mixed.said = Some(Said::Nonsense("x".into()));
        assert!(!judged(&mixed, &call(), false));
        assert!(!judged(&answer(&signature(), 1), &call(), false), "bytes");
        let mut short = answer(&signature(), 0);
        short.body.truncate(short.body.len() - 1);
        assert!(!judged(&short, &call(), false));
        let mut none = call();
        none.arrivals[0].answerable = false;
        assert!(!judged(&answer(&signature(), 0), &none, false));
    }

    #[test]
    fn what_came_unasked_is_an_answer_only_if_it_crossed_the_request() {
        let line = Stray::write(0, 0, Duration::ZERO);
        let stray = Answer {
            status: 200,
            said: Some(Said::of(&line)),
            body: Bytes::from(line + "\n"),
            trip: None,
        };
        assert!(judged(&stray, &call(), false));
        assert!(!judged(&stray, &call(), true));
    }

    #[test]
    fn a_request_reaches_whom_it_is_for() {
        let host = "up0.test:8000";
        assert!(check_arrival(&facts("GET"), &arrival(0), host).is_ok());
        assert!(check_arrival(&facts("PUT"), &arrival(0), host).is_err());
        assert!(check_arrival(&facts("GET"), &arrival(0), "up1.test:8001").is_err());
        let elsewhere = Arrival {
            upstream: 1,
            ..arrival(0)
        };
        assert!(check_arrival(&facts("GET"), &elsewhere, host).is_err());
        let borrowed = Arrival {
            made_for: "up1.test:8000".into(),
            ..arrival(0)
        };
        assert!(check_arrival(&facts("GET"), &borrowed, host).is_err());
    }
}
