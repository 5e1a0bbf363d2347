//! The callers: what they ask for and when, how long they wait, and what they tell the oracle.
//!
//! Owns: every call under way. Never: judges what comes back.

mod body;
mod on_shard;
mod order;
mod raw;

pub use order::{Order, TALK_MAX, Upload, Way};

use crate::dice::Dice;
use crate::oracle::{Answer, Ending, Failure, Said};
use crate::stage::Stage;
use body::Drip;
use on_shard::News;
use raw::Talk;
use ringpool::simulation::{Call, Engine};
use ringpool::{Body, Trip};
use scenarios::Shot;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// All callers of a run.
pub struct Load {
    stage: Rc<Stage>,
    dice: Dice,
    flying: Vec<Flying>,
    next: Duration,
    left: u32,
    pause: Duration,
    burst_max: u64,
    must_succeed: bool,
    /// Calls that are to be made when it says so, the next one first.
    script: VecDeque<(Duration, Order)>,
    /// What became of those, by nonce: they come before all others.
    journal: Vec<Shot>,
    news: (Sender<News>, Receiver<News>),
}

/// A call under way.
struct Flying {
    nonce: u64,
    what: What,
    /// When its caller has had enough.
    ends: Option<Duration>,
    /// When its caller reads again.
    reads: Option<Duration>,
}

enum What {
    Call(Box<Call>),
    Talk(Box<Talk>),
    /// A task on this shard, which tells itself.
    Task(usize),
}

impl Load {
    /// The callers of a seed, before the first call.
    pub fn new(stage: &Rc<Stage>) -> Load {
        let load = &stage.knobs.load;
        Load {
            stage: stage.clone(),
            dice: Dice::new(stage.knobs.seed, "load"),
            flying: Vec::new(),
            next: Duration::ZERO,
            left: load.calls,
            pause: load.pause,
            burst_max: load.burst_max,
            must_succeed: false,
            script: VecDeque::new(),
            journal: Vec::new(),
            news: channel(),
        }
    }

    /// Callers who do what `script` says, in the order of time, and nothing by chance.
    pub fn scripted(stage: &Rc<Stage>, script: Vec<(Duration, Order)>) -> Load {
        debug_assert_eq!(stage.knobs.load.calls, 0, "no calls by chance before them");
        let mut load = Load::new(stage);
        load.journal.reserve(script.len());
        load.script = script.into();
        load
    }

    /// What became of the calls of a script.
    pub fn journal(&mut self) -> Vec<Shot> {
        std::mem::take(&mut self.journal)
    }

    /// From `at` on: so many calls, one at a time, that have to succeed.
    pub fn resume(&mut self, at: Duration, calls: u32) {
        self.next = at;
        self.left = calls;
        // One at a time, even where each has to be connected for, with a handshake, and that on two shards: the
        // one connection that may be is closed on one of them so that the other can dial.
        self.pause = self.stage.knobs.weather.latency_max * 16 + Duration::from_millis(10);
        self.burst_max = 1;
        self.must_succeed = true;
    }

    /// So many calls more, as wild as before.
    pub fn knock(&mut self, calls: u32) {
        (self.next, self.left) = (self.stage.now.get(), calls);
        self.must_succeed = false;
    }

    /// No more calls, and nobody pauses any more.
    pub fn finish(&mut self) {
        self.left = 0;
        self.script.clear();
        for one in &mut self.flying {
            one.reads = one.reads.map(|_| Duration::ZERO);
        }
    }

