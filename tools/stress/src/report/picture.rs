//! A run's latencies as a few lines of text: how many requests took how long.
//!
//! Owns the picture in the terminal. Never: is wider than 78 columns.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::View;

/// Steps for each factor of ten, as 1, 2 and 5.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];
/// Columns of the longest bar.
const WIDTH: usize = 46;
/// Lines, at most; the rest of the slowest is one line.
const LINES_MAX: usize = 12;
/// Eighths of a column.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The picture, or nothing where nothing was answered; `colour` allows terminal attributes.
pub(super) fn render(view: &View<'_>, colour: bool) -> String {
    let latency = &view.result.latency;
    if latency.is_empty() {
        return String::new();
    }
    let mut text = format!("\nlatency of {}, share of requests\n", view.title);
    let rows = rows(latency);
    let most = rows.iter().map(|row| row.count).max().unwrap_or(1).max(1);
    for row in rows {
        let share = 100.0 * row.count as f64 / latency.len() as f64;
        let eighths = (row.count as f64 / most as f64 * (WIDTH * 8) as f64).round() as usize;
        // What is there at all is seen.
        let eighths = if row.count > 0 { eighths.max(1) } else { 0 };
        let bar = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
        let bar = match colour {
            true if row.is_tail => format!("\x1b[33m{bar}\x1b[0m"),
            true => format!("\x1b[36m{bar}\x1b[0m"),
            false => bar,
        };
        let line = format!("{:>9} {:>8} {bar}", row.name, percent(share, row.count));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

struct Row {
    name: String,
    count: u64,
    /// Whether it lies beyond p99.
    is_tail: bool,
}

/// From the step that holds the fastest to that of the slowest.
fn rows(latency: &Histogram<u64>) -> Vec<Row> {
    let mut bounds = Vec::new();
    let mut ten = 1.0;
    while bounds.last().is_none_or(|last| *last < latency.max()) {
        bounds.extend(STEPS.map(|step| (step * ten) as u64));
        ten *= 10.0;
    }
    let first = bounds.partition_point(|bound| *bound < latency.min());
    let last = bounds.partition_point(|bound| *bound < latency.max());
    let last = last.min(bounds.len() - 1);
    let mut below = 0;
    let mut rows = Vec::new();
    for (nth, bound) in bounds[first..=last].iter().enumerate() {
        let is_last = nth + 1 == LINES_MAX || first + nth == last;
        let until = if is_last {
            latency.len()
        } else {
            latency.iter_recorded().fold(0, |sum, value| {
                let counted = value.value_iterated_to() <= *bound;
                sum + if counted {
                    value.count_since_last_iteration()
                } else {
                    0
                }
            })
        };
        rows.push(Row {
            name: if is_last {
                format!("≤{}", name(latency.max() as f64))
            } else {
                format!("≤{}", name(*bound as f64))
            },
            count: until - below,
            is_tail: below as f64 >= 0.99 * latency.len() as f64,
        });
        below = until;
        if is_last {
            break;
        }
    }
    rows
}

/// Nanoseconds, in at most seven characters.
fn name(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    if value.fract() < 0.05 || value >= 100.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

fn percent(share: f64, count: u64) -> String {
    match share {
        _ if count == 0 => "-".to_owned(),
        s if s >= 0.01 => format!("{s:.2} %"),
        _ => "<0.01 %".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{busy, phase, view};
    use super::*;
    use crate::load::LoadResult;

    #[test]
    fn every_request_is_in_one_line_and_none_is_too_wide() {
        let phase = busy(30);
        let rows = rows(&phase.result.latency);
        let sum: u64 = rows.iter().map(|row| row.count).sum();
        assert_eq!(sum, phase.result.latency.len());
        let text = render(&view(&phase), false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 78),
            "{text}"
        );
        assert!(text.contains('█') && text.lines().count() > 4, "{text}");
    }

    #[test]
    fn colour_changes_no_text() {
        let phase = busy(30);
        let mut coloured = render(&view(&phase), true);
        for code in ["\x1b[33m", "\x1b[36m", "\x1b[0m"] {
            coloured = coloured.replace(code, "");
        }
        let trimmed: Vec<_> = coloured.lines().map(str::trim_end).collect();
        assert_eq!(trimmed.join("\n") + "\n", render(&view(&phase), false));
    }

    #[test]
    fn outliers_are_one_line_and_nothing_is_no_picture() {
        let mut phase = phase("run", "", 10);
        for value in [1, 60_000_000_000] {
            phase.result.latency.record(value).unwrap();
        }
        let rows = rows(&phase.result.latency);
        assert_eq!(rows.len(), LINES_MAX);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 12);
        phase.result = LoadResult::default();
        assert_eq!(render(&view(&phase), false), "");
    }
}
