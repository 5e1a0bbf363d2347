//! One run: the engine of one seed, its world and its callers, turned until all is over.
//!
//! Owns: the order of things and the passing of time. Never: reads a clock, and never decides what is right.

mod ends;
mod script;
mod watch;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::knobs::{Knobs, Reload};
use crate::load::Load;
use crate::oracle::{Cap, Invariant, Remains, Violation};
use crate::panics;
use crate::stage::Stage;
use crate::trace::Trace;
use crate::world::{self, Trouble, Troubles, World};
use ringpool::config::UpstreamConfig;
use ringpool::simulation::{Engine, FaultCounts, Faults, Look, Network, PermitsWatch};
use scenarios::{Evidence, Findings};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use watch::Pause;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which run.
    pub seed: u64,
    /// What must not be, and was.
    pub violation: Option<Violation>,
    /// Deliveries and completions.
    pub events: u64,
    /// How much virtual time went by.
    pub lasted: Duration,
    /// What was met.
    pub coverage: Coverage,
    /// What a named scenario found.
    pub findings: Option<Findings>,
    /// Whether TLS was spoken.
    pub tls: bool,
}

/// Rounds at one moment after which something spins.
const ROUNDS_MAX: u32 = 20_000;
/// Calls that have to succeed once faults have stopped.
const CALM_CALLS: u32 = 25;

pub use script::Script;

/// Runs a seed; its story goes to `trace`.
pub fn run(knobs: Knobs, trace: Trace) -> Outcome {
    start(knobs, None, trace).0
}

/// Runs a seed in which what happens is given: calls and troubles. Then as any other: faults stop, calls have to
/// succeed, and nothing may be left.
pub fn play(knobs: Knobs, script: Script, trace: Trace) -> (Outcome, Evidence) {
    start(knobs, Some(script), trace)
}

fn start(knobs: Knobs, script: Option<Script>, trace: Trace) -> (Outcome, Evidence) {
    let (seed, tls) = (knobs.seed, knobs.tls.is_some());
    let stage = Stage::new(knobs, trace);
    let network = Network::new(seed);
    if stage.trace.is_on() {
        let told = stage.trace.clone();
        network.trace(Some(Box::new(move |at, line| {
            told.tell(at, || line.to_owned())
        })));
    }
    let mut run = Run::new(&stage, &network);
    if let Some(script) = script {
        run.follow(script);
    }
    let ended = catch_unwind(AssertUnwindSafe(|| run.play()));
    run.tell_looks();
    let seen = std::mem::take(&mut run.seen);
    if ended.is_err() {
        let what = format!("the engine panicked: {}", panics::last());
        stage.oracle.borrow_mut().found(Invariant::Driver, what);
        // What panicked once may do so again when it is dropped.
        std::mem::forget(run);
    }
    let violation = stage.oracle.borrow().verdict().cloned();
    let coverage = stage.coverage.borrow().clone();
    let outcome = Outcome {
        seed,
        violation,
        events: network.events(),
        lasted: network.now(),
        coverage,
        findings: None,
        tls,
    };
    (outcome, seen)
}

struct Run {
    stage: Rc<Stage>,
    network: Network,
    world: World,
    engine: Engine,
    /// One for each upstream.
    permits: Vec<PermitsWatch>,
    load: Load,
    troubles: Troubles,
    dice: Dice,
    looks: Vec<Look>,
    /// Room for the next look, which is one only if it shows something else.
    fresh: Look,
    caps: Vec<Cap>,
    order: Vec<usize>,
    pauses: Vec<Vec<Pause>>,
    faults_met: Vec<FaultCounts>,
    rounds: u32,
    /// Whether a script decides what happens.
    scripted: bool,
    /// What became of it.
    seen: Evidence,
    /// When a shard is to be lost, the first one last.
    losses: Vec<Duration>,
    /// The engine ends: closing has a limit of its own, which a jump would be taken for.
    ending: bool,
}

