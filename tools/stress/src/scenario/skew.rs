//! `skew`: all calls enter one of two shards, more of them than its connections can carry, while those of the other
//! idle. Three engines: shards on their own; a shard that starves asks for permits; calls that wait are run elsewhere.
//!
//! TLS, 5 ms of service time, 32 warm connections a shard and no more allowed: one shard carries 32 / 5 ms = 6,400 calls a
//! second at most, and 4,900 to 5,800 in truth, as the backend's timers have steps of a millisecond. A shard on its own is offered
//! 9,000 a second, at a fixed rate: more than it carries. What it carried is offered to both twice: a rate below that could not show what
//! stealing gains, and none above could be carried. The runs do not alternate: each is long beside what the machine does in a moment,
//! and the first 100 ms are looked at by themselves.
//!
//! What the need flag costs is connections made anew. Over loopback that takes a millisecond or two, and little is to be
//! seen of it beside 5 ms of service; over a network it does not. So the two are compared once more with a backend that
//! takes 20 ms for its part of the handshake, and by that the tails are judged.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit, quantile};

use super::{GRAIN, Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Entered, Entering, Ran};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "skew",
    about: "all calls enter one shard of two: on its own, with the need flag, with stealing",
    run,
};

pub(super) const SERVICE: Duration = Duration::from_millis(5);
/// Calls a second: more than one shard carries, and less than both.
pub(super) const RATE: f64 = 9_000.0;
/// What the backend's part of a handshake takes over a network: two round trips of 10 ms.
const HANDSHAKE: Duration = Duration::from_millis(20);
pub(super) const LASTS: Duration = Duration::from_secs(3);
/// What is looked at by itself.
const FIRST: Duration = Duration::from_millis(100);
/// Stealing carries so many times what a shard does on its own, at least.
const GAIN_MIN: f64 = 1.8;
/// And its slowest calls of the first moments take so much of what they do with the need flag alone, at most.
const TAIL_MAX: f64 = 0.5;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let [alone, need, stealing] = [ALONE, NEED, STEALING];
    let mut near = sides(stage, Duration::ZERO, RATE, &[alone])?;
    let twice = 2.0 * carried(&near[0]).max(1.0);
    near.extend(sides(stage, Duration::ZERO, twice, &[need, stealing])?);
    let far = sides(stage, HANDSHAKE, RATE, &[need, stealing])?;
    let mut findings = judge(&near, &far);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

/// What shards do for each other: its name, `sharing.steal`, `sharing.give_up`.
type Sharing = (&'static str, bool, bool);

const ALONE: Sharing = ("alone", false, false);
const NEED: Sharing = ("need flag", false, true);
const STEALING: Sharing = ("stealing", true, true);

/// A run of so many calls a second for each of `sharings`, with a backend that takes so long for a handshake.
fn sides(
    stage: &Stage,
    handshake: Duration,
    rate: f64,
    sharings: &[Sharing],
) -> Result<Vec<Ran>, Failure> {
    let mut backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        handshake_delay: handshake,
        ..BackendOptions::default()
    })?;
    let url = format!("https://{}", backend.tls);
    let mut runs = Vec::new();
    for &(what, steal, give_up) in sharings {
        let shown = stage.progress.phase(what, LASTS);
        let plan = Entering {
            url: &url,
            ca: &backend.ca,
            steal,
            give_up,
            rate,
            lasts: LASTS,
            panic: None,
        };
        runs.push(drive::enter(&plan, stage.watched())?);
        drop(shown);
        backend.check()?;
    }
    Ok(runs)
}

/// Calls a second that were answered in time.
pub(super) fn carried(ran: &Ran) -> f64 {
    let answered = ran.calls.iter().filter(|call| call.outcome.is_ok()).count();
    answered as f64 / LASTS.as_secs_f64()
}

/// Of the answered calls among `calls`, from when each was meant to begin.
pub(super) fn latency<'a>(calls: impl Iterator<Item = &'a Entered>, share: f64) -> Duration {
    let answered = calls.filter(|call| call.outcome.is_ok());
    let latencies = answered.map(|call| call.ended.saturating_sub(call.intended));
    quantile(latencies, share)
}

/// How late calls began, in one of a hundred at least.
pub(super) fn lag(ran: &Ran) -> Duration {
    let lags = ran.calls.iter();
    quantile(
        lags.map(|call| call.began.saturating_sub(call.intended)),
        0.99,
    )
}

