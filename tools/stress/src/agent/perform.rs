//! The agent's part of a run: it prepares, begins when all do, says how it goes, and reports.
//!
//! Owns the threads of that: one hears the conductor, one carries out the load, this one speaks. A conductor that goes away, or
//! says nothing for too long, ends the load. Never: begins before it is told when.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use host::Host;

use super::clocks::Nanos;
use super::wire::{self, Answer, Limits, ORDER_MAX, Order, WireError};
use crate::drive::{self, Apart};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::{DriveError, LoadPlan};
use crate::progress::Progress;
use crate::report::{self, Phase, Report};

/// A beginning that is further ahead is none.
const AHEAD_MAX: Duration = Duration::from_secs(60);
/// Who is told so much too late begins when it is told.
const LATE_MAX: Duration = Duration::from_millis(50);

/// What the threads of a session share.
#[derive(Clone)]
struct Voice {
    /// Whole messages, one after the other.
    stream: Arc<Mutex<TcpStream>>,
    /// What the agent's clock counts from.
    epoch: Instant,
    limits: Limits,
}

impl Voice {
    fn say(&self, answer: &Answer) -> Result<(), WireError> {
        let stream = self.stream.lock();
        let stream = stream.unwrap_or_else(PoisonError::into_inner);
        wire::send(&stream, answer, self.limits.silence)
    }

    fn clock(&self, at: Instant) -> Nanos {
        let since = at.saturating_duration_since(self.epoch);
        Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
    }
}

/// Carries out `plan` for the conductor at the other end.
pub(super) fn perform(stream: TcpStream, plan: LoadPlan, limits: Limits) -> Result<(), WireError> {
    let host = Host::look();
    let ears = stream.try_clone()?;
    let voice = Voice {
        stream: Arc::new(Mutex::new(stream.try_clone()?)),
        epoch: Instant::now(),
        limits,
    };
    let (interrupt, progress) = (Interrupt::by_hand(), Progress::silent());
    let (go, gone) = mpsc::channel();
    let listener = {
        let (voice, interrupt) = (voice.clone(), interrupt.clone());
        thread::spawn(move || hear(&ears, &voice, go, &interrupt))
    };
    let (ended, end) = mpsc::channel();
    let worker = {
        let (voice, progress) = (voice.clone(), progress.clone());
        thread::spawn(move || {
            let outcome = carry_out(plan, &voice, &gone, (&progress, &interrupt));
            // Nobody listens only if the session has ended.
            let _ = ended.send(outcome);
        })
    };
    let outcome = loop {
        match end.recv_timeout(limits.beat) {
            Ok(outcome) => break outcome.map_err(|e| e.to_string()),
            Err(RecvTimeoutError::Disconnected) => break Err("the load panicked".to_owned()),
            Err(RecvTimeoutError::Timeout) => {
                let (ok, failed) = progress.take();
                // A conductor that is gone is noticed by the listener, which ends the load.
                let _ = voice.say(&Answer::Beat { ok, failed });
            }
        }
    };
    let _ = worker.join();
    let answer = match outcome {
        Ok((phase, begun, opened)) => Answer::Report {
            json: report::json_of(&Report::of_run(phase), &host),
            began_ns: voice.clock(begun),
            opened_ns: voice.clock(opened),
        },
        Err(why) => Answer::Failed { why },
    };
    let sent = voice.say(&answer);
    // Wakes the listener, if the conductor has not closed yet; what was sent still arrives.
    let _ = stream.shutdown(Shutdown::Read);
    let heard = listener.join();
    heard.unwrap_or(Ok(()))?;
    sent
}

/// The load, from the engine's start to the last answer; when it began, and when its window opened.
fn carry_out(
    plan: LoadPlan,
    voice: &Voice,
    gone: &Receiver<Instant>,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<(Phase, Instant, Instant), Failure> {
    let (mut opened_at, mut began) = (None, None);
    let begins = || {
        let ready = voice.say(&Answer::Ready);
        ready.map_err(|e| DriveError::Plan(e.to_string()))?;
        let stopped = || DriveError::Plan("it was stopped before it began".to_owned());
        let at: Instant = gone.recv().map_err(|_| stopped())?;
        let left = at.saturating_duration_since(Instant::now());
        drive::wait(left.min(AHEAD_MAX), interrupt);
        let now = *began.insert(Instant::now());
        // Starts lie on the grid that all have agreed on, though this thread woke a little late.
        Ok(match now.saturating_duration_since(at) <= LATE_MAX {
            true => at.min(now),
            false => now,
        })
    };
    let phase = Phase::of("run", plan, |plan| {
        let Apart { whole, opened, .. } = drive::run_apart(plan, progress, interrupt, begins)?;
        opened_at = Some(opened);
        Ok(whole)
    })?;
    let now = Instant::now();
    Ok((phase, began.unwrap_or(now), opened_at.unwrap_or(now)))
}

/// Hears the conductor to the end; of one that vanished before it had its report, how. Its going away ends the load.
fn hear(
    ears: &TcpStream,
    voice: &Voice,
    go: Sender<Instant>,
    interrupt: &Interrupt,
) -> Result<(), WireError> {
    let mut go = Some(go);
    let ended = loop {
        let order = match wire::receive(ears, ORDER_MAX, voice.limits.silence) {
            Ok(order) => order,
            Err(WireError::Gone) => break Ok(()),
            Err(error) => break Err(error),
        };
        match order {
            Order::Beat => {}
            Order::Ping { number } => {
                let clock_ns = voice.clock(Instant::now());
                if let Err(error) = voice.say(&Answer::Pong { number, clock_ns }) {
                    break Err(error);
                }
            }
            Order::Go { at_ns } => {
                let at = voice.epoch.checked_add(Duration::from_nanos(at_ns));
                match (at, go.take()) {
                    // Nobody waits only if the load has failed.
                    (Some(at), Some(go)) => drop(go.send(at)),
                    (_, _) => break Err(WireError::Nonsense("a second go".to_owned())),
                }
            }
            Order::Stop => {
                go = None;
                interrupt.request();
            }
            Order::Hello { .. } | Order::Prove { .. } | Order::Plan { .. } | Order::Prepare => {
                break Err(WireError::Nonsense("it is past that".to_owned()));
            }
        }
    };
    drop(go);
    interrupt.request();
    ended
}
