//! HikariCP's spike: a connection takes 150 ms to set up, a call 2 ms, 50 callers come at once where 5
//! connections idle. Forty-five dials would serve nobody: all are served before the first is done.
//!
//! The rule must not win that by never dialling. So the same settings meet 1,000 callers on an empty pool,
//! and have to serve them promptly, beside an engine that dials without limit.
//!
//! What is compared with is the same engine with `dials_eager`: a dial for each who waits, and whoever
//! comes first serves. That is the best that dialling for each waiter can be: a pool whose callers wait for
//! their own dial alone, as most do, keeps 45 of them for 150 ms.

use crate::Name;
use crate::evidence::{Evidence, quantile};
use crate::findings::{Bound, Findings, Unit, millis};
use ringpool::config::UpstreamConfig;
use std::time::Duration;

/// On a warm pool.
pub const WARM: Name = Name {
    name: "spike",
    about: "50 callers at once on 5 warm connections that take 150 ms to make",
};
/// On an empty one.
pub const COLD: Name = Name {
    name: "spike-cold",
    about: "the same settings, and 1,000 callers on an empty pool",
};

/// How long it takes to set a connection up.
pub const SETUP: Duration = Duration::from_millis(150);
/// How long a call takes once it has a connection.
pub const SERVICE: Duration = Duration::from_millis(2);
/// Warm connections.
pub const IDLE: u32 = 5;
/// Callers at once on the warm pool.
pub const CALLERS: u32 = 50;
/// Callers at once on the empty one.
pub const CALLERS_COLD: u32 = 1000;

/// The most connections in all, the warm ones included.
const OPENED_MAX: u32 = IDLE + 1;
/// One set-up to learn how long calls take; then the rule keeps the queue to two of them: one until what it dials is
/// there, and no longer to serve whoever is left.
const SETUPS_MAX: f64 = 3.0;

/// The settings, given where the upstream is: HikariCP's, and for the rest the defaults.
pub fn settings(at: UpstreamConfig) -> UpstreamConfig {
    UpstreamConfig {
        connections_max: CALLERS,
        idle_min: IDLE,
        ..at
    }
}

/// The same with a dial for each of `callers`.
pub fn eager(settings: UpstreamConfig, callers: u32) -> UpstreamConfig {
    UpstreamConfig {
        dials_eager: true,
        dials_max: callers,
        connections_max: callers,
        ..settings
    }
}

/// What came of one or more rounds of the warm spike, which began at `from`; a caller may be slower than
/// with a dial for each by `grain` at most. Callers are compared by rank, the quickest with the quickest, over
/// the medians of all rounds.
pub fn judge_warm(
    ours: &[Evidence],
    each: &[Evidence],
    from: Duration,
    grain: Duration,
) -> Findings {
    let mut findings = table(ours, each, from, CALLERS);
    let (own, beside) = (ranks(ours, from), ranks(each, from));
    let slower = own.iter().zip(&beside).map(|(own, beside)| {
        // Both signs, and Duration has none.
        millis(*own) - millis(*beside)
    });
    findings.must(
        "opened",
        "connections opened, the warm ones included",
        Unit::Count,
        opened(ours),
        Bound::AtMost(OPENED_MAX.into()),
    );
    findings.must(
        "slower_than_eager",
        "a caller is slower than with a dial for each, by",
        Unit::Millis,
        slower.fold(f64::NEG_INFINITY, f64::max),
        Bound::AtMost(millis(grain)),
    );
    answered(&mut findings, ours, from, CALLERS);
    findings
}

/// What came of the crowd on an empty pool, which came at `from`, where a connection took `setup`.
pub fn judge_cold(
    ours: &[Evidence],
    each: &[Evidence],
    from: Duration,
    setup: Duration,
) -> Findings {
    let mut findings = table(ours, each, from, CALLERS_COLD);
    let [last, last_of_each] = [ours, each].map(|rounds| {
        let last = ranks(rounds, from).last().copied();
        millis(last.unwrap_or_default())
    });
    findings.must(
        "last_served",
        format!(
            "the last is served within {SETUPS_MAX} set-up times of {}, or no later than with a dial each",
            Unit::Millis.show(millis(setup))
        ),
        Unit::Millis,
        last,
        Bound::AtMost((SETUPS_MAX * millis(setup)).max(last_of_each)),
    );
    answered(&mut findings, ours, from, CALLERS_COLD);
    findings
}

