//! The first burst of calls to an engine that was just started, and the same burst again and again.
//!
//! Owns the engine of one such run and what its callers counted. It must never judge.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http_body::Body as _;
use ringpool::config::{Config, ShedConfig, UpstreamConfig};
use ringpool::{Body, Engine, Error, Snapshot, Upstream};
use tokio::task::{LocalSet, spawn_local};

use super::{UPSTREAM, reach, refused, snapshot, upstream_at, wait};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::progress::Progress;

/// Nobody is refused, or gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// One engine, from its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromStart<'a> {
    pub(crate) url: &'a str,
    pub(crate) ca: &'a [u8],
    /// So many at most; warm, and waited for, or not.
    pub(crate) connections: u32,
    pub(crate) warm: bool,
    /// Calls of a burst, all at once.
    pub(crate) calls: usize,
    pub(crate) bursts: usize,
    /// Afterwards nobody calls for so long, and then there is one burst more.
    pub(crate) rest: Option<Rest>,
}

/// A time without calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) idle_timeout: Duration,
    pub(crate) lasts: Duration,
}

/// What came of one burst.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowd {
    /// From the burst's beginning to each answer's end.
    pub(crate) latencies: Vec<Duration>,
    /// TLS handshakes meanwhile.
    pub(crate) handshakes: u64,
}

/// Starts an engine and sends the bursts, one after the other.
pub(crate) fn from_start(
    plan: &FromStart<'_>,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<Vec<Crowd>, DriveError> {
    let mut target = UpstreamConfig {
        connections_max: plan.connections,
        idle_min: if plan.warm { plan.connections } else { 0 },
        waiters_max: u32::try_from(plan.calls).unwrap_or(u32::MAX),
        wait_timeout: PATIENCE,
        call_timeout: PATIENCE,
        shed: ShedConfig {
            sojourn_target: None,
            ..ShedConfig::default()
        },
        ..upstream_at(plan.url, Some(plan.ca))?
    };
    if let Some(rest) = plan.rest {
        target.idle_timeout = Some(rest.idle_timeout);
    }
    let config = Config {
        shards: 1,
        ..Config::with_upstream(UPSTREAM, target)
    };
    let engine = Engine::start(config).map_err(refused)?;
    if plan.warm {
        reach(&engine, interrupt)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(DriveError::broken)?;
    let upstream = engine.upstream(UPSTREAM).map_err(DriveError::broken)?;
    let mut bursts = Vec::new();
    for nth in 0..plan.bursts + usize::from(plan.rest.is_some()) {
        if let Some(rest) = plan.rest.filter(|_| nth == plan.bursts) {
            wait(rest.lasts, interrupt);
        }
        let before = handshakes(&snapshot(&engine)?);
        let local = LocalSet::new();
        let mut burst = local.block_on(&runtime, burst(&upstream, plan.calls));
        let answered = burst.latencies.len();
        progress.add(answered as u64, (plan.calls - answered) as u64);
        burst.handshakes = handshakes(&snapshot(&engine)?) - before;
        bursts.push(burst);
        if interrupt.requested() {
            break;
        }
    }
    Ok(bursts)
}

fn handshakes(seen: &Snapshot) -> u64 {
    seen.handshakes_full + seen.handshakes_resumed
}

async fn burst(upstream: &Upstream, calls: usize) -> Crowd {
    let (begun, seen) = (Instant::now(), Rc::new(RefCell::new(Crowd::default())));
    let callers: Vec<_> = (0..calls)
        .map(|_| {
            let (upstream, seen) = (upstream.clone(), seen.clone());
            spawn_local(async move {
                // One that fails has no latency.
                if get(&upstream).await.is_ok() {
                    seen.borrow_mut().latencies.push(begun.elapsed());
                }
            })
        })
        .collect();
    for caller in callers {
        // A panic of a caller's shows as a call without an answer.
        let _ = caller.await;
    }
    seen.take()
}

async fn get(upstream: &Upstream) -> Result<(), Error> {
    let mut response = upstream.call(http::Request::new(Body::empty())).await?;
    let body = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        frame?;
    }
    Ok(())
}
