//! The conductor's first words with each agent: a connection, proofs, its part of the run.
//!
//! Owns how long that may take, for all of them together: they are greeted at the same time, and one that is dead costs the others
//! nothing. Never: has an agent do anything yet.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::proof::{Nonce, Nonces, Who};
use super::wire::{self, ANSWER_MAX, Answer, Limits, Order, VERSION, WireError};

/// One agent to greet.
pub(super) struct Guest {
    pub(super) name: String,
    /// What it is told.
    pub(super) plan: Order,
}

/// Greets all; their streams in the same order, or the reasons of those that cannot be had.
pub(super) fn all(
    guests: Vec<Guest>,
    token: Option<&str>,
    limits: Limits,
) -> Result<Vec<TcpStream>, Vec<String>> {
    let until = Instant::now() + limits.greet;
    let names: Vec<String> = guests.iter().map(|guest| guest.name.clone()).collect();
    let (sender, greeted) = mpsc::channel();
    for (nth, guest) in guests.into_iter().enumerate() {
        let (sender, token) = (sender.clone(), token.map(str::to_owned));
        // Not joined: looking up a name may take longer than anybody waits. It ends by itself.
        thread::spawn(move || {
            let stream = greet(&guest, token.as_deref(), until, limits);
            let _ = sender.send((nth, stream));
        });
    }
    drop(sender);
    let mut streams: Vec<Option<Result<TcpStream, String>>> = names.iter().map(|_| None).collect();
    while let Ok((nth, stream)) =
        greeted.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        streams[nth] = Some(stream);
    }
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (name, stream) in names.iter().zip(streams) {
        let late = || Err(format!("it was not there within {:?}", limits.greet));
        match stream.unwrap_or_else(late) {
            Ok(stream) => good.push(stream),
            Err(why) => bad.push(format!("agent {name}: {why}")),
        }
    }
    match bad.is_empty() {
        true => Ok(good),
        false => Err(bad),
    }
}

fn greet(
    guest: &Guest,
    token: Option<&str>,
    until: Instant,
    limits: Limits,
) -> Result<TcpStream, String> {
    let addresses = guest.name.to_socket_addrs();
    let addresses = addresses.map_err(|e| format!("no such address: {e}"))?;
    let mut outcome = Err("no such address".to_owned());
    for address in addresses {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        outcome =
            TcpStream::connect_timeout(&address, left).map_err(|e| format!("cannot connect: {e}"));
        if outcome.is_ok() {
            break;
        }
    }
    let stream = outcome?;
    match talk(&stream, &guest.plan, token, limits) {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(why)) => Err(why),
        Err(error) => Err(error.to_string()),
    }
}

/// What both sides say first; the inner error is the agent's refusal, or ours.
fn talk(
    stream: &TcpStream,
    plan: &Order,
    token: Option<&str>,
    limits: Limits,
) -> Result<Result<(), String>, WireError> {
    stream.set_nodelay(true)?;
    let ask = |order: &Order| -> Result<Answer, WireError> {
        wire::send(stream, order, limits.silence)?;
        wire::receive(stream, ANSWER_MAX, limits.silence)
    };
    let Some(conductor) = Nonce::random() else {
        return Ok(Err("the system gives no random numbers".to_owned()));
    };
    let hello = Order::Hello {
        version: VERSION,
        nonce: conductor.to_text(),
    };
    let theirs = match ask(&hello)? {
        Answer::Challenge { version, nonce } if version == VERSION => Nonce::from_text(&nonce),
        Answer::Challenge { version, .. } => {
            return Ok(Err(format!("it speaks version {version}, not {VERSION}")));
        }
        other => return Ok(Err(refusal(other))),
    };
    let Some(agent) = theirs else {
        return Ok(Err("its nonce is none".to_owned()));
    };
    let nonces = Nonces { conductor, agent };
    let proof = token.map(|token| nonces.prove(Who::Conductor, token));
    match ask(&Order::Prove { proof })? {
        Answer::Welcome { proof } => {
            let knows = |token: &str| nonces.is_proof(Who::Agent, token, proof.as_deref());
            if !token.is_none_or(knows) {
                let why = "it does not know the token that this side has";
                return Ok(Err(why.to_owned()));
            }
        }
        other => return Ok(Err(refusal(other))),
    }
    Ok(match ask(plan)? {
        Answer::Accepted => Ok(()),
        other => Err(refusal(other)),
    })
}

/// Why it does not go on.
pub(super) fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Failed { why } => why,
        Answer::Challenge { .. }
        | Answer::Welcome { .. }
        | Answer::Accepted
        | Answer::Ready
        | Answer::Pong { .. }
        | Answer::Beat { .. }
        | Answer::Report { .. } => "it answers something else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    #[test]
    fn those_that_are_dead_are_waited_for_together() {
        // They are connected to by the kernel alone, and nobody ever answers.
        let deaf = [(); 20].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let guests = deaf.iter().map(|listener| Guest {
            name: listener.local_addr().unwrap().to_string(),
            plan: Order::Prepare,
        });
        let limits = Limits {
            silence: Duration::from_secs(3600),
            greet: Duration::from_millis(300),
            ..wire::LIMITS
        };
        // One after the other each would be waited for an hour.
        let whys = all(guests.collect(), None, limits).unwrap_err();
        assert_eq!(whys.len(), 20);
        assert!(
            whys[19].ends_with("it was not there within 300ms"),
            "{whys:?}"
        );
    }
}
