//! One scenario over another, round by round.
//!
//! Owns: ratios of rounds that ran side by side. Never: compares rounds of different moments, where there are enough that were not.

use crate::peers::SUBJECT;
use crate::rounds::{Compared, Round};
use serde::Serialize;
use std::fmt;

/// Ratios of single rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Paired {
    median: f64,
    /// Where the median is, with 95 % confidence or a little more; all of them where rounds are few.
    low: f64,
    high: f64,
    rounds: usize,
}

/// What our calls take beside idle connections, over what they take without, in the rounds that there are of both.
pub(crate) fn idle_over_h1(compared: &[Compared]) -> Option<Paired> {
    let ours = |name: &str| {
        let scenario = compared.iter().find(|one| one.scenario.name == name)?;
        let rounds = scenario.rounds.iter();
        let mut ours = rounds.filter(|(peer, _)| peer.name == SUBJECT);
        ours.next().map(|(_, rounds)| rounds.as_slice())
    };
    let cpu = |round: &Round| {
        let one = &round.outcome;
        (one.user_us + one.system_us) as f64 / one.requests.max(1) as f64
    };
    let rounds = ours("idle")?.iter().zip(ours("h1")?);
    Paired::of(rounds.map(|(idle, h1)| cpu(idle) / cpu(h1)))
}

impl Paired {
    fn of(ratios: impl Iterator<Item = f64>) -> Option<Paired> {
        let mut sorted: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.len();
        let last = rounds.checked_sub(1)?;
        // Each lies above the median as often as below: the order says where it is, whatever the spread.
        let beyond = (rounds as f64 - 1.96 * (rounds as f64).sqrt()) / 2.0 - 1.0;
        let beyond = (beyond.max(0.0) as usize).min(last / 2);
        Some(Paired {
            median: f64::midpoint(sorted[last / 2], sorted[rounds / 2]),
            low: sorted[beyond],
            high: sorted[last - beyond],
            rounds,
        })
    }
}

impl fmt::Display for Paired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Paired {
            median,
            low,
            high,
            rounds,
        } = self;
        writeln!(
            f,
            "\nidle over h1, ours, round by round: {median:.3} [{low:.3} {high:.3}], {rounds} rounds"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_rounds_tell_no_more_than_where_they_all_are() {
        let paired = Paired::of([1.2, 0.9, 1.0].into_iter()).unwrap();
        assert_eq!((paired.median, paired.low, paired.high), (1.0, 0.9, 1.2));
        assert_eq!(Paired::of([].into_iter()), None);
    }

    #[test]
    fn many_rounds_leave_the_outermost_out() {
        // 100 coins: at most 39 heads, or at least 61, in one of twenty throws.
        let paired = Paired::of((1..=100).map(f64::from)).unwrap();
        assert_eq!((paired.median, paired.low, paired.high), (50.5, 40.0, 61.0));
    }
}
