//! Calls whose course is kept one by one, from anywhere: all at once, or at a fixed rate, in which a slow
//! peer slows nobody's asking. For scenarios, which are judged by every call.
//!
//! Owns the engine of one such run and what was seen of it. It must never judge. Each call is a task of its
//! own, so that none waits for a free caller.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use http_body::Body as _;
use ringpool::config::{Class, Config, UpstreamConfig};
use ringpool::{Body, Engine, Error, Trip, Upstream};
use scenarios::{Evidence, Outcome, Sample, Shot};
use tokio::task::{LocalSet, spawn_local};

use super::course::Course;
use super::pace::{Pace, StartQueue};
use super::{UPSTREAM, reach, refused, snapshot, upstream_at};
use crate::arrivals::Timetable;
use crate::interrupt::Interrupt;
use crate::load::DriveError;
use crate::progress::Progress;

/// How often the engine's counts are looked at.
const LOOK: Duration = Duration::from_millis(10);
/// Dials that were begun for the last calls are over by then.
const SETTLES: Duration = Duration::from_millis(500);
/// Calls that are unanswered so long after the last began are given up.
const GRACE: Duration = Duration::from_secs(10);
/// Calls on their way to the shard: never the limit.
const MAILBOX: usize = 1 << 16;

/// One run.
pub(crate) struct Play<'a> {
    /// Where the upstream is.
    pub(crate) url: String,
    /// Who signs its certificate, in PEM, where it has one.
    pub(crate) ca: Option<&'a [u8]>,
    /// Shards of the engine.
    pub(crate) shards: usize,
    /// The upstream's settings, made from where it is.
    pub(crate) settings: &'a dyn Fn(UpstreamConfig) -> UpstreamConfig,
    /// Whether warm connections are waited for.
    pub(crate) warm: bool,
    /// What is called, and when.
    pub(crate) calls: Calls,
}

/// When calls begin.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Calls {
    /// So many, as soon as all is ready.
    AtOnce(u32),
    /// So many a second, until whatever goes on beside them is over.
    Paced {
        /// A second.
        rate: f64,
        /// The class of the nth.
        class: fn(usize) -> Class,
    },
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Played {
    /// Every call, and the engine's counts.
    pub(crate) evidence: Evidence,
    /// How long a connection took on average, if any was made.
    pub(crate) setup: Option<Duration>,
    /// The share of checkouts that found a connection, if there was any.
    pub(crate) hit_rate: Option<f64>,
    /// Calls that could not even be begun.
    pub(crate) missed: u64,
}

/// Carries it out on a thread of its own; `meanwhile` runs on this one, from the beginning, which it is told, and
/// paced calls end with it.
pub(crate) fn play<T>(
    play: &Play<'_>,
    (progress, interrupt): (&Progress, &Interrupt),
    meanwhile: impl FnOnce(Instant) -> T,
) -> Result<(Played, T), DriveError> {
    let settings = (play.settings)(upstream_at(&play.url, play.ca)?);
    let config = Config {
        shards: play.shards,
        mailbox_max: MAILBOX,
        ..Config::with_upstream(UPSTREAM, settings)
    };
    let engine = Arc::new(Engine::start(config).map_err(refused)?);
    if play.warm {
        reach(&engine, interrupt)?;
    }
    let course = Arc::new(Course::default());
    let begun = Instant::now();
    course.open(begun);
    let (pace, start) = match play.calls {
        Calls::AtOnce(count) => (None, Start::AtOnce(count)),
        Calls::Paced { rate, class } => {
            let table = Timetable::steady(rate);
            let pace = Pace::start(table, begun, &course).map_err(DriveError::broken)?;
            let starts = pace.starts();
            (Some(pace), Start::Paced(starts, class))
        }
    };
    let callers = Callers {
        upstream: engine.upstream(UPSTREAM).map_err(DriveError::broken)?,
        engine: Arc::clone(&engine),
        begun,
        progress: progress.clone(),
    };
    let thread = thread::Builder::new()
        .name("callers".to_owned())
        .spawn(move || callers.run(start))
        .map_err(DriveError::broken)?;
    let during = meanwhile(begun);
    course.close(Instant::now(), interrupt.requested());
    let missed = pace.map_or(0, Pace::end);
    let seen = thread.join();
    let mut evidence = seen.map_err(|_| DriveError::broken("the callers' thread panicked"))??;
    let end = snapshot(&engine)?;
    evidence.opened = end.dials - end.dials_failed;
    let made = u32::try_from(end.connections_opened).unwrap_or(u32::MAX);
    let played = Played {
        evidence,
        setup: end.dial_time.checked_div(made),
        hit_rate: end.hit_rate(),
        missed,
    };
    Ok((played, during))
}

