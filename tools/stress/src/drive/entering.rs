//! Calls that all enter one shard of two, at a fixed rate, and are kept one by one.
//!
//! Owns the engine of such a run and what was seen of it. It must never judge. Each call is a task of its own on the
//! first shard, so that a slow answer slows nobody's asking; what has no answer when the time is over has none.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringpool::config::{Config, ShedConfig, UpstreamConfig};
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{Engine, Error, block_on};

use super::{UPSTREAM, reach, refused, snapshot, upstream_at, wait};
use crate::interrupt::Interrupt;
use crate::load::DriveError;

/// Connections of each of the two shards, warm; no more may be opened.
pub(crate) const CONNECTIONS_EACH: u32 = 32;
const SHARDS: usize = 2;
/// How finely starts are timed.
const TICK: Duration = Duration::from_millis(1);
/// Longer than a run, and than anyone waits in it: nothing is refused, or given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entering<'a> {
    pub(crate) url: &'a str,
    pub(crate) ca: &'a [u8],
    /// `sharing.steal` and `sharing.give_up`.
    pub(crate) steal: bool,
    pub(crate) give_up: bool,
    /// Calls a second.
    pub(crate) rate: f64,
    pub(crate) lasts: Duration,
    /// After so long the second shard panics.
    pub(crate) panic_after: Option<Duration>,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    /// When it was meant to begin; all times count from the beginning of the run.
    pub(crate) intended: Duration,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// The shard that ran it, or the kind of the error.
    pub(crate) outcome: Result<usize, &'static str>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ran {
    /// Those that ended in time.
    pub(crate) calls: Vec<Entered>,
    /// How many began.
    pub(crate) begun: u64,
    /// Dials since the connections were warm.
    pub(crate) dials: u64,
    pub(crate) steals: u64,
    /// When the second shard panicked.
    pub(crate) panicked: Option<Duration>,
    /// Shards that were lost.
    pub(crate) losses: u64,
}

/// Carries it out.
pub(crate) fn enter(plan: &Entering<'_>, interrupt: &Interrupt) -> Result<Ran, DriveError> {
    let engine = Engine::start(configure(plan)?).map_err(refused)?;
    reach(&engine, interrupt)?;
    let before = snapshot(&engine)?;
    let begun = Instant::now();
    let (rate, until) = (plan.rate, begun + plan.lasts);
    let calls = engine.spawn_on_each(move |shard| async move {
        match shard.index() {
            0 => offer(shard, rate, begun, until).await,
            _ => Ok((Vec::new(), 0)),
        }
    });
    let mut panicked = None;
    if let Some(after) = plan.panic_after {
        wait(after, interrupt);
        panicked = Some(begun.elapsed());
        engine.panic_shard(1);
    }
    let mut ran = Ran {
        panicked,
        ..Ran::default()
    };
    for told in block_on(calls) {
        let (calls, begun) = told.and_then(|told| told).map_err(DriveError::broken)?;
        ran.calls.extend(calls);
        ran.begun += begun;
    }
    let after = snapshot(&engine)?;
    ran.dials = after.dials.saturating_sub(before.dials);
    ran.steals = after.steals - before.steals;
    ran.losses = after.by_shard.iter().map(|one| one.losses).sum();
    Ok(ran)
}

fn configure(plan: &Entering<'_>) -> Result<Config, DriveError> {
    let connections = CONNECTIONS_EACH * SHARDS as u32;
    let mut target = UpstreamConfig {
        connections_max: connections,
        idle_min: connections,
        age_max: None,
        waiters_max: 1 << 20,
        call_timeout: PATIENCE,
        wait_timeout: PATIENCE,
        shed: ShedConfig {
            sojourn_target: None,
            ..ShedConfig::default()
        },
        ..upstream_at(plan.url, Some(plan.ca))?
    };
    target.sharing.steal = plan.steal;
    target.sharing.give_up = plan.give_up;
    // What fails is counted, not made up for.
    target.retry.attempts_max = 1;
    Ok(Config {
        shards: SHARDS,
        ..Config::with_upstream(UPSTREAM, target)
    })
}

struct Scene {
    upstream: Upstream,
    began: Instant,
    calls: RefCell<Vec<Entered>>,
}

/// Begins what is due until the time is over.
async fn offer(
    shard: Shard,
    rate: f64,
    began: Instant,
    until: Instant,
) -> Result<(Vec<Entered>, u64), Error> {
    let scene = Rc::new(Scene {
        upstream: shard.upstream(UPSTREAM)?,
        began,
        calls: RefCell::default(),
    });
    let mut count = 0;
    while Instant::now() < until {
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        while count < due {
            let intended = Duration::from_secs_f64(count as f64 / rate);
            shard.spawn(call(Rc::clone(&scene), intended));
            count += 1;
        }
        shard.sleep(TICK).await;
    }
    Ok((scene.calls.take(), count))
}

async fn call(scene: Rc<Scene>, intended: Duration) {
    let began = scene.began.elapsed();
    let outcome = get(&scene.upstream).await;
    scene.calls.borrow_mut().push(Entered {
        intended,
        began,
        ended: scene.began.elapsed(),
        outcome: outcome.map_err(|error| error.kind().name()),
    });
}

/// The shard that it ran on.
async fn get(upstream: &Upstream) -> Result<usize, Error> {
    let mut exchange = upstream.exchange(Head::get("/")).await?;
    while exchange.chunk().await?.is_some() {}
    Ok(exchange.trip().shard)
}
