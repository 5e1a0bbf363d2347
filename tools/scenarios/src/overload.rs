//! Twice as much as the upstream can serve, in three classes.
//!
//! Critical calls hardly notice, normal ones are served, and of the sheddable ones as many as fit; whoever
//! waits does not wait much longer than the target. All the while the upstream does as much as it can.

use crate::Name;
use crate::evidence::{Evidence, Shot, quantile};
use crate::findings::{Bound, Findings, Unit, millis};
use ringpool::config::{Class, UpstreamConfig};
use std::time::Duration;

/// By name.
pub const NAME: Name = Name {
    name: "overload",
    about: "twice the capacity in three classes: critical hardly notices, sheddable is shed",
};

/// Connections, and so calls that are served at once.
pub const CONNECTIONS: u32 = 16;
/// How long an answer takes.
pub const SERVICE: Duration = Duration::from_millis(10);
/// How many times the capacity is asked for.
pub const LOAD: f64 = 2.0;
/// How long it lasts.
pub const LASTS: Duration = Duration::from_secs(6);

/// Until shedding has to have set in: the target, the interval, and as long again for the queue to shrink.
const SETTLE: Duration = Duration::from_secs(2);
/// Of twenty calls in a row, so many are critical, so many normal; the rest is sheddable. Of the capacity that is
/// a fifth, a half, and 1.3 times.
const TWENTY: [usize; 2] = [2, 5];
/// The share of all calls that is critical.
pub const CRITICAL: f64 = TWENTY[0] as f64 / 20.0;

/// How much slower the slowest hundredth of critical calls may be than without the others.
const SLOWER_MAX: f64 = 1.5;
/// Of the sheddable ones, 1.3 times the capacity, 0.3 fit: 77 % have to go. Hardly fewer may.
const SHED_MIN: f64 = 0.6;
/// Of the normal ones, who fit, hardly any may.
const NORMAL_SHED_MAX: f64 = 0.01;
/// How far waits may be from the target.
const NEAR: [f64; 2] = [0.5, 1.5];
/// How much of the capacity has to be used.
const USED_MIN: f64 = 0.9;

/// What critical calls need on average, which are a fifth of the capacity. Without a reserve a critical call waits for the
/// next connection that comes back, and where all calls take equally long those come back in clumps: its p99 is then 1.4
/// to 1.7 times what it is alone, which no order of the queue can help.
const RESERVED: u32 = 4;

/// The settings, given where the upstream is: so many connections, warm, a quarter of them for critical calls, and
/// for the rest the defaults.
pub fn settings(at: UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        connections_max: CONNECTIONS,
        idle_min: CONNECTIONS - RESERVED,
        critical_reserved: RESERVED,
        ..at
    }
}

/// The class of the `nth` call. Critical and normal ones are spread evenly.
pub fn class(nth: usize) -> Class {
    match nth % 20 {
        0 | 10 => Class::Critical,
        2 | 6 | 9 | 13 | 17 => Class::Normal,
        _ => Class::Sheddable,
    }
}

/// What came of it: of critical calls alone, at the rate that they have under load, and of all together. `capacity` is in
/// calls a second; the first two seconds count for critical calls only.
pub fn judge(
    alone: &Evidence,
    seen: &Evidence,
    settings: &UpstreamConfig,
    capacity: f64,
) -> Findings {
    let mut findings = Findings::new(&["alone", "critical", "normal", "sheddable", "all"]);
    let end = seen
        .shots
        .last()
        .map_or(Duration::ZERO, |shot| shot.intended);
    let of = |class| move |shot: &&Shot| shot.class == class;
    let settled = || seen.between(SETTLE, end);
    let columns: [Vec<&Shot>; 5] = [
        alone.shots.iter().collect(),
        seen.shots.iter().filter(of(Class::Critical)).collect(),
        settled().filter(of(Class::Normal)).collect(),
        settled().filter(of(Class::Sheddable)).collect(),
        settled().collect(),
    ];
    tell(&mut findings, &columns);
    must(&mut findings, &columns, settings, capacity);
    findings
}

fn tell(findings: &mut Findings, columns: &[Vec<&Shot>; 5]) {
    let mut row = |name, unit, value: &dyn Fn(&[&Shot]) -> f64| {
        let values: Vec<Option<f64>> = columns
            .iter()
            .map(|shots| (!shots.is_empty()).then(|| value(shots)))
            .collect();
        findings.figure(name, unit, &values);
    };
    row("asked for, /s", Unit::Count, &|shots| {
        shots.len() as f64 / lasts(shots)
    });
    row("answered, /s", Unit::Count, &|shots| answered(shots));
    row("shed", Unit::Share, &|shots| shed(shots));
    row("failed otherwise", Unit::Count, &|shots| {
        let other = shots.iter().filter(|s| !s.is_answered() && !is_shed(s));
        other.count() as f64
    });
    for (name, of) in [
        ("latency p50", 0.5),
        ("latency p99", 0.99),
        ("latency, slowest", 1.0),
    ] {
        row(name, Unit::Millis, &|shots| latency(shots, of));
    }
    for (name, of) in [("wait p50", 0.5), ("wait p99", 0.99)] {
        row(name, Unit::Millis, &|shots| sojourn(shots, of));
    }
}

