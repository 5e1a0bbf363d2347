//! `floor`: what the engine costs above the kernel's part, in alternating rounds of one run.
//!
//! The floor is a bare io_uring loop that sends the same requests over as many connections, without
//! pool, parsing or futures (`tools/floor`). Both run on the same core against the same backend; the
//! figure is the ratio of the medians of CPU time per request.

use std::time::Duration;

use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::failure::Failure;
use crate::load::{LoadPlan, LoadResult, WayIn};
use crate::measure::CpuTime;
use crate::report::{Phase, Report, Verdict};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "floor",
    about: "CPU per request beside a bare io_uring loop, in alternating rounds",
    run,
};

const SUBJECT: &str = "HTTP/1.1 on the shard";
const CONNECTIONS: usize = 64;
/// Odd, so that the median is a round that was run.
const ROUNDS: usize = 5;
/// What the engine may cost above the floor.
const RATIO_MAX: f64 = 1.25;
/// The core that a single shard is pinned to, and so the floor.
const CORE: usize = 0;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions::default())?;
    let plan = LoadPlan {
        url: format!("http://{}/", backend.plain),
        connections: CONNECTIONS,
        shards: 1,
        duration: stage.duration,
        warmup: Duration::from_millis(200),
        reuse: true,
        rate: None,
        ca: None,
        way: WayIn::Shards,
    };
    let (mut engine, mut floor) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        if stage.interrupt.requested() {
            break;
        }
        floor.push(measure_floor(&plan, &backend, stage)?);
        let phase = Phase::measure_variant(
            SUBJECT,
            "engine",
            plan.clone(),
            &stage.progress,
            &stage.interrupt,
        );
        backend.check()?;
        engine.push(phase?);
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

/// One round of the floor, on a thread of its own: it pins the thread it runs on.
fn measure_floor(plan: &LoadPlan, backend: &Backend, stage: &Stage) -> Result<Phase, Failure> {
    let run = floor::FloorRun {
        address: backend.plain,
        connections: CONNECTIONS,
        // As long as what the engine's callers send.
        request: format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", backend.plain).into_bytes(),
        response_len: None,
        until: floor::Until::Elapsed(plan.duration),
        core: Some(CORE),
        receive: floor::Receive::default(),
    };
    let shown = stage
        .progress
        .phase(&format!("{SUBJECT}, floor"), plan.duration);
    let report = std::thread::spawn(move || floor::run(run))
        .join()
        .map_err(|_| Failure::Run("the floor panicked".into()))?
        .map_err(|e| Failure::Run(format!("the floor could not run: {e}")))?;
    drop(shown);
    let result = LoadResult {
        ok: report.requests,
        elapsed: Duration::from_secs_f64(report.seconds),
        cpu: CpuTime {
            user: Duration::from_micros(report.cpu_user_us),
            system: Duration::from_micros(report.cpu_system_us),
        },
        connections_opened: CONNECTIONS as u64,
        ..LoadResult::default()
    };
    Ok(Phase {
        subject: SUBJECT,
        variant: "floor",
        plan: plan.clone(),
        result,
    })
}

/// The phase whose CPU time per request is the median.
fn median(mut phases: Vec<Phase>) -> Option<Phase> {
    phases.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    let middle = phases.len() / 2;
    (!phases.is_empty()).then(|| phases.swap_remove(middle))
}

/// Microseconds of CPU per request.
fn cpu(phase: &Phase) -> f64 {
    let used = phase.result.cpu.user + phase.result.cpu.system;
    used.as_secs_f64() * 1e6 / phase.result.ok.max(1) as f64
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
