//! Calls that all enter one shard of two, at a fixed rate, and are kept one by one.
//!
//! Owns the engine of such a run and what was seen of it. It must never judge. Each call is a task of its own on the
//! first shard, so that a slow answer slows nobody's asking; what has no answer when the time is over has none. A shard
//! that takes the place of a lost one goes on with the calls that are due.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringpool::config::{Config, ShedConfig, UpstreamConfig};
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{Engine, Error, block_on};

use super::{UPSTREAM, reach, refused, snapshot, upstream_at, wait};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::progress::Progress;

/// Connections of each of the two shards, warm; no more may be opened.
pub(crate) const CONNECTIONS_EACH: u32 = 32;
const SHARDS: usize = 2;
/// The shard that all calls enter, and the one that helps it.
pub(crate) const ENTRANCE: usize = 0;
pub(crate) const HELPER: usize = 1;
/// How finely starts are timed.
const TICK: Duration = Duration::from_millis(1);
/// A call whose task is gone, and with it whoever waits for an answer.
pub(crate) const LOST: &str = "lost";
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
    /// After so long this shard panics.
    pub(crate) panic: Option<(usize, Duration)>,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entered {
    /// When it was meant to begin; all times count from the beginning of the run.
    pub(crate) intended: Duration,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// The shard that ran it, or the kind of the error; [`LOST`] if it went with the shard of its task.
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
    /// When a shard panicked.
    pub(crate) panicked: Option<Duration>,
    /// Shards that were lost.
    pub(crate) losses: u64,
}

/// Carries it out.
pub(crate) fn enter(
    plan: &Entering<'_>,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<Ran, DriveError> {
    let engine = Engine::start(configure(plan)?).map_err(refused)?;
    reach(&engine, interrupt)?;
    let before = snapshot(&engine)?;
    let begun = Instant::now();
    let record = Arc::new(Record::new(begun, plan));
    let (kept, progress) = (record.clone(), progress.clone());
    let tasks = engine.spawn_on_each(move |shard| {
        let (record, progress) = (kept.clone(), progress.clone());
        async move {
            match shard.index() {
                ENTRANCE => offer(shard, record, progress).await,
                _ => Ok(()),
            }
        }
    });
    let mut ran = Ran::default();
    if let Some((shard, after)) = plan.panic {
        wait(after, interrupt);
        ran.panicked = Some(begun.elapsed());
        engine.panic_shard(shard);
    }
    for told in block_on(tasks) {
        told.and_then(|told| told).map_err(DriveError::broken)?;
    }
    ran.calls = record.take();
    ran.begun = record.begun.load(Ordering::Relaxed);
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

/// What outlasts the shard whose calls they are.
struct Record {
    began: Instant,
    rate: f64,
    lasts: Duration,
    begun: AtomicU64,
    /// Only the entrance's thread writes, and after its end the driver reads: it is never waited for.
    calls: Mutex<Vec<Entered>>,
    /// Of them those that were told to whoever watches.
    told: AtomicUsize,
}

impl Record {
    fn new(began: Instant, plan: &Entering<'_>) -> Record {
        Record {
            began,
            rate: plan.rate,
            lasts: plan.lasts,
            begun: AtomicU64::new(0),
            calls: Mutex::default(),
            told: AtomicUsize::new(0),
        }
    }

    fn keep(&self, call: Entered) {
        let calls = self.calls.lock();
        // A panic elsewhere on the shard leaves whole calls behind.
        let mut calls = calls.unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
    }

    /// Tells what has ended since the last time.
    fn tell(&self, progress: &Progress) {
        let calls = self.calls.lock();
        let calls = calls.unwrap_or_else(PoisonError::into_inner);
        let told = self.told.swap(calls.len(), Ordering::Relaxed);
        let news = &calls[told..];
        let ok = news.iter().filter(|call| call.outcome.is_ok()).count();
        progress.add(ok as u64, (news.len() - ok) as u64);
    }

    fn take(&self) -> Vec<Entered> {
        let calls = self.calls.lock();
        let mut calls = calls.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *calls)
    }
}

/// Begins what is due until the time is over.
async fn offer(shard: Shard, record: Arc<Record>, progress: Progress) -> Result<(), Error> {
    let upstream = Rc::new(shard.upstream(UPSTREAM)?);
    let mut count = record.begun.load(Ordering::Relaxed);
    while record.began.elapsed() < record.lasts {
        let due = (record.began.elapsed().as_secs_f64() * record.rate) as u64;
        while count < due {
            let intended = Duration::from_secs_f64(count as f64 / record.rate);
            shard.spawn(call(upstream.clone(), record.clone(), intended));
            count += 1;
        }
        record.begun.store(count, Ordering::Relaxed);
        record.tell(&progress);
        shard.sleep(TICK).await;
    }
    Ok(())
}

async fn call(upstream: Rc<Upstream>, record: Arc<Record>, intended: Duration) {
    let began = record.began.elapsed();
    let mut kept = Kept {
        record,
        intended,
        began,
        outcome: Err(LOST),
    };
    let outcome = get(&upstream).await;
    kept.outcome = outcome.map_err(|error| error.kind().name());
}

/// Keeps a call when its task ends, whatever ends it.
struct Kept {
    record: Arc<Record>,
    intended: Duration,
    began: Duration,
    outcome: Result<usize, &'static str>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.record.keep(Entered {
            intended: self.intended,
            began: self.began,
            ended: self.record.began.elapsed(),
            outcome: self.outcome,
        });
    }
}

/// The shard that it ran on.
async fn get(upstream: &Upstream) -> Result<usize, Error> {
    let mut exchange = upstream.exchange(Head::get("/")).await?;
    while exchange.chunk().await?.is_some() {}
    Ok(exchange.trip().shard)
}
