//! `cap`: random bursts to 200 upstreams, from outside and from tasks on each of four shards, three connections each at
//! most, and 300 in all, whatever the shard. The peer counts as strictly as can be: it is asked at each connection how many are open, those
//! that the engine has closed aside. On this side the kernel's table of sockets is read every 10 ms.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::{Scenario, Stage};
use crate::backend::{Counted, Counting};
use crate::drive::{self, Burst, Bursts};
use crate::failure::Failure;
use crate::report::Report;
use crate::validity;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cap",
    about: "random bursts to 200 upstreams on four shards: never more than 3 connections each, and nobody starves",
    run,
};

const UPSTREAMS: u8 = 200;
const SHARDS: usize = 4;
const CAP: u32 = 3;
/// For all of them: half of what they would have, so that one's are given up for another's.
const ENGINE_CAP: u32 = 300;
const SERVICE: Duration = Duration::from_millis(4);
const LASTS: Duration = Duration::from_secs(10);
/// Criteria that a machine may be to blame for.
const FAILED: &str = "failed";
const MISSED: &str = "missed";
/// What the kinds of errors begin with that are a time that ran out.
const TIMEOUT: &str = "timeout_";

fn run(stage: &Stage) -> Result<Report, Failure> {
    let peer = Counting::start(UPSTREAMS, SERVICE);
    let peer = peer.map_err(|error| Failure::Run(format!("cannot listen: {error}")))?;
    let shown = stage.progress.phase("bursts", LASTS);
    let plan = Bursts {
        to: &peer.addresses,
        shards: SHARDS,
        connections_max: CAP,
        engine_connections_max: ENGINE_CAP,
        lasts: LASTS,
    };
    let burst = drive::bursts(&plan, stage.watched())?;
    drop(shown);
    let mut findings = judge(&burst, peer.counted());
    findings.invalid.extend(excused(&burst, &findings));
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn judge(burst: &Burst, counted: Counted) -> Findings {
    let mut findings = Findings::new(&["all"]);
    for (name, unit, value) in [
        ("calls", Unit::Count, burst.begun as f64),
        (
            "longest wait",
            Unit::Millis,
            burst.wait_max.as_secs_f64() * 1e3,
        ),
        ("dials", Unit::Count, burst.dials as f64),
        ("accepted", Unit::Count, counted.accepted as f64),
        ("requests that came", Unit::Count, counted.requests as f64),
        ("stolen", Unit::Count, burst.steals as f64),
        ("given up for others", Unit::Count, burst.given_up as f64),
        // Shard by shard, one after the other: it may be more than there were at once.
        (
            "sockets, as shards tell",
            Unit::Count,
            burst.sockets_peak as f64,
        ),
    ] {
        findings.figure(name, unit, &[Some(value)]);
    }
    let cap = Bound::AtMost(f64::from(CAP));
    findings.must(
        "peer",
        "open at once, as the peer counts",
        Unit::Count,
        counted.peak as f64,
        cap,
    );
    findings.must(
        "descriptors",
        "descriptors at once, as the kernel counts",
        Unit::Count,
        burst.descriptors_peak as f64,
        cap,
    );
    findings.must(
        "permits",
        "permits at once, as the engine counts",
        Unit::Count,
        burst.permits_peak as f64,
        cap,
    );
    findings.must(
        "sockets",
        "descriptors at once, of all upstreams",
        Unit::Count,
        burst.descriptors_peak_all as f64,
        Bound::AtMost(f64::from(ENGINE_CAP)),
    );
    let kinds: Vec<String> = burst
        .failed
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    let failed = match kinds.is_empty() {
        true => "calls failed".to_owned(),
        false => format!("calls failed ({})", kinds.join(", ")),
    };
    let unanswered = burst.begun - burst.answered;
    findings.must(
        FAILED,
        failed,
        Unit::Count,
        unanswered as f64,
        Bound::AtMost(0.0),
    );
    findings.must(
        MISSED,
        "calls not begun, since too many were under way",
        Unit::Count,
        burst.missed as f64,
        Bound::AtMost(0.0),
    );
    findings
}

/// The machine's part, where calls waited longer than they may and all else holds: threads that get no core answer nobody in time. No machine
/// is so busy that it excuses a connection too many, or a call that failed by anything but its time.
fn excused(burst: &Burst, findings: &Findings) -> Option<String> {
    let broken = findings.criteria.iter().filter(|one| !one.holds());
    let broken: Vec<&str> = broken.map(|one| one.key.as_ref()).collect();
    let by_time = burst.failed.keys().all(|kind| kind.starts_with(TIMEOUT));
    if broken.is_empty() || !broken.iter().all(|key| [FAILED, MISSED].contains(key)) || !by_time {
        return None;
    }
    validity::starved(burst.patience).or_else(|| {
        validity::is_busy(burst.busiest, burst.took).then(|| {
            "the machine was saturated: one of the threads that call, serve and answer had no time to spare".to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    #[test]
    fn a_machine_without_cores_excuses_calls_that_took_too_long_and_nothing_else() {
        use crate::measure::Patience;
        let ms = Duration::from_millis;
        let starved = Patience {
            ran: ms(100),
            waited: ms(900),
            turns: 100,
        };
        let burst = |kind: &'static str, patience, permits_peak| Burst {
            begun: 9,
            answered: 8,
            failed: [(kind, 1)].into(),
            patience,
            permits_peak,
            took: ms(1000),
            ..Burst::default()
        };
        let excused = |burst: &Burst| excused(burst, &judge(burst, Counted::default()));
        assert!(
            excused(&burst("timeout_wait", starved, 3)).is_some_and(|why| why.contains("90 %"))
        );
        let rested = Patience::default();
        assert_eq!(excused(&burst("timeout_wait", rested, 3)), None);
        assert_eq!(excused(&burst("closed", starved, 3)), None);
        assert_eq!(excused(&burst("timeout_wait", starved, 4)), None);
        let busiest = Patience {
            ran: ms(950),
            ..rested
        };
        let slow = Burst {
            busiest,
            ..burst("timeout_head", rested, 3)
        };
        assert!(excused(&slow).is_some_and(|why| why.contains("saturated")));
        let missed = Burst {
            missed: 5,
            patience: starved,
            ..Burst::default()
        };
        assert!(excused(&missed).is_some());
        assert_eq!(
            excused(&Burst {
                patience: starved,
                ..Burst::default()
            }),
            None
        );
    }

    #[test]
    fn one_too_many_fails_it_whoever_counts() {
        let counted_here = Burst {
            descriptors_peak: 4,
            ..Burst::default()
        };
        let nothing = Counted::default();
        assert_eq!(judge(&counted_here, nothing).outcome(), Conclusion::Fail);
        let burst = |permits_peak, answered| Burst {
            begun: 9,
            answered,
            permits_peak,
            ..Burst::default()
        };
        let counted = |peak| Counted {
            peak,
            ..Counted::default()
        };
        let outcome = |burst, peak| judge(&burst, counted(peak)).outcome();
        assert_eq!(outcome(burst(3, 9), 3), Conclusion::Pass);
        assert_eq!(outcome(burst(3, 9), 4), Conclusion::Fail);
        assert_eq!(outcome(burst(4, 9), 3), Conclusion::Fail);
        assert_eq!(outcome(burst(3, 8), 3), Conclusion::Fail);
    }
}
