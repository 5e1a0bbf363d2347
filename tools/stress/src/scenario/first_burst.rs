//! `first-burst`: a thousand calls at once to an engine that was just started, beside the same burst on the running engine.
//! With warm connections, which are handshaken before [`ready`](ringpool::Engine::ready) resolves, and without.
//!
//! And once more after ten seconds without a call, five times as long as connections may idle.
//!
//! TLS; a set-up takes 10 ms, as over a network, and a call 2 ms. What is judged is the median of several engines.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit, quantile};

use super::paired::median;
use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Crowd, FromStart, Rest};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "first-burst",
    about: "the first calls of a service just started, with warm connections and without",
    run,
};

const CALLS: usize = 1000;
const CONNECTIONS: u32 = 64;
const SERVICE: Duration = Duration::from_millis(2);
const SETUP: Duration = Duration::from_millis(10);
/// On each engine; the first one is what it is about.
const BURSTS: usize = 6;
/// Engines of each kind. Odd, so that the median is one that was run.
const ROUNDS: usize = 7;
const REST: Rest = Rest {
    idle_timeout: Duration::from_secs(2),
    lasts: Duration::from_secs(10),
};
/// The first burst's p99 may be so many times that of the others.
const RATIO_MAX: f64 = 1.5;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        handshake_delay: SETUP,
        ..BackendOptions::default()
    })?;
    let url = format!("https://{}", backend.tls);
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    let shown = stage.progress.phase("bursts", Duration::from_secs(10));
    for _ in 0..ROUNDS {
        for (is_warm, rounds) in [(true, &mut warm), (false, &mut cold)] {
            let plan = FromStart {
                url: &url,
                ca: &backend.ca,
                connections: CONNECTIONS,
                warm: is_warm,
                calls: CALLS,
                bursts: BURSTS,
                rest: None,
            };
            rounds.push(drive::from_start(&plan, stage.watched())?);
        }
        backend.check()?;
        if stage.interrupt.requested() {
            break;
        }
    }
    drop(shown);
    let shown = stage.progress.phase("rest", REST.lasts);
    let rested = drive::from_start(
        &FromStart {
            url: &url,
            ca: &backend.ca,
            connections: CONNECTIONS,
            warm: true,
            calls: CALLS,
            bursts: 1,
            rest: Some(REST),
        },
        stage.watched(),
    )?;
    drop(shown);
    backend.check()?;
    let mut findings = judge(&warm, &cold, &rested);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn p99(burst: &Crowd) -> f64 {
    quantile(burst.latencies.iter().copied(), 0.99).as_secs_f64() * 1e3
}

/// Of the first bursts, and of all others.
fn first_and_others(rounds: &[Vec<Crowd>]) -> [f64; 2] {
    let first = rounds.iter().filter_map(|bursts| bursts.first());
    let others = rounds.iter().flat_map(|bursts| bursts.iter().skip(1));
    [median(first.map(p99)), median(others.map(p99))].map(|median| median.unwrap_or(f64::NAN))
}

fn judge(warm: &[Vec<Crowd>], cold: &[Vec<Crowd>], rested: &[Crowd]) -> Findings {
    let mut findings = Findings::new(&["warm", "cold"]);
    let both = [warm, cold];
    let p99s = both.map(first_and_others);
    let mut row = |name, unit, values: [f64; 2]| {
        findings.figure(name, unit, &values.map(Some));
    };
    row(
        "p99, first burst",
        Unit::Millis,
        p99s.map(|[first, _]| first),
    );
    row(
        "p99, the others",
        Unit::Millis,
        p99s.map(|[_, others]| others),
    );
    row(
        "first over others",
        Unit::Times,
        p99s.map(|[first, others]| first / others),
    );
    let handshakes = both.map(|rounds| {
        let first = rounds.iter().filter_map(|bursts| bursts.first());
        first.map(|burst| burst.handshakes).sum::<u64>() as f64
    });
    row("handshakes in first bursts", Unit::Count, handshakes);
    let [first, others] = p99s[0];
    findings.must(
        "first",
        "warm: p99 of the first burst, of that on the running engine",
        Unit::Times,
        first / others,
        Bound::AtMost(RATIO_MAX),
    );
    findings.must(
        "handshakes",
        "warm: handshakes during any burst",
        Unit::Count,
        warm.iter()
            .flatten()
            .map(|burst| burst.handshakes)
            .sum::<u64>() as f64,
        Bound::AtMost(0.0),
    );
    findings.must(
        "rested",
        "warm: handshakes during the burst after the rest",
        Unit::Count,
        rested
            .last()
            .map_or(f64::NAN, |burst| burst.handshakes as f64),
        Bound::AtMost(0.0),
    );
    let all = || both.into_iter().flatten().flatten().chain(rested);
    let answered: usize = all().map(|burst| burst.latencies.len()).sum();
    findings.must(
        "unanswered",
        "calls without an answer",
        Unit::Count,
        (all().count() * CALLS - answered) as f64,
        Bound::AtMost(0.0),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    fn burst(ms: u64, handshakes: u64) -> Crowd {
        Crowd {
            latencies: vec![Duration::from_millis(ms); CALLS],
            handshakes,
        }
    }

    fn conclude(warm: Vec<Crowd>) -> Conclusion {
        let cold = vec![burst(90, 64), burst(30, 0)];
        let rested = vec![burst(30, 0), burst(30, 0)];
        judge(&[warm], &[cold], &rested).outcome()
    }

    #[test]
    fn the_first_one_is_like_the_others_and_has_no_handshake() {
        assert_eq!(conclude(vec![burst(45, 0), burst(30, 0)]), Conclusion::Pass);
        assert_eq!(conclude(vec![burst(46, 0), burst(30, 0)]), Conclusion::Fail);
        assert_eq!(conclude(vec![burst(30, 1), burst(30, 0)]), Conclusion::Fail);
        let mut lacking = burst(30, 0);
        lacking.latencies.pop();
        assert_eq!(conclude(vec![lacking, burst(30, 0)]), Conclusion::Fail);
        assert_ne!(conclude(Vec::new()), Conclusion::Pass);
        let well = || [vec![burst(30, 0), burst(30, 0)]];
        let after = |handshakes| {
            let rested = [burst(30, 0), burst(30, handshakes)];
            judge(&well(), &well(), &rested).outcome()
        };
        assert_eq!([after(0), after(1)], [Conclusion::Pass, Conclusion::Fail]);
        assert_ne!(judge(&well(), &well(), &[]).outcome(), Conclusion::Pass);
    }
}
