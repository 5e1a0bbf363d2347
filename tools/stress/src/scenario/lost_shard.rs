//! `lost-shard`: in the middle of `skew`, with stealing, a shard panics: in one run the one that helps, in another one
//! that which all calls enter. Its own calls fail, nobody else's; another one takes its place, and carries its part again.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::skew::{LASTS, RATE, SERVICE, failed, lag};
use super::{GRAIN, Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, CONNECTIONS_EACH, ENTRANCE, Entered, Entering, HELPER, Ran};
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
/// By then a shard that is told to has panicked: until then its calls begin as before, and are lost.
const HEARD_WITHIN: Duration = Duration::from_millis(4);
/// The least share of what is offered that has to be carried for calls not to wait.
const KEPT_UP_MIN: f64 = 0.95;
/// From then on the load is steady.
const FROM: Duration = Duration::from_millis(500);
/// How long one step of the counts is.
const STEP: Duration = Duration::from_millis(20);

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        ..BackendOptions::default()
    })?;
    let url = format!("https://{}", backend.tls);
    // A backtrace, where the environment asks for one, takes a tenth of a second on the thread that panics.
    std::panic::set_hook(Box::new(|_| {}));
    let lose = |what, shard| {
        let shown = stage.progress.phase(what, LASTS);
        let plan = Entering {
            url: &url,
            ca: &backend.ca,
            steal: true,
            give_up: true,
            rate: RATE,
            lasts: LASTS,
            panic: Some((shard, AFTER)),
        };
        let ran = drive::enter(&plan, stage.watched());
        drop(shown);
        ran
    };
    let helper = lose("the helper is lost", HELPER);
    let entrance = lose("the entrance is lost", ENTRANCE);
    drop(std::panic::take_hook());
    let (helper, entrance) = (helper?, entrance?);
    backend.check()?;
    let mut findings = judge(&helper, &entrance);
    let carried = rate(&helper, FROM, lost_at(&helper));
    if carried < RATE * KEPT_UP_MIN {
        findings.invalid.push(format!(
            "only {carried:.0} of {RATE:.0} calls a second were answered before: more wait on the helper than it has connections"
        ));
    }
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

/// Answered calls that ended then.
fn answered(ran: &Ran, from: Duration, to: Duration) -> impl Iterator<Item = (&Entered, usize)> {
    let calls = ran.calls.iter();
    let answered = calls.filter_map(|call| call.outcome.ok().map(|by| (call, by)));
    answered.filter(move |(call, _)| call.ended >= from && call.ended < to)
}

/// Answers a second.
fn rate(ran: &Ran, from: Duration, to: Duration) -> f64 {
    let span = to.saturating_sub(from).as_secs_f64().max(1e-3);
    answered(ran, from, to).count() as f64 / span
}

fn lost_at(ran: &Ran) -> Duration {
    ran.panicked.unwrap_or(AFTER)
}

/// From the panic to the first answer of the successor, for calls that `whose` names.
fn back(ran: &Ran, whose: impl Fn(&Entered, usize) -> bool) -> Duration {
    let at = lost_at(ran);
    // It may have answered in the moment of the panic; its successor cannot have in less than a call takes.
    let ends = answered(ran, at + SERVICE, LASTS).filter(|(call, by)| whose(call, *by));
    let first = ends.map(|(call, _)| call.ended).min();
    first.map_or(LASTS, |first| first.saturating_sub(at))
}

/// Calls that failed though they were not under way when the shard was lost.
fn strangers(ran: &Ran) -> usize {
    let at = lost_at(ran);
    // A call of the shard that was lost fails then, and at no other time.
    let stranger = |call: &&Entered| {
        call.outcome.is_err() && (call.began > at + HEARD_WITHIN || call.ended > at + BACK_WITHIN)
    };
    ran.calls.iter().filter(stranger).count()
}

