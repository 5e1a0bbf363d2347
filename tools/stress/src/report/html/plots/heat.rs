//! How latencies are spread, over time: where there are two kinds of answers, or a slow few, lines of percentiles do not show it.
//!
//! Owns how samples and latencies are put into cells. Never: more cells than a page bears.

use crate::load::LoadResult;
use crate::report::html::chart::{Axis, Band, Cell, Chart, LEVELS};
use crate::report::html::scale::{Scale, count, seconds, time};
use crate::series::Sample;

/// Cells along a run, at most.
const ACROSS: usize = 80;
/// Cells for a factor of ten.
const A_DECADE: f64 = 8.0;

/// The heat map of a run.
pub(super) fn map(prefix: &str, result: &LoadResult) -> Chart {
    let samples = &result.series.samples;
    let columns: Vec<Column> = samples
        .chunks(samples.len().div_ceil(ACROSS).max(1))
        .map(Column::of)
        .collect();
    let counts = || columns.iter().flat_map(|column| &column.rows);
    let most = counts().map(|(_, n)| *n).max().unwrap_or(1);
    let rows = counts().map(|(row, _)| *row);
    let (min, max) = rows.fold((i32::MAX, i32::MIN), |(min, max), row| {
        (min.min(row), max.max(row))
    });
    let scale = match min <= max {
        true => Scale::around(edge(min), edge(max + 1)),
        false => Scale::around(1e3, 1e6),
    };
    let cell = |column: &Column, (row, n): (i32, u64)| Cell {
        x: (column.from, column.to),
        y: (edge(row), edge(row + 1)),
        level: level(n, most),
    };
    let cells = columns
        .iter()
        .flat_map(|column| column.rows.iter().map(move |row| cell(column, *row)));
    let bands = columns.iter().map(|column| {
        let all: u64 = column.rows.iter().map(|(_, n)| n).sum();
        let most = column.rows.iter().max_by_key(|(_, n)| *n);
        let most = most.map_or(String::new(), |(row, n)| {
            let (from, to) = (time(edge(*row)), time(edge(row + 1)));
            format!("\nmost, {}, between {from} and {to}", count(*n as f64))
        });
        Band {
            from: column.from,
            to: column.to,
            says: format!(
                "{}\n{} answers{most}",
                seconds(column.from),
                count(all as f64)
            ),
        }
    });
    Chart {
        id: format!("{prefix}heatmap"),
        title: "Latency, spread over time",
        about: format!(
            "darker is more answers, up to {} in a cell; logarithmic",
            count(most as f64)
        ),
        x: Axis {
            scale: Scale::Linear(result.elapsed.as_secs_f64().max(1e-3)),
            name: seconds,
        },
        y: Axis { scale, name: time },
        bands: bands.collect(),
        cells: cells.collect(),
        ..Chart::default()
    }
}

/// Neighbouring samples.
struct Column {
    from: f64,
    to: f64,
    /// Rows with any answer, and how many.
    rows: Vec<(i32, u64)>,
}

impl Column {
    fn of(samples: &[Sample]) -> Self {
        let mut sum = crate::measure::latencies();
        for sample in samples {
            sample.latency.add_to(&mut sum);
        }
        let mut rows: Vec<(i32, u64)> = Vec::new();
        for value in sum.iter_recorded() {
            let nanoseconds = value.value_iterated_to().max(1) as f64;
            let row = (nanoseconds.log10() * A_DECADE).floor() as i32;
            match rows.last_mut() {
                Some((last, n)) if *last == row => *n += value.count_at_value(),
                Some(_) | None => rows.push((row, value.count_at_value())),
            }
        }
        let end = samples
            .last()
            .map_or(0.0, |s| (s.start + s.length).as_secs_f64());
        Self {
            from: samples.first().map_or(0.0, |s| s.start.as_secs_f64()),
            to: end,
            rows,
        }
    }
}

/// Where a row begins, in nanoseconds.
fn edge(row: i32) -> f64 {
    10_f64.powf(f64::from(row) / A_DECADE)
}

/// From 1 to [`LEVELS`], by the logarithm of the count, so that one answer among thousands is seen.
fn level(n: u64, most: u64) -> usize {
    let share = (1.0 + n as f64).ln() / (1.0 + most as f64).ln();
    ((share * LEVELS as f64).ceil() as usize).clamp(1, LEVELS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::busy;

    #[test]
    fn every_answer_is_in_a_cell_and_cells_are_bounded() {
        let run = busy(170).result;
        let chart = map("", &run);
        assert!(chart.bands.len() <= ACROSS, "{}", chart.bands.len());
        let told = chart
            .bands
            .iter()
            .map(|band| band.says.split(['\n', ' ']).nth(2));
        let told: f64 = told.map(|n| n.unwrap().parse::<f64>().unwrap()).sum();
        assert_eq!(told, run.latency.len() as f64);
        assert!(
            chart
                .cells
                .iter()
                .all(|cell| (1..=LEVELS).contains(&cell.level))
        );
        assert_eq!((level(1, 1), level(1, 1_000_000)), (LEVELS, 1));
        assert!(map("", &LoadResult::default()).cells.is_empty());
    }
}
