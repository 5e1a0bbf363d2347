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
//! could be compared). A difference is called one only if it is surely more than the metric's grain ([`Metric`]). What no comparison of
//! two runs can see is what is constant during a run and changes from run to run, such as where memory came to lie, or how fast the host
//! is today; so there the grain is about as large as that is known to be. With four runs or more on each side every run is one block,
//! and that is in the spread too; runs that were made in turns may be compared as pairs, which takes out what drifts. With two or three
//! runs a side such an interval is shown beside the other, and is wide: Student's t for one degree of freedom is 64 at one percent, for
//! two 9.9. CPU per request is mostly of that kind (`docs/stress-report.md` has figures), and is compared only where runs are blocks.
//!
//! | file | concept |
//! |---|---|
//! | `block` | how a run is cut |
//! | `change` | the statistics of one metric |
//! | `command` | `stress compare` |
//! | `differ` | what else differs between the runs |
//! | `limit` | `--fail-on` |
//! | `metric` | what is compared |
//! | `page` | a comparison as a page |
//! | `show` | how it reads |
//! | `student` | Student's t |

mod block;
mod change;
mod command;
mod differ;
mod limit;
mod metric;
mod page;
mod show;
mod student;

pub(crate) use change::{Change, Judgement};
pub(crate) use command::run;
pub(crate) use limit::Limit;
pub(crate) use metric::Metric;
pub(crate) use show::{json, percent, table};

use std::fmt;

use crate::load::LoadResult;
use block::Block;
use metric::{METRICS, Unknown};

/// How likely it is that anything at all is called a difference where there is none.
const ERROR: f64 = 0.01;
/// Blocks of one run. Fewer are longer and so less dependent; more tell the spread better.
const BLOCKS: usize = 10;
/// With as many runs on each side, a run is a block.
const RUNS_AS_BLOCKS: usize = 4;
/// With fewer blocks nothing is compared.
const BLOCKS_MIN: usize = 4;

/// Two runs, or two groups of runs, side by side.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// What could be compared.
    pub(crate) changes: Vec<Change>,
    /// What could not, and why.
    pub(crate) omitted: Vec<(Metric, String)>,
    /// Runs on each side.
    pub(crate) runs: [usize; 2],
    /// Blocks on each side.
    pub(crate) blocks: [usize; 2],
    /// Those of them in which nothing was answered.
    pub(crate) silent: [usize; 2],
    pub(crate) by: By,
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A part of a run.
    Parts,
    /// A run.
    Runs,
    /// A run, beside the one that was made in turn with it.
    Pairs,
}

/// Why runs cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incomparable {
    TooShort,
    /// Pairs are asked for, and these are no pairs.
    NoPairs,
}

impl Comparison {
    /// Compares runs before with runs after; as pairs, the nth with the nth.
    pub(crate) fn of(
        before: &[&LoadResult],
        after: &[&LoadResult],
        pairs: bool,
    ) -> Result<Self, Incomparable> {
        let fewest = before.len().min(after.len());
        let by = match (fewest >= RUNS_AS_BLOCKS, pairs) {
            (true, true) if before.len() == after.len() => By::Pairs,
            (_, true) => return Err(Incomparable::NoPairs),
            (true, false) => By::Runs,
            (false, false) => By::Parts,
        };
        let runs = [before, after];
        let whole = runs.map(|runs| cut(runs, 1));
        let sides = match by {
            By::Parts => runs.map(|runs| cut(runs, BLOCKS.div_ceil(runs.len().max(1)))),
            By::Runs | By::Pairs => whole.clone(),
        };
        let blocks = sides.each_ref().map(Vec::len);
        if blocks[0].min(blocks[1]) < BLOCKS_MIN {
            return Err(Incomparable::TooShort);
        }
        let silent = sides
            .each_ref()
            .map(|side| side.iter().filter(|block| block.is_silent()).count());
        let (mut omitted, mut compared) = (Vec::new(), Vec::new());
        for metric in METRICS {
            if metric.varies_by_run() && by == By::Parts {
                let why = format!("it differs from run to run; give {RUNS_AS_BLOCKS} of each");
                omitted.push((metric, why));
                continue;
            }
            if metric.is_ratio() && silent[0] == blocks[0] {
                omitted.push((metric, "nothing was answered before".to_owned()));
                continue;
            }
            match values(metric, &sides) {
                Ok(values) => compared.push((metric, values)),
                Err(why) => omitted.push((metric, why)),
            }
        }
        let error = ERROR / compared.len().max(1) as f64;
        let change = |(metric, values): (Metric, [Vec<f64>; 2])| {
            let grain = metric.grain(by != By::Parts);
            let change = Change::of(metric, &values, (error, by == By::Pairs, grain));
            let Some(change) = change else {
                omitted.push((metric, "it was nothing before".to_owned()));
                return None;
            };
            let by_runs = || {
                let each = values_of_runs(metric, &whole)?;
                change::interval(metric, &each, error)
            };
            Some(Change {
                values: runs.map(|runs| metric.of_runs(runs)),
                by_runs: (by == By::Parts && fewest > 1).then(by_runs).flatten(),
                ..change
            })
        };
        let changes = compared.into_iter().filter_map(change).collect();
        Ok(Self {
            changes,
            omitted,
            runs: [before.len(), after.len()],
            blocks,
            silent,
            by,
        })
    }

