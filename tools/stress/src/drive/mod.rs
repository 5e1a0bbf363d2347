//! Drives the load through the engine: the only part of the tool that knows `ringpool`.
//!
//! Owns the engine, the course of a load from warm-up to the last answer, and what the engine's
//! figures mean in a report. It must never do a caller's work itself: callers run on the shards
//! (`on_shard`), or on a thread of their own that calls from outside (`anywhere`).
//!
//! | file | concept |
//! |---|---|
//! | `bursts` | random bursts to many upstreams |
//! | `calls` | the kinds of calls that are mixed |
//! | `course` | when the measured window opened and closed |
//! | `caller` | the loop of one caller, and waiting for all of them |
//! | `entering` | calls that all enter one shard of two |
//! | `intervals` | what callers count, interval by interval |
//! | `fuse` | callers that lose patience |
//! | `moves` | calls that a sibling runs, with nonces, some dropped |
//! | `pace` | starts by a timetable |
//! | `parts` | what callers count, by phases and kinds of calls |
//! | `phases` | which phase a call belongs to |
//! | `play` | calls that are kept one by one, for the scenarios that are judged by them |
//! | `rotating` | a certificate that is replaced again and again |
//! | `settings` | the engine's configuration for a plan |
//! | `sampling` | how the engine stands, interval by interval |
//! | `tally` | what callers count |

mod anywhere;
mod bursts;
mod caller;
mod calls;
mod contacts;
mod course;
mod descriptors;
mod entering;
mod first;
mod fuse;
mod intervals;
mod moves;
mod on_shard;
mod pace;
mod parts;
mod phases;
mod play;
mod rotating;
mod sampling;
mod settings;
mod tally;

