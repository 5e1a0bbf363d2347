//! A backend that is gone for ten seconds. See [`scenarios::outage`].

use super::{Scenario, concluded, quiet};
use crate::dice::Dice;
use crate::run::{self, Outcome, Script};
use crate::trace::Trace;
use crate::world::Trouble;
use ringpool::config::Class;
use scenarios::outage::{self, AFTER, BEFORE, Course, DOWN, RATE, SERVICE};
use std::time::Duration;

/// Gone, and back.
pub const OUTAGE: Scenario = Scenario::of(outage::NAME, run);

fn run(seed: u64, trace: Trace) -> Outcome {
    let dice = &mut Dice::new(seed, "outage");
    let shards = dice.within(1, 2) as usize;
    // Not always at the same moment of whatever goes by seconds.
    let off = Duration::from_micros(dice.below(1_000_000));
    let (down, up) = (BEFORE + off, BEFORE + off + DOWN);
    let course = Course {
        down,
        up,
        end: up + AFTER,
        shards: shards as u32,
    };
    let while_it_lasts = (Duration::ZERO, course.end);
    let script = Script {
        calls: quiet::by_chance(dice, RATE, while_it_lasts, |_| Class::Normal),
        troubles: vec![(down, Trouble::Outage(0)), (up, Trouble::Return(0))],
    };
    let knobs = quiet::world(seed, shards, SERVICE, outage::settings);
    let settings = knobs.settings(0).clone();
    let (outcome, seen) = run::play(knobs, script, trace);
    concluded(vec![outcome], || {
        outage::judge(&seen, course, &settings, quiet::TICK)
    })
}
