//! What is compared of runs.
//!
//! Owns the metrics, how they are called, what one is of a block and of whole runs, and how far it changes from run to run of one
//! build. Never: judges.

use super::block::Block;
use crate::load::LoadResult;
use crate::measure;

/// A percentile of a block is known if so many requests lie beyond it.
const BEYOND_MIN: f64 = 10.0;

/// One figure of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    /// Answered requests per second.
    Throughput,
    /// Latency from the intended start at this quantile.
    Latency(&'static str, f64),
    /// The share of requests that failed.
    Failed,
    /// CPU time of the client for each request.
    Cpu,
}

/// All of them, in the order in which they are shown.
pub(crate) const METRICS: [Metric; 7] = [
    Metric::Throughput,
    Metric::Latency("p50", 0.5),
    Metric::Latency("p90", 0.9),
    Metric::Latency("p99", 0.99),
    Metric::Latency("p999", 0.999),
    Metric::Failed,
    Metric::Cpu,
];

/// Why a block has no value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It has so many answers, and needs as many.
    TooFew { has: u64, needs: u64 },
    /// Nothing was asked in it.
    Nothing,
}

impl Metric {
    /// For programs, and as the user writes it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Latency(name, _) => name,
            Self::Failed => "errors",
            Self::Cpu => "cpu",
        }
    }

    /// Whether more of it is worse.
    pub(crate) fn more_is_worse(self) -> bool {
        self != Self::Throughput
    }

    /// Whether it differs more from run to run than within one, so that few runs tell nothing of it.
    pub(super) fn varies_by_run(self) -> bool {
        self == Self::Cpu
    }

    /// Whether changes are told as a factor; shares are told as a difference, since most are zero.
    pub(crate) fn is_ratio(self) -> bool {
        self != Self::Failed
    }

    /// Smaller changes are of no account, though no chance *within* the runs would make them. Where each run is a block the spread
    /// between runs is known, and this is the least that anybody cares for; else it is about what runs of one build differ by, one
    /// standard deviation of them (`docs/stress-report.md` has the figures).
    pub(super) fn grain(self, runs_are_blocks: bool) -> f64 {
        match self {
            Self::Failed => 0.000_1,
            _ if runs_are_blocks => 0.01,
            Self::Throughput => 0.02,
            Self::Latency(_, quantile) if quantile <= 0.5 => 0.02,
            Self::Latency(_, quantile) if quantile <= 0.9 => 0.04,
            Self::Latency(..) | Self::Cpu => 0.15,
        }
    }

    /// Of one block. Where nothing was answered, latency is the block's length: whoever waited then waited no less.
    pub(super) fn of(self, block: &Block) -> Result<f64, Unknown> {
        let asked = block.ok + block.failed;
        match self {
            Self::Throughput => Ok(block.ok as f64 / block.seconds),
            Self::Latency(..) if block.is_silent() => Ok(block.seconds * 1e9),
            Self::Latency(_, quantile) => {
                let (has, needs) = (block.latency.len(), BEYOND_MIN / (1.0 - quantile));
                if (has as f64) < needs * (1.0 - 1e-9) {
                    let needs = needs.round() as u64;
                    return Err(Unknown::TooFew { has, needs });
                }
                Ok(block.latency.value_at_quantile(quantile) as f64)
            }
            Self::Failed | Self::Cpu if asked == 0 => Err(Unknown::Nothing),
            Self::Failed => Ok(block.failed as f64 / asked as f64),
            Self::Cpu => Ok(block.cpu / asked as f64),
        }
    }

    /// Of whole runs together, as each run's own report tells it; `None` where there is nothing to tell.
    pub(super) fn of_runs(self, runs: &[&LoadResult]) -> Option<f64> {
        let sum = |of: &dyn Fn(&LoadResult) -> f64| runs.iter().map(|run| of(run)).sum::<f64>();
        let ratio = |above: f64, below: f64| (below > 0.0).then(|| above / below);
        match self {
            Self::Throughput => ratio(
                sum(&|run| run.carried().ok as f64),
                sum(&|run| run.elapsed.as_secs_f64()),
            ),
            Self::Latency(_, quantile) => {
                let mut all = measure::latencies();
                for run in runs {
                    let added = all.add(&run.latency);
                    debug_assert!(added.is_ok(), "all histograms have the same bounds");
                }
                (!all.is_empty()).then(|| all.value_at_quantile(quantile) as f64)
            }
            Self::Failed => {
                let failed = sum(&|run| run.failed_total() as f64);
                ratio(failed, failed + sum(&|run| run.ok as f64))
            }
            Self::Cpu => {
                let ended = |run: &LoadResult| {
                    let carried = run.carried();
                    (carried.ok + carried.failed) as f64
                };
                let used = |run: &LoadResult| (run.cpu.user + run.cpu.system).as_secs_f64();
                ratio(sum(&used), sum(&ended))
            }
        }
    }

    /// What it is called in a table.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Throughput => "requests/s".to_owned(),
            Self::Latency(name, _) => format!("latency {}", name.replace("p999", "p99.9")),
            Self::Failed => "failed".to_owned(),
            Self::Cpu => "client CPU/request".to_owned(),
        }
    }

    /// A value of it there.
    pub(crate) fn show(self, value: Option<f64>) -> String {
        let Some(value) = value else {
            return "none".to_owned();
        };
        match self {
            Self::Throughput => format!("{value:.0}"),
            Self::Latency(..) => microseconds(value / 1e3),
            Self::Failed => format!("{:.3} %", value * 100.0),
            Self::Cpu => microseconds(value * 1e6),
        }
    }
}

fn microseconds(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.1} µs"),
        us if us < 1e6 => format!("{:.2} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}
