//! What is compared of two runs, and each of it block by block.
//!
//! Owns the metrics, how they are called, and the estimate of one block. Never: judges.

use hdrhistogram::Histogram;

use crate::load::LoadResult;
use crate::measure;
use crate::series::Sample;

/// A percentile is compared if each block has this many requests beyond it.
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
    pub(super) fn more_is_worse(self) -> bool {
        self != Self::Throughput
    }

    /// Whether it differs more from run to run than within one, so that two runs tell nothing of it.
    pub(super) fn varies_by_run(self) -> bool {
        self == Self::Cpu
    }

    /// Whether changes are told as a factor; shares are told as a difference, since most are zero.
    pub(super) fn is_ratio(self) -> bool {
        self != Self::Failed
    }

    /// Of one block: the logarithm where changes are factors; `None` where the block does not have enough for it.
    pub(super) fn of(self, block: &Block) -> Option<f64> {
        let positive = |value: f64| (value > 0.0 && value.is_finite()).then(|| value.ln());
        match self {
            Self::Throughput => positive(block.ok as f64 / block.seconds),
            Self::Latency(_, quantile) => {
                let beyond = block.latency.len() as f64 * (1.0 - quantile);
                let enough = beyond >= BEYOND_MIN;
                let value = || block.latency.value_at_quantile(quantile);
                enough.then(value).and_then(|value| positive(value as f64))
            }
            Self::Failed => {
                let all = block.ok + block.failed;
                (all > 0).then(|| block.failed as f64 / all as f64)
            }
            Self::Cpu => {
                let all = block.ok + block.failed;
                (all > 0)
                    .then(|| positive(block.cpu / all as f64))
                    .flatten()
            }
        }
    }

    /// What it is called in a table, and a value of it there.
    pub(super) fn show(self, value: f64) -> (String, String) {
        match self {
            Self::Throughput => ("requests/s".to_owned(), format!("{value:.0}")),
            Self::Latency(name, _) => {
                let name = name.replace("p999", "p99.9");
                (format!("latency {name}"), microseconds(value / 1e3))
            }
            Self::Failed => ("failed".to_owned(), format!("{:.3} %", value * 100.0)),
            Self::Cpu => ("client CPU/request".to_owned(), microseconds(value * 1e6)),
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

/// Neighbouring intervals of one run.
#[derive(Clone, Debug)]
pub(super) struct Block {
    ok: u64,
    failed: u64,
    seconds: f64,
    latency: Histogram<u64>,
    /// In seconds.
    cpu: f64,
}

impl Block {
    /// All of these samples together.
    pub(super) fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut block = Self {
            ok: 0,
            failed: 0,
            seconds: 0.0,
            latency: measure::latencies(),
            cpu: 0.0,
        };
        for sample in samples {
            block.ok += sample.ok;
            block.failed += sample.failed.values().sum::<u64>();
            block.seconds += sample.length.as_secs_f64();
            sample.latency.add_to(&mut block.latency);
            block.cpu += (sample.cpu.user + sample.cpu.system).as_secs_f64();
        }
        block
    }

    /// `count` blocks of a run, as equal as may be; fewer if it has not as many samples.
    pub(super) fn split(result: &LoadResult, count: usize) -> Vec<Self> {
        let samples = &result.series.samples;
        let count = count.min(samples.len()).max(1);
        let edge = |nth: usize| nth * samples.len() / count;
        (0..count)
            .map(|nth| Self::of(&samples[edge(nth)..edge(nth + 1)]))
            .collect()
    }
}
