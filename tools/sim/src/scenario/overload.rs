//! Twice the capacity, in three classes. See [`scenarios::overload`].

use super::{Scenario, concluded, quiet};
use crate::dice::Dice;
use crate::run::{self, Outcome, Script};
use crate::trace::Trace;
use ringpool::config::Class;
use scenarios::overload::{self, CONNECTIONS, CRITICAL, LASTS, LOAD, SERVICE};
use std::time::Duration;

/// Critical calls alone, then all.
pub const OVERLOAD: Scenario = Scenario::of(overload::NAME, run);

/// By then the connections are there.
const FROM: Duration = Duration::from_millis(100);

fn run(seed: u64, trace: Trace) -> Outcome {
    let dice = &mut Dice::new(seed, "overload");
    let knobs = quiet::world(seed, 1, SERVICE, overload::settings);
    // Way and back take one latency each, anything between the two.
    let round = knobs.weather.latency_min + knobs.weather.latency_max;
    let capacity = f64::from(CONNECTIONS) / (SERVICE + round).as_secs_f64();
    let mut play = |share: f64, class: fn(usize) -> Class| {
        let rate = capacity * LOAD * share;
        let script = Script {
            calls: quiet::by_chance(dice, rate, (FROM, FROM + LASTS), class),
            troubles: Vec::new(),
        };
        run::play(knobs.clone(), script, trace.clone())
    };
    let (first, alone) = play(CRITICAL, |_| Class::Critical);
    let (second, seen) = play(1.0, overload::class);
    concluded(vec![first, second], || {
        overload::judge(&alone, &seen, knobs.settings(0), capacity)
    })
}