pub(crate) use bursts::{Burst, Bursts, bursts};
pub(crate) use entering::{CONNECTIONS_EACH, ENTRANCE, Entered, Entering, HELPER, Ran, enter};
pub(crate) use first::{Crowd, FromStart, Rest, from_start};
pub(crate) use moves::{Moved, moves};
pub(crate) use play::{Calls, Play, Played, play};
pub(crate) use rotating::{By, Replaced, Rotated, Rotating, rotate};
pub(crate) use settings::check as check_setting;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ringpool::config::{Config, TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::{Engine, Error, ErrorKind, Snapshot, block_on};

use crate::interrupt::Interrupt;
use crate::load::{DriveError, LoadPlan, LoadResult, WayIn};
use crate::measure::{Threads, Window};
use crate::progress::Progress;
use crate::series::{self, Series};
use crate::traffic::CallPlan;
use crate::validity::{self, Tool};
use caller::{Job, Starts};
use course::Course;
use pace::Pace;
use parts::Part;
use phases::Phases;
use sampling::Sampling;
use tally::Tally;

/// The upstream's name in the engine's configuration, and so in its errors.
const UPSTREAM: &str = "target";
/// How long the connections may take to come up before the load begins.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How often Ctrl-C is looked for. Each look costs CPU time that counts as the client's.
const LOOK: Duration = Duration::from_millis(50);

/// Carries out `plan`.
pub(crate) fn run(
    plan: &LoadPlan,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<LoadResult, DriveError> {
    Ok(run_apart(plan, progress, interrupt, || Ok(Instant::now()))?.whole)
}

/// A load's result, and that of its parts.
#[derive(Debug)]
pub(crate) struct Apart {
    /// When the measured window opened.
    pub(crate) opened: Instant,
    pub(crate) whole: LoadResult,
    /// Of each phase, with what the engine counted in it.
    pub(crate) phases: Vec<LoadResult>,
    /// The requests of each kind of call, in the whole load and in each phase.
    pub(crate) calls: Vec<(LoadResult, Vec<LoadResult>)>,
}

/// Carries out `plan`, and tells its parts from each other. As soon as the engine is ready `begins` is called, and may take its time;
/// the load counts from the moment that it returns.
pub(crate) fn run_apart(
    plan: &LoadPlan,
    progress: &Progress,
    interrupt: &Interrupt,
    begins: impl FnOnce() -> Result<Instant, DriveError>,
) -> Result<Apart, DriveError> {
    let (config, path) = settings::configure(plan)?;
    let names = settings::names(plan);
    let engine = Engine::start(config).map_err(refused)?;
    if plan.reuse && plan.warm {
        reach(&engine, interrupt)?;
    }
    let course = Arc::new(Course::default());
    let begin = begins()?;
    let phases = Arc::new(Phases::of(plan, begin));
    let pace = phases::timetable(plan).map(|table| Pace::start(table, begin, &course));
    let pace = pace.transpose().map_err(DriveError::broken)?;
    let traffic = &plan.traffic;
    let plain = traffic.calls.is_empty();
    let job = Job {
        calls: Arc::new(match plain {
            true => calls::Calls::new(&[CallPlan::get(&path)]),
            false => calls::Calls::new(&traffic.calls),
        }),
        path: (plain && phases.count() == 1).then_some(path),
        upstreams: names,
        think: traffic.think,
        seed: traffic.seed,
        phases,
        starts: match &pace {
            None => Starts::AtOnce,
            Some(pace) => Starts::Paced(pace.starts()),
        },
        course,
        interval: series::interval(plan.duration),
        progress: progress.clone(),
    };
    let callers = Callers::start(&engine, plan, &job)?;

    wait(plan.warmup.saturating_sub(begin.elapsed()), interrupt);
    let before = snapshot(&engine)?;
    let (window, began) = (Window::open(), SystemTime::now());
    let threads = Threads::look();
    job.course.open(window.opened);
    let mut sampling = Sampling::begin(window.opened, job.interval, &before);
    let mut borders = vec![(Duration::ZERO, before)];
    for end in ends(plan) {
        sampling.watch(&engine, end, progress, interrupt)?;
        borders.push((window.opened.elapsed(), snapshot(&engine)?));
    }
    let (closed, cpu) = window.close();
    job.course.close(closed, interrupt.requested());
    let (patience, busiest) = Threads::look().since(&threads);
    let after = snapshot(&engine)?;

    let open = pace.is_some();
    let dropped = pace.map_or(0, Pace::end);
    let mut tally = callers.join(&job)?;
    tally.not_started(dropped, Instant::now(), &job);
    let last = snapshot(&engine)?;
    let elapsed = closed.duration_since(window.opened);
    let mut seen = sampling.end(&after, progress);
    seen.extend(tally.seen());
    let parts = std::mem::take(&mut tally.parts);
    let before = &borders[0].1;
    let whole = LoadResult {
        began: Some(began),
        elapsed,
        cpu,
        series: Series::assemble(job.interval, elapsed, &seen),
        interrupted: job.course.interrupted(),
        seed: traffic.is_random().then_some(traffic.seed),
        ..figures(tally.into(), before, &after, &last)
    };
    // Without a timetable a call is sent when it is meant to be.
    let sent = |mut part: LoadResult| {
        if !open {
            part.service = part.latency.clone();
        }
        part
    };
    let mut whole = sent(whole);
    let tool = Tool {
        dropped,
        patience,
        busiest,
        open,
    };
    whole.invalid = validity::judge(&whole, &tool);
    let phases = (0..job.phases.count()).map(|phase| {
        if parts.is_empty() || phase + 1 >= borders.len() {
            return whole.clone();
        }
        let ((from, before), (to, after)) = (&borders[phase], &borders[phase + 1]);
        sent(LoadResult {
            elapsed: to.saturating_sub(*from),
            ..figures(parts.sum(Some(phase), None), before, after, after)
        })
    });
    let phases: Vec<LoadResult> = phases.collect();
    let calls = (0..traffic.calls.len()).map(|kind| {
        let requests = |phase: Option<usize>| match parts.is_empty() {
            true => whole.clone(),
            false => sent(LoadResult {
                elapsed: phase.map_or(elapsed, |phase| phases[phase].elapsed),
                ..requests(parts.sum(phase, Some(kind)))
            }),
        };
        let each = (0..phases.len()).map(|phase| requests(Some(phase)));
        (requests(None), each.collect())
    });
    Ok(Apart {
        opened: window.opened,
        calls: calls.collect(),
        phases,
        whole,
    })
}

/// Starts an engine and ends it: whether the machine can run one.
pub(crate) fn probe() -> Result<(), DriveError> {
    let config = Config {
        shards: 1,
        ..Config::default()
    };
    Engine::start(config).map(drop).map_err(refused)
}

/// When the phases end, from the opening of the window.
fn ends(plan: &LoadPlan) -> Vec<Duration> {
    if plan.traffic.phases.is_empty() {
        return vec![plan.duration];
    }
    let mut end = Duration::ZERO;
    let ends = plan.traffic.phases.iter().map(|phase| {
        end += phase.lasts;
        end
    });
    ends.collect()
}

/// Defaults for the upstream there, whose certificates `ca` signs, or one of the public roots.
fn upstream_at(url: &str, ca: Option<&[u8]>) -> Result<UpstreamConfig, DriveError> {
    let roots = match ca {
        None => TrustRoots::WebPki,
        Some(pem) => TrustRoots::Pem(String::from_utf8_lossy(pem).into_owned()),
    };
    Ok(UpstreamConfig {
        tls: TlsConfig {
            roots,
            ..TlsConfig::default()
        },
        ..UpstreamConfig::at(url).map_err(DriveError::broken)?
    })
}

/// Waits until every connection is up. The first one is asked for by itself, because a checkout
/// fails as soon as its dial does, and says why.
fn reach(engine: &Engine, interrupt: &Interrupt) -> Result<(), DriveError> {
    let first = engine.upstream(UPSTREAM).map_err(DriveError::broken)?;
    let lease = block_on(first.checkout()).map_err(DriveError::broken)?;
    lease.release();
    let begun = Instant::now();
    loop {
        match block_on(engine.ready(LOOK)) {
            Ok(()) => return Ok(()),
            Err(_) if interrupt.requested() => return Ok(()),
            Err(_) if begun.elapsed() < READY_WITHIN => {}
            Err(error) => return Err(DriveError::broken(error)),
        }
    }
}

/// Waits for `time`, or for Ctrl-C.
pub(crate) fn wait(time: Duration, interrupt: &Interrupt) {
    let begun = Instant::now();
    while !interrupt.requested() {
        match time.checked_sub(begun.elapsed()) {
            None | Some(Duration::ZERO) => return,
            Some(left) => thread::sleep(left.min(LOOK)),
        }
    }
}

fn snapshot(engine: &Engine) -> Result<Snapshot, DriveError> {
    block_on(engine.snapshot()).map_err(DriveError::broken)
}

/// All callers, wherever they run.
enum Callers {
    OnShards(on_shard::Callers),
    Anywhere(anywhere::Callers),
}

impl Callers {
    fn start(engine: &Engine, plan: &LoadPlan, job: &Job) -> Result<Self, DriveError> {
        let callers = plan.traffic.callers.unwrap_or(plan.connections);
        Ok(match plan.way {
            WayIn::Shards => Self::OnShards(on_shard::start(engine, callers, job)),
            WayIn::Anywhere => Self::Anywhere(anywhere::start(engine, callers, job)?),
        })
    }

    /// Waits for the last answer, or until it is given up.
    fn join(self, job: &Job) -> Result<Tally, DriveError> {
        match self {
            Self::OnShards(callers) => on_shard::join(callers, job),
            Self::Anywhere(callers) => anywhere::join(callers),
        }
    }
}

/// What was counted by the callers, and by the engine: within the window, except where a figure
/// belongs to the whole load.
fn figures(part: Part, before: &Snapshot, after: &Snapshot, end: &Snapshot) -> LoadResult {
    let since = |figure: fn(&Snapshot) -> u64| figure(after).saturating_sub(figure(before));
    let avoided = after
        .handshake_time_avoided
        .saturating_sub(before.handshake_time_avoided);
    LoadResult {
        hits: since(|s| s.hits),
        misses: since(|s| s.misses),
        dials: since(|s| s.dials),
        waits: since(|s| s.waits),
        evictions: since(Snapshot::evictions),
        steals: since(|s| s.steals),
        forwarded: since(|s| s.forwarded),
        handshakes_full: end.handshakes_full,
        handshakes_resumed: end.handshakes_resumed,
        handshake_seconds_avoided: avoided.as_secs_f64(),
        connections_opened: end.connections_opened,
        contacts: contacts::of(end),
        ..requests(part)
    }
}

/// What was counted by the callers.
fn requests(part: Part) -> LoadResult {
    LoadResult {
        latency: part.latency,
        service: part.service,
        lag: part.lag,
        ok: part.ok,
        carried: Some(part.carried),
        failed: part
            .failed
            .into_iter()
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect(),
        ..LoadResult::default()
    }
}

/// Why the engine did not start. The machine's refusals read `cause: remedy`.
fn refused(error: Error) -> DriveError {
    if error.kind() != ErrorKind::Unsupported {
        return DriveError::broken(error);
    }
    let text = error.to_string();
    let (cause, remedy) = text
        .split_once(": ")
        .unwrap_or((&text, "see the message above"));
    DriveError::Machine {
        cause: cause.to_owned(),
        remedy: remedy.to_owned(),
    }
}
