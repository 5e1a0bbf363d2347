//! The conductor: one run, carried out by agents.
//!
//! Owns the course of it: all are greeted and given their part, all prepare, their clocks are compared, all begin at one moment,
//! and each is listened to until it reports or is given up. Each agent is heard by a thread of its own; all else is one loop. Never:
//! waits for an agent longer than the limits say, however lively it is.

use std::ffi::OsString;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::clocks::{Clock, Nanos};
use super::greet::{self, Guest, refusal};
use super::wire::{self, ANSWER_MAX, Answer, LIMITS, Limits, Order, WireError};
use super::{merge, share, token};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::LoadResult;
use crate::member::{Begun, Member};
use crate::progress::Progress;
use crate::record::Kept;

/// How often Ctrl-C is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Round trips by which clocks are compared.
const PINGS: u32 = 10;
/// How far ahead the beginning lies, beside twice the longest round trip: all have to know of it before.
const AHEAD: Duration = Duration::from_millis(200);
/// What was heard and not yet dealt with.
const SAID_MAX: usize = 1024;
/// Agents whose windows open further apart than this part of an interval do not load at the same time, interval by interval.
const APART_MAX: f64 = 0.1;

/// What is to be carried out.
pub(crate) struct Conducted<'a> {
    /// Their addresses.
    pub(crate) agents: &'a [String],
    /// The arguments of this process behind `run`.
    pub(crate) words: &'a [OsString],
    /// What `--insecure-ca` named.
    pub(crate) ca: Option<&'a [u8]>,
    /// How long the load is to last, warm-up included.
    pub(crate) lasts: Duration,
}

/// Has the agents carry out the run.
pub(crate) fn conduct(
    run: &Conducted<'_>,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<LoadResult, Failure> {
    let of = run.agents.len();
    let shares = share::out(run.words, of).map_err(|e| Failure::Usage(e.to_string()))?;
    let ca = run.ca.map(|pem| String::from_utf8_lossy(pem).into_owned());
    let guests = run.agents.iter().zip(shares).enumerate();
    let guests = guests.map(|(nth, (name, arguments))| Guest {
        name: name.clone(),
        plan: Order::Plan {
            arguments,
            ca: ca.clone(),
            share: (nth as u32, of as u32),
        },
    });
    let broken = |whys: Vec<String>| Failure::Run(whys.join("\n"));
    // Those that are ready already go home when their streams are dropped.
    let streams = greet::all(guests.collect(), token().as_deref(), LIMITS).map_err(broken)?;
    let mut orchestra = Orchestra::new(run.agents, streams, LIMITS).map_err(|e| broken(vec![e]))?;
    let began = orchestra
        .begin(interrupt)
        .map_err(|why| broken(vec![why]))?;
    orchestra.listen(began + run.lasts, progress, interrupt);
    let players = std::mem::take(&mut orchestra.players);
    result(players, nanos(orchestra.epoch, began))
}