impl Run {
    fn new(stage: &Rc<Stage>, network: &Network) -> Run {
        let knobs = &stage.knobs;
        let keys = world::provider(knobs.seed);
        let world = World::new(stage, network, keys.clone());
        let config = knobs.config.clone();
        let mut engine = Engine::with_tls(config, knobs.shards, knobs.seed, network, keys)
            .expect("every seed's configuration is valid");
        engine.set_costs(knobs.costs);
        for shard in 0..knobs.shards {
            engine.set_faults(shard, knobs.faults);
        }
        let permits = knobs.upstreams.iter();
        let permits = permits.map(|one| engine.watch_permits(&one.name));
        let expected = knobs.load.pause * knobs.load.calls;
        let mut caps: Vec<Cap> = (0..knobs.upstreams.len())
            .map(|index| {
                let max = knobs.settings(index).connections_max as usize;
                Cap::new(knobs.upstreams[index].name.clone(), max)
            })
            .collect();
        caps.push(Cap::new(
            "engine".into(),
            knobs.config.connections_max as usize,
        ));
        Run {
            troubles: Troubles::new(knobs, &world, expected),
            load: Load::new(stage),
            dice: Dice::new(knobs.seed, "run"),
            looks: vec![Look::default(); knobs.shards],
            fresh: Look::default(),
            order: (0..knobs.shards).collect(),
            pauses: vec![vec![Pause::default(); knobs.upstreams.len()]; knobs.shards],
            faults_met: vec![FaultCounts::default(); knobs.shards],
            permits: permits.collect(),
            caps,
            rounds: 0,
            scripted: false,
            seen: Evidence::default(),
            losses: ends::losses(knobs.seed, expected),
            ending: false,
            stage: stage.clone(),
            network: network.clone(),
            world,
            engine,
        }
    }

    fn play(&mut self) {
        self.storm();
        if self.is_over() {
            return;
        }
        if self.scripted {
            self.conclude();
        } else if self.dice.one_in(5) {
            return self.end();
        }
        self.heal();
        self.calm();
        if !self.is_over() {
            self.rest();
            self.end();
        }
    }

    /// Faults and calls, until all calls have been begun and all troubles are over.
    fn storm(&mut self) {
        while !self.is_over() {
            if !self.round(true) {
                if self.load.is_done() && self.troubles.next().is_none() {
                    self.losses.clear();
                    return;
                }
                self.pass(None);
            }
        }
    }

    /// Faults stop; what they left is given the time to be over.
    fn heal(&mut self) {
        self.stage.tell(|| "faults stop".into());
        self.world.heal();
        for shard in 0..self.engine.shards() {
            self.engine.set_faults(shard, Faults::default());
        }
        let knobs = &self.stage.knobs;
        let recovery = (0..knobs.upstreams.len()).map(|index| {
            let most = |of: fn(&UpstreamConfig) -> Duration| knobs.most(index, of);
            let retries =
                most(|settings| settings.dial_backoff_max + settings.breaker.ejection_max);
            let calls = most(|settings| settings.call_timeout * 2 + settings.dial_timeout);
            calls + retries + most(|settings| settings.drain_timeout)
        });
        let longest = recovery.max().unwrap_or_default();
        let begin = self.stage.now.get() + longest + knobs.news() + Duration::from_secs(1);
        self.load.resume(begin, CALM_CALLS);
    }

    /// Calls that have to succeed, and the end of all others.
    fn calm(&mut self) {
        while !self.is_over() {
            if !self.round(false) {
                if self.load.is_done() && self.load.under_way() == 0 {
                    return;
                }
                self.pass(None);
            }
        }
    }

    /// Lets so much time go by.
    fn settle(&mut self, time: Duration) {
        let until = self.stage.now.get() + time;
        while !self.is_over() && self.stage.now.get() < until {
            if !self.round(false) {
                self.pass(Some(until));
            }
        }
    }

    /// All calls are over: a while later nothing may be left of them.
    fn rest(&mut self) {
        self.settle(self.stage.knobs.news() + Duration::from_millis(50));
        let mut gauges = Vec::new();
        for (shard, look) in self.looks.iter().enumerate() {
            let leased: u32 = look.upstreams.iter().map(|upstream| upstream.leased).sum();
            for (name, count) in [
                ("waiters", look.waiters as u64),
                ("sleeps", look.sleeps as u64),
                ("tasks", look.tasks as u64),
                ("leased connections", leased.into()),
                ("buffers held", look.buffers_held),
            ] {
                gauges.push((format!("{name} of shard {shard}"), count));
            }
        }
        self.judge_rest(Remains {
            when: "when all calls had ended",
            gauges,
            leftovers: Vec::new(),
        });
    }

    fn judge_rest(&self, remains: Remains) {
        let oracle = &mut self.stage.oracle.borrow_mut();
        oracle.at(self.stage.now.get());
        oracle.rest(&remains);
    }

