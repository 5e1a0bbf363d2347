//! `resumption`: a connection for each request over TLS, with full handshakes and with resumed ones.
//!
//! The backend gives two tickets with each handshake (TLS 1.3); both shards take theirs from the one store. What a
//! resumed handshake saves is the certificate and its proof; the key exchange, and forward secrecy with it, stays.

use scenarios::{Bound, Findings, Unit};
use std::time::Duration;

use super::beside::cpu;
use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::failure::Failure;
use crate::load::{LoadPlan, WayIn};
use crate::report::{Phase, Report};
use crate::traffic::Traffic;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "resumption",
    about: "TLS without reuse: full handshakes beside resumed ones",
    run,
};

const SHARDS: usize = 2;
/// On both together.
const CALLERS: usize = 16;
/// By then there are tickets.
const WARMUP: Duration = Duration::from_millis(500);
const RESUMED_MIN: f64 = 0.99;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions::default())?;
    let mut measured = |variant, resume| {
        let plan = LoadPlan {
            url: format!("https://{}/", backend.tls),
            connections: CALLERS,
            shards: SHARDS,
            duration: stage.duration,
            warmup: WARMUP,
            reuse: false,
            warm: false,
            resume,
            rate: None,
            ca: Some(backend.ca.clone()),
            way: WayIn::Shards,
            traffic: Traffic::default(),
        };
        let phase = Phase::measure_variant("TLS", variant, plan, &stage.progress, &stage.interrupt);
        // A dead backend explains whatever else went wrong.
        backend.check()?;
        phase
    };
    let (full, resumed) = (measured("full", false)?, measured("resumed", true)?);
    let mut findings = judge(&full, &resumed);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn judge(full: &Phase, resumed: &Phase) -> Findings {
    let both = [full, resumed];
    let mut findings = Findings::new(&["full", "resumed"]);
    let mut row = |name, unit, of: &dyn Fn(&Phase) -> Option<f64>| {
        findings.figure(name, unit, &both.map(of));
    };
    row("connections a second", Unit::Count, &|phase| {
        phase.result.throughput()
    });
    row("CPU a connection", Unit::Micros, &|phase| Some(cpu(phase)));
    row("p50, request and all", Unit::Micros, &|phase| {
        phase.result.latency_us(0.5)
    });
    row("p99", Unit::Micros, &|phase| phase.result.latency_us(0.99));
    row("handshakes, full", Unit::Count, &|phase| {
        Some(phase.result.handshakes_full as f64)
    });
    row("handshakes, resumed", Unit::Count, &|phase| {
        Some(phase.result.handshakes_resumed as f64)
    });
    let share = |phase: &Phase| {
        let (full, resumed) = (
            phase.result.handshakes_full,
            phase.result.handshakes_resumed,
        );
        resumed as f64 / (full + resumed).max(1) as f64
    };
    findings.must(
        "resumed",
        "resumed, where they may be",
        Unit::Share,
        share(resumed),
        Bound::AtLeast(RESUMED_MIN),
    );
    findings.must(
        "full",
        "resumed, where they may not",
        Unit::Share,
        share(full),
        Bound::AtMost(0.0),
    );
    let failed: u64 = both.iter().map(|phase| phase.result.failed_total()).sum();
    findings.must(
        "failed",
        "requests that failed",
        Unit::Count,
        failed as f64,
        Bound::AtMost(0.0),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::phase;
    use scenarios::Conclusion;

    fn with(full: u64, resumed: u64) -> Phase {
        let mut phase = phase("", "", 100);
        phase.result.handshakes_full = full;
        phase.result.handshakes_resumed = resumed;
        phase
    }

    #[test]
    fn all_but_a_hundredth_have_to_be_resumed_and_only_where_they_may() {
        let outcome = |full: Phase, resumed: Phase| judge(&full, &resumed).outcome();
        assert_eq!(outcome(with(100, 0), with(1, 99)), Conclusion::Pass);
        assert_eq!(outcome(with(100, 0), with(2, 98)), Conclusion::Fail);
        assert_eq!(outcome(with(99, 1), with(0, 100)), Conclusion::Fail);
        assert_eq!(outcome(with(100, 0), with(0, 0)), Conclusion::Fail);
    }
}
