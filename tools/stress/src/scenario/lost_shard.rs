//! `lost-shard`: in the middle of `skew`, with stealing, the shard that runs the other one's calls panics. Its own calls
//! fail, nobody else's; another one takes its place, and carries its part again.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::skew::{LASTS, RATE, SERVICE, failed, lag};
use super::{GRAIN, Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, CONNECTIONS_EACH, Entered, Entering, Ran};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "lost-shard",
    about: "a shard panics in the middle of `skew`: its own calls fail, and its successor is soon at work",
    run,
};

/// When.
const AFTER: Duration = Duration::from_millis(1500);
/// Within so long the successor has answered a call.
const BACK_WITHIN: Duration = Duration::from_millis(100);
/// How long one step of the counts is.
const STEP: Duration = Duration::from_millis(20);

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        ..BackendOptions::default()
    })?;
    let shown = stage.progress.phase("a shard is lost", LASTS);
    let url = format!("https://{}", backend.tls);
    let plan = Entering {
        url: &url,
        ca: &backend.ca,
        steal: true,
        give_up: true,
        rate: RATE,
        lasts: LASTS,
        panic_after: Some(AFTER),
    };
    // A backtrace, where the environment asks for one, takes a tenth of a second on the thread that panics.
    std::panic::set_hook(Box::new(|_| {}));
    let ran = drive::enter(&plan, &stage.interrupt);
    drop(std::panic::take_hook());
    let ran = ran?;
    drop(shown);
    backend.check()?;
    let mut findings = judge(&ran);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn judge(ran: &Ran) -> Findings {
    let at = ran.panicked.unwrap_or(AFTER);
    let answered = |shard: Option<usize>, from: Duration, to: Duration| {
        ran.calls.iter().filter(move |call| {
            let by = call
                .outcome
                .is_ok_and(|by| shard.is_none_or(|shard| shard == by));
            by && call.ended >= from && call.ended < to
        })
    };
    let rate = |from: Duration, to: Duration| {
        let span = to.saturating_sub(from).as_secs_f64().max(1e-3);
        answered(None, from, to).count() as f64 / span
    };
    // It may have answered in the moment of the panic; its successor cannot have in less than a call takes.
    let back = answered(Some(1), at + SERVICE, LASTS).map(|call| call.ended);
    let back = back.min().map_or(LASTS, |first| first.saturating_sub(at));
    let mut findings = Findings::new(&["calls"]);
    let before = rate(Duration::from_millis(500), at);
    for (name, unit, value) in [
        ("begun", Unit::Count, ran.begun as f64),
        ("answered a second before", Unit::Count, before),
        (
            "in the 100 ms after",
            Unit::Count,
            rate(at, at + BACK_WITHIN),
        ),
        (
            "in the last second",
            Unit::Count,
            rate(LASTS - Duration::from_secs(1), LASTS),
        ),
        ("dials", Unit::Count, ran.dials as f64),
        (
            "began late, p99",
            Unit::Millis,
            lag(ran).as_secs_f64() * 1e3,
        ),
    ] {
        findings.figure(name, unit, &[Some(value)]);
    }
    let steps = (LASTS.as_secs_f64() / STEP.as_secs_f64()) as u32;
    let count = |n: u32| answered(None, STEP * n, STEP * (n + 1)).count() as f64;
    findings.series.push(scenarios::Series {
        name: "answered",
        from: -at.as_secs_f64(),
        step: STEP,
        values: (0..steps).map(count).collect(),
    });

    findings.must(
        "lost",
        "shards lost",
        Unit::Count,
        ran.losses as f64,
        Bound::Within(1.0, 1.0),
    );
    findings.must(
        "failed",
        format!("failed ({})", kinds(&ran.calls)),
        Unit::Count,
        failed(ran),
        // Of its calls so many can be under way: one on each connection.
        Bound::AtMost(f64::from(CONNECTIONS_EACH)),
    );
    let strangers = ran.calls.iter().filter(|call| {
        // A call of the shard that was lost fails then, and at no other time.
        call.outcome.is_err() && (call.began > at || call.ended > at + BACK_WITHIN)
    });
    findings.must(
        "others",
        "failed that were not under way then",
        Unit::Count,
        strangers.count() as f64,
        Bound::AtMost(0.0),
    );
    findings.must(
        "back",
        "from the panic to the successor's first answer",
        Unit::Millis,
        back.as_secs_f64() * 1e3,
        Bound::AtMost(BACK_WITHIN.as_secs_f64() * 1e3),
    );
    if lag(ran) > GRAIN * 4 {
        let late = lag(ran).as_secs_f64() * 1e3;
        findings.invalid.push(format!(
            "one call in a hundred began {late:.1} ms late or more"
        ));
    }
    findings
}

/// The errors, kind by kind.
fn kinds(calls: &[Entered]) -> String {
    let mut kinds: Vec<&str> = calls.iter().filter_map(|call| call.outcome.err()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        "none".to_owned()
    } else {
        kinds.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::Conclusion;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn call(began: u64, ended: u64, outcome: Result<usize, &'static str>) -> Entered {
        Entered {
            intended: ms(began),
            began: ms(began),
            ended: ms(ended),
            outcome,
        }
    }

    fn conclude(calls: Vec<Entered>, losses: u64) -> Conclusion {
        judge(&Ran {
            begun: calls.len() as u64,
            calls,
            losses,
            panicked: Some(AFTER),
            ..Ran::default()
        })
        .outcome()
    }

    #[test]
    fn its_own_calls_may_fail_and_its_successor_has_to_answer_soon() {
        let good = [
            call(1495, 1501, Err("closed")),
            call(1500, 1506, Ok(0)),
            call(1540, 1560, Ok(1)),
        ];
        assert_eq!(conclude(good.to_vec(), 1), Conclusion::Pass);
        assert_eq!(
            conclude(good.to_vec(), 0),
            Conclusion::Fail,
            "it was not lost"
        );
        let late = [call(1700, 1706, Ok(1))];
        assert_eq!(conclude(late.to_vec(), 1), Conclusion::Fail);
        let stranger = [&good[..], &[call(1550, 1560, Err("closed"))]].concat();
        assert_eq!(conclude(stranger, 1), Conclusion::Fail);
        let many = vec![good[0]; CONNECTIONS_EACH as usize + 1];
        assert_eq!(conclude([&good[..], &many].concat(), 1), Conclusion::Fail);
    }
}