/// `near`: all three, over loopback. `far`: the need flag and stealing, where a connection takes longer to make.
fn judge(near: &[Ran], far: &[Ran]) -> Findings {
    let runs: Vec<&Ran> = near.iter().chain(far).collect();
    let mut findings = Findings::new(&[
        "alone",
        "need flag",
        "stealing",
        "far: need",
        "far: stealing",
    ]);
    let [alone, _, stealing, far_need, far_stealing] = runs[..] else {
        findings.invalid.push("not all of them were run".to_owned());
        return findings;
    };
    let first = |ran: &Ran, share| {
        let first = ran.calls.iter().filter(|call| call.intended < FIRST);
        latency(first, share).as_secs_f64() * 1e3
    };
    let mut row = |name, unit, of: &dyn Fn(&Ran) -> f64| {
        let values: Vec<_> = runs.iter().map(|ran| Some(of(ran))).collect();
        findings.figure(name, unit, &values);
    };
    row("begun", Unit::Count, &|ran| ran.begun as f64);
    row("carried a second", Unit::Count, &carried);
    row("failed", Unit::Count, &failed);
    row("run by the other shard", Unit::Count, &|ran| {
        let others = ran.calls.iter().filter(|call| call.outcome == Ok(1));
        others.count() as f64
    });
    row("dials", Unit::Count, &|ran| ran.dials as f64);
    row("p50 of the first 100 ms", Unit::Millis, &|ran| {
        first(ran, 0.5)
    });
    row("p99 of the first 100 ms", Unit::Millis, &|ran| {
        first(ran, 0.99)
    });
    row("p99 of all answered", Unit::Millis, &|ran| {
        latency(ran.calls.iter(), 0.99).as_secs_f64() * 1e3
    });
    row("began late, p99", Unit::Millis, &|ran| {
        lag(ran).as_secs_f64() * 1e3
    });

    let gain = carried(stealing) / carried(alone).max(1.0);
    findings.must(
        "gain",
        "carried, of what a shard does on its own",
        Unit::Times,
        gain,
        Bound::AtLeast(GAIN_MIN),
    );
    findings.must(
        "dials",
        "dials with stealing",
        Unit::Count,
        (stealing.dials + far_stealing.dials) as f64,
        Bound::AtMost(0.0),
    );
    findings.must(
        "tail",
        "far: p99 of the first 100 ms, of that with the need flag alone",
        Unit::Share,
        first(far_stealing, 0.99) / first(far_need, 0.99).max(f64::MIN_POSITIVE),
        Bound::AtMost(TAIL_MAX),
    );
    let all_failed: f64 = runs.iter().map(|ran| failed(ran)).sum();
    findings.must(
        "failed",
        "calls failed",
        Unit::Count,
        all_failed,
        Bound::AtMost(0.0),
    );
    for (what, ran) in findings.columns.clone().into_iter().zip(runs) {
        if lag(ran) > GRAIN * 2 {
            let late = lag(ran).as_secs_f64() * 1e3;
            let why = format!("{what}: one call in a hundred began {late:.1} ms late or more");
            findings.invalid.push(why);
        }
    }
    findings
}

pub(super) fn failed(ran: &Ran) -> f64 {
    ran.calls
        .iter()
        .filter(|call| call.outcome.is_err())
        .count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    /// So many calls a second, each answered after so long, on both shards by turns.
    fn ran(carried: u64, took_ms: u64, dials: u64) -> Ran {
        let calls = carried * LASTS.as_secs();
        Ran {
            calls: (0..calls)
                .map(|n| {
                    let intended = LASTS.mul_f64(n as f64 / calls as f64);
                    Entered {
                        intended,
                        began: intended,
                        ended: intended + Duration::from_millis(took_ms),
                        outcome: Ok(n as usize % 2),
                    }
                })
                .collect(),
            begun: calls,
            dials,
            ..Ran::default()
        }
    }

    #[test]
    fn each_criterion_can_fail() {
        let conclude = |stealing: &Ran| {
            let (alone, need) = (ran(600, 40, 0), ran(1100, 20, 32));
            judge(
                &[alone, need.clone(), stealing.clone()],
                &[need, stealing.clone()],
            )
        };
        assert_eq!(conclude(&ran(1150, 6, 0)).outcome(), Conclusion::Pass);
        for (bad, key) in [
            (ran(900, 6, 0), "gain"),
            (ran(1150, 6, 1), "dials"),
            (ran(1150, 12, 0), "tail"),
        ] {
            let findings = conclude(&bad);
            let broken: Vec<_> = findings
                .criteria
                .iter()
                .filter(|one| !one.holds())
                .collect();
            assert_eq!(broken.len(), 1, "{key}");
            assert_eq!(broken[0].key, key);
        }
    }
}
