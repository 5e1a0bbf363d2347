//! A backend that is gone for ten seconds, under 1,000 requests a second.
//!
//! Its callers are refused at once, hardly anybody knocks meanwhile, and a second after its return it is as
//! if nothing had been, without a rush at the door.

use crate::Name;
use crate::evidence::{Evidence, Shot, quantile};
use crate::findings::{Bound, Findings, Series, Unit, millis};
use ringpool::config::UpstreamConfig;
use std::time::Duration;

/// By name.
pub const NAME: Name = Name {
    name: "outage",
    about: "a backend down for 10 s at 1,000 requests/s: refused at once, back within 1 s",
};

/// Requests a second.
pub const RATE: f64 = 1000.0;
/// How long an answer takes.
pub const SERVICE: Duration = Duration::from_millis(2);
/// How long all is well at first.
pub const BEFORE: Duration = Duration::from_secs(3);
/// How long it is gone.
pub const DOWN: Duration = Duration::from_secs(10);
/// How long it is looked at afterwards.
pub const AFTER: Duration = Duration::from_secs(4);

/// Until breakers have to be open, and all has to be well again.
const SOON: Duration = Duration::from_secs(1);
/// The first second after the start is not what all is compared with.
const SETTLED: Duration = Duration::from_secs(1);
/// Of the calls while breakers are open: the share that has to be refused by them. Who is first in the queue may
/// wait for a dial under way.
const REFUSED_MIN: f64 = 0.99;
/// How much slower calls may be after it than before.
const SLOWER_MAX: f64 = 1.5;

/// The settings, given where the upstream is: some warmth, so that there is something to rebuild, and for
/// the rest the defaults.
pub fn settings(at: UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        connections_max: 64,
        idle_min: 16,
        ..at
    }
}

/// When what happened.
#[derive(Clone, Copy, Debug)]
pub struct Course {
    /// It was gone from then on.
    pub down: Duration,
    /// It was back from then on.
    pub up: Duration,
    /// The last call began before that.
    pub end: Duration,
    /// How many shards dialled.
    pub shards: u32,
}

/// What came of it. Refusals may take `grain`.
pub fn judge(
    seen: &Evidence,
    course: Course,
    settings: &UpstreamConfig,
    grain: Duration,
) -> Findings {
    let Course { down, up, end, .. } = course;
    let mut findings = Findings::new(&["before", "down", "1 s back", "after"]);
    let phases = [
        (SETTLED, down),
        (down, up),
        (up, up + SOON),
        (up + SOON, end),
    ];
    tell_calls(&mut findings, seen, &phases);
    tell_dials(&mut findings, seen, course);
    must_dial_little(&mut findings, seen, course, settings);
    must_refuse(&mut findings, seen, course, grain);
    must_return(&mut findings, seen, course, settings, grain);
    findings
}

fn tell_calls(findings: &mut Findings, seen: &Evidence, phases: &[(Duration, Duration); 4]) {
    let mut row = |name, unit, value: &dyn Fn(&[&Shot]) -> Option<f64>| {
        let values = phases.map(|(from, to)| value(&seen.between(from, to).collect::<Vec<_>>()));
        findings.figure(name, unit, &values);
    };
    row("calls", Unit::Count, &|shots| Some(shots.len() as f64));
    row("answered", Unit::Share, &|shots| {
        share(shots, Shot::is_answered)
    });
    row("refused by the breaker", Unit::Share, &|shots| {
        share(shots, |shot| shot.failed_by(BREAKER))
    });
    row("failed otherwise", Unit::Count, &|shots| {
        let other = shots
            .iter()
            .filter(|shot| !shot.is_answered() && !shot.failed_by(BREAKER));
        Some(other.count() as f64)
    });
    for (name, of) in [("answered, p50", 0.5), ("answered, p99", 0.99)] {
        row(name, Unit::Millis, &|shots| {
            latency(shots, of, Shot::is_answered)
        });
    }
    for (name, of) in [
        ("refused, p50", 0.5),
        ("refused, p99", 0.99),
        ("refused, slowest", 1.0),
    ] {
        row(name, Unit::Millis, &|shots| {
            latency(shots, of, |shot| shot.failed_by(BREAKER))
        });
    }
    let dials = phases.map(|(from, to)| Some(seen.dials(from, to) as f64));
    findings.figure("dials", Unit::Count, &dials);
}

