//! Which charts a run is shown by.
//!
//! Owns what is drawn from a result, chart by chart. Never: computes anything that was not recorded.
//!
//! | file | concept |
//! |---|---|
//! | `beside` | two sides, each chart with both |
//! | `heat` | how latencies are spread, over time |
//! | `over` | a run over time |

mod beside;
mod heat;
mod over;

pub(super) use beside::{SIDES, both};

use hdrhistogram::Histogram;
use serde_json::Value;

use super::chart::{Axis, Band, Chart, Line, Shape};
use super::scale::{Scale, count, digits, percentile, time};
use crate::load::LoadResult;
use crate::series::Sample;
use over::Over;

/// Points of a curve of percentiles.
const CURVE: usize = 240;

/// All charts of one run; `prefix` makes their names unique on the page.
pub(super) fn all(prefix: &str, result: &LoadResult, plan: &Value) -> Vec<Chart> {
    let time = Over::new(prefix, result);
    vec![
        percentiles(prefix, result),
        time.throughput(plan["rate"].as_f64()),
        time.latency(),
        heat::map(prefix, result),
        time.states(),
        time.occupancy(plan["connections"].as_f64()),
        time.handshakes(),
        time.errors(),
        time.cpu(),
    ]
}

/// Latency by percentile, as HdrHistogram plots it.
fn percentiles(prefix: &str, result: &LoadResult) -> Chart {
    let [latency, sent, lag] = [&result.latency, &result.service, &result.lag];
    let about = format!(
        "of {} requests; both axes are logarithmic",
        count(latency.len() as f64)
    );
    let named = [
        Named("from intended start", latency),
        Named("from send", sent),
        Named("the tool's own lag", lag),
    ];
    // Most of the tool's own lag lies far below, and is of no interest there.
    let min = least(&named[..2]);
    let mut chart = by_percentile(format!("{prefix}percentiles"), about, &named, min);
    if sent == latency {
        chart.lines.retain(|line| line.name != named[1].0);
    }
    chart
}

/// Latencies, and what they are called.
struct Named<'a>(&'a str, &'a Histogram<u64>);

/// The least of all of them.
fn least(all: &[Named<'_>]) -> u64 {
    let any = all.iter().filter(|one| !one.1.is_empty());
    any.map(|one| one.1.min()).min().unwrap_or(1)
}

/// A line for each that is not empty, in colours by their order; from `min` on.
fn by_percentile(id: String, about: String, all: &[Named<'_>], min: u64) -> Chart {
    let any = || all.iter().filter(|one| !one.1.is_empty());
    let most = any().map(|one| one.1.len()).max().unwrap_or(10);
    let nines = (most as f64).log10().clamp(1.0, 7.0);
    let max = any().map(|one| one.1.max()).max().unwrap_or(1);
    let lines = all.iter().enumerate().filter(|(_, one)| !one.1.is_empty());
    let lines: Vec<Line> = lines
        .map(|(nth, one)| line(one.0, nth + 1, Shape::Line, curve(one.1, nines)))
        .collect();
    let quantile = |step: i32| 1.0 - 10_f64.powf(f64::from(-step) / 4.0);
    let bands = (0..(nines * 4.0).ceil() as i32).map(|step| {
        let (from, to) = (quantile(step), quantile(step + 1));
        let at = |one: &Named<'_>| time(one.1.value_at_quantile(from) as f64);
        let says = any().map(|one| format!("\n{}: {}", one.0, at(one)));
        Band {
            from,
            to,
            says: format!("p{}{}", digits(from * 100.0), says.collect::<String>()),
        }
    });
    Chart {
        id,
        title: "Latency by percentile",
        about,
        x: Axis {
            scale: Scale::Nines(nines),
            name: percentile,
        },
        y: Axis {
            scale: Scale::around(min as f64, max as f64),
            name: time,
        },
        bands: match lines.is_empty() {
            true => Vec::new(),
            false => bands.collect(),
        },
        lines,
        ..Chart::default()
    }
}

/// Values at quantiles up to so many nines, as far as there is a value behind them.
fn curve(histogram: &Histogram<u64>, nines: f64) -> Vec<(f64, Option<f64>)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let nines = (histogram.len() as f64).log10().min(nines);
    let quantiles = (0..=CURVE).map(|i| 1.0 - 10_f64.powf(-nines * i as f64 / CURVE as f64));
    let point = |q: f64| (q, Some(histogram.value_at_quantile(q) as f64));
    quantiles.map(point).collect()
}

fn line(name: &str, colour: usize, shape: Shape, points: Vec<(f64, Option<f64>)>) -> Line {
    Line {
        name: name.to_owned(),
        colour,
        shape,
        points,
    }
}

/// One value for each sample, in its middle.
fn points(samples: &[Sample], value: impl Fn(&Sample) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    let point = |sample: &Sample| {
        let middle = sample.start + sample.length / 2;
        (middle.as_secs_f64(), value(sample))
    };
    samples.iter().map(point).collect()
}

/// An amount of a sample, as a rate; none of one that has no length.
fn per_second(sample: &Sample, amount: f64) -> Option<f64> {
    (!sample.length.is_zero()).then(|| amount / sample.length.as_secs_f64())
}