fn must(
    findings: &mut Findings,
    [alone, critical, normal, sheddable, all]: &[Vec<&Shot>; 5],
    settings: &UpstreamConfig,
    capacity: f64,
) {
    findings.must(
        "critical_p99",
        "p99 of critical calls beside that of critical calls alone",
        Unit::Times,
        latency(critical, 0.99) / latency(alone, 0.99),
        Bound::AtMost(SLOWER_MAX),
    );
    let failed = critical.iter().filter(|shot| !shot.is_answered()).count();
    findings.must(
        "critical_failed",
        "critical calls without an answer",
        Unit::Count,
        failed as f64,
        Bound::AtMost(0.0),
    );
    findings.must(
        "normal_shed",
        "normal calls without an answer",
        Unit::Share,
        1.0 - answered_share(normal),
        Bound::AtMost(NORMAL_SHED_MAX),
    );
    findings.must(
        "sheddable_shed",
        "sheddable calls shed",
        Unit::Share,
        shed(sheddable),
        Bound::AtLeast(SHED_MIN),
    );
    let target = settings.shed.sojourn_target.unwrap_or_default();
    let beside = |of| sojourn(sheddable, of) / millis(target);
    let says = format!("of the target of {}", Unit::Millis.show(millis(target)));
    findings.must(
        "sojourn_p50",
        format!("median wait of sheddable calls, {says}"),
        Unit::Times,
        beside(0.5),
        Bound::Within(NEAR[0], NEAR[1]),
    );
    findings.must(
        "sojourn_p99",
        format!("p99 of their waits, {says}"),
        Unit::Times,
        beside(0.99),
        Bound::AtMost(NEAR[1]),
    );
    findings.must(
        "used",
        format!("answered, of a capacity of {capacity:.0}/s"),
        Unit::Share,
        answered(all) / capacity,
        Bound::AtLeast(USED_MIN),
    );
}

/// Seconds from the first to the last.
fn lasts(shots: &[&Shot]) -> f64 {
    let first = shots.first().map_or(Duration::ZERO, |shot| shot.intended);
    let last = shots.last().map_or(Duration::ZERO, |shot| shot.intended);
    (last - first).as_secs_f64().max(1e-3)
}

/// In a second.
fn answered(shots: &[&Shot]) -> f64 {
    answered_share(shots) * shots.len() as f64 / lasts(shots)
}

fn answered_share(shots: &[&Shot]) -> f64 {
    let answered = shots.iter().filter(|shot| shot.is_answered()).count();
    answered as f64 / shots.len().max(1) as f64
}

fn is_shed(shot: &Shot) -> bool {
    shot.failed_by("shed")
}

fn shed(shots: &[&Shot]) -> f64 {
    let shed = shots.iter().filter(|shot| is_shed(shot)).count();
    shed as f64 / shots.len().max(1) as f64
}

fn latency(shots: &[&Shot], of: f64) -> f64 {
    let answered = shots.iter().filter(|shot| shot.is_answered());
    millis(quantile(answered.map(|shot| shot.latency()), of))
}

fn sojourn(shots: &[&Shot], of: f64) -> f64 {
    millis(quantile(shots.iter().map(|shot| shot.sojourn()), of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Outcome;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn of_twenty_calls_the_classes_have_their_shares() {
        let count = |of| (0..20).filter(|nth| class(*nth) == of).count();
        let counts = [Class::Critical, Class::Normal].map(count);
        assert_eq!(counts, TWENTY);
    }

    /// Calls at 2,000 a second of which critical ones take `critical`, and three of four sheddable ones wait
    /// `wait` and are shed, the fourth waits as long and is served.
    fn seen(critical: Duration, wait: Duration) -> Evidence {
        let shots = (0..8000u32).map(|nth| {
            let (class, intended) = (class(nth as usize), MS * nth / 2);
            let (took, outcome) = match class {
                Class::Critical => (critical, Outcome::Answered(MS)),
                Class::Normal => (12 * MS, Outcome::Answered(2 * MS)),
                Class::Sheddable if nth / 20 % 4 == 0 => (wait + 10 * MS, Outcome::Answered(wait)),
                Class::Sheddable => (wait, Outcome::Failed("shed")),
            };
            Shot {
                class,
                intended,
                sent: intended,
                ended: intended + took,
                outcome,
            }
        });
        Evidence {
            shots: shots.collect(),
            ..Evidence::default()
        }
    }

    fn failing(seen: &Evidence) -> Vec<String> {
        let of_critical = |shot: &&Shot| shot.class == Class::Critical;
        let mut alone = self::seen(10 * MS, 100 * MS);
        alone.shots = alone.shots.iter().filter(of_critical).copied().collect();
        let at = UpstreamConfig::at("http://h").expect("a URL");
        let findings = judge(&alone, seen, &settings(at), 1000.0);
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        failing.map(|one| one.key.to_string()).collect()
    }

    #[test]
    fn what_is_not_as_it_should_be_is_seen() {
        assert_eq!(failing(&seen(14 * MS, 100 * MS)), ["used"; 0]);
        assert_eq!(failing(&seen(16 * MS, 100 * MS)), ["critical_p99"]);
        let waits = failing(&seen(14 * MS, 400 * MS));
        assert_eq!(waits, ["sojourn_p50", "sojourn_p99"]);
        let mut lost = seen(14 * MS, 100 * MS);
        let normal = lost.shots.iter_mut().filter(|s| s.class == Class::Normal);
        for shot in normal.step_by(10) {
            shot.outcome = Outcome::Failed("shed");
        }
        assert_eq!(failing(&lost), ["normal_shed"]);
    }
}
