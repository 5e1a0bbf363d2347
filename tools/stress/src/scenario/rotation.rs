//! `rotation`: the client's certificate is replaced every second for 20 s, under load, beside an nginx that asks for it:
//! once by new settings, once by new files. Judged by nginx's own log.
//!
//! `drain_timeout` is half a second. Until it is over, requests on connections of the certificate before are as they
//! should be; after it there may be none.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::paired::median;
use super::{GRAIN, Scenario, Stage};
use crate::backend::{Logged, Nginx};
use crate::certificates::ClientAuthority;
use crate::drive::{self, By, Replaced, Rotated, Rotating};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "rotation",
    about: "the client's certificate replaced every second under load; needs nginx",
    run,
};

const SHARDS: usize = 2;
const ROTATIONS: usize = 20;
const EVERY: Duration = Duration::from_secs(1);
/// All of them warm: the one that goes at once has a successor at once, whether or not a call needs one. Connections beyond
/// the warm ones have none; without warm ones, the new certificate shows when the next connection is dialled.
const CONNECTIONS: u32 = 8;
const DRAIN: Duration = Duration::from_millis(500);
/// The server sees the new certificate within this.
const SEEN_WITHIN: Duration = Duration::from_millis(100);

fn run(stage: &Stage) -> Result<Report, Failure> {
    let rotations = stage.rounds.unwrap_or(ROTATIONS);
    let lasts = EVERY * (rotations as u32 + 1);
    let mut runs = Vec::new();
    for by_files in [false, true] {
        let what = if by_files { "files" } else { "settings" };
        let clients = ClientAuthority::generate()?;
        let nginx = Nginx::spawn(&clients)?;
        let plan = Rotating {
            url: &format!("https://{}", nginx.tls),
            ca: &nginx.ca,
            clients: &clients,
            shards: SHARDS,
            connections: CONNECTIONS,
            drain_timeout: DRAIN,
            rotations,
            every: EVERY,
            by: match by_files {
                false => By::Settings,
                true => By::Files(nginx.directory()),
            },
        };
        let shown = stage.progress.phase(what, lasts);
        let rotated = drive::rotate(&plan, &stage.progress, &stage.interrupt)?;
        drop(shown);
        runs.push(Run::of(rotated, &nginx.end()?));
    }
    let mut findings = judge(&runs);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

/// What one run came to, by the callers and by nginx's log.
#[derive(Debug, Default)]
struct Run {
    rotated: Rotated,
    /// Requests that nginx has answered, and the connections they came on.
    logged: u64,
    connections: u64,
    /// From each replacement to the first request that showed its certificate.
    seen_after: Vec<Duration>,
    /// Replacements whose certificate never showed.
    unseen: u64,
    /// Requests that showed a replaced certificate after its time to drain.
    late: u64,
    /// From a replacement to the last request that showed the certificate before.
    old_until: Vec<Duration>,
    /// Connections opened after a replacement that showed the certificate before.
    reopened: u64,
}

impl Run {
    fn of(rotated: Rotated, log: &[Logged]) -> Self {
        let mut run = Self {
            logged: log.len() as u64,
            connections: count_distinct(log.iter().map(|line| line.connection)),
            ..Self::default()
        };
        for replaced in &rotated.replaced {
            run.add(replaced, log);
        }
        Self { rotated, ..run }
    }

    fn add(&mut self, replaced: &Replaced, log: &[Logged]) {
        let showing = |serial| log.iter().filter(move |line| line.serial == serial);
        match showing(replaced.serial).map(|line| line.at).min() {
            // nginx's clock stands still within a turn of its loop.
            Some(first) => self.seen_after.push(first.saturating_sub(replaced.begun)),
            None => self.unseen += 1,
        }
        let before = || showing(replaced.serial - 1);
        let bound = replaced.done + DRAIN + GRAIN;
        self.late += before().filter(|line| line.at > bound).count() as u64;
        if let Some(last) = before().map(|line| line.at).max() {
            self.old_until.push(last.saturating_sub(replaced.done));
        }
        let reopened =
            before().filter(|line| line.at.saturating_sub(line.age) > replaced.done + GRAIN);
        self.reopened += count_distinct(reopened.map(|line| line.connection));
    }

    fn failed(&self) -> u64 {
        self.rotated.failed.values().sum()
    }
}

fn count_distinct(all: impl Iterator<Item = u64>) -> u64 {
    all.collect::<std::collections::BTreeSet<_>>().len() as u64
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn longest(times: &[Duration]) -> Option<f64> {
    times.iter().max().copied().map(millis)
}

fn judge(runs: &[Run]) -> Findings {
    let mut findings = Findings::new(&["settings", "files"]);
    let mut row = |name, unit, of: &dyn Fn(&Run) -> Option<f64>| {
        let values: Vec<_> = runs.iter().map(of).collect();
        findings.figure(name, unit, &values);
    };
    row("replacements", Unit::Count, &|run| {
        Some(run.rotated.replaced.len() as f64)
    });
    row("requests answered", Unit::Count, &|run| {
        Some(run.rotated.answered as f64)
    });
    row("connections", Unit::Count, &|run| {
        Some(run.connections as f64)
    });
    row("handshakes, full", Unit::Count, &|run| {
        Some(run.rotated.handshakes_full as f64)
    });
    row("handshakes, resumed", Unit::Count, &|run| {
        Some(run.rotated.handshakes_resumed as f64)
    });
    row("new one seen after, median", Unit::Millis, &|run| {
        median(run.seen_after.iter().copied().map(millis))
    });
    row("new one seen after, at most", Unit::Millis, &|run| {
        longest(&run.seen_after)
    });
    row("old one seen until, median", Unit::Millis, &|run| {
        median(run.old_until.iter().copied().map(millis))
    });
    row("old one seen until, at most", Unit::Millis, &|run| {
        longest(&run.old_until)
    });
    let sum = |of: &dyn Fn(&Run) -> u64| runs.iter().map(of).sum::<u64>() as f64;
    let mut none = |key, says, found| {
        findings.must(key, says, Unit::Count, found, Bound::AtMost(0.0));
    };
    none("failed", "requests that failed", sum(&Run::failed));
    none(
        "unseen",
        "new certificates that nginx never saw",
        sum(&|run| run.unseen),
    );
    none(
        "late",
        "requests with an old certificate after its time to drain",
        sum(&|run| run.late),
    );
    none(
        "reopened",
        "connections opened with an old certificate",
        sum(&|run| run.reopened),
    );
    let seen = runs.iter().filter_map(|run| longest(&run.seen_after));
    findings.must(
        "seen",
        "from a replacement to the first request that shows it, at most",
        Unit::Millis,
        seen.fold(0.0, f64::max),
        Bound::AtMost(millis(SEEN_WITHIN)),
    );
    for (run, what) in runs.iter().zip(["settings", "files"]) {
        if run.logged < run.rotated.answered {
            let (logged, answered) = (run.logged, run.rotated.answered);
            let why = format!("{what}: nginx's log has {logged} requests, of {answered} answered");
            findings.invalid.push(why);
        }
        if run.rotated.replaced.is_empty() {
            findings
                .invalid
                .push(format!("{what}: nothing was replaced"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    /// Replaced at 10 s, in force at 10.01 s.
    fn rotated() -> Rotated {
        Rotated {
            replaced: vec![Replaced {
                serial: 2,
                begun: Duration::from_millis(10_000),
                done: Duration::from_millis(10_010),
            }],
            ..Rotated::default()
        }
    }

    /// A request `at` ms that showed `serial`, on a connection as old as that.
    fn line(at: u64, serial: u64, age: u64) -> Logged {
        Logged {
            at: Duration::from_millis(at),
            serial,
            age: Duration::from_millis(age),
            connection: at - age,
        }
    }

    fn conclude(log: &[Logged]) -> Conclusion {
        let good = [line(9_000, 1, 0), line(10_020, 2, 0)];
        let runs = [Run::of(rotated(), log), Run::of(rotated(), &good)];
        judge(&runs).outcome()
    }

    #[test]
    fn the_new_one_has_to_show_soon() {
        assert_eq!(conclude(&[line(10_100, 2, 5)]), Conclusion::Pass);
        assert_eq!(conclude(&[line(10_101, 2, 5)]), Conclusion::Fail);
        assert_eq!(conclude(&[line(9_990, 1, 5)]), Conclusion::Fail);
    }

    #[test]
    fn the_old_one_may_show_until_it_has_drained_and_on_old_connections() {
        let seen = line(10_020, 2, 0);
        assert_eq!(conclude(&[seen, line(10_515, 1, 600)]), Conclusion::Pass);
        assert_eq!(conclude(&[seen, line(10_516, 1, 600)]), Conclusion::Fail);
        assert_eq!(conclude(&[seen, line(10_300, 1, 285)]), Conclusion::Pass);
        assert_eq!(conclude(&[seen, line(10_300, 1, 284)]), Conclusion::Fail);
    }

    #[test]
    fn a_failure_fails_and_a_short_log_tells_nothing() {
        let log = [line(10_020, 2, 0)];
        let mut run = Run::of(rotated(), &log);
        run.rotated.failed.insert("closed", 1);
        let good = || Run::of(rotated(), &log);
        assert_eq!(judge(&[run, good()]).outcome(), Conclusion::Fail);
        let mut run = good();
        run.rotated.answered = 2;
        assert_eq!(judge(&[run, good()]).outcome(), Conclusion::Invalid);
        assert_eq!(
            judge(&[Run::default(), good()]).outcome(),
            Conclusion::Invalid
        );
    }
}