const BREAKER: &str = "breaker";

fn share(shots: &[&Shot], which: impl Fn(&Shot) -> bool) -> Option<f64> {
    let found = shots.iter().filter(|shot| which(shot)).count();
    (!shots.is_empty()).then(|| found as f64 / shots.len() as f64)
}

fn latency(shots: &[&Shot], of: f64, which: impl Fn(&Shot) -> bool) -> Option<f64> {
    let found = || shots.iter().filter(|shot| which(shot));
    let latencies = found().map(|shot| shot.latency());
    found()
        .next()
        .is_some()
        .then(|| millis(quantile(latencies, of)))
}

fn tell_dials(findings: &mut Findings, seen: &Evidence, course: Course) {
    let Course { down, up, end, .. } = course;
    let second = Duration::from_secs(1);
    findings.series.push(Series {
        name: "dials in each second, from when the backend went",
        from: 0.0,
        step: second,
        values: seen.dials_by_step(down, second, (end - down).as_secs() as u32),
    });
    findings.series.push(Series {
        name: "dials in each 100 ms, around its return",
        from: -0.5,
        step: STEP,
        values: seen.dials_by_step(up.saturating_sub(STEP * 5), STEP, 20),
    });
}

const STEP: Duration = Duration::from_millis(100);

fn must_dial_little(
    findings: &mut Findings,
    seen: &Evidence,
    course: Course,
    settings: &UpstreamConfig,
) {
    let Course {
        down, up, shards, ..
    } = course;
    findings.must(
        "flying",
        "dials at once while it is down, no more than the cap",
        Unit::Count,
        seen.flying_max(down, up) as f64,
        Bound::AtMost(f64::from(shards * settings.dials_max)),
    );
    // A cap's worth until the breakers open; then one after each pause, which jitter may halve.
    let trials = (up - down).as_secs_f64() / trial_pause(settings);
    let most = f64::from(settings.dials_max) + trials.ceil();
    findings.must(
        "attempts",
        "dials while it is down, a cap's worth and one trial in each pause",
        Unit::Count,
        seen.dials(down, up) as f64,
        Bound::AtMost(f64::from(shards) * most),
    );
    let seconds = (up - down - SOON).as_secs() as u32;
    let by_second = seen.dials_by_step(down + SOON, Duration::from_secs(1), seconds);
    findings.must(
        "attempts_busiest_second",
        "dials in the busiest second once breakers are open",
        Unit::Count,
        by_second.into_iter().fold(0.0, f64::max),
        Bound::AtMost(f64::from(shards) * (1.0 + (1.0 / trial_pause(settings)).ceil())),
    );
}

/// The shortest pause between two trials of a shard, in seconds.
fn trial_pause(settings: &UpstreamConfig) -> f64 {
    settings.dial_backoff_max.as_secs_f64() / 2.0
}

fn must_refuse(findings: &mut Findings, seen: &Evidence, course: Course, grain: Duration) {
    let open: Vec<&Shot> = seen.between(course.down + SOON, course.up).collect();
    findings.must(
        "refused",
        "refused by the breaker, of calls from a second after its going",
        Unit::Share,
        share(&open, |shot| shot.failed_by(BREAKER)).unwrap_or(0.0),
        Bound::AtLeast(REFUSED_MIN),
    );
    findings.must(
        "refused_at_once",
        "those are refused at once: p99",
        Unit::Millis,
        latency(&open, 0.99, |shot| shot.failed_by(BREAKER)).unwrap_or(f64::INFINITY),
        Bound::AtMost(millis(grain)),
    );
}