enum Start {
    AtOnce(u32),
    Paced(StartQueue, fn(usize) -> Class),
}

/// What the callers' thread needs.
struct Callers {
    engine: Arc<Engine>,
    upstream: Upstream,
    begun: Instant,
    progress: Progress,
}

/// What the tasks of that thread share.
struct Scene {
    upstream: Upstream,
    begun: Instant,
    shots: RefCell<Vec<Shot>>,
    samples: RefCell<Vec<Sample>>,
    under_way: Cell<usize>,
}

impl Callers {
    fn run(self, start: Start) -> Result<Evidence, DriveError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(DriveError::broken)?;
        let scene = Rc::new(Scene {
            upstream: self.upstream,
            begun: self.begun,
            shots: RefCell::default(),
            samples: RefCell::default(),
            under_way: Cell::new(0),
        });
        let local = LocalSet::new();
        local.spawn_local(look(Rc::clone(&scene), self.engine, self.progress));
        local.block_on(&runtime, perform(Rc::clone(&scene), start));
        let mut shots = scene.shots.take();
        shots.sort_by_key(|shot| shot.intended);
        Ok(Evidence {
            shots,
            samples: scene.samples.take(),
            opened: 0,
        })
    }
}

/// Begins all calls, and waits for the last of them and for what they have set going.
async fn perform(scene: Rc<Scene>, start: Start) {
    match start {
        Start::AtOnce(count) => {
            let now = Instant::now();
            for _ in 0..count {
                scene.call(now, Class::Normal);
            }
        }
        Start::Paced(starts, class) => {
            let mut nth = 0;
            while let Some(start) = starts.next().await {
                scene.call(start, class(nth));
                nth += 1;
            }
        }
    }
    let given_up = Instant::now() + GRACE;
    while scene.under_way.get() > 0 && Instant::now() < given_up {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(SETTLES).await;
}

impl Scene {
    fn call(self: &Rc<Self>, intended: Instant, class: Class) {
        let scene = Rc::clone(self);
        self.under_way.set(self.under_way.get() + 1);
        spawn_local(async move {
            let sent = Instant::now();
            let outcome = match get(&scene.upstream, class).await {
                Ok(outcome) => outcome,
                Err(error) => Outcome::Failed(error.kind().name()),
            };
            let since = |at: Instant| at.saturating_duration_since(scene.begun);
            scene.shots.borrow_mut().push(Shot {
                class,
                intended: since(intended),
                sent: since(sent),
                ended: since(Instant::now()),
                outcome,
            });
            scene.under_way.set(scene.under_way.get() - 1);
        });
    }
}

/// One GET, its response read to the end.
async fn get(upstream: &Upstream, class: Class) -> Result<Outcome, Error> {
    let mut request = http::Request::new(Body::empty());
    request.extensions_mut().insert(class);
    let mut response = upstream.call(request).await?;
    let wait = Trip::of(&response).map_or(Duration::ZERO, |trip| trip.wait);
    let status = response.status();
    let body = response.body_mut();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        frame?;
    }
    Ok(match status.is_success() {
        true => Outcome::Answered(wait),
        false => Outcome::Failed("status"),
    })
}

/// Copies the engine's counts again and again, as long as it answers, and tells what has ended meanwhile.
async fn look(scene: Rc<Scene>, engine: Arc<Engine>, progress: Progress) {
    let mut told = 0;
    while let Ok(snapshot) = engine.snapshot().await {
        let figures = snapshot.upstreams.get(UPSTREAM).cloned();
        let figures = figures.unwrap_or_default();
        scene.samples.borrow_mut().push(Sample {
            at: scene.begun.elapsed(),
            dials: figures.dials,
            flying: figures.dialing,
            open: figures.idle + figures.leased,
        });
        {
            let shots = scene.shots.borrow();
            let news = &shots[told..];
            let ok = news.iter().filter(|shot| shot.is_answered()).count();
            progress.add(ok as u64, (news.len() - ok) as u64);
            told = shots.len();
        }
        tokio::time::sleep(LOOK).await;
    }
}