    /// Everything that can happen at this moment, once; false if nothing did.
    fn round(&mut self, stormy: bool) -> bool {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            let what = "a shard spins: at one moment it never comes to rest".to_owned();
            self.stage.oracle.borrow_mut().found(Invariant::Ends, what);
            return false;
        }
        let mut moved = self.network.step();
        // Callers do not wait until all has come to rest, but sometimes they do.
        if self.dice.one_in(3) {
            moved |= self.load.begin(&self.engine);
        }
        moved |= self.turn_shards();
        if self.scripted {
            self.count_dials();
        }
        moved |= self.load.poll();
        if moved {
            self.look_around();
        } else {
            moved |= self.load.begin(&self.engine);
        }
        if !moved && stormy {
            let trouble = self.troubles.happen(&self.stage, &self.world);
            if let Some(Trouble::Reload(index)) = trouble {
                self.reload(index);
            }
            moved |= trouble.is_some() || self.lose_a_shard();
        }
        // Nor is anything at rest while a shard is in the middle of a turn.
        if !moved && !self.engine.is_at_work() {
            self.quiet();
        }
        moved
    }

    /// Puts other settings in force: the caps are others from now on.
    fn reload(&mut self, index: usize) {
        let Reload {
            upstream, settings, ..
        } = &self.stage.knobs.reloads[index];
        let name = &self.stage.knobs.upstreams[*upstream].name;
        let reloaded = self.engine.configure(name, settings.clone());
        reloaded.expect("every seed's configuration is valid");
        let permits = self.permits[*upstream].look();
        let max = settings.connections_max as usize;
        self.caps[*upstream].set(max, permits.in_use as usize);
        let open = watch::open_to(&self.looks, name);
        let oracle = &mut self.stage.oracle.borrow_mut();
        oracle.reloaded(*upstream, settings, open);
    }

    fn turn_shards(&mut self) -> bool {
        let now = self.network.now();
        let mut moved = false;
        self.dice.shuffle(&mut self.order);
        for place in 0..self.order.len() {
            let shard = self.order[place];
            if self
                .engine
                .rests_until(shard)
                .is_none_or(|until| until > now)
            {
                continue;
            }
            moved = true;
            if self.dice.chance(self.stage.knobs.skip) {
                continue;
            }
            self.stage.tell(|| format!("shard {shard} turns"));
            self.engine.turn(shard);
            let met = self.engine.faults_met(shard);
            let before = std::mem::replace(&mut self.faults_met[shard], met);
            self.stage
                .coverage
                .borrow_mut()
                .driver_faults(&before, &met);
            self.engine.look(shard, &mut self.fresh);
            let upstreams = self.stage.knobs.upstreams.iter().zip(&self.permits);
            for ((upstream, permits), pause) in upstreams.zip(&mut self.pauses[shard]) {
                pause.note(&self.fresh, &upstream.name, permits.look(), now);
            }
            let look = &mut self.looks[shard];
            if *look == self.fresh {
                continue;
            }
            std::mem::swap(look, &mut self.fresh);
            let oracle = &mut self.stage.oracle.borrow_mut();
            if look.task_panics > 0 {
                // No caller here panics: it was the engine, in a task that serves one.
                let what = format!("a task of shard {shard} panicked: {}", panics::last());
                oracle.found(Invariant::Driver, what);
            }
            oracle.look(shard, look, &mut self.stage.coverage.borrow_mut());
        }
        moved
    }

    /// Time goes by, until something happens next or until `limit`.
    fn pass(&mut self, limit: Option<Duration>) {
        let now = self.stage.now.get();
        let next = [
            self.engine.next_event(),
            self.load.next(),
            self.troubles.next().filter(|_| !self.stage.calm.get()),
            self.losses.last().copied(),
            limit,
        ];
        let Some(mut next) = next.into_iter().flatten().min() else {
            let what = "nothing will ever happen again, and calls are left".to_owned();
            return self.stage.oracle.borrow_mut().found(Invariant::Ends, what);
        };
        let trouble = &self.stage.knobs.trouble;
        if !self.stage.calm.get() && !self.ending && self.dice.chance(trouble.jumps) {
            next += trouble
                .jump_max
                .mul_f64(self.dice.below(1024) as f64 / 1024.0);
            self.stage.tell(|| format!("the clock jumps to {next:?}"));
            self.stage.coverage.borrow_mut().fault("clock_jump");
            self.stage.oracle.borrow_mut().jumped(now, next);
        }
        if next > now {
            self.rounds = 0;
        }
        self.network.advance_to(next);
        self.stage.now.set(self.network.now());
        self.stage.oracle.borrow_mut().at(self.network.now());
    }

    fn is_over(&self) -> bool {
        self.stage.oracle.borrow().verdict().is_some()
    }
}
