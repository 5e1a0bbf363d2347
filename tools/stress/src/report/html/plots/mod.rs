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
    let named = [
        ("from intended start", &result.latency),
        ("from send", &result.service),
        ("the tool's own lag", &result.lag),
    ];
    let any = named.iter().filter(|(_, histogram)| !histogram.is_empty());
    let most = any.clone().map(|(_, h)| h.len()).max().unwrap_or(10);
    let nines = (most as f64).log10().clamp(1.0, 7.0);
    // Most of the tool's own lag lies far below, and is of no interest there.
    let of_requests = any.clone().take(2);
    let min = of_requests.map(|(_, h)| h.min()).min().unwrap_or(1);
    let max = any.clone().map(|(_, h)| h.max()).max().unwrap_or(1);
    let lines: Vec<Line> = named
        .iter()
        .enumerate()
        .filter(|(nth, (_, h))| !h.is_empty() && (*nth != 1 || **h != result.latency))
        .map(|(nth, (name, histogram))| line(name, nth + 1, Shape::Line, curve(histogram, nines)))
        .collect();
    let steps = (nines * 4.0).ceil() as i32;
    let quantile = |step: i32| 1.0 - 10_f64.powf(f64::from(-step) / 4.0);
    let bands = (0..steps).map(|step| {
        let (from, to) = (quantile(step), quantile(step + 1));
        let values = named.iter().filter(|(_, h)| !h.is_empty());
        let says = values.map(|(name, h)| {
            let value = h.value_at_quantile(from);
            format!("{name}: {}", time(value as f64))
        });
        let says = says.collect::<Vec<_>>().join("\n");
        Band {
            from,
            to,
            says: format!("p{}\n{says}", digits(from * 100.0)),
        }
    });
    Chart {
        id: format!("{prefix}percentiles"),
        title: "Latency by percentile",
        about: format!(
            "of {} requests; both axes are logarithmic",
            count(result.latency.len() as f64)
        ),
        x: Axis {
            scale: Scale::Nines(nines),
            name: percentile,
        },
        y: Axis {
            scale: Scale::around(min as f64, max as f64),
            name: time,
        },
        bands: if lines.is_empty() {
            Vec::new()
        } else {
            bands.collect()
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
