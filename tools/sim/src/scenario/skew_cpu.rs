//! More calls on one shard than its thread can do. See [`scenarios::skew_cpu`].

use super::{Scenario, concluded, quiet};
use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::load::{Order, Way};
use crate::run::{self, Outcome, Script};
use crate::trace::Trace;
use ringpool::config::{Class, UpstreamConfig};
use ringpool::simulation::Costs;
use scenarios::Evidence;
use scenarios::skew_cpu::{self, HAND_OVER, HEAVY, LASTS, LIGHT, Pair, RECEIVE, SEND, SERVICE};
use std::time::Duration;

/// With what shards do for each other, and without.
pub const SKEW_CPU: Scenario = Scenario::of(skew_cpu::NAME, run);

type Settings = fn(UpstreamConfig) -> UpstreamConfig;

fn run(seed: u64, trace: Trace) -> Outcome {
    beside(seed, &trace, skew_cpu::settings)
}

/// `ours` beside shards that do nothing for each other.
fn beside(seed: u64, trace: &Trace, ours: Settings) -> Outcome {
    let alone: Settings = |at| skew_cpu::alone(skew_cpu::settings(at));
    let dice = &mut Dice::new(seed, "skew-cpu");
    // The one that is preferred as a home, or the other one.
    let shard = dice.below(2) as usize;
    let mut runs = Vec::new();
    let mut pair = |load: f64| -> [Evidence; 2] {
        let script = script(dice, shard, load);
        [("shared", ours), ("alone", alone)].map(|(name, settings)| {
            trace.tell(Duration::ZERO, || {
                format!("the run: {name}, {load} times the capacity")
            });
            let (outcome, seen) = run::play(world(seed, settings), script.clone(), trace.clone());
            runs.push(outcome);
            seen
        })
    };
    let (heavy, light) = (pair(HEAVY), pair(LIGHT));
    concluded(runs, || {
        let [heavy, light] = [&heavy, &light].map(|[shared, alone]| Pair { shared, alone });
        skew_cpu::judge(heavy, light)
    })
}

fn world(seed: u64, settings: Settings) -> Knobs {
    let mut knobs = quiet::world(seed, 2, SERVICE, settings);
    knobs.config.connections_max = knobs.settings(0).connections_max;
    knobs.config.mailbox_max = skew_cpu::MAILBOX;
    knobs.costs = Costs {
        send: SEND,
        receive: RECEIVE,
        hand_over: HAND_OVER,
    };
    knobs
}

/// Calls that all enter on one shard.
fn script(dice: &mut Dice, shard: usize, load: f64) -> Script {
    let while_it_lasts = (Duration::ZERO, LASTS);
    let rate = skew_cpu::capacity() * load;
    let calls = quiet::by_chance(dice, rate, while_it_lasts, |_| Class::Normal);
    let there = |(at, order)| {
        let way = Way::Outside(Some(shard));
        (at, Order { way, ..order })
    };
    Script {
        calls: calls.into_iter().map(there).collect(),
        troubles: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither does it pass by itself, nor by where calls come in.
    #[test]
    fn it_fails_where_shards_do_nothing_for_each_other() {
        crate::panics::keep();
        let alone = |at| skew_cpu::alone(skew_cpu::settings(at));
        let outcome = beside(1, &Trace::none(), alone);
        let findings = outcome.findings.expect("no invariant broke");
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        let failing: Vec<&str> = failing.map(|one| one.key).collect();
        assert_eq!(failing, ["gain", "p50", "p99", "unanswered"]);
    }
}
