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
        "failed",
        failed,
        Unit::Count,
        unanswered as f64,
        Bound::AtMost(0.0),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

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
