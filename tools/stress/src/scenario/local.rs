//! `local`: tasks on each of two shards call one upstream, as much here as there. From the first second on their calls
//! stay where they are.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::failure::Failure;
use crate::load::{LoadPlan, LoadResult, WayIn};
use crate::report::{Phase, Report};
use crate::traffic::Traffic;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "local",
    about: "steady load from tasks on two shards: after a second, 99 % of calls stay on their shard",
    run,
};

const SHARDS: usize = 2;
/// On each of them.
const CALLERS: usize = 16;
const SETTLES: Duration = Duration::from_secs(1);
const STAY_MIN: f64 = 0.99;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let backend = Backend::spawn(&BackendOptions::default())?;
    let plan = LoadPlan {
        url: format!("http://{}/", backend.plain),
        connections: CALLERS * SHARDS,
        shards: SHARDS,
        duration: stage.duration,
        warmup: SETTLES,
        reuse: true,
        // One home at first; the other shard becomes one by what it does.
        warm: false,
        resume: true,
        rate: None,
        ca: None,
        way: WayIn::Shards,
        traffic: Traffic::default(),
    };
    let phase = Phase::measure("local", plan, &stage.progress, &stage.interrupt)?;
    let mut findings = judge(&phase.result);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report {
        phases: vec![phase],
        ..Report::of_findings(SCENARIO.name, findings)
    })
}

fn judge(result: &LoadResult) -> Findings {
    let calls = (result.ok + result.failed_total()) as f64;
    // Sent to a home, passed on by it, or taken from the queue: a call that moved twice counts twice.
    let strayed = (result.forwarded + result.steals) as f64;
    let mut findings = Findings::new(&["calls"]);
    for (name, value) in [
        ("calls", calls),
        ("sent to a home", result.forwarded as f64),
        ("taken by a sibling", result.steals as f64),
    ] {
        findings.figure(name, Unit::Count, &[Some(value)]);
    }
    findings.must(
        "stayed",
        "stayed on their shard",
        Unit::Share,
        1.0 - strayed / calls.max(1.0),
        Bound::AtLeast(STAY_MIN),
    );
    findings.must(
        "failed",
        "calls failed",
        Unit::Count,
        result.failed_total() as f64,
        Bound::AtMost(0.0),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    #[test]
    fn calls_that_stray_are_counted_whichever_way_they_go() {
        let result = |forwarded, steals| LoadResult {
            ok: 1000,
            forwarded,
            steals,
            ..LoadResult::default()
        };
        assert_eq!(judge(&result(5, 5)).outcome(), Conclusion::Pass);
        assert_eq!(judge(&result(6, 5)).outcome(), Conclusion::Fail);
        assert_eq!(judge(&result(0, 11)).outcome(), Conclusion::Fail);
        assert_eq!(judge(&LoadResult::default()).outcome(), Conclusion::Pass);
    }
}
