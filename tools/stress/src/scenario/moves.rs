//! `moves`: calls that one shard's siblings run for it, some of them dropped by their callers: none is lost, none is
//! sent twice, none is answered with another's response.
//!
//! Every call has a nonce of its own. The backend repeats it in the response's head and in its body, and keeps a bit
//! for each, so that one that comes again is noticed. All calls enter the first of two shards, whose connections are
//! taken; one in sixteen is dropped after a random number of turns: while it is on offer, as it is taken, while
//! the sibling sends it or receives, or in its body. It goes on until so many have been stolen
//! (`--calls`); then what callers, engine and backend have counted has to agree, and a drain leaves nothing.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions, NoncesSeen};
use crate::drive::{self, Moved};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "moves",
    about: "stolen calls with nonces, some dropped: none lost, sent twice or answered wrongly (--calls 10000000)",
    run,
};

/// Some seconds' worth.
const CALLS: u64 = 250_000;
/// How many are expected in a second, for whoever watches.
const RATE: u64 = 50_000;
/// Of all calls so many at least have to be stolen, or it is not stealing that was seen.
const STOLEN_MIN: f64 = 0.5;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions::default())?;
    let goal = stage.calls.unwrap_or(CALLS);
    let about = Duration::from_secs(goal.div_ceil(RATE));
    let shown = stage.progress.phase("stolen calls", about);
    let url = format!("http://{}", backend.plain);
    let moved = drive::moves(&url, goal, &stage.progress, &stage.interrupt);
    let seen = backend.nonces()?;
    drop(shown);
    let mut findings = judge(&moved?, seen, goal);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn judge(moved: &Moved, seen: NoncesSeen, goal: u64) -> Findings {
    let Moved {
        counts, figures, ..
    } = moved;
    let mut findings = Findings::new(&["calls"]);
    let count = |number: u64| [Some(number as f64)];
    let seconds = moved.elapsed.as_secs_f64().max(1e-3);
    let cpu = (moved.cpu.user + moved.cpu.system).as_secs_f64() * 1e6;
    for (name, number) in [
        ("begun", counts.begun),
        ("answered", counts.answered),
        ("dropped before the head", counts.dropped_before_head),
        ("dropped in the body", counts.dropped_in_body),
        ("offered", figures.offers),
        ("taken by a sibling", figures.offers_taken),
        ("taken back", figures.offers_returned),
        ("seen by the backend", seen.seen),
        ("connections opened", figures.connections_opened),
    ] {
        findings.figure(name, Unit::Count, &count(number));
    }
    findings.figure(
        "stolen a second",
        Unit::Count,
        &[Some(figures.steals as f64 / seconds)],
    );
    findings.figure(
        "CPU a call",
        Unit::Micros,
        &[Some(cpu / counts.begun.max(1) as f64)],
    );
    findings.figure("seconds", Unit::Count, &[Some(seconds)]);

    let stolen = figures.steals as f64;
    let share = stolen / counts.begun.max(1) as f64;
    let at_least = Bound::AtLeast;
    findings.must(
        "stolen",
        "calls stolen",
        Unit::Count,
        stolen,
        at_least(goal as f64),
    );
    findings.must(
        "share",
        "of all calls",
        Unit::Share,
        share,
        at_least(STOLEN_MIN),
    );
    let mut none = |key, says: &str, number: u64| {
        findings.must(key, says, Unit::Count, number as f64, Bound::AtMost(0.0));
    };
    none(
        "lost",
        "calls that never ended",
        counts.begun.abs_diff(counts.ended()),
    );
    none(
        "wrong",
        "answered with anything but their own nonce",
        counts.wrong,
    );
    none("twice", "nonces that came to the backend again", seen.again);
    none(
        "unasked",
        "seen by the backend, and never begun",
        seen.seen.saturating_sub(counts.begun),
    );
    none(
        "unseen",
        "answered, and never seen by the backend",
        counts.answered.saturating_sub(seen.seen),
    );
    let kinds: Vec<String> = counts
        .failed
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let failed = match kinds.as_slice() {
        [] => "failed".to_owned(),
        kinds => format!("failed ({})", kinds.join(", ")),
    };
    none("failed", &failed, counts.failed_total());
    let settled = figures.offers_taken + figures.offers_returned;
    none(
        "offers",
        "offers neither taken nor taken back",
        figures.offers.abs_diff(settled),
    );
    none(
        "steals",
        "taken at one end, not run at the other",
        figures.steals.abs_diff(figures.offers_taken),
    );
    let kinds: Vec<String> = moved
        .left
        .iter()
        .map(|(what, n)| format!("{n} {what}"))
        .collect();
    let left = match kinds.as_slice() {
        [] => "left in the engine after a drain".to_owned(),
        kinds => format!("left in the engine after a drain ({})", kinds.join(", ")),
    };
    none("left", &left, moved.left.iter().map(|(_, n)| n).sum());
    findings
}
