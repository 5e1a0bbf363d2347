//! Random bursts of calls to many upstreams, from outside and from tasks on every shard.
//!
//! Owns the engine of such a run and what its callers counted. It must never judge.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body::Body as _;
use ringpool::config::{Config, ShedConfig, UpstreamConfig};
use ringpool::on_shard::{self, Head, Shard};
use ringpool::{Body, Engine, Error, Trip, Upstream, block_on};
use tokio::task::{LocalSet, spawn_local};

use super::descriptors::Descriptors;
use super::fuse::Chance;
use super::{refused, upstream_at};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::measure::{Patience, Threads};
use crate::progress::Progress;

/// How often a burst begins outside; on each shard as many times as rarely as there are shards.
const BEAT: Duration = Duration::from_millis(2);
/// Calls in one.
const BURST_MAX: u64 = 16;
/// Every other burst goes to one of so many upstreams, which are busy then.
const FAVOURITES: u64 = 10;
/// Calls that are under way in one place, outside or on a shard: a hundred times as many as there are where all keep up. Beyond that no
/// burst begins, so that there is an end to what is to be waited for.
const UNDER_WAY_MAX: u64 = 2048;
/// How often the engine's counts are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bursts<'a> {
    pub(crate) to: &'a [SocketAddr],
    pub(crate) shards: usize,
    /// For each upstream, and for the engine.
    pub(crate) connections_max: u32,
    pub(crate) engine_connections_max: u32,
    pub(crate) lasts: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Burst {
    pub(crate) begun: u64,
    /// Not begun: too many were under way.
    pub(crate) missed: u64,
    pub(crate) answered: u64,
    pub(crate) failed: BTreeMap<&'static str, u64>,
    /// The longest wait for a connection.
    pub(crate) wait_max: Duration,
    /// The most descriptors of sockets to one upstream, as the kernel counts.
    pub(crate) descriptors_peak: u64,
    /// And to all of them.
    pub(crate) descriptors_peak_all: u64,
    /// The most permits that one upstream had, as far as was seen.
    pub(crate) permits_peak: u64,
    /// The most sockets that the engine had, as far as was seen.
    pub(crate) sockets_peak: u64,
    pub(crate) dials: u64,
    pub(crate) steals: u64,
    /// Connections closed so that others could be opened.
    pub(crate) given_up: u64,
    /// How long it took to the last answer.
    pub(crate) took: Duration,
    /// Of all threads of this process meanwhile, and of the one that had the least time to spare.
    pub(crate) patience: Patience,
    pub(crate) busiest: Patience,
}

impl Burst {
    fn end(&mut self, outcome: Result<Duration, Error>) {
        match outcome {
            Ok(wait) => {
                self.answered += 1;
                self.wait_max = self.wait_max.max(wait);
            }
            Err(error) => *self.failed.entry(error.kind().name()).or_default() += 1,
        }
    }

    fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    fn under_way(&self) -> u64 {
        self.begun - self.answered - self.failed_total()
    }

    /// How many of a burst of `calls` may begin: all, or none.
    fn begin(&mut self, calls: u64) -> u64 {
        if self.under_way() + calls > UNDER_WAY_MAX {
            self.missed += calls;
            return 0;
        }
        self.begun += calls;
        calls
    }

    /// Tells what has ended since it was `told`.
    fn tell(&self, told: &mut (u64, u64), progress: &Progress) {
        let now = (self.answered, self.failed_total());
        progress.add(now.0 - told.0, now.1 - told.1);
        *told = now;
    }

    /// What others have counted, too.
    fn add(&mut self, other: Burst) {
        self.begun += other.begun;
        self.missed += other.missed;
        self.answered += other.answered;
        self.wait_max = self.wait_max.max(other.wait_max);
        for (kind, count) in other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }

    fn note(&mut self, permits: u64, sockets: u64) {
        self.permits_peak = self.permits_peak.max(permits);
        self.sockets_peak = self.sockets_peak.max(sockets);
    }
}