    /// Which limits are exceeded for sure: by more than the metric's grain too, since less is none of the build's doing.
    pub(crate) fn exceeded(&self, limits: &[Limit]) -> Vec<(Limit, Change)> {
        let exceeded = |limit: &Limit| {
            let change = self.changes.iter().find(|c| c.metric == limit.metric)?;
            let [low, high] = change.interval;
            let is_exceeded = if limit.change.is_sign_negative() {
                high < limit.change.min(-change.grain)
            } else {
                low > limit.change.max(change.grain)
            };
            is_exceeded.then_some((*limit, *change))
        };
        limits.iter().filter_map(exceeded).collect()
    }

    /// The first of the limits whose metric could not be compared, and why.
    pub(crate) fn unseen(&self, limits: &[Limit]) -> Option<(Metric, &str)> {
        limits.iter().find_map(|limit| {
            let mut omitted = self.omitted.iter();
            let found = omitted.find(|(metric, _)| *metric == limit.metric);
            found.map(|(metric, why)| (*metric, why.as_str()))
        })
    }

    /// Whether more stretches are without any answer after than before, and a limit asks for answers. Means of blocks are slow to
    /// be sure of that; but silence is no matter of chance.
    pub(crate) fn fell_silent(&self, limits: &[Limit]) -> bool {
        let [before, after] =
            [0, 1].map(|side| self.silent[side] as f64 / self.blocks[side] as f64);
        let asks = |limit: &Limit| matches!(limit.metric, Metric::Throughput | Metric::Latency(..));
        after > before && limits.iter().any(asks)
    }

    /// What these runs cannot tell, in words.
    pub(crate) fn undecidable(&self, limits: &[Limit]) -> Vec<String> {
        let mut notes = Vec::new();
        let [before, after] = self.runs;
        match (self.by, before.min(after)) {
            (By::Parts, 1) => notes.push(format!(
                "with one run on a side nothing is known of how runs of one build differ: less than {:.0} % is called no difference \
                 ({:.0} % from p99 on); give {RUNS_AS_BLOCKS} runs of each to see less",
                Metric::Throughput.grain(false) * 100.0,
                Metric::Cpu.grain(false) * 100.0,
            )),
            (By::Parts, few) => notes.push(format!(
                "with {few} runs on a side a change is sure only as far as these very runs go: what is outside of *by runs* would be \
                 sure of any; give {RUNS_AS_BLOCKS} runs of each to see less"
            )),
            (By::Runs | By::Pairs, _) => {}
        }
        if self.silent != [0, 0] {
            notes.push(
                "where nothing was answered in a block latency counts as its length: whoever waited then waited no less".to_owned(),
            );
        }
        for limit in limits {
            let change = self.changes.iter().find(|c| c.metric == limit.metric);
            if let Some(change) = change.filter(|change| change.least > limit.change.abs()) {
                notes.push(format!(
                    "{}:{} is finer than these runs can show: a change of less than {} may stay unseen",
                    limit.metric.key(),
                    percent(limit.change, limit.metric.is_ratio()),
                    percent(change.least, limit.metric.is_ratio()).trim_start_matches('+')
                ));
            }
        }
        notes
    }
}

/// Each run as so many blocks.
fn cut(runs: &[&LoadResult], each: usize) -> Vec<Block> {
    runs.iter()
        .flat_map(|run| Block::split(run, each))
        .collect()
}

/// Of all blocks of both sides, or why there is one without.
fn values(metric: Metric, sides: &[Vec<Block>; 2]) -> Result<[Vec<f64>; 2], String> {
    let side = |nth: usize| -> Result<Vec<f64>, String> {
        let name = ["before", "after"][nth];
        let value = |block: &Block| {
            metric.of(block).map_err(|unknown| match unknown {
                Unknown::TooFew { has, needs } => format!(
                    "a block {name} has {has} answers, and {needs} are needed: load for longer, or at a higher rate"
                ),
                Unknown::Nothing => format!("nothing was asked in a block {name}"),
            })
        };
        sides[nth].iter().map(value).collect()
    };
    Ok([side(0)?, side(1)?])
}

/// The same of whole runs, if all have a value.
fn values_of_runs(metric: Metric, runs: &[Vec<Block>; 2]) -> Option<[Vec<f64>; 2]> {
    values(metric, runs).ok()
}

impl fmt::Display for Incomparable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort => {
                f.write_str("a run is too short to be compared: two seconds at least")
            }
            Self::NoPairs => write!(
                f,
                "pairs are as many runs before as after, and {RUNS_AS_BLOCKS} of each at least"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
