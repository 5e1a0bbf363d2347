//! Two sides, each chart with both: each run is a line in its side's colour.
//!
//! Owns which charts two sides are compared by. Never: judges.

use std::time::Duration;

use super::{Named, by_percentile, least, line, per_second, points};
use crate::load::LoadResult;
use crate::measure;
use crate::report::html::chart::{Axis, Band, Chart, Line, Shape};
use crate::report::html::scale::{Scale, count, seconds, time};
use crate::series::Sample;

/// What the sides are called; their colours are the first two.
pub(in crate::report::html) const SIDES: [&str; 2] = ["before", "after"];
/// Runs of a side that are drawn over time; their percentiles are of all.
const DRAWN: usize = 8;

/// A figure of an interval, if it has one.
type Figure = fn(&Sample) -> Option<f64>;

/// A chart over time, before anything is drawn.
struct Kind {
    id: &'static str,
    title: &'static str,
    about: &'static str,
    figure: Figure,
    is_logarithmic: bool,
    name: fn(f64) -> String,
}

const KINDS: [Kind; 6] = [
    Kind {
        id: "throughput",
        title: "Throughput",
        about: "requests answered per second",
        figure: rate,
        is_logarithmic: false,
        name: count,
    },
    Kind {
        id: "p50",
        title: "p50 over time",
        about: "by when answers came; logarithmic",
        figure: |sample| at(sample, 0.5),
        is_logarithmic: true,
        name: time,
    },
    Kind {
        id: "p99",
        title: "p99 over time",
        about: "by when answers came; logarithmic",
        figure: |sample| at(sample, 0.99),
        is_logarithmic: true,
        name: time,
    },
    Kind {
        id: "errors",
        title: "Errors",
        about: "failed requests per second",
        figure: failed,
        is_logarithmic: false,
        name: count,
    },
    Kind {
        id: "leased",
        title: "Connections in use",
        about: "at the end of each interval",
        figure: leased,
        is_logarithmic: false,
        name: count,
    },
    Kind {
        id: "cpu",
        title: "Client CPU",
        about: "cores that the process used",
        figure: cpu,
        is_logarithmic: false,
        name: count,
    },
];

/// All charts; a side is one run, or several of one kind.
pub(in crate::report::html) fn both(sides: [&[&LoadResult]; 2]) -> Vec<Chart> {
    let over_time = KINDS.iter().map(|kind| over_time(sides, kind));
    std::iter::once(percentiles(sides))
        .chain(over_time)
        .collect()
}

fn rate(sample: &Sample) -> Option<f64> {
    per_second(sample, sample.ok as f64)
}

fn failed(sample: &Sample) -> Option<f64> {
    per_second(sample, sample.failed.values().sum::<u64>() as f64)
}

fn cpu(sample: &Sample) -> Option<f64> {
    per_second(sample, (sample.cpu.user + sample.cpu.system).as_secs_f64())
}

fn leased(sample: &Sample) -> Option<f64> {
    sample.pool.map(|pool| pool.leased as f64)
}

fn at(sample: &Sample, quantile: f64) -> Option<f64> {
    let latency = sample.latency.unpack();
    (!latency.is_empty()).then(|| latency.value_at_quantile(quantile) as f64)
}

/// All requests of each side.
fn percentiles(sides: [&[&LoadResult]; 2]) -> Chart {
    let whole = sides.map(|runs| {
        let mut all = measure::latencies();
        for run in runs {
            let added = all.add(&run.latency);
            debug_assert!(added.is_ok(), "all histograms have the same bounds");
        }
        all
    });
    let named = [0, 1].map(|side| Named(SIDES[side], &whole[side]));
    let about = "from the intended start; both axes are logarithmic".to_owned();
    by_percentile("percentiles".to_owned(), about, &named, least(&named))
}