/// Carries it out.
pub(crate) fn bursts(
    plan: &Bursts<'_>,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<Burst, DriveError> {
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
        seen: RefCell::default(),
    });
    let descriptors = Descriptors::watch(plan.to).map_err(DriveError::broken)?;
    let (lasts, shards) = (plan.lasts, plan.shards as u32);
    let targets = plan.to.len();
    let (shown, ended) = (progress.clone(), interrupt.clone());
    let (threads, begun) = (Threads::look(), Instant::now());
    let tasks = engine.spawn_on_each(move |shard| {
        on_shard(
            shard,
            targets,
            (shards, lasts),
            (shown.clone(), ended.clone()),
        )
    });
    let local = LocalSet::new();
    local.spawn_local(look(
        Rc::clone(&scene),
        Arc::clone(&engine),
        progress.clone(),
    ));
    local.block_on(&runtime, perform(Rc::clone(&scene), lasts, interrupt));
    for told in block_on(tasks) {
        let counted = told.and_then(|told| told).map_err(DriveError::broken)?;
        scene.seen.borrow_mut().add(counted);
    }
    let (patience, busiest) = Threads::look().since(&threads);
    let took = begun.elapsed();
    let at_end = ringpool::block_on(engine.snapshot()).map_err(DriveError::broken)?;
    let mut seen = scene.seen.take();
    (seen.took, seen.patience, seen.busiest) = (took, patience, busiest);
    (seen.dials, seen.steals) = (at_end.dials, at_end.steals);
    let peak = descriptors.peak().map_err(DriveError::broken)?;
    (seen.descriptors_peak, seen.descriptors_peak_all) = (peak.one, peak.all);
    seen.given_up = at_end.upstreams.values().map(|one| one.given_up).sum();
    Ok(seen)
}

fn configure(plan: &Bursts<'_>) -> Result<Config, DriveError> {
    let mut config = Config {
        shards: plan.shards,
        connections_max: plan.engine_connections_max,
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
    seen: RefCell<Burst>,
}

impl Scene {
    fn under_way(&self) -> u64 {
        self.seen.borrow().under_way()
    }
}

/// The next burst: to whom, and of how many calls.
fn draw(chance: &mut Chance, targets: usize) -> (usize, u64) {
    let all = targets as u64;
    let among = match chance.below(2) {
        0 => all,
        _ => FAVOURITES.min(all),
    };
    (chance.below(among) as usize, 1 + chance.below(BURST_MAX))
}

/// Begins bursts until the time is over, and waits for the last of them.
async fn perform(scene: Rc<Scene>, lasts: Duration, interrupt: &Interrupt) {
    let (begun, mut chance) = (Instant::now(), Chance(7));
    while begun.elapsed() < lasts && !interrupt.requested() {
        let (to, calls) = draw(&mut chance, scene.upstreams.len());
        let calls = scene.seen.borrow_mut().begin(calls);
        for _ in 0..calls {
            spawn_local(call(Rc::clone(&scene), to));
        }
        tokio::time::sleep(BEAT).await;
    }
    // Each ends by its own deadline.
    while scene.under_way() > 0 {
        tokio::time::sleep(LOOK).await;
    }
}

async fn call(scene: Rc<Scene>, to: usize) {
    let outcome = get(&scene.upstreams[to]).await;
    scene.seen.borrow_mut().end(outcome);
}

/// The same from one of the shards.
async fn on_shard(
    shard: Shard,
    targets: usize,
    (shards, lasts): (u32, Duration),
    (progress, interrupt): (Progress, Interrupt),
) -> Result<Burst, Error> {
    let names = (0..targets).map(name);
    let upstreams: Result<Vec<on_shard::Upstream>, Error> =
        names.map(|name| shard.upstream(&name)).collect();
    let upstreams: Vec<Rc<on_shard::Upstream>> = upstreams?.into_iter().map(Rc::new).collect();
    let (begun, mut chance) = (Instant::now(), Chance(shard.index() as u64 + 100));
    let seen = Rc::new(RefCell::new(Burst::default()));
    let mut told = (0, 0);
    while begun.elapsed() < lasts && !interrupt.requested() {
        let (to, calls) = draw(&mut chance, targets);
        let calls = seen.borrow_mut().begin(calls);
        for _ in 0..calls {
            let (upstream, seen) = (upstreams[to].clone(), seen.clone());
            shard.spawn(async move {
                let outcome = exchange(&upstream).await;
                seen.borrow_mut().end(outcome);
            });
        }
        seen.borrow().tell(&mut told, &progress);
        shard.sleep(BEAT * shards).await;
    }
    while seen.borrow().under_way() > 0 {
        shard.sleep(LOOK).await;
    }
    Ok(seen.take())
}

/// How long it waited for a connection.
async fn exchange(upstream: &on_shard::Upstream) -> Result<Duration, Error> {
    let mut exchange = upstream.exchange(Head::get("/")).await?;
    while exchange.chunk().await?.is_some() {}
    Ok(exchange.trip().wait)
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
async fn look(scene: Rc<Scene>, engine: Arc<Engine>, progress: Progress) {
    let mut told = (0, 0);
    while let Ok(snapshot) = engine.snapshot().await {
        let permits = snapshot.upstreams.values().map(|one| one.permits).max();
        scene
            .seen
            .borrow_mut()
            .note(permits.unwrap_or(0), snapshot.now.sockets);
        scene.seen.borrow().tell(&mut told, &progress);
        tokio::time::sleep(LOOK).await;
    }
}