fn must_return(
    findings: &mut Findings,
    seen: &Evidence,
    course: Course,
    settings: &UpstreamConfig,
    grain: Duration,
) {
    let Course {
        down,
        up,
        end,
        shards,
    } = course;
    let failed = seen.between(up, end).filter(|shot| !shot.is_answered());
    let last = failed.map(|shot| shot.intended - up).max();
    findings.must(
        "full_service",
        "full service after its return: no call that begins later fails",
        Unit::Millis,
        millis(last.unwrap_or_default()),
        Bound::AtMost(millis(SOON)),
    );
    let p99 = |from, to| {
        let shots: Vec<&Shot> = seen.between(from, to).collect();
        latency(&shots, 0.99, Shot::is_answered)
    };
    let (before, after) = (p99(SETTLED, down), p99(up + SOON, end));
    findings.must(
        "as_quick_as_before",
        "p99 from a second after its return on",
        Unit::Millis,
        after.unwrap_or(f64::INFINITY),
        Bound::AtMost(before.unwrap_or(0.0) * SLOWER_MAX + millis(grain)),
    );
    let rush = seen.dials_by_step(up, STEP, 10);
    findings.must(
        "rush",
        "dials in the busiest 100 ms after its return, no more than the cap and the trial that found out",
        Unit::Count,
        rush.into_iter().fold(0.0, f64::max),
        Bound::AtMost(f64::from(shards * (settings.dials_max + 1))),
    );
    // Each connection that there was is made again, at most; whose trial it takes to find out is one more.
    let most = seen.sample(down).open.max(settings.idle_min.into()) as f64 + f64::from(shards);
    findings.must(
        "storm",
        "dials in the second after its return, no more than there were connections",
        Unit::Count,
        seen.dials(up, up + SOON) as f64,
        Bound::AtMost(most),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Outcome, Sample};
    use crate::findings::Conclusion;
    use ringpool::config::Class;

    const MS: Duration = Duration::from_millis(1);
    const COURSE: Course = Course {
        down: BEFORE,
        up: Duration::from_secs(13),
        end: Duration::from_secs(17),
        shards: 1,
    };

    /// A good course, in which the backend serves from `back` on and dials are as `dials` has it.
    fn seen(back: Duration, dials: impl Fn(Duration) -> u64) -> Evidence {
        let mut seen = Evidence::default();
        for nth in 0..17_000 {
            let intended = nth * MS;
            let down = (COURSE.down..back).contains(&intended);
            let outcome = match down {
                true => Outcome::Failed("breaker"),
                false => Outcome::Answered(Duration::ZERO),
            };
            seen.shots.push(Shot {
                class: Class::Normal,
                intended,
                sent: intended,
                ended: intended + if down { Duration::ZERO } else { 2 * MS },
                outcome,
            });
            seen.samples.push(Sample {
                at: intended,
                dials: dials(intended),
                flying: 1,
                open: 16,
            });
        }
        seen
    }

    fn failing(seen: &Evidence) -> Vec<String> {
        let at = UpstreamConfig::at("http://h").expect("a URL");
        let findings = judge(seen, COURSE, &settings(at), MS);
        let failing = findings.criteria.iter().filter(|one| !one.holds());
        let failing: Vec<_> = failing.map(|one| one.key.to_string()).collect();
        assert_eq!(failing.is_empty(), findings.outcome() == Conclusion::Pass);
        failing
    }

    #[test]
    fn a_quiet_course_passes_and_each_way_to_fail_is_seen() {
        let trials = |at: Duration| 16 + (at.as_millis() / 400) as u64;
        let back = COURSE.up + 400 * MS;
        assert_eq!(failing(&seen(back, trials)), [""; 0]);
        assert_eq!(failing(&seen(back + SOON, trials))[0], "full_service");
        let knocking = |at: Duration| (at.as_millis() / 10) as u64;
        let failed = failing(&seen(back, knocking));
        assert_eq!(failed, ["attempts", "attempts_busiest_second", "storm"]);
        let storm = |at: Duration| if at > COURSE.up { 200 } else { 16 };
        assert_eq!(failing(&seen(back, storm)), ["rush", "storm"]);
        let mut slow = seen(back, trials);
        for shot in slow.shots.iter_mut().filter(|shot| !shot.is_answered()) {
            shot.ended += 50 * MS;
        }
        assert_eq!(failing(&slow), ["refused_at_once"]);
    }
}
