//! `floor`: what the engine costs above the kernel's part, in alternating rounds of one run.
//!
//! The floor is a bare io_uring loop that sends the same requests over as many connections, without
//! pool, parsing or futures (`tools/floor`). Both run on the same core against the same backend; the
//! figure is the ratio of the medians of CPU time per request.

use super::beside::{Beside, cpu};
use super::{Scenario, Stage};
use crate::failure::Failure;
use crate::report::{Phase, Report, Verdict};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "floor",
    about: "CPU per request beside a bare io_uring loop, in alternating rounds",
    run,
};

/// Odd, so that the median is a round that was run.
const ROUNDS: usize = 5;
/// What the engine may cost above the floor.
const RATIO_MAX: f64 = 1.25;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut beside = Beside::new(stage, stage.duration)?;
    let (mut engine, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..stage.rounds.unwrap_or(ROUNDS) {
        if stage.interrupt.requested() {
            break;
        }
        floor.push(beside.floor(1, "floor")?);
        engine.push(beside.engine(1, "engine")?);
    }
    let phases: Vec<Phase> = [median(engine), median(floor)]
        .into_iter()
        .flatten()
        .collect();
    let verdict = judge(&phases);
    Ok(Report {
        scenario: Some(SCENARIO.name),
        phases,
        verdict,
        findings: None,
    })
}

/// The phase whose CPU time per request is the median.
fn median(mut phases: Vec<Phase>) -> Option<Phase> {
    phases.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    let middle = phases.len() / 2;
    (!phases.is_empty()).then(|| phases.swap_remove(middle))
}

fn judge(phases: &[Phase]) -> Option<Verdict> {
    let [engine, floor] = phases else {
        return None;
    };
    let (engine_cpu, floor_cpu) = (cpu(engine), cpu(floor));
    let ratio = engine_cpu / floor_cpu;
    Some(Verdict {
        held: engine.result.failed_total() == 0 && ratio <= RATIO_MAX,
        sentences: vec![format!(
            "A request costs the engine {engine_cpu:.2} µs of CPU and the bare loop \
             {floor_cpu:.2} µs: {ratio:.2}×, of at most {RATIO_MAX}×."
        )],
        factors: vec![("cpu.engine_over_floor".to_owned(), ratio)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::phase;
    use crate::scenario::beside::SUBJECT;
    use std::time::Duration;

    fn with_cpu(micros_per_request: u64) -> Phase {
        let mut phase = phase(SUBJECT, "", 100);
        phase.result.cpu.user = Duration::ZERO;
        phase.result.cpu.system = Duration::from_micros(100 * micros_per_request);
        phase
    }

    #[test]
    fn the_median_round_decides() {
        let middle = median([9, 5, 7].map(with_cpu).into());
        assert_eq!(middle.map(|phase| cpu(&phase)), Some(7.0));
        assert!(median(Vec::new()).is_none());
    }

    #[test]
    fn a_ratio_over_the_limit_does_not_hold() {
        let held =
            |engine, floor| judge(&[engine, floor].map(with_cpu)).map(|verdict| verdict.held);
        assert_eq!(held(10, 8), Some(true));
        assert_eq!(held(11, 8), Some(false));
    }
}