    /// Whether all calls have been begun.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.script.is_empty()
    }

    /// How many calls are under way.
    pub fn under_way(&self) -> usize {
        self.flying.len()
    }

    /// When the callers do something next of their own accord.
    pub fn next(&self) -> Option<Duration> {
        let begins = (self.left > 0).then_some(self.next);
        let begins = begins
            .into_iter()
            .chain(self.script.front().map(|(at, _)| *at));
        let moves = self.flying.iter().flat_map(|one| {
            let talk = match &one.what {
                What::Talk(talk) => talk.ends_by(),
                What::Call(_) | What::Task(_) => None,
            };
            [one.ends, one.reads, talk]
        });
        moves.flatten().chain(begins).min()
    }

    /// Begins what is due; true if anything was.
    pub fn begin(&mut self, engine: &Engine) -> bool {
        let followed = self.follow(engine);
        let now = self.stage.now.get();
        if self.left == 0 || self.next > now {
            return followed;
        }
        let burst = self.dice.within(1, self.burst_max);
        for _ in 0..burst.min(self.left.into()) {
            self.left -= 1;
            let order = match self.must_succeed {
                true => Order::plain(&mut self.dice, &self.stage.knobs),
                false => Order::wild(&mut self.dice, &self.stage.knobs),
            };
            self.place(engine, order);
        }
        let longest = 2 * self.pause.as_micros() as u64 * burst;
        self.next = now + Duration::from_micros(self.dice.within(0, longest));
        if self.must_succeed {
            self.next = now + self.pause;
        }
        true
    }

    /// Begins what the script has for now; true if there was anything.
    fn follow(&mut self, engine: &Engine) -> bool {
        let now = self.stage.now.get();
        let due = self.script.partition_point(|(at, _)| *at <= now);
        for (at, order) in self.script.drain(..due).collect::<Vec<_>>() {
            self.journal.push(Shot {
                class: order.class.unwrap_or_default(),
                intended: at,
                sent: now,
                ended: Duration::MAX,
                outcome: scenarios::Outcome::Failed("unfinished"),
            });
            self.place(engine, order);
        }
        due > 0
    }

    fn place(&mut self, engine: &Engine, order: Order) {
        let now = self.stage.now.get();
        let facts = order.facts(&self.stage.knobs, now, self.must_succeed);
        let nonce = self.stage.oracle.borrow_mut().called(facts);
        let name = self.stage.knobs.upstreams[order.upstream].name.clone();
        self.stage.tell(|| format!("call {nonce}: {order:?}"));
        let what = match order.way {
            Way::Outside(shard) if order.method == "LINE" => {
                let checkout = engine.checkout(shard, &name);
                What::Talk(Box::new(Talk::new(checkout, nonce, &name)))
            }
            Way::Outside(shard) => {
                let mut call = engine.call(shard, &name, request(&order, nonce));
                if order.pause.is_some() {
                    call.pause_reading(true);
                    self.stage.coverage.borrow_mut().fault("slow_reader");
                }
                What::Call(Box::new(call))
            }
            Way::Call(shard) | Way::Exchange(shard) | Way::Malformed(shard) => {
                let (order, news) = (order.clone(), self.news.0.clone());
                let task = move |shard| on_shard::run(shard, name, order, nonce, news);
                if let Err(error) = engine.spawn(shard, task) {
                    return self.end(nonce, Some(Ending::Failed(Failure::of(&error))));
                }
                What::Task(shard)
            }
        };
        let in_task = matches!(what, What::Task(_));
        self.flying.push(Flying {
            nonce,
            what,
            ends: order.patience.filter(|_| !in_task).map(|time| now + time),
            reads: order.pause.filter(|_| !in_task).map(|time| now + time),
        });
    }

    /// Looks at every call; true if one went on.
    pub fn poll(&mut self) -> bool {
        let now = self.stage.now.get();
        let mut ended = Vec::new();
        let mut moved = false;
        self.flying.retain_mut(|one| {
            if one.reads.is_some_and(|at| at <= now) {
                one.reads = None;
                moved = true;
                if let What::Call(call) = &mut one.what {
                    call.pause_reading(false);
                }
            }
            let ending = one.poll(now);
            let goes_on = ending.is_none();
            ended.extend(ending.map(|ending| (one.nonce, ending)));
            goes_on
        });
        while let Ok((nonce, ending)) = self.news.1.try_recv() {
            self.flying.retain(|one| one.nonce != nonce);
            ended.push((nonce, ending));
        }
        moved |= !ended.is_empty();
        for (nonce, ending) in ended {
            self.end(nonce, ending);
        }
        moved
    }

    /// Tasks that their shard took with it, one or all, have nobody to tell of their end.
    pub fn forget_tasks(&mut self, of: Option<usize>) {
        let tasks = self.flying.iter();
        let tasks = tasks.filter(|one| match one.what {
            What::Task(shard) => of.is_none_or(|of| of == shard),
            What::Call(_) | What::Talk(_) => false,
        });
        let gone: Vec<u64> = tasks.map(|one| one.nonce).collect();
        self.flying.retain(|one| !gone.contains(&one.nonce));
        for nonce in gone {
            self.end(nonce, None);
        }
    }

    fn end(&mut self, nonce: u64, ending: Option<Ending>) {
        if let (Some(shot), Some(ending)) = (self.journal.get_mut(nonce as usize), &ending) {
            shot.ended = self.stage.now.get();
            shot.outcome = outcome_of(ending);
        }
        let coverage = &mut self.stage.coverage.borrow_mut();
        let oracle = &mut self.stage.oracle.borrow_mut();
        match ending {
            None => {
                self.stage.tell(|| format!("call {nonce}: given up"));
                coverage.ended("given_up");
                coverage.fault("caller_gone");
                oracle.given_up(nonce);
            }
            Some(ending) => {
                self.stage
                    .tell(|| format!("call {nonce}: {}", story(&ending)));
                coverage.ended(match &ending {
                    Ending::Answered(_) => "ok",
                    Ending::Failed(failure) => failure.kind,
                });
                oracle.ended(nonce, &ending);
            }
        }
    }
}

