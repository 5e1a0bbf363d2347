//! Variants beside the plain loop, in one run.
//!
//! Owns: the order of rounds, medians and ratios. Never: prints.

use crate::variant::Variant;
use crate::{FloorReport, FloorRun, run_observed};
use std::io;
use std::time::Duration;

/// One request in so many is timed.
const TIMED_EVERY: u64 = 7;

/// What to compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The work; its own variant is the one that the others are compared with.
    pub run: FloorRun,
    /// The others.
    pub variants: Vec<(String, Variant)>,
    /// In each, every variant runs once; who begins changes.
    pub rounds: usize,
}

/// What came of one variant: medians over the rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Microseconds of CPU for each request, user and system.
    pub cpu_us: f64,
    /// Those over the plain loop's, of medians.
    pub ratio: f64,
    /// The same of single rounds: the lower and the upper quartile.
    pub ratios: (f64, f64),
    /// Requests a second.
    pub per_second: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// Requests for each `io_uring_enter`.
    pub requests_per_enter: f64,
}

/// One variant's figures, an entry for each round.
#[derive(Default)]
struct Rounds {
    cpu_us: Vec<f64>,
    per_second: Vec<f64>,
    p50_us: Vec<f64>,
    requests_per_enter: Vec<f64>,
}

/// Runs the plain loop and each variant, round by round. The first row is the plain loop's.
///
/// # Errors
/// As [`run`](crate::run), of any of them.
pub fn compare(comparison: &Comparison) -> io::Result<Vec<Row>> {
    let plain = ("plain".to_owned(), comparison.run.variant);
    let all: Vec<_> = std::iter::once(&plain)
        .chain(&comparison.variants)
        .collect();
    let mut rounds: Vec<Rounds> = all.iter().map(|_| Rounds::default()).collect();
    for round in 0..comparison.rounds {
        for nth in 0..all.len() {
            let nth = (nth + round) % all.len();
            let run = FloorRun {
                variant: all[nth].1,
                ..comparison.run.clone()
            };
            let mut latencies = Vec::new();
            let report = run_observed(run, TIMED_EVERY, |latency| latencies.push(latency))?;
            rounds[nth].add(&report, latencies);
        }
    }
    let plain = &rounds[0];
    let rows = all.iter().zip(&rounds);
    Ok(rows.map(|((name, _), own)| own.row(name, plain)).collect())
}

impl Rounds {
    fn add(&mut self, report: &FloorReport, mut latencies: Vec<Duration>) {
        let requests = report.requests.max(1) as f64;
        let cpu = report.cpu_user_us + report.cpu_system_us;
        latencies.sort_unstable();
        let p50 = latencies.get(latencies.len() / 2).copied();
        self.cpu_us.push(cpu as f64 / requests);
        self.per_second.push(requests / report.seconds);
        self.p50_us
            .push(p50.unwrap_or_default().as_secs_f64() * 1e6);
        self.requests_per_enter
            .push(requests / report.enters.max(1) as f64);
    }

    fn row(&self, name: &str, plain: &Rounds) -> Row {
        let pairs = self.cpu_us.iter().zip(&plain.cpu_us);
        let ratios: Vec<f64> = pairs.map(|(own, plain)| own / plain).collect();
        let cpu_us = median(&self.cpu_us);
        Row {
            name: name.to_owned(),
            cpu_us,
            ratio: cpu_us / median(&plain.cpu_us),
            ratios: (quantile(&ratios, 0.25), quantile(&ratios, 0.75)),
            per_second: median(&self.per_second),
            p50_us: median(&self.p50_us),
            requests_per_enter: median(&self.requests_per_enter),
        }
    }
}

fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// Between two figures what lies between them.
fn quantile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = part * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[4.0, 1.0, 2.0, 3.0, 5.0], 0.25), 2.0);
    }

    #[test]
    fn ratios_are_of_medians_and_of_rounds() {
        let rounds = |cpu: [f64; 3]| Rounds {
            cpu_us: cpu.to_vec(),
            ..Rounds::default()
        };
        let row = rounds([1.0, 3.0, 2.0]).row("x", &rounds([2.0, 2.0, 4.0]));
        assert_eq!((row.ratio, row.ratios), (1.0, (0.5, 1.0)));
    }
}