fn judge(helper: &Ran, entrance: &Ran) -> Findings {
    let mut findings = Findings::new(&["helper lost", "entrance lost"]);
    let both = [helper, entrance];
    let mut row = |name, unit, of: &dyn Fn(&Ran) -> f64| {
        findings.figure(name, unit, &both.map(|ran| Some(of(ran))));
    };
    row("begun", Unit::Count, &|ran| ran.begun as f64);
    row("answered a second before", Unit::Count, &|ran| {
        rate(ran, FROM, lost_at(ran))
    });
    row("in the 100 ms after", Unit::Count, &|ran| {
        rate(ran, lost_at(ran), lost_at(ran) + BACK_WITHIN)
    });
    row("in the last second", Unit::Count, &|ran| {
        rate(ran, LASTS - Duration::from_secs(1), LASTS)
    });
    row("dials", Unit::Count, &|ran| ran.dials as f64);
    row("began late, p99", Unit::Millis, &|ran| {
        lag(ran).as_secs_f64() * 1e3
    });
    let steps = (LASTS.as_secs_f64() / STEP.as_secs_f64()) as u32;
    for (name, ran) in [("helper lost", helper), ("entrance lost", entrance)] {
        let count = |n: u32| answered(ran, STEP * n, STEP * (n + 1)).count() as f64;
        findings.series.push(scenarios::Series {
            name,
            from: -lost_at(ran).as_secs_f64(),
            step: STEP,
            values: (0..steps).map(count).collect(),
        });
    }

    for (key, says, ran) in [
        ("helper_lost", "shards lost, the helper", helper),
        ("entrance_lost", "shards lost, the entrance", entrance),
    ] {
        let lost = ran.losses as f64;
        findings.must(key, says, Unit::Count, lost, Bound::Within(1.0, 1.0));
    }
    findings.must(
        "helper_failed",
        format!("failed with the helper ({})", kinds(&helper.calls)),
        Unit::Count,
        failed(helper),
        // Of its calls so many can be under way: one on each connection.
        Bound::AtMost(f64::from(CONNECTIONS_EACH)),
    );
    // All calls are made by tasks of the entrance, which go with it.
    let at = lost_at(entrance);
    let calls = entrance.calls.iter();
    let under_way = calls.filter(|call| call.began <= at + HEARD_WITHIN && call.ended >= at);
    findings.must(
        "entrance_failed",
        format!("failed with the entrance ({})", kinds(&entrance.calls)),
        Unit::Count,
        failed(entrance),
        Bound::AtMost(under_way.count() as f64),
    );
    findings.must(
        "others",
        "failed that were not under way then",
        Unit::Count,
        (strangers(helper) + strangers(entrance)) as f64,
        Bound::AtMost(0.0),
    );
    let first = [
        (
            "helper_back",
            "to the first answer of the helper's successor",
            back(helper, |_, by| by == HELPER),
        ),
        (
            "entrance_back",
            "to the first answer of the entrance's successor",
            back(entrance, |call, _| call.began > at),
        ),
    ];
    for (key, says, back) in first {
        let bound = Bound::AtMost(BACK_WITHIN.as_secs_f64() * 1e3);
        findings.must(key, says, Unit::Millis, back.as_secs_f64() * 1e3, bound);
    }
    if lag(helper) > GRAIN * 4 {
        let late = lag(helper).as_secs_f64() * 1e3;
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

    fn ran(calls: Vec<Entered>, losses: u64) -> Ran {
        Ran {
            begun: calls.len() as u64,
            calls,
            losses,
            panicked: Some(AFTER),
            ..Ran::default()
        }
    }

    fn conclude(helper: Vec<Entered>, losses: u64) -> Conclusion {
        let entrance = vec![call(1495, 1501, Err("lost")), call(1540, 1560, Ok(1))];
        judge(&ran(helper, losses), &ran(entrance, 1)).outcome()
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

    #[test]
    fn with_the_entrance_all_that_is_under_way_may_fail_and_nothing_else() {
        let helper = ran(vec![call(1540, 1560, Ok(1))], 1);
        let conclude = |calls: &[Entered]| judge(&helper, &ran(calls.to_vec(), 1)).outcome();
        let lost = call(1495, 1501, Err("lost"));
        let next = call(1540, 1560, Ok(0));
        assert_eq!(conclude(&[lost, lost, next]), Conclusion::Pass);
        let earlier = call(1400, 1450, Err("lost"));
        assert_eq!(conclude(&[lost, earlier, next]), Conclusion::Fail);
        let stranger = call(1550, 1560, Err("closed"));
        assert_eq!(conclude(&[lost, stranger, next]), Conclusion::Fail);
        assert_eq!(conclude(&[lost, call(1700, 1706, Ok(0))]), Conclusion::Fail);
    }
}