fn over_time(sides: [&[&LoadResult]; 2], kind: &Kind) -> Chart {
    let mut lines: Vec<Line> = Vec::new();
    for (side, runs) in sides.iter().enumerate() {
        for (nth, run) in runs.iter().take(DRAWN).enumerate() {
            let points = points(&run.series.samples, kind.figure);
            // One name for all lines of a side.
            let name = if nth == 0 { SIDES[side] } else { "" };
            lines.push(line(name, side + 1, Shape::Line, points));
        }
    }
    let values = || lines.iter().flat_map(|l| &l.points).filter_map(|(_, y)| *y);
    let max = values().fold(0.0, f64::max);
    let min = values().fold(f64::INFINITY, f64::min);
    let scale = match kind.is_logarithmic && min.is_finite() {
        true => Scale::around(min, max),
        false => Scale::up_to(max),
    };
    let all = sides.iter().flat_map(|runs| runs.iter().take(DRAWN));
    let lasts = all
        .map(|run| run.elapsed.as_secs_f64())
        .fold(1e-3, f64::max);
    Chart {
        id: kind.id.to_owned(),
        title: kind.title,
        about: kind.about.to_owned(),
        x: Axis {
            scale: Scale::Linear(lasts),
            name: seconds,
        },
        y: Axis {
            scale,
            name: kind.name,
        },
        lines,
        bands: bands(sides, kind),
        ..Chart::default()
    }
}

/// What the first run of each side is at, interval by interval of the one that took longer.
fn bands(sides: [&[&LoadResult]; 2], kind: &Kind) -> Vec<Band> {
    let firsts = sides.map(|runs| runs.first().map_or(&[][..], |run| &run.series.samples));
    let ends = |samples: &[Sample]| samples.last().map(|last| last.start + last.length);
    let longer = usize::from(ends(firsts[1]) > ends(firsts[0]));
    let band = |sample: &Sample| {
        let says = SIDES.iter().zip(firsts).filter_map(|(name, samples)| {
            let value = (kind.figure)(at_moment(samples, sample.start + sample.length / 2)?)?;
            Some(format!("\n{name}: {}", (kind.name)(value)))
        });
        let from = sample.start.as_secs_f64();
        Band {
            from,
            to: from + sample.length.as_secs_f64(),
            says: format!("{}{}", seconds(from), says.collect::<String>()),
        }
    };
    firsts[longer].iter().map(band).collect()
}

/// The interval that `moment` lies in.
fn at_moment(samples: &[Sample], moment: Duration) -> Option<&Sample> {
    let after = samples.partition_point(|sample| sample.start <= moment);
    let sample = &samples[after.checked_sub(1)?];
    (moment < sample.start + sample.length).then_some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::busy;

    #[test]
    fn intervals_of_unlike_lengths_are_told_by_their_moment() {
        let (short, mut long) = (busy(20).result, busy(10).result);
        for (nth, sample) in long.series.samples.iter_mut().enumerate() {
            sample.length = Duration::from_millis(300);
            sample.start = sample.length * nth as u32;
            sample.ok = nth as u64 * 3;
        }
        long.elapsed = Duration::from_secs(3);
        let (short, long) = (vec![&short], vec![&long]);
        let charts = both([&short, &long]);
        let throughput = &charts[1];
        let says: Vec<&str> = throughput.bands.iter().map(|b| b.says.as_str()).collect();
        assert_eq!(says.len(), 10, "those of the longer one");
        assert_eq!(says[6], "1.8 s\nbefore: 500\nafter: 60");
        assert_eq!(says[7], "2.1 s\nafter: 70", "the other has ended");
        assert_eq!(throughput.x.scale, Scale::Linear(3.0));
    }

    #[test]
    fn many_runs_are_two_lines_of_percentiles_and_some_over_time() {
        let run = busy(5).result;
        let (many, one) = (vec![&run; 20], vec![&run]);
        let charts = both([&many, &one]);
        assert_eq!(charts[0].lines.len(), 2);
        assert!(charts[1..].iter().all(|one| one.lines.len() == DRAWN + 1));
        let none = both([&[], &[]]);
        assert!(none.iter().all(|chart| chart.bands.is_empty()));
    }
}
