//! Calls that enter one shard and are run by another, some of which their callers drop, each with a nonce that its
//! response must repeat.
//!
//! Owns the engine of such a run, its callers, and what they count. It must never judge.
//!
//! Callers are tasks on one shard at a time, whose idle connections are leased before and held, so that nearly all
//! calls wait there and are taken by the sibling. A call that is dropped in its middle costs the sibling that
//! connection, and the permit goes to the shard that starves: in the end all connections are there, and nothing is
//! left to be stolen. Before that, callers change sides ([`SIDE`]), and stealing begins anew the other way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body::Body as _;
use ringpool::config::{Config, RetryConfig, ShedConfig, UpstreamConfig, WarmConfig};
use ringpool::on_shard::{Head, Lease, Shard, Upstream};
use ringpool::{Engine, Error, Snapshot, block_on};

use super::fuse::{Chance, within};
use super::{UPSTREAM, reach, refused, snapshot, upstream_at};
use crate::backend::{APART, NONCE, NONCES_MAX};
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::measure::CpuTime;
use crate::progress::Progress;

const SHARDS: usize = 2;
/// Connections of each shard, warm. As many are allowed.
const CONNECTIONS: u32 = 64;
/// How long calls enter one shard before they enter the other.
const SIDE: Duration = Duration::from_millis(100);
/// How soon a shard notices.
const TICK: Duration = Duration::from_millis(2);
/// More than the shards have connections, so that calls always wait.
const CALLERS: usize = 256;
/// One call in so many sends a body; and one in so many has its response's body come apart from the head.
const BODY_ONE_IN: u64 = 8;
const APART_AT: u64 = 1;
/// How often the engine's figures are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Without another stolen call for so long, it is over.
const STALL: Duration = Duration::from_secs(10);
/// Calls that are unanswered so long after the end are lost.
const GRACE: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    pub(crate) counts: Counts,
    /// The engine's figures after it was drained.
    pub(crate) figures: Figures,
    /// What should be zero then, and is not.
    pub(crate) left: Vec<(&'static str, u64)>,
    /// How long callers called.
    pub(crate) elapsed: Duration,
    /// CPU time of this process meanwhile.
    pub(crate) cpu: CpuTime,
}

/// What callers counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) begun: u64,
    /// With their own nonce, in head and body.
    pub(crate) answered: u64,
    /// With anything else.
    pub(crate) wrong: u64,
    /// Dropped before the response's head was there.
    pub(crate) dropped_before_head: u64,
    /// Dropped in its body.
    pub(crate) dropped_in_body: u64,
    pub(crate) failed: BTreeMap<&'static str, u64>,
}

/// What the engine counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) offers: u64,
    pub(crate) offers_taken: u64,
    pub(crate) offers_returned: u64,
    pub(crate) steals: u64,
    pub(crate) connections_opened: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.answered += other.answered;
        self.wrong += other.wrong;
        self.dropped_before_head += other.dropped_before_head;
        self.dropped_in_body += other.dropped_in_body;
        for (kind, count) in &other.failed {
            *self.failed.entry(kind).or_default() += count;
        }
    }

    /// Calls of which their callers know the end.
    pub(crate) fn ended(&self) -> u64 {
        self.answered + self.wrong + self.dropped() + self.failed_total()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped_before_head + self.dropped_in_body
    }

    pub(crate) fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Calls until so many have been stolen, or the user has enough of it.
