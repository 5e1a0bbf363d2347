//! More calls on one shard than its thread can do. See [`scenarios::skew_cpu`].

use super::{Scenario, concluded, quiet};
use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::load::{Order, Way};
use crate::run::{self, Outcome, Script};
use crate::trace::Trace;
use ringpool::config::{Class, UpstreamConfig};
use ringpool::simulation::Costs;
use scenarios::skew_cpu::{self, HAND_OVER, HEAVY, LASTS, LIGHT, Pair, RECEIVE, SEND, SERVICE};
use std::time::Duration;

/// With what shards do for each other, and without.
pub const SKEW_CPU: Scenario = Scenario::of(skew_cpu::NAME, run);

type Settings = fn(UpstreamConfig) -> UpstreamConfig;

fn run(seed: u64, trace: Trace) -> Outcome {
    let mut runs = Vec::new();
    let [heavy, light] = [HEAVY, LIGHT].map(|load| {
        let script = script(seed, load);
        let mut play = |name: &str, settings: Settings| {
            trace.tell(Duration::ZERO, || {
                format!("the run: {name}, {load} times the capacity")
            });
            let (outcome, seen) = run::play(world(seed, settings), script.clone(), trace.clone());
            runs.push(outcome);
            seen
        };
        [play("shared", skew_cpu::settings), play("alone", alone)]
    });
    concluded(runs, || {
        let [heavy, light] = [&heavy, &light].map(|[shared, alone]| Pair { shared, alone });
        skew_cpu::judge(heavy, light)
    })
}

fn alone(at: UpstreamConfig) -> UpstreamConfig {
    skew_cpu::alone(skew_cpu::settings(at))
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

/// Calls that all enter on one shard, the one that is preferred as a home or the other one: all from outside, or all
/// of tasks there.
fn script(seed: u64, load: f64) -> Script {
    let which = &mut Dice::new(seed, "skew-cpu");
    let shard = which.below(2) as usize;
    let way = match which.one_in(2) {
        true => Way::Outside(Some(shard)),
        false => Way::Call(shard),
    };
    let dice = &mut Dice::new(seed, "skew-cpu calls");
    let while_it_lasts = (Duration::ZERO, LASTS);
    let rate = skew_cpu::capacity() * load;
    let calls = quiet::by_chance(dice, rate, while_it_lasts, |_| Class::Normal);
    let there = |(at, order)| (at, Order { way, ..order });
    Script {
        calls: calls.into_iter().map(there).collect(),
        troubles: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither by itself does it pass, nor by where calls come in.
    #[test]
    fn it_fails_where_shards_do_nothing_for_each_other() {
        crate::panics::keep();
        let [heavy, light] = [HEAVY, LIGHT].map(|load| {
            let (outcome, seen) = run::play(world(1, alone), script(1, load), Trace::none());
            assert!(outcome.violation.is_none(), "no invariant broke");
            seen
        });
        let [heavy, light] = [&heavy, &light].map(|seen| Pair {
            shared: seen,
            alone: seen,
        });
        let findings = skew_cpu::judge(heavy, light);
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        let failing: Vec<&str> = failing.map(|one| &*one.key).collect();
        assert_eq!(failing, ["gain", "p50", "p99", "unanswered"]);
    }
}
