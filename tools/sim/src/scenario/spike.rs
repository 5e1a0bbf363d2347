//! Fifty callers at once on five warm connections, and a thousand on none: beside an engine that begins a
//! dial for each of them. See [`scenarios::spike`].

use super::{Scenario, concluded, quiet};
use crate::dice::Dice;
use crate::knobs::Knobs;
use crate::load::Order;
use crate::run::{self, Outcome, Script};
use crate::trace::Trace;
use ringpool::config::{Class, UpstreamConfig};
use scenarios::Evidence;
use scenarios::spike::{self, CALLERS, CALLERS_COLD, SERVICE, SETUP};
use std::time::Duration;

/// On a warm pool.
pub const WARM: Scenario = Scenario::of(spike::WARM, warm);
/// On an empty one.
pub const COLD: Scenario = Scenario::of(spike::COLD, cold);

/// By then the warm connections are there, and whoever came before is gone.
const SPIKE_AT: Duration = Duration::from_secs(1);

fn warm(seed: u64, trace: Trace) -> Outcome {
    let script = script(seed, SPIKE_AT, CALLERS);
    let (runs, [ours, each]) = both(seed, CALLERS, &script, &trace);
    concluded(runs, || {
        spike::judge_warm(&[ours], &[each], SPIKE_AT, quiet::TICK)
    })
}

fn cold(seed: u64, trace: Trace) -> Outcome {
    let script = script(seed, Duration::ZERO, CALLERS_COLD);
    let (runs, [ours, each]) = both(seed, CALLERS_COLD, &script, &trace);
    concluded(runs, || {
        spike::judge_cold(&[ours], &[each], Duration::ZERO, SETUP)
    })
}

/// Callers at once; where there is time before, every second seed has a few calls there, so that the pool knows how
/// long it takes.
fn script(seed: u64, at: Duration, callers: u32) -> Script {
    let dice = &mut Dice::new(seed, "spike");
    let mut calls = Vec::new();
    if at > Duration::ZERO && dice.one_in(2) {
        let before = |nth: u64| (at / 2 + Duration::from_millis(5 * nth), caller());
        calls.extend((0..20).map(before));
    }
    calls.extend((0..callers).map(|_| (at, caller())));
    Script {
        calls,
        troubles: Vec::new(),
    }
}

fn caller() -> Order {
    quiet::call(Class::Normal)
}

/// The same with the default rule and with a dial for each.
fn both(seed: u64, callers: u32, script: &Script, trace: &Trace) -> (Vec<Outcome>, [Evidence; 2]) {
    let eager = |at| spike::eager(spike::settings(at), callers);
    let play = |name: &str, settings: &dyn Fn(UpstreamConfig) -> UpstreamConfig| {
        trace.tell(Duration::ZERO, || format!("the run: {name}"));
        let knobs = Knobs {
            setup: SETUP,
            ..quiet::world(seed, 1, SERVICE, settings)
        };
        run::play(knobs, script.clone(), trace.clone())
    };
    let (ours, seen) = play("the default rule", &spike::settings);
    let (each, beside) = play("a dial for each", &eager);
    (vec![ours, each], [seen, beside])
}