pub(crate) fn moves(
    url: &str,
    goal: u64,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Moved, DriveError> {
    let engine = Engine::start(configure(url)?).map_err(refused)?;
    reach(&engine, interrupt)?;
    let (begun, cpu) = (Instant::now(), CpuTime::of_process());
    let sides = Arc::new(Sides::default());
    let calls = {
        let sides = Arc::clone(&sides);
        engine.spawn_on_each(move |shard| on_shard(shard, Arc::clone(&sides)))
    };
    let stolen = await_steals(&engine, &sides, goal, (progress, interrupt));
    sides.end.store(true, Ordering::Relaxed);
    let (elapsed, cpu) = (begun.elapsed(), CpuTime::of_process().since(cpu));
    let mut counts = Counts::default();
    for counted in block_on(calls) {
        let counted = counted.and_then(|counted| counted);
        counts.add(&counted.map_err(DriveError::broken)?);
    }
    stolen?;
    let clean = block_on(engine.drain(GRACE)).is_clean();
    let at_end = snapshot(&engine)?;
    Ok(Moved {
        counts,
        figures: Figures::of(&at_end),
        left: left(&at_end, clean),
        elapsed,
        cpu,
    })
}

fn configure(url: &str) -> Result<Config, DriveError> {
    let connections = CONNECTIONS * SHARDS as u32;
    let target = UpstreamConfig {
        connections_max: connections,
        idle_min: connections,
        // All callers wait, and the place of one that has gone may come free a turn later; none is to be refused or shed.
        waiters_max: 2 * CALLERS as u32,
        shed: ShedConfig {
            sojourn_target: None,
            ..ShedConfig::default()
        },
        dials_max: connections,
        age_max: None,
        // A dropped call may cost its connection: they are made anew as fast as that.
        warm: WarmConfig {
            dials_per_second: 1 << 20,
            ..WarmConfig::default()
        },
        // A nonce that comes to the backend twice has been sent twice by mistake.
        retry: RetryConfig {
            attempts_max: 1,
            ..RetryConfig::default()
        },
        ..upstream_at(url, None)?
    };
    Ok(Config {
        shards: SHARDS,
        ..Config::with_upstream(UPSTREAM, target)
    })
}

/// What both shards look at: who calls, the next nonce, and whether it is over.
#[derive(Debug, Default)]
struct Sides {
    side: AtomicUsize,
    nonces: AtomicU64,
    end: AtomicBool,
}

impl Sides {
    fn is_on(&self, shard: usize) -> bool {
        self.side.load(Ordering::Relaxed) == shard && !self.end.load(Ordering::Relaxed)
    }

    /// The nonce of one more call, while there are any.
    fn nonce(&self) -> Option<u64> {
        let nonce = self.nonces.fetch_add(1, Ordering::Relaxed);
        (nonce < NONCES_MAX).then_some(nonce)
    }
}

/// Shows how far it is, lets callers change sides, and returns when it has come so far, comes no further, or is to
/// end.
fn await_steals(
    engine: &Engine,
    sides: &Sides,
    goal: u64,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<(), DriveError> {
    let (mut seen, mut since, mut changed) = (0, Instant::now(), Instant::now());
    while seen < goal && since.elapsed() < STALL && !interrupt.requested() {
        std::thread::sleep(LOOK);
        let steals = snapshot(engine)?.steals;
        if steals > seen {
            progress.add(steals - seen, 0);
            (seen, since) = (steals, Instant::now());
        }
        if changed.elapsed() >= SIDE {
            let side = sides.side.load(Ordering::Relaxed);
            sides.side.store((side + 1) % SHARDS, Ordering::Relaxed);
            changed = Instant::now();
        }
    }
    Ok(())
}

impl Figures {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            offers: snapshot.offers,
            offers_taken: snapshot.offers_taken,
            offers_returned: snapshot.offers_returned,
            steals: snapshot.steals,
            connections_opened: snapshot.connections_opened,
        }
    }
}

/// What a drained engine should hold nothing of, and what should not have happened.
fn left(snapshot: &Snapshot, clean: bool) -> Vec<(&'static str, u64)> {
    let now = snapshot.now;
    let mut left = vec![
        ("connections", now.connections),
        ("sockets", now.sockets),
        ("receive buffers", now.buffers_held),
        ("waiters", now.waiters),
        ("timers", now.timers),
        ("tasks", now.tasks),
        ("calls or leases that a drain had to cut", u64::from(!clean)),
        ("panics of tasks", snapshot.task_panics),
        (
            "shards lost",
            snapshot.by_shard.iter().map(|one| one.losses).sum(),
        ),
        ("faults of the driver", snapshot.driver.faults),
    ];
    left.retain(|(_, count)| *count > 0);
    left
}

/// What the tasks of one shard share.
struct Scene {
    shard: Shard,
    upstream: Upstream,
    sides: Arc<Sides>,
    counts: RefCell<Counts>,
    chance: RefCell<Chance>,
    callers: Cell<usize>,
}