fn table(ours: &[Evidence], each: &[Evidence], from: Duration, callers: u32) -> Findings {
    let mut findings = Findings::new(&["ours", "a dial each"]);
    let both = [ours, each];
    let ranked = both.map(|rounds| ranks(rounds, from));
    for (name, share) in [
        ("caller served, median", 0.5),
        ("caller served, p90", 0.9),
        ("caller served, last", 1.0),
    ] {
        let at = |ranks: &Vec<Duration>| Some(millis(quantile(ranks.iter().copied(), share)));
        findings.figure(name, Unit::Millis, &[at(&ranked[0]), at(&ranked[1])]);
    }
    let opened = both.map(|rounds| Some(opened(rounds)));
    findings.figure("connections opened", Unit::Count, &opened);
    let flying = both.map(|rounds| {
        let most = rounds.iter().map(|one| one.flying_max(from, Duration::MAX));
        most.max().map(|most| most as f64)
    });
    findings.figure("dials at once, most", Unit::Count, &flying);
    let callers = Some(f64::from(callers));
    findings.figure("callers", Unit::Count, &[callers, callers]);
    findings
}

/// How long the quickest took, the next, and so on: the median over rounds of each.
fn ranks(rounds: &[Evidence], from: Duration) -> Vec<Duration> {
    let sorted: Vec<Vec<Duration>> = rounds
        .iter()
        .map(|round| {
            let answered = round
                .between(from, Duration::MAX)
                .filter(|s| s.is_answered());
            let mut latencies: Vec<Duration> = answered.map(|shot| shot.latency()).collect();
            latencies.sort_unstable();
            latencies
        })
        .collect();
    let shortest = sorted.iter().map(Vec::len).min().unwrap_or(0);
    let median = |rank: usize| quantile(sorted.iter().map(|round| round[rank]), 0.5);
    (0..shortest).map(median).collect()
}

/// In the round that opened most.
fn opened(rounds: &[Evidence]) -> f64 {
    let most = rounds.iter().map(|round| round.opened).max();
    most.unwrap_or(0) as f64
}

fn answered(findings: &mut Findings, rounds: &[Evidence], from: Duration, callers: u32) {
    let answered = rounds.iter().map(|round| {
        let shots = round.between(from, Duration::MAX);
        shots.filter(|shot| shot.is_answered()).count()
    });
    findings.must(
        "answered",
        "callers answered",
        Unit::Count,
        answered.min().unwrap_or(0) as f64,
        Bound::AtLeast(callers.into()),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Outcome, Shot};
    use crate::findings::Conclusion;
    use ringpool::config::Class;

    const MS: Duration = Duration::from_millis(1);

    fn evidence(callers: u32, opened: u64, slowest: Duration) -> Evidence {
        let shots = (1..=callers).map(|nth| Shot {
            class: Class::Normal,
            intended: MS,
            sent: MS,
            ended: MS + slowest * nth / callers,
            outcome: Outcome::Answered(Duration::ZERO),
        });
        Evidence {
            shots: shots.collect(),
            opened,
            ..Evidence::default()
        }
    }

    #[test]
    fn it_fails_by_what_is_opened_or_by_being_slow() {
        let judge = |opened, slowest| {
            let each = evidence(CALLERS, 50, 22 * MS);
            let ours = evidence(CALLERS, opened, slowest);
            judge_warm(&[ours], &[each], Duration::ZERO, MS).outcome()
        };
        assert_eq!(judge(6, 22 * MS), Conclusion::Pass);
        assert_eq!(judge(7, 22 * MS), Conclusion::Fail);
        assert_eq!(judge(6, 30 * MS), Conclusion::Fail);
    }

    #[test]
    fn a_crowd_has_to_be_served_and_all_of_it() {
        let judge = |callers, slowest| {
            let ours = evidence(callers, 20, slowest);
            let each = evidence(CALLERS_COLD, 1000, 152 * MS);
            judge_cold(&[ours], &[each], Duration::ZERO, SETUP).outcome()
        };
        assert_eq!(judge(CALLERS_COLD, 450 * MS), Conclusion::Pass);
        assert_eq!(judge(CALLERS_COLD, 2000 * MS), Conclusion::Fail);
        assert_eq!(judge(CALLERS_COLD - 1, 400 * MS), Conclusion::Fail);
    }

    #[test]
    fn the_settings_are_valid_and_differ_in_nothing_else() {
        let at = UpstreamConfig::at("http://h").expect("a URL");
        for settings in [settings(at.clone()), eager(settings(at), CALLERS_COLD)] {
            let config = ringpool::Config::with_upstream("target", settings);
            config.validate().expect("valid");
        }
    }
}
