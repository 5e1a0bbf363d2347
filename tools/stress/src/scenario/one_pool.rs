//! `one-pool`: what a second shard adds to a request, measured by the bare loop on as many threads.
//!
//! Each round runs the engine with one shard and with two, and the bare loop on one thread and on two, with
//! the same connections per thread. A round's factor is the ratio of the engine to the loop with two threads, over
//! that ratio with one. Sharding that costs nothing leaves it at 1. What is compared is CPU time per
//! request of the client alone, not throughput, which the backend and the number of cores decide.
//!
//! What contends with two threads, and did not with one: the backend, which had a core of its own, is now the third
//! thread on two cores if there are no more, so that clients are preempted and find cold caches; the
//! kernel's loopback path, where both threads' packets meet the backend's backlog; and where cores are two threads
//! of one, its units and its first caches. The loop suffers all of that too, which is why it is the
//! yardstick; but whoever touches more memory suffers more, so that part of a factor above 1 may be the
//! machine's. What only the engine adds is what its shards share: permits and mailboxes, and calls that move because
//! a loop is late. The latter are counted (`calls moved`).
//!
//! The order changes from round to round so that each kind of run has each place, and follows each other one,
//! equally often. The interval is Student's over the rounds' logarithms.

use std::time::Duration;

use scenarios::{Bound, Findings, Unit};

use super::beside::{Beside, CONNECTIONS, cpu};
use super::paired::{Interval, median};
use super::{Scenario, Stage};
use crate::failure::Failure;
use crate::load::LoadResult;
use crate::report::{Phase, Report};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "one-pool",
    about: "two shards beside two bare loops, and one beside one: what sharding costs",
    run,
};

/// A multiple of four, for the orders; under two minutes in all.
const ROUNDS: usize = 36;
/// Of each run. Many short ones are better than few long ones: what else the machine does falls on all alike.
const RUN: Duration = Duration::from_millis(500);
/// How much further from the floor two shards may be than one.
const EXCESS_MAX: f64 = 0.05;
/// The four runs of a round, in the four orders of a Williams square.
const ORDERS: [[Kind; 4]; 4] = {
    use Kind::{Engine1 as E, Engine2 as EE, Floor1 as F, Floor2 as FF};
    [
        [F, E, EE, FF],
        [E, FF, F, EE],
        [FF, EE, E, F],
        [EE, F, FF, E],
    ]
};

/// Who runs on how many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Floor1,
    Engine1,
    Floor2,
    Engine2,
}

/// What a round gave.
struct Round {
    one: Pair,
    two: Pair,
}

/// The engine and the loop on as many threads.
struct Pair {
    engine: Phase,
    floor: Phase,
}

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut beside = Beside::new(stage, RUN)?;
    let mut rounds = Vec::new();
    for order in ORDERS.iter().cycle().take(stage.rounds.unwrap_or(ROUNDS)) {
        let (mut one, mut two) = ((None, None), (None, None));
        for kind in order {
            match kind {
                Kind::Engine1 => one.0 = Some(beside.engine(1, "one shard")?),
                Kind::Floor1 => one.1 = Some(beside.floor(1, "one bare loop")?),
                Kind::Engine2 => two.0 = Some(beside.engine(2, "two shards")?),
                Kind::Floor2 => two.1 = Some(beside.floor(2, "two bare loops")?),
            }
        }
        // A round in which the user ended something is none.
        if stage.interrupt.requested() {
            break;
        }
        rounds.extend(
            Pair::of(one)
                .zip(Pair::of(two))
                .map(|(one, two)| Round { one, two }),
        );
    }
    let mut findings = judge(&rounds);
    if stage.interrupt.requested() {
        findings.invalid.push("interrupted".to_owned());
    }
    Ok(Report::of_findings(SCENARIO.name, findings))
}

impl Pair {
    fn of((engine, floor): (Option<Phase>, Option<Phase>)) -> Option<Self> {
        engine
            .zip(floor)
            .map(|(engine, floor)| Self { engine, floor })
    }

    fn ratio(&self) -> f64 {
        cpu(&self.engine) / cpu(&self.floor)
    }
}

impl Round {
    /// How much further from the floor two shards are than one.
    fn factor(&self) -> f64 {
        self.two.ratio() / self.one.ratio()
    }
}