/// Has callers whenever it is this shard's turn, until it is over and all of them have ended, or have to be given up.
async fn on_shard(shard: Shard, sides: Arc<Sides>) -> Result<Counts, Error> {
    let scene = Rc::new(Scene {
        upstream: shard.upstream(UPSTREAM)?,
        sides,
        counts: RefCell::default(),
        chance: RefCell::new(Chance(shard.index() as u64)),
        callers: Cell::new(0),
        shard,
    });
    let mut given_up = None;
    let mut held: Vec<Lease> = Vec::new();
    loop {
        let ended = scene.sides.end.load(Ordering::Relaxed);
        let now = scene.shard.turn_time();
        let grace = *given_up.get_or_insert(now + GRACE);
        if !ended {
            given_up = None;
        } else if scene.callers.get() == 0 || now >= grace {
            return Ok(scene.counts.take());
        }
        if !scene.sides.is_on(scene.shard.index()) {
            held.drain(..).for_each(Lease::release);
        } else if held.is_empty() {
            // The sibling's last calls may be on them still.
            scene.shard.sleep(TICK * 2).await;
            // Looked at once: what is idle is there at once.
            while let Some(lease) = within(scene.upstream.checkout(), 0, || true).await {
                held.push(lease?);
            }
        }
        // Those of the last time may not have ended yet.
        while scene.sides.is_on(scene.shard.index()) && scene.callers.get() < CALLERS {
            scene.callers.set(scene.callers.get() + 1);
            scene.shard.spawn(call(Rc::clone(&scene)));
        }
        scene.shard.sleep(TICK).await;
    }
}

async fn call(scene: Rc<Scene>) {
    while scene.sides.is_on(scene.shard.index())
        && let Some(nonce) = scene.sides.nonce()
    {
        scene.counts.borrow_mut().begun += 1;
        let fuse = scene
            .chance
            .borrow_mut()
            .fuse(nonce % BODY_ONE_IN == APART_AT);
        let in_body = Cell::new(false);
        let to = &scene.upstream;
        let outcome = match nonce % BODY_ONE_IN {
            0 => {
                fuse.burn(post(to, nonce, &in_body), &scene.shard, &in_body)
                    .await
            }
            APART_AT => {
                let call = get(to, APART, (nonce, &in_body));
                fuse.burn(call, &scene.shard, &in_body).await
            }
            _ => {
                let call = get(to, "/", (nonce, &in_body));
                fuse.burn(call, &scene.shard, &in_body).await
            }
        };
        let mut counts = scene.counts.borrow_mut();
        match outcome {
            Some(Ok(true)) => counts.answered += 1,
            Some(Ok(false)) => counts.wrong += 1,
            Some(Err(error)) => *counts.failed.entry(error.kind().name()).or_default() += 1,
            None if in_body.get() => counts.dropped_in_body += 1,
            None => counts.dropped_before_head += 1,
        }
    }
    scene.callers.set(scene.callers.get() - 1);
}

/// The low-level exchange. Whether the response repeats the nonce, in its head and in its body.
async fn get(
    upstream: &Upstream,
    path: &str,
    (nonce, in_body): (u64, &Cell<bool>),
) -> Result<bool, Error> {
    let path = format!("{path}?nonce={nonce}");
    let mut exchange = upstream.exchange(Head::get(&path)).await?;
    in_body.set(true);
    let own = nonce.to_string();
    let head = exchange.head();
    let named = head
        .header(NONCE)
        .is_some_and(|value| value == own.as_bytes());
    let mut right = exchange.status() == 200 && named;
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    right &= body == own.as_bytes();
    Ok(right)
}

/// The same by a call with a body.
async fn post(upstream: &Upstream, nonce: u64, in_body: &Cell<bool>) -> Result<bool, Error> {
    let own = nonce.to_string();
    let mut request = http::Request::new(own.clone());
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = format!("/?nonce={nonce}")
        .parse()
        .expect("digits make a valid path");
    let mut response = upstream.call(request).await?;
    in_body.set(true);
    let named = response.headers().get(NONCE);
    let named = named.is_some_and(|value| value.as_bytes() == own.as_bytes());
    let mut right = response.status() == 200 && named;
    let mut body = Vec::new();
    let from = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *from).poll_frame(cx)).await {
        body.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
    }
    right &= body == own.as_bytes();
    Ok(right)
}
