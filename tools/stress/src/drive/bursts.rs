//! Random bursts of calls to many upstreams, from outside.
//!
//! Owns the engine of such a run and what its callers counted. It must never judge.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body::Body as _;
use ringpool::config::{Config, ShedConfig, UpstreamConfig};
use ringpool::{Body, Engine, Error, Trip, Upstream};
use tokio::task::{LocalSet, spawn_local};

use super::fuse::Chance;
use super::{refused, upstream_at};
use crate::interrupt::Interrupt;
use crate::load::DriveError;

/// How often a burst begins.
const BEAT: Duration = Duration::from_millis(2);
/// Calls in one.
const BURST_MAX: u64 = 16;
/// Every other burst goes to one of so many upstreams, which are busy then.
const FAVOURITES: u64 = 10;
/// How often the engine's counts are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts<'a> {
    pub(crate) to: &'a [SocketAddr],
    pub(crate) shards: usize,
    pub(crate) connections_max: u32,
    pub(crate) lasts: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Burst {
    pub(crate) begun: u64,
    pub(crate) answered: u64,
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// The longest wait for a connection.
    pub(crate) wait_max: Duration,
    /// The most permits that one upstream had, as far as was seen.
    pub(crate) permits_peak: u64,
    /// The most sockets that the engine had, as far as was seen.
    pub(crate) sockets_peak: u64,
    pub(crate) dials: u64,
    pub(crate) steals: u64,
    /// Connections closed so that others could be opened.
    pub(crate) given_up: u64,
}

impl Burst {
    fn note(&mut self, permits: u64, sockets: u64) {
        self.permits_peak = self.permits_peak.max(permits);
        self.sockets_peak = self.sockets_peak.max(sockets);
    }
}

/// Carries it out.
pub(crate) fn bursts(plan: &Bursts<'_>, interrupt: &Interrupt) -> Result<Burst, DriveError> {
    let engine = Arc::new(Engine::start(configure(plan)?).map_err(refused)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(DriveError::broken)?;
    let names = (0..plan.to.len()).map(name);
    let upstreams: Result<Vec<Upstream>, Error> =
        names.map(|name| engine.upstream(&name)).collect();
    let scene = Rc::new(Scene {
        upstreams: upstreams.map_err(DriveError::broken)?,
        under_way: Cell::new(0),
        seen: RefCell::default(),
    });
    let local = LocalSet::new();
    local.spawn_local(look(Rc::clone(&scene), Arc::clone(&engine)));
    let lasts = plan.lasts;
    local.block_on(&runtime, perform(Rc::clone(&scene), lasts, interrupt));
    let at_end = ringpool::block_on(engine.snapshot()).map_err(DriveError::broken)?;
    let mut seen = scene.seen.take();
    (seen.dials, seen.steals) = (at_end.dials, at_end.steals);
    seen.given_up = at_end.upstreams.values().map(|one| one.given_up).sum();
    Ok(seen)
}

fn configure(plan: &Bursts<'_>) -> Result<Config, DriveError> {
    let mut config = Config {
        shards: plan.shards,
        ..Config::default()
    };
    for (n, at) in plan.to.iter().enumerate() {
        let upstream = UpstreamConfig {
            connections_max: plan.connections_max,
            // A burst waits its time, and nobody in it is sent away.
            waiters_max: 1 << 16,
            shed: ShedConfig {
                sojourn_target: None,
                ..ShedConfig::default()
            },
            ..upstream_at(&format!("http://{at}"), None)?
        };
        config.upstreams.insert(name(n), upstream);
    }
    Ok(config)
}

fn name(n: usize) -> String {
    format!("target-{n}")
}

struct Scene {
    upstreams: Vec<Upstream>,
    under_way: Cell<usize>,
    seen: RefCell<Burst>,
}

/// Begins bursts until the time is over, and waits for the last of them.
async fn perform(scene: Rc<Scene>, lasts: Duration, interrupt: &Interrupt) {
    let (begun, mut chance) = (Instant::now(), Chance(7));
    while begun.elapsed() < lasts && !interrupt.requested() {
        let all = scene.upstreams.len() as u64;
        let among = match chance.below(2) {
            0 => all,
            _ => FAVOURITES.min(all),
        };
        let to = chance.below(among) as usize;
        for _ in 0..=chance.below(BURST_MAX) {
            scene.seen.borrow_mut().begun += 1;
            scene.under_way.set(scene.under_way.get() + 1);
            spawn_local(call(Rc::clone(&scene), to));
        }
        tokio::time::sleep(BEAT).await;
    }
    // Each ends by its own deadline.
    while scene.under_way.get() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

async fn call(scene: Rc<Scene>, to: usize) {
    let outcome = get(&scene.upstreams[to]).await;
    let mut seen = scene.seen.borrow_mut();
    match outcome {
        Ok(wait) => {
            seen.answered += 1;
            seen.wait_max = seen.wait_max.max(wait);
        }
        Err(error) => *seen.failed.entry(error.kind().name()).or_default() += 1,
    }
    scene.under_way.set(scene.under_way.get() - 1);
}

/// How long it waited for a connection.
async fn get(upstream: &Upstream) -> Result<Duration, Error> {
    let mut response = upstream.call(http::Request::new(Body::empty())).await?;
    let wait = Trip::of(&response).map_or(Duration::ZERO, |trip| trip.wait);
    let body = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        frame?;
    }
    Ok(wait)
}

/// Looks at the engine's counts again and again.
async fn look(scene: Rc<Scene>, engine: Arc<Engine>) {
    while let Ok(snapshot) = engine.snapshot().await {
        let permits = snapshot.upstreams.values().map(|one| one.permits).max();
        scene
            .seen
            .borrow_mut()
            .note(permits.unwrap_or(0), snapshot.now.sockets);
        tokio::time::sleep(LOOK).await;
    }
}
