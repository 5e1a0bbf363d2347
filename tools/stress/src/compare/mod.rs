//! Whether one run differs from another: by more than chance, in which figure, and by how much.
//!
//! Owns the judgement. A run's intervals are put together into a few long blocks, one after the other. Each block gives one value
//! of a metric, of the histogram of its own requests; the blocks of both runs are compared as two samples with Student's t,
//! with as many degrees of freedom as the run with fewer blocks allows (one less than it has).
//!
//! Requests that follow one another are anything but independent: a stall, a neighbour on the host, a warm cache concern
//! thousands of them. What a long block has in common with its neighbour is little beside what happens within it, whatever the dependence inside:
//! so the *blocks'* spread tells how uncertain their mean is. With few blocks, and critical values of Student's t
//! for that number, the test keeps its level also where blocks differ in their variance (R. Ibragimov, U. K. Müller: "t-Statistic
//! Based Correlation and Heterogeneity Robust Inference", J. Bus. Econ. Stat. 28, 2010; for two samples, "Inference with Few
//! Heterogeneous Clusters", Rev. Econ. Stat. 98, 2016). It asks of a block's estimate only to be about normal, which a
//! quantile with enough requests beyond it is. A bootstrap of moving blocks was not taken: with
//! so few blocks it is too sure of itself.
//!
//! The error is that of the whole family: all intervals together hold with 99 % confidence (Bonferroni over the metrics that
//! could be compared). A difference is called one only if it is surely more than [`GRAIN`]. What no comparison of
//! two runs can see is what is constant during a run and changes from run to run, such as where memory came to lie, or how fast the host
//! is today; with four runs or more on each side every run is one block, and that is in the spread too. CPU per request is mostly
//! of that kind (`docs/stress-report.md` has figures), and is compared only then.

mod command;
mod limit;
mod metric;
mod show;
mod student;

pub(crate) use command::run;
pub(crate) use limit::Limit;
pub(crate) use metric::Metric;
pub(crate) use show::{json, table};

use crate::load::LoadResult;
use metric::{Block, METRICS};

/// How likely it is that anything at all is called a difference where there is none.
const ERROR: f64 = 0.01;
/// Blocks of one run. Fewer are longer and so less dependent; more tell the spread better.
const BLOCKS: usize = 10;
/// With as many runs on each side, a run is a block.
const RUNS_AS_BLOCKS: usize = 4;
/// With fewer blocks nothing is compared.
const BLOCKS_MIN: usize = 4;
/// Smaller changes are of no account: runs of one build, one after the other, differ by that much.
const GRAIN: f64 = 0.01;
/// The same for the share of requests that failed.
const GRAIN_FAILED: f64 = 0.000_1;
/// No estimate of a block is known better than this, however little blocks differ: the histograms' grain.
const SPREAD_MIN: f64 = 0.001;

/// Two runs, or two groups of runs, side by side.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// What could be compared.
    pub(crate) changes: Vec<Change>,
    /// What could not, and why.
    pub(crate) omitted: Vec<(Metric, &'static str)>,
    /// Blocks on each side.
    pub(crate) blocks: [usize; 2],
}

/// How a metric changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) metric: Metric,
    /// Over all blocks, before and after.
    pub(crate) values: [f64; 2],
    /// The change: as a share of the value before, for shares as a difference.
    pub(crate) change: f64,
    /// Where it surely lies, together with all others.
    pub(crate) interval: [f64; 2],
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Better,
    Worse,
    /// No more than chance would do.
    Same,
}

/// Why runs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooShort;

impl Comparison {
    /// Compares runs before with runs after.
    pub(crate) fn of(before: &[&LoadResult], after: &[&LoadResult]) -> Result<Self, TooShort> {
        let as_blocks = before.len().min(after.len()) >= RUNS_AS_BLOCKS;
        let sides = [before, after].map(|runs| -> Vec<Block> {
            let each = if as_blocks {
                1
            } else {
                BLOCKS.div_ceil(runs.len().max(1))
            };
            let split = |run: &&LoadResult| Block::split(run, each);
            runs.iter().flat_map(split).collect()
        });
        let blocks = [sides[0].len(), sides[1].len()];
        if blocks[0].min(blocks[1]) < BLOCKS_MIN {
            return Err(TooShort);
        }
        let mut omitted = Vec::new();
        let mut compared = Vec::new();
        for metric in METRICS {
            let values = |side: &[Block]| -> Option<Vec<f64>> {
                side.iter().map(|block| metric.of(block)).collect()
            };
            if metric.varies_by_run() && !as_blocks {
                omitted.push((metric, "it differs from run to run; give four of each"));
                continue;
            }
            match (values(&sides[0]), values(&sides[1])) {
                (Some(before), Some(after)) => compared.push((metric, [before, after])),
                (None, _) | (_, None) => omitted.push((metric, "too few requests in each block")),
            }
        }
        let error = ERROR / compared.len().max(1) as f64;
        let changes = compared
            .into_iter()
            .map(|(metric, sides)| Change::of(metric, &sides, error))
            .collect();
        Ok(Self {
            changes,
            omitted,
            blocks,
        })
    }

    /// Which limits are exceeded for sure.
    pub(crate) fn exceeded(&self, limits: &[Limit]) -> Vec<(Limit, Change)> {
        let exceeded = |limit: &Limit| {
            let change = self.changes.iter().find(|c| c.metric == limit.metric)?;
            let [low, high] = change.interval;
            let is_exceeded = if limit.change.is_sign_negative() {
                high < limit.change
            } else {
                low > limit.change
            };
            is_exceeded.then_some((*limit, *change))
        };
        limits.iter().filter_map(exceeded).collect()
    }
}

impl Change {
    /// With the probability `error` that its interval is wrong.
    fn of(metric: Metric, [before, after]: &[Vec<f64>; 2], error: f64) -> Self {
        let (a, b) = (Estimate::of(before), Estimate::of(after));
        let freedom = before.len().min(after.len()) - 1;
        let reach = student::critical(error, freedom) * (a.variance + b.variance).sqrt();
        let difference = b.mean - a.mean;
        // From logarithms to factors.
        let change = |difference: f64| match metric.is_ratio() {
            true => difference.exp_m1(),
            false => difference,
        };
        let value = |mean: f64| if metric.is_ratio() { mean.exp() } else { mean };
        Self {
            metric,
            values: [value(a.mean), value(b.mean)],
            change: change(difference),
            interval: [change(difference - reach), change(difference + reach)],
        }
    }

    /// What it means.
    pub(crate) fn judgement(&self) -> Judgement {
        let grain = if self.metric.is_ratio() {
            GRAIN
        } else {
            GRAIN_FAILED
        };
        let [low, high] = self.interval;
        match (low > grain, high < -grain) {
            (true, _) if self.metric.more_is_worse() => Judgement::Worse,
            (true, _) => Judgement::Better,
            (_, true) if self.metric.more_is_worse() => Judgement::Better,
            (_, true) => Judgement::Worse,
            (false, false) => Judgement::Same,
        }
    }
}

/// A mean, and the variance of that mean.
struct Estimate {
    mean: f64,
    variance: f64,
}

impl Estimate {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let spread = squares / (count - 1.0);
        // Where nothing fails at all there is nothing to be unsure of; else a block is known as well as its grain.
        let least = if mean == 0.0 { 0.0 } else { SPREAD_MIN.powi(2) };
        Self {
            mean,
            variance: spread.max(least) / count,
        }
    }
}

#[cfg(test)]
mod tests;