fn judge(rounds: &[Round]) -> Findings {
    let mut findings = Findings::new(&["one", "two"]);
    let row = |of: fn(&Pair) -> f64| {
        let median = |pair: fn(&Round) -> &Pair| median(rounds.iter().map(|round| of(pair(round))));
        [median(|round| &round.one), median(|round| &round.two)]
    };
    findings.figure(
        "CPU a request, engine",
        Unit::Micros,
        &row(|pair| cpu(&pair.engine)),
    );
    findings.figure(
        "CPU a request, bare loop",
        Unit::Micros,
        &row(|pair| cpu(&pair.floor)),
    );
    findings.figure("engine over bare loop", Unit::Times, &row(Pair::ratio));
    findings.figure(
        "requests a second, engine",
        Unit::Count,
        &row(|pair| rate(&pair.engine)),
    );
    findings.figure(
        "requests a second, bare loop",
        Unit::Count,
        &row(|pair| rate(&pair.floor)),
    );
    let sum = |of: fn(&LoadResult) -> u64| {
        let sum = |pair: fn(&Round) -> &Pair| {
            let each = rounds.iter().map(|round| of(&pair(round).engine.result));
            each.sum::<u64>() as f64
        };
        [sum(|round| &round.one), sum(|round| &round.two)].map(Some)
    };
    findings.figure("calls moved", Unit::Count, &sum(|result| result.steals));
    findings.figure(
        "dials in the window",
        Unit::Count,
        &sum(|result| result.dials),
    );
    findings.figure("rounds", Unit::Count, &[Some(rounds.len() as f64); 2]);
    let failed = sum(LoadResult::failed_total).into_iter().flatten().sum();
    findings.must(
        "failed",
        "requests that failed",
        Unit::Count,
        failed,
        Bound::AtMost(0.0),
    );

    let factors: Vec<f64> = rounds.iter().map(Round::factor).collect();
    let Some(interval) = Interval::of(&factors) else {
        findings.invalid.push("fewer than two rounds".to_owned());
        return findings;
    };
    let [low, mean, high] = [interval.low, interval.mean, interval.high].map(|factor| factor - 1.0);
    findings.must(
        "excess_high",
        format!(
            "two shards further from the floor than one, {CONNECTIONS} connections each: {:+.1} %, and with \
             95 % confidence no more than",
            mean * 100.0
        ),
        Unit::Share,
        high,
        Bound::AtMost(EXCESS_MAX),
    );
    findings.must(
        "excess_low",
        "and no less than",
        Unit::Share,
        low,
        Bound::AtMost(EXCESS_MAX),
    );
    if low <= EXCESS_MAX && high > EXCESS_MAX {
        findings.invalid.push(format!(
            "undecided: {:.0} % lies within the interval; more rounds (--rounds N) or a calmer machine narrow it",
            EXCESS_MAX * 100.0
        ));
    }
    findings
}

/// Requests a second.
fn rate(phase: &Phase) -> f64 {
    phase.result.throughput().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::phase;
    use scenarios::Conclusion;

    fn with_cpu(nanos_per_request: u64) -> Phase {
        let mut phase = phase("", "", 100);
        phase.result.cpu.user = Duration::ZERO;
        phase.result.cpu.system = Duration::from_nanos(100 * nanos_per_request);
        phase
    }

    /// Rounds in which a request costs one loop 10 µs, two loops 12 µs, one shard 11 µs, and two shards this.
    fn rounds(two: &[u64]) -> Vec<Round> {
        let pair = |engine, floor| Pair {
            engine: with_cpu(engine),
            floor: with_cpu(floor),
        };
        let round = |two: &u64| Round {
            one: pair(11_000, 10_000),
            two: pair(*two, 12_000),
        };
        two.iter().map(round).collect()
    }

    #[test]
    fn each_kind_has_each_place_and_follows_each_other_once() {
        let mut followed = Vec::new();
        for place in 0..4 {
            let kinds = ORDERS.map(|order| order[place]);
            let distinct = |nth: usize| !kinds[..nth].contains(&kinds[nth]);
            assert!((0..4).all(distinct), "{kinds:?}");
        }
        for order in ORDERS {
            for pair in order.windows(2) {
                assert!(!followed.contains(&[pair[0], pair[1]]), "{pair:?}");
                followed.push([pair[0], pair[1]]);
            }
        }
        assert_eq!(followed.len(), 12);
    }

    #[test]
    fn the_interval_decides() {
        // 13.2 µs would be the same ratio.
        let outcome = |two: &[u64]| judge(&rounds(two)).outcome();
        assert_eq!(outcome(&[13_300, 13_400, 13_350, 13_300]), Conclusion::Pass);
        assert_eq!(outcome(&[14_300, 14_400, 14_350, 14_300]), Conclusion::Fail);
        assert_eq!(
            outcome(&[12_000, 15_000, 13_000, 14_500]),
            Conclusion::Invalid
        );
        assert_eq!(outcome(&[13_200]), Conclusion::Invalid);
        assert_eq!(outcome(&[]), Conclusion::Invalid);
    }

    #[test]
    fn a_failed_request_fails_it() {
        let mut rounds = rounds(&[13_200, 13_201]);
        rounds[0]
            .two
            .engine
            .result
            .failed
            .insert("reset".to_owned(), 1);
        assert_eq!(judge(&rounds).outcome(), Conclusion::Fail);
    }
}
