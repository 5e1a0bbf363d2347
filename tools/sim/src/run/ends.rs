//! How a run ends, by a drain or without, and how a shard does before its time.

use super::Run;
use crate::dice::Dice;
use crate::oracle::Remains;
use std::time::Duration;

/// Calls that are begun after a drain.
const LATE_CALLS: u32 = 6;

/// When shards are lost in a run that is expected to last so long, the first one last.
pub(super) fn losses(seed: u64, expected: Duration) -> Vec<Duration> {
    let dice = &mut Dice::new(seed, "losses");
    let count = *dice.pick(&[0, 0, 1, 3]);
    let mut losses: Vec<Duration> = (0..count)
        .map(|_| expected.mul_f64(dice.below(1024) as f64 / 1024.0))
        .collect();
    losses.sort_by(|one, other| other.cmp(one));
    losses
}

impl Run {
    /// A shard panics, if it is time, and is followed by another one.
    pub(super) fn lose_a_shard(&mut self) -> bool {
        if self
            .losses
            .last()
            .is_none_or(|&at| at > self.stage.now.get())
        {
            return false;
        }
        self.losses.pop();
        let shard = self.dice_of_ends().below(self.engine.shards() as u64) as usize;
        self.stage.tell(|| format!("shard {shard} is lost"));
        self.stage.coverage.borrow_mut().fault("shard_lost");
        self.engine.lose_shard(shard);
        self.engine.set_faults(shard, self.stage.knobs.faults);
        self.faults_met[shard] = self.engine.faults_met(shard);
        self.stage.oracle.borrow_mut().lost(shard);
        self.engine.look(shard, &mut self.looks[shard]);
        // What came of calls before is told before their tasks are given up.
        self.load.poll();
        self.load.forget_tasks(Some(shard));
        true
    }

    /// The engine ends, in one way or the other.
    pub(super) fn end(&mut self) {
        if self.dice_of_ends().one_in(2) {
            self.drain();
        }
        if !self.is_over() {
            self.stop();
        }
    }

    /// Dice of their own: other throws stay what they are.
    fn dice_of_ends(&self) -> Dice {
        let moment = self.stage.now.get().as_nanos() as u64;
        Dice::new(self.stage.knobs.seed ^ moment, "ends")
    }

    /// Nothing new is let in; what is under way has its time.
    fn drain(&mut self) {
        let dice = &mut self.dice_of_ends();
        let within = match dice.below(3) {
            0 => Duration::ZERO,
            1 => dice.millis(1, 500),
            _ => dice.millis(1000, 20_000),
        };
        self.stage
            .tell(|| format!("the engine drains within {within:?}"));
        self.stage.coverage.borrow_mut().fault("drain");
        let by = self.stage.now.get() + within;
        self.ending = true;
        self.stage.oracle.borrow_mut().drains(by);
        self.engine.drain(within);
        // Those who come in the same moment cannot be told from those before.
        self.network
            .advance_to(self.stage.now.get() + Duration::from_nanos(1));
        self.stage.now.set(self.network.now());
        self.stage.oracle.borrow_mut().at(self.network.now());
        self.load.knock(LATE_CALLS);
        let report = loop {
            if self.is_over() {
                return;
            }
            if let Some(report) = self.engine.drained() {
                break report;
            }
            if !self.round(false) {
                self.pass(None);
            }
        };
        self.stage.tell(|| report.to_string());
        self.load.finish();
        self.load.poll();
        self.load.forget_tasks(None);
        self.stage.oracle.borrow_mut().drained(report.is_clean());
        let mut gauges = self.left_in_the_world();
        for (shard, look) in self.looks.iter().enumerate() {
            gauges.push((format!("tasks of shard {shard}"), look.tasks as u64));
            gauges.push((format!("waiters of shard {shard}"), look.waiters as u64));
        }
        self.judge_rest(Remains {
            when: "after the drain",
            gauges,
            leftovers: Vec::new(),
        });
    }

    /// The engine stops, whatever is under way.
    fn stop(&mut self) {
        self.stage.tell(|| "the engine stops".into());
        let leftovers = self.engine.stop();
        self.stage.now.set(self.network.now());
        self.load.finish();
        self.load.poll();
        self.load.forget_tasks(None);
        self.judge_rest(Remains {
            when: "after the stop",
            gauges: self.left_in_the_world(),
            leftovers,
        });
    }

    /// What nothing may be left of when the engine has ended.
    fn left_in_the_world(&self) -> Vec<(String, u64)> {
        let mut gauges = vec![(
            "calls without an end".to_owned(),
            self.load.under_way() as u64,
        )];
        for server in 0..self.world.servers() {
            let endpoint = self.world.endpoint(server);
            let open = self.network.open_connections(endpoint);
            gauges.push((format!("sockets to {endpoint}"), open as u64));
        }
        for (upstream, permits) in self.stage.knobs.upstreams.iter().zip(&self.permits) {
            let permits = permits.look().in_use;
            gauges.push((format!("permits of {}", upstream.name), permits.into()));
        }
        gauges
    }
}