/// All that came of it.
fn result(players: Vec<Player>, at: Nanos) -> Result<LoadResult, Failure> {
    let (mut parts, mut members, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    for mut player in players {
        let outcome = player.outcome.take();
        let name = std::mem::take(&mut player.name);
        match outcome.unwrap_or_else(|| Err("it was not listened to".to_owned())) {
            Ok(report) => {
                let begun = Begun {
                    clock_error: player.clock.error(),
                    late: player.clock.late(report.began, at),
                    opened: player.clock.late(report.opened, at),
                };
                members.push(Member::of(&name, &report.kept, begun));
                parts.push((name, report.kept.result));
            }
            Err(why) => {
                lost.push(format!(
                    "agent {name} was lost, and its part is missing: {why}"
                ));
                members.push(Member::lost(name, why));
            }
        }
    }
    let Some(mut sum) = merge::all(&parts) else {
        return Err(Failure::Run(lost.join("\n")));
    };
    sum.invalid.extend(lost);
    let apart = Member::apart(&members);
    let most = sum.series.interval.mul_f64(APART_MAX);
    if apart > most {
        sum.invalid.push(format!(
            "the agents did not load at the same time: their windows opened {:.1} ms apart, of at most {:.1} ms",
            apart.as_secs_f64() * 1e3,
            most.as_secs_f64() * 1e3,
        ));
    }
    sum.members = members;
    Ok(sum)
}

/// One agent.
struct Player {
    name: String,
    /// To speak to it.
    stream: TcpStream,
    clock: Clock,
    /// When its clock was last asked for.
    asked: Instant,
    /// What came of its part, as soon as that is known.
    outcome: Option<Result<Box<Reported>, String>>,
}

struct Reported {
    kept: Kept,
    began: Nanos,
    opened: Nanos,
}

/// What was heard of an agent, and when.
struct Said {
    player: usize,
    at: Instant,
    what: Heard,
}

enum Heard {
    Answer(Answer),
    /// The last that it has to say.
    Report(Box<Reported>),
    /// Nothing more comes.
    Lost(String),
}

impl Heard {
    /// Of the next message. A report is read where it comes in, so that nothing else waits for that.
    fn of(message: Result<Answer, WireError>) -> Self {
        match message {
            Ok(Answer::Report {
                json,
                began_ns,
                opened_ns,
            }) => match Kept::read(&json, None) {
                Ok(kept) => Self::Report(Box::new(Reported {
                    kept,
                    began: began_ns,
                    opened: opened_ns,
                })),
                Err(error) => Self::Lost(error.to_string()),
            },
            Ok(Answer::Failed { why }) => Self::Lost(why),
            Ok(answer) => Self::Answer(answer),
            Err(error) => Self::Lost(error.to_string()),
        }
    }
}

/// All agents, and what they say.
struct Orchestra {
    players: Vec<Player>,
    said: Receiver<Said>,
    limits: Limits,
    /// What the conductor's clock counts from.
    epoch: Instant,
    /// When it last said that it is there.
    beat: Instant,
}

impl Drop for Player {
    fn drop(&mut self) {
        // Whoever hears it hears no more, and it hears that it is over.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Orchestra {
    fn new(names: &[String], streams: Vec<TcpStream>, limits: Limits) -> Result<Self, String> {
        let (sender, said) = mpsc::sync_channel(SAID_MAX);
        let mut players = Vec::new();
        for (player, (name, stream)) in names.iter().zip(streams).enumerate() {
            let own = stream
                .try_clone()
                .map_err(|e| format!("agent {name}: {e}"))?;
            let sender = sender.clone();
            thread::spawn(move || {
                loop {
                    let message = wire::receive(&own, ANSWER_MAX, limits.silence);
                    let at = Instant::now();
                    let what = Heard::of(message);
                    let is_last = !matches!(what, Heard::Answer(_));
                    let said = Said { player, at, what };
                    if sender.send(said).is_err() || is_last {
                        return;
                    }
                }
            });
            players.push(Player {
                name: name.clone(),
                stream,
                clock: Clock::default(),
                asked: Instant::now(),
                outcome: None,
            });
        }
        Ok(Self {
            players,
            said,
            limits,
            epoch: Instant::now(),
            beat: Instant::now(),
        })
    }

    /// Says it to all that have not ended. What cannot be said is noticed by whoever hears them.
    fn tell(&self, order: &Order) {
        for player in self.players.iter().filter(|one| one.outcome.is_none()) {
            let _ = wire::send(&player.stream, order, self.limits.beat);
        }
    }

    /// What is said next, if it is soon.
    fn next(&mut self) -> Option<Said> {
        if self.beat.elapsed() >= self.limits.beat {
            self.beat = Instant::now();
            self.tell(&Order::Beat);
        }
        match self.said.recv_timeout(LOOK.min(self.limits.beat)) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                // All have ended, or are about to be given up.
                thread::sleep(LOOK);
                None
            }
        }
    }

    /// Hears until `is_enough` says so of each agent; of the first that fails before, why.
    fn await_all(
        &mut self,
        what: &str,
        limit: Duration,
        interrupt: &Interrupt,
        mut is_enough: impl FnMut(&mut Player, &Answer, Instant) -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + limit;
        let mut waited_for: Vec<usize> = (0..self.players.len()).collect();
        while let Some(first) = waited_for.first() {
            if interrupt.requested() {
                return Err("interrupted before the agents had begun".to_owned());
            }
            if Instant::now() >= until {
                let name = &self.players[*first].name;
                return Err(format!("agent {name}: {what} took longer than {limit:?}"));
            }
            let Some(said) = self.next() else { continue };
            let player = &mut self.players[said.player];
            let why = match said.what {
                Heard::Answer(Answer::Beat { .. }) => continue,
                Heard::Answer(answer) if is_enough(player, &answer, said.at) => {
                    waited_for.retain(|other| *other != said.player);
                    continue;
                }
                Heard::Answer(answer) => refusal(answer),
                Heard::Report(_) => "it reports what it has not begun".to_owned(),
                Heard::Lost(why) => why,
            };
            return Err(format!("agent {}: {why}", player.name));
        }
        Ok(())
    }

    /// Has all prepare, compares clocks, and tells them when to begin: that moment.
    fn begin(&mut self, interrupt: &Interrupt) -> Result<Instant, String> {
        self.tell(&Order::Prepare);
        let is_ready = |_: &mut Player, answer: &Answer, _| matches!(answer, Answer::Ready);
        self.await_all("to prepare", self.limits.prepare, interrupt, is_ready)?;
        let epoch = self.epoch;
        for asked in 0..PINGS {
            for player in &mut self.players {
                player.asked = Instant::now();
                let ping = Order::Ping { number: asked };
                let _ = wire::send(&player.stream, &ping, self.limits.beat);
            }
            let is_pong = |player: &mut Player, answer: &Answer, at| match answer {
                Answer::Pong { number, clock_ns } if *number == asked => {
                    let sent = nanos(epoch, player.asked);
                    player.clock.learn(sent, *clock_ns, nanos(epoch, at));
                    true
                }
                _ => false,
            };
            self.await_all("to tell the time", self.limits.silence, interrupt, is_pong)?;
        }
        let longest = self.players.iter().map(|player| player.clock.trip()).max();
        let at = Instant::now() + AHEAD + longest.unwrap_or_default() * 2;
        for player in &self.players {
            let at_ns = player.clock.theirs(nanos(self.epoch, at));
            let _ = wire::send(&player.stream, &Order::Go { at_ns }, self.limits.beat);
        }
        Ok(at)
    }

    /// Listens until each has reported or is given up; `end` is when the load is to be over.
    fn listen(&mut self, end: Instant, progress: &Progress, interrupt: &Interrupt) {
        let mut until = end + self.limits.grace;
        let mut stopped = false;
        while self.players.iter().any(|player| player.outcome.is_none()) {
            if interrupt.requested() && !stopped {
                stopped = true;
                self.tell(&Order::Stop);
                until = until.min(Instant::now() + self.limits.grace);
            }
            if Instant::now() >= until {
                self.give_up(stopped);
                return;
            }
            let Some(said) = self.next() else { continue };
            let player = &mut self.players[said.player];
            if player.outcome.is_some() {
                continue;
            }
            player.outcome = match said.what {
                Heard::Answer(Answer::Beat { ok, failed }) => {
                    progress.add(ok, failed);
                    None
                }
                Heard::Answer(answer) => Some(Err(refusal(answer))),
                Heard::Report(report) => Some(Ok(report)),
                Heard::Lost(why) => Some(Err(why)),
            };
        }
    }

    fn give_up(&mut self, stopped: bool) {
        let since = if stopped {
            "it was stopped"
        } else {
            "the end that was planned"
        };
        let why = format!("it had not reported {:?} after {since}", self.limits.grace);
        for player in self.players.iter_mut().filter(|one| one.outcome.is_none()) {
            player.outcome = Some(Err(why.clone()));
        }
    }
}

fn nanos(epoch: Instant, at: Instant) -> Nanos {
    let since = at.saturating_duration_since(epoch);
    Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
}

#[cfg(test)]
mod tests;