impl Flying {
    /// How it ended, if it has; `Some(None)`: given up.
    fn poll(&mut self, now: Duration) -> Option<Option<Ending>> {
        let ending = match &mut self.what {
            What::Call(call) => call.poll().map(|result| {
                Some(match result {
                    Ok(response) => Ending::Answered(answer_of(response)),
                    Err(error) => Ending::Failed(Failure::of(&error)),
                })
            }),
            What::Talk(talk) => talk.poll(now),
            What::Task(_) => None,
        };
        let impatient = self.ends.is_some_and(|at| at <= now);
        ending.or_else(|| impatient.then_some(None))
    }
}

/// The request of an order.
fn request(order: &Order, nonce: u64) -> http::Request<Body> {
    let target = format!("/n/{nonce}/{}", order.wants);
    let mut request = http::Request::builder().method(order.method).uri(target);
    if order.expects {
        request = request.header("expect", "100-continue");
    }
    let body = match (order.brings, order.upload) {
        (0, _) => Body::empty(),
        (len, Upload::Whole) => Body::from(body::whole(nonce, len)),
        (len, Upload::Drip(piece, sized)) => {
            Body::stream(Drip::new(nonce, len, piece, sized, false))
        }
        (len, Upload::Fails(piece)) => Body::stream(Drip::new(nonce, len, piece, true, true)),
    };
    let mut request = request.body(body).expect("a made-up request that is right");
    if let Some(class) = order.class {
        request.extensions_mut().insert(class);
    }
    request
}

fn answer_of(response: http::Response<bytes::Bytes>) -> Answer {
    let said = response.headers().get("x-sim");
    Answer {
        status: response.status().as_u16(),
        said: said.map(|line| Said::of(&String::from_utf8_lossy(line.as_bytes()))),
        trip: response.extensions().get::<Trip>().cloned(),
        body: response.into_body(),
    }
}

fn outcome_of(ending: &Ending) -> scenarios::Outcome {
    match ending {
        Ending::Failed(failure) => scenarios::Outcome::Failed(failure.kind),
        Ending::Answered(answer) => {
            let wait = answer.trip.as_ref().map(|trip| trip.wait);
            scenarios::Outcome::Answered(wait.unwrap_or_default())
        }
    }
}

fn story(ending: &Ending) -> String {
    match ending {
        Ending::Answered(answer) => {
            format!(
                "answered, {} and {} bytes",
                answer.status,
                answer.body.len()
            )
        }
        Ending::Failed(failure) => format!("failed: {} ({})", failure.text, failure.kind),
    }
}
