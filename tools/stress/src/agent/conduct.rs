//! The conductor: one run, carried out by agents.
//!
//! Owns the course of it: all are greeted and given their part, all begin together, and each is listened to by a thread of its
//! own until it reports or is given up. Never: waits for an agent longer than the wire's limit.

use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::share::{self, TooFew};
use super::wire::{self, ANSWER_MAX, Answer, Order, VERSION, WireError};
use super::{merge, token};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::LoadResult;
use crate::progress::Progress;
use crate::record::Kept;

/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);

/// An agent that is ready.
struct Ready {
    name: String,
    stream: TcpStream,
}

/// Has `agents` carry out the run whose arguments are `words`; `ca` is what `--insecure-ca` named.
pub(crate) fn conduct(
    agents: &[String],
    words: &[String],
    ca: Option<&[u8]>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<LoadResult, Failure> {
    let shares = share::out(words, agents.len()).map_err(|TooFew { option, agents }| {
        Failure::Usage(format!(
            "{option} is too small to be shared by {agents} agents"
        ))
    })?;
    let ca = ca.map(|pem| String::from_utf8_lossy(pem).into_owned());
    let mut ready = Vec::new();
    for (name, arguments) in agents.iter().zip(shares) {
        let plan = Order::Plan {
            arguments,
            ca: ca.clone(),
        };
        // Those that are ready already go home when their streams are dropped.
        let stream =
            greet(name, &plan).map_err(|why| Failure::Run(format!("agent {name}: {why}")))?;
        ready.push(Ready {
            name: name.clone(),
            stream,
        });
    }
    for agent in &mut ready {
        // One that is gone by now is noticed by whoever listens to it.
        let _ = wire::send(&mut agent.stream, &Order::Go);
    }
    let outcomes = listen(ready, progress, interrupt);
    let (mut parts, mut lost) = (Vec::new(), Vec::new());
    for (name, outcome) in outcomes {
        match outcome {
            Ok(result) => parts.push((name, result)),
            Err(why) => lost.push(format!(
                "agent {name} was lost, and its part is missing: {why}"
            )),
        }
    }
    match merge::all(&parts) {
        None => Err(Failure::Run(lost.join("\n"))),
        Some(mut sum) => {
            sum.invalid.extend(lost);
            Ok(sum)
        }
    }
}

/// Connects to an agent and gives it its part.
fn greet(name: &str, plan: &Order) -> Result<TcpStream, String> {
    let addresses = name
        .to_socket_addrs()
        .map_err(|e| format!("no such address: {e}"))?;
    let mut outcome = Err("no such address".to_owned());
    for address in addresses {
        outcome = TcpStream::connect_timeout(&address, wire::SILENCE_MAX)
            .map_err(|e| format!("cannot connect: {e}"));
        if outcome.is_ok() {
            break;
        }
    }
    let mut stream = outcome?;
    let mut talk = || -> Result<Result<(), String>, WireError> {
        wire::limit(&stream)?;
        let hello = Order::Hello {
            version: VERSION,
            token: token(),
        };
        for order in [&hello, plan] {
            wire::send(&mut stream, order)?;
            match wire::receive(&mut stream, ANSWER_MAX)? {
                Answer::Welcome { version } if version == VERSION => {}
                Answer::Ready => {}
                Answer::Failed { why } => return Ok(Err(why)),
                Answer::Welcome { .. } | Answer::Beat { .. } | Answer::Report { .. } => {
                    return Ok(Err("it answers something else".to_owned()));
                }
            }
        }
        Ok(Ok(()))
    };
    talk().map_err(|e| e.to_string())??;
    Ok(stream)
}

/// Listens to all until each has reported or is given up, in their order.
fn listen(
    ready: Vec<Ready>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Vec<(String, Result<LoadResult, String>)> {
    // Nothing is sent: the channel ends when the last of them has.
    let (ended, end) = mpsc::channel::<()>();
    let mut stops = Vec::new();
    let mut listeners = Vec::new();
    for Ready { name, stream } in ready {
        stops.extend(stream.try_clone());
        let (progress, ended) = (progress.clone(), ended.clone());
        let listener = thread::spawn(move || {
            let outcome = hear(stream, &progress);
            drop(ended);
            outcome
        });
        listeners.push((name, listener));
    }
    drop(ended);
    let mut stopped = false;
    while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        if interrupt.requested() && !stopped {
            stopped = true;
            for stop in &mut stops {
                let _ = wire::send(stop, &Order::Stop);
            }
        }
    }
    let join = |(name, listener): (String, thread::JoinHandle<_>)| {
        let outcome = listener.join();
        (
            name,
            outcome.unwrap_or_else(|_| Err("who listened to it panicked".to_owned())),
        )
    };
    listeners.into_iter().map(join).collect()
}

/// Hears one agent to its end.
fn hear(mut stream: TcpStream, progress: &Progress) -> Result<LoadResult, String> {
    loop {
        match wire::receive(&mut stream, ANSWER_MAX).map_err(|e| e.to_string())? {
            Answer::Beat { ok, failed } => progress.add(ok, failed),
            Answer::Report { json } => {
                let kept = Kept::read(&json, None).map_err(|e| e.to_string())?;
                return Ok(kept.result);
            }
            Answer::Failed { why } => return Err(why),
            Answer::Welcome { .. } | Answer::Ready => {
                return Err("it answers something else".to_owned());
            }
        }
    }
}
