//! Drives the load through the engine: the only part of the tool that knows `ringpool`.
//!
//! Owns the engine, the course of a load from warm-up to the last answer, and what the engine's
//! figures mean in a report. It must never do a caller's work itself: callers run on the shards
//! (`on_shard`), or on a thread of their own that calls from outside (`anywhere`).
//!
//! | file | concept |
//! |---|---|
//! | `bursts` | random bursts to many upstreams |
//! | `course` | when the measured window opened and closed |
//! | `caller` | the loop of one caller, and waiting for all of them |
//! | `entering` | calls that all enter one shard of two |
//! | `intervals` | what callers count, interval by interval |
//! | `fuse` | callers that lose patience |
//! | `moves` | calls that a sibling runs, with nonces, some dropped |
//! | `pace` | starts at a fixed rate |
//! | `play` | calls that are kept one by one, for the scenarios that are judged by them |
//! | `rotating` | a certificate that is replaced again and again |
//! | `sampling` | how the engine stands, interval by interval |
//! | `tally` | what callers count |

mod anywhere;
mod bursts;
mod caller;
mod course;
mod descriptors;
mod entering;
mod first;
mod fuse;
mod intervals;
mod moves;
mod on_shard;
mod pace;
mod play;
mod rotating;
mod sampling;
mod tally;

pub(crate) use bursts::{Burst, Bursts, bursts};
pub(crate) use entering::{CONNECTIONS_EACH, ENTRANCE, Entered, Entering, HELPER, Ran, enter};
pub(crate) use first::{Crowd, FromStart, Rest, from_start};
pub(crate) use moves::{Moved, moves};
pub(crate) use play::{Calls, Play, Played, play};
pub(crate) use rotating::{By, Replaced, Rotated, Rotating, rotate};

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ringpool::config::{Config, TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::{Engine, Error, ErrorKind, Snapshot, block_on};

use crate::interrupt::Interrupt;
use crate::load::{DriveError, LoadPlan, LoadResult, WayIn};
use crate::measure::Window;
use crate::progress::Progress;
use crate::series::{self, Series};
use caller::{Job, Starts};
use course::Course;
use pace::Pace;
use sampling::Sampling;
use tally::Tally;

/// The upstream's name in the engine's configuration, and so in its errors.
const UPSTREAM: &str = "target";
/// How long the connections may take to come up before the load begins.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// How often Ctrl-C is looked for. Each look costs CPU time that counts as the client's.
const LOOK: Duration = Duration::from_millis(50);
/// The engine's own limit on `dials_max`.
const DIALS_MAX: u32 = 1 << 16;

/// Carries out `plan`.
pub(crate) fn run(
    plan: &LoadPlan,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<LoadResult, DriveError> {
    let (config, path) = configure(plan)?;
    let engine = Engine::start(config).map_err(refused)?;
    if plan.reuse && plan.warm {
        reach(&engine, interrupt)?;
    }
    let course = Arc::new(Course::default());
    let pace = plan.rate.map(|rate| Pace::start(rate, &course));
    let pace = pace.transpose().map_err(DriveError::broken)?;
    let job = Job {
        path,
        starts: match &pace {
            None => Starts::AtOnce,
            Some(pace) => Starts::Paced(pace.starts()),
        },
        course,
        interval: series::interval(plan.duration),
        progress: progress.clone(),
    };
    let callers = Callers::start(&engine, plan, &job)?;

    wait(plan.warmup, interrupt);
    let before = snapshot(&engine)?;
    let (window, began) = (Window::open(), SystemTime::now());
    job.course.open(window.opened);
    let mut sampling = Sampling::begin(window.opened, job.interval, &before);
    sampling.watch(&engine, plan.duration, progress, interrupt)?;
    let (closed, cpu) = window.close();
    job.course.close(closed, interrupt.requested());
    let after = snapshot(&engine)?;

    let missed = pace.map_or(0, Pace::end);
    let mut tally = callers.join(&job)?;
    tally.not_started(missed, &job);
    let opened = snapshot(&engine)?;
    let elapsed = closed.duration_since(window.opened);
    let mut seen = sampling.end(&after, progress);
    seen.extend(tally.seen());
    if plan.rate.is_none() {
        tally.service = tally.latency.clone();
    }
    Ok(LoadResult {
        began: Some(began),
        elapsed,
        cpu,
        series: Series::assemble(job.interval, elapsed, &seen),
        interrupted: job.course.interrupted(),
        ..figures(tally, &before, &after, &opened)
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

/// The engine that the plan asks for, and the request target.
fn configure(plan: &LoadPlan) -> Result<(Config, Arc<str>), DriveError> {
    let uri: http::Uri = plan.url.parse().map_err(DriveError::broken)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(DriveError::broken("the URL is not absolute"));
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let connections = u32::try_from(plan.connections).unwrap_or(u32::MAX);
    let mut target = UpstreamConfig {
        connections_max: connections * if plan.warm { 1 } else { 2 },
        idle_min: if plan.reuse && plan.warm {
            connections
        } else {
            0
        },
        // Without reuse we close first, and each local port rests in TIME_WAIT. On loopback the
        // kernel gives it back after a second (tcp_tw_reuse = 2, the default), which is enough for
        // some 28,000 connections a second; to other hosts ports may run out, as kind `dial`.
        uses_max: if plan.reuse { None } else { Some(1) },
        // A load is to measure the peer's limits, not ours.
        age_max: None,
        waiters_max: connections,
        dials_max: connections.min(DIALS_MAX),
        ..upstream_at(&format!("{scheme}://{authority}"), plan.ca.as_deref())?
    };
    target.tls.resumption = plan.resume;
    let defaults = Config::default();
    let config = Config {
        shards: plan.shards,
        connections_max: defaults.connections_max.max(connections),
        mailbox_max: defaults.mailbox_max.max(plan.connections),
        ..Config::with_upstream(UPSTREAM, target)
    };
    Ok((config, path.into()))
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
        Ok(match plan.way {
            WayIn::Shards => Self::OnShards(on_shard::start(engine, plan.connections, job)),
            WayIn::Anywhere => Self::Anywhere(anywhere::start(engine, plan.connections, job)?),
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
fn figures(tally: Tally, before: &Snapshot, after: &Snapshot, end: &Snapshot) -> LoadResult {
    let since = |figure: fn(&Snapshot) -> u64| figure(after).saturating_sub(figure(before));
    let avoided = after
        .handshake_time_avoided
        .saturating_sub(before.handshake_time_avoided);
    LoadResult {
        latency: tally.latency,
        service: tally.service,
        lag: tally.lag,
        ok: tally.ok,
        failed: tally
            .failed
            .into_iter()
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect(),
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
