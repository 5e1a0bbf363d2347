//! How one metric changed, and how sure that is.
//!
//! Owns the statistics of one metric: two samples, or pairs. Never: decides what a block is.

use super::metric::Metric;
use super::student;

/// No estimate of a block is known better than this, however little blocks differ: the histograms' grain.
const SPREAD_MIN: f64 = 0.001;

/// How a metric changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) metric: Metric,
    /// Of the whole runs, before and after; `None` where nothing was answered at all.
    pub(crate) values: [Option<f64>; 2],
    /// The blocks' mean, before and after: the geometric one, where changes are factors.
    pub(crate) means: [f64; 2],
    /// From one mean to the other: as a share of that before, for shares as a difference.
    pub(crate) change: f64,
    /// Where it surely lies, together with all others.
    pub(crate) interval: [f64; 2],
    /// Smaller changes are of no account.
    pub(crate) grain: f64,
    /// The least change that these runs could have shown.
    pub(crate) least: f64,
    /// Of two or three runs on each side: where the change would lie if each run were one block.
    pub(crate) by_runs: Option<[f64; 2]>,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Better,
    Worse,
    /// No more than chance would do.
    Same,
}

/// What differences are taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// Logarithms: factors.
    Log,
    /// Values, told as shares of the mean before: where a value is zero.
    Relative,
    /// Values, told as they are.
    Plain,
}

/// Values of blocks before and after.
pub(super) type Sides = [Vec<f64>; 2];

/// A change, where it surely lies, and how far a chance difference reaches.
struct Found {
    means: [f64; 2],
    change: f64,
    interval: [f64; 2],
    reach: f64,
}

impl Change {
    /// With the probability `error` that its interval is wrong. `pairs` has the nth before belong to the nth after. `None` where
    /// there was nothing before that a change could be a share of.
    pub(super) fn of(
        metric: Metric,
        sides: &Sides,
        (error, pairs, grain): (f64, bool, f64),
    ) -> Option<Self> {
        let found = find(metric, sides, error, pairs)?;
        Some(Self {
            metric,
            values: [None; 2],
            means: found.means,
            change: found.change,
            interval: found.interval,
            grain,
            least: grain + found.reach,
            by_runs: None,
        })
    }

    /// What it means.
    pub(crate) fn judgement(&self) -> Judgement {
        let [low, high] = self.interval;
        match (low > self.grain, high < -self.grain) {
            (true, _) if self.metric.more_is_worse() => Judgement::Worse,
            (true, _) => Judgement::Better,
            (_, true) if self.metric.more_is_worse() => Judgement::Better,
            (_, true) => Judgement::Worse,
            (false, false) => Judgement::Same,
        }
    }
}

/// The interval alone, of blocks that are whole runs.
pub(super) fn interval(metric: Metric, sides: &Sides, error: f64) -> Option<[f64; 2]> {
    find(metric, sides, error, false).map(|found| found.interval)
}

fn find(metric: Metric, sides: &Sides, error: f64, pairs: bool) -> Option<Found> {
    let scale = match metric.is_ratio() {
        false => Scale::Plain,
        true if sides.iter().flatten().all(|value| *value > 0.0) => Scale::Log,
        true => Scale::Relative,
    };
    let [before, after] = sides.each_ref().map(|side| -> Vec<f64> {
        match scale {
            Scale::Log => side.iter().map(|value| value.ln()).collect(),
            Scale::Relative | Scale::Plain => side.clone(),
        }
    });
    let (a, b) = (Estimate::of(&before), Estimate::of(&after));
    // What one of `before` is as a share: of a difference of values, and so of its error.
    let (unit, slope) = match scale {
        Scale::Log | Scale::Plain => (1.0, 1.0),
        Scale::Relative if a.mean > 0.0 => (a.mean, b.mean / a.mean),
        Scale::Relative => return None,
    };
    let (variance, freedom) = if pairs {
        let each = before.iter().zip(&after).map(|(a, b)| b - slope * a);
        let each: Vec<f64> = each.collect();
        (Estimate::of(&each).variance, each.len() - 1)
    } else {
        let variance = slope.powi(2) * a.variance + b.variance;
        (variance, before.len().min(after.len()) - 1)
    };
    let difference = (b.mean - a.mean) / unit;
    let reach = student::critical(error, freedom) * variance.sqrt() / unit;
    let told = |difference: f64| match scale {
        Scale::Log => difference.exp_m1(),
        Scale::Relative | Scale::Plain => difference,
    };
    let mean = |mean: f64| match scale {
        Scale::Log => mean.exp(),
        Scale::Relative | Scale::Plain => mean,
    };
    Some(Found {
        means: [mean(a.mean), mean(b.mean)],
        change: told(difference),
        interval: [told(difference - reach), told(difference + reach)],
        reach: told(reach),
    })
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
        let least = if values.iter().all(|value| *value == 0.0) {
            0.0
        } else {
            SPREAD_MIN.powi(2)
        };
        Self {
            mean,
            variance: spread.max(least) / count,
        }
    }
}
