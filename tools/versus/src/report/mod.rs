//! What came of a run, for people and for programs.
//!
//! Owns: figures out of rounds. Never: leaves anybody out silently.

mod json;
mod paired;
mod table;

pub(crate) use json::render as json;
pub(crate) use paired::idle_over_h1;
pub(crate) use table::{heading, render as table};

use crate::measure::Outcome;
use crate::peers::SUBJECT;
use crate::rounds::{Compared, Round};
use crate::stats::{Spread, ratio};

/// The figures of one client in one scenario.
#[derive(Clone, Debug)]
struct Figures {
    user: Option<Spread>,
    system: Option<Spread>,
    total: Option<Spread>,
    rps: Option<Spread>,
    p50: Option<Spread>,
    p99: Option<Spread>,
    connections: Option<Spread>,
    peak_rss: Option<Spread>,
    requests: u64,
    rounds: usize,
}

impl Figures {
    fn of(rounds: &[Round]) -> Figures {
        let each = |figure: fn(&Outcome) -> f64| {
            Spread::of(rounds.iter().map(|round| figure(&round.outcome)))
        };
        let told = |figure: fn(&Outcome) -> Option<f64>| {
            Spread::of(rounds.iter().filter_map(|round| figure(&round.outcome)))
        };
        Figures {
            user: each(|one| one.user_us as f64 / one.requests as f64),
            system: each(|one| one.system_us as f64 / one.requests as f64),
            total: each(|one| (one.user_us + one.system_us) as f64 / one.requests as f64),
            rps: each(|one| one.requests as f64 / one.seconds),
            p50: told(|one| one.p50_us),
            p99: told(|one| one.p99_us),
            connections: Spread::of(rounds.iter().map(|round| round.seen.accepted as f64)),
            peak_rss: each(|one| one.peak_rss_bytes as f64),
            requests: rounds.iter().map(|round| round.outcome.requests).sum(),
            rounds: rounds.len(),
        }
    }
}

/// Figures of everybody who took part and did not fail, in order.
fn figures(compared: &Compared) -> Vec<(&'static str, Figures)> {
    let failed = |name| compared.failed.iter().any(|(peer, _)| peer.name == name);
    let fine = compared
        .rounds
        .iter()
        .filter(|(peer, _)| !failed(peer.name));
    fine.map(|(peer, rounds)| (peer.name, Figures::of(rounds)))
        .collect()
}

/// ringpool's figure over that of each of the others.
fn ratios(
    figures: &[(&'static str, Figures)],
    figure: fn(&Figures) -> Option<Spread>,
) -> Vec<(&'static str, f64)> {
    let ours = figures.iter().find(|(name, _)| *name == SUBJECT);
    let Some((_, ours)) = ours else {
        return Vec::new();
    };
    let others = figures.iter().filter(|(name, _)| *name != SUBJECT);
    others
        .filter_map(|(name, theirs)| Some((*name, ratio(figure(ours), figure(theirs))?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Counts;
    use crate::peers::named as peer;
    use crate::scenario::named as scenario;

    fn round(cpu_us: u64) -> Round {
        Round {
            outcome: Outcome {
                requests: 10,
                seconds: 0.5,
                user_us: cpu_us,
                system_us: 10 * cpu_us - cpu_us,
                p50_us: Some(20.0),
                p99_us: None,
                answered: Some(12),
                peak_rss_bytes: 1 << 20,
            },
            seen: Counts {
                accepted: 64,
                answered: 12,
            },
        }
    }

    /// ringpool in three rounds, the floor in one, wrk not at all, h2load in vain.
    pub(super) fn compared() -> Compared {
        let peer = |name| peer(name).unwrap();
        Compared {
            scenario: scenario("h1").unwrap(),
            rounds: vec![
                (peer("ringpool"), vec![round(6), round(5), round(9)]),
                (peer("floor"), vec![round(5)]),
                (peer("h2load"), vec![]),
            ],
            skipped: vec![(peer("wrk"), "is not installed".to_owned())],
            failed: vec![(peer("h2load"), "was refused".to_owned())],
        }
    }

    #[test]
    fn figures_are_per_request_and_over_rounds() {
        let figures = figures(&compared());
        let names: Vec<_> = figures.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["ringpool", "floor"]);
        let ours = &figures[0].1;
        let total = ours.total.unwrap();
        assert_eq!((total.min, total.median, total.max), (5.0, 6.0, 9.0));
        assert_eq!(ours.rps.unwrap().median, 20.0);
        assert_eq!((ours.requests, ours.rounds), (30, 3));
        assert_eq!(ours.p99, None);
    }

    #[test]
    fn ratios_are_ours_over_theirs() {
        let figures = figures(&compared());
        assert_eq!(ratios(&figures, |one| one.total), [("floor", 1.2)]);
        assert_eq!(ratios(&figures[1..], |one| one.total), []);
    }
}
