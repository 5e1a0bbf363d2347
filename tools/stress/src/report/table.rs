//! The report for people: figures as rows, phases as columns, and what is compared side by side.

use std::fmt::Write;
use std::time::Duration;

use super::{Phase, Report, grouped, percent};
use crate::load::LoadResult;

/// Width of the names of the figures.
const LABEL: usize = 25;
/// Width of one figure, and of a comparison.
const FIGURE: usize = 10;
const GAIN: usize = 7;
/// What stands where there is no figure.
const NONE: &str = "-";

/// One column.
enum Column<'a> {
    Phase(&'a Phase),
    /// How many times better the first does than the second.
    Gain(&'a Phase, &'a Phase),
}

/// One figure of the table.
struct Row {
    label: &'static str,
    show: fn(&LoadResult) -> String,
    /// Only rows that have this are compared.
    compare: Option<Compare>,
}

/// A figure as a number, and whether more of it is better.
type Compare = (fn(&LoadResult) -> Option<f64>, bool);

const ROWS: &[Row] = &[
    row(
        "requests/s",
        |r| count(r.throughput()),
        Some((LoadResult::throughput, true)),
    ),
    row("failed requests", |r| grouped(r.failed_total()), None),
    row(
        "latency p50",
        |r| latency(r, 0.5),
        Some((|r| r.latency_us(0.5), false)),
    ),
    row(
        "latency p90",
        |r| latency(r, 0.9),
        Some((|r| r.latency_us(0.9), false)),
    ),
    row(
        "latency p99",
        |r| latency(r, 0.99),
        Some((|r| r.latency_us(0.99), false)),
    ),
    row(
        "latency p99.9",
        |r| latency(r, 0.999),
        Some((|r| r.latency_us(0.999), false)),
    ),
    row(
        "latency max",
        |r| latency(r, 1.0),
        Some((|r| r.latency_us(1.0), false)),
    ),
    row(
        "tool's own lag, p99",
        |r| match r.lag.is_empty() {
            true => NONE.into(),
            false => time(r.lag.value_at_quantile(0.99) as f64 / 1e3),
        },
        None,
    ),
    row(
        "client CPU/request, user",
        |r| cpu(user(r)),
        Some((user, false)),
    ),
    row(
        "client CPU/request, system",
        |r| cpu(system(r)),
        Some((system, false)),
    ),
    row(
        "connections opened",
        |r| grouped(r.connections_opened),
        None,
    ),
    row(
        "pool hit rate",
        |r| r.hit_rate().map_or(NONE.into(), percent),
        None,
    ),
    row("TLS handshakes, full", |r| grouped(r.handshakes_full), None),
    row(
        "TLS handshakes, resumed",
        |r| grouped(r.handshakes_resumed),
        None,
    ),
    row(
        "handshake time avoided",
        |r| seconds(r.handshake_seconds_avoided),
        None,
    ),
];

const fn row(
    label: &'static str,
    show: fn(&LoadResult) -> String,
    compare: Option<Compare>,
) -> Row {
    Row {
        label,
        show,
        compare,
    }
}

/// The whole report; `colour` allows terminal attributes, which change no width.
pub(super) fn render(report: &Report, colour: bool) -> String {
    if let Some(findings) = &report.findings {
        let outcome = Paint(colour).bold(findings.outcome().name());
        return format!("\n{}\n{outcome}\n", findings.table());
    }
    if report.phases.is_empty() {
        return "Interrupted before anything was measured.\n".to_owned();
    }
    let paint = Paint(colour);
    let columns = columns(&report.phases);
    let mut text = String::new();
    headings(&mut text, &report.phases, &columns, paint);
    for row in ROWS {
        line(&mut text, row, &columns, paint);
    }
    errors(&mut text, &report.phases, paint);
    unseen(&mut text, &report.phases, paint);
    text.push('\n');
    if report.interrupted() {
        text.push_str("Interrupted: the last column covers what was measured until then.\n");
    }
    for phase in &report.phases {
        for why in &phase.result.invalid {
            let line = format!("INVALID ({}): {why}", phase.title());
            let _ = writeln!(text, "{}", paint.red(&line));
        }
    }
    if columns.iter().any(|c| matches!(c, Column::Gain(..))) {
        text.push_str("gain: how many times better the first of the two columns is\n");
    }
    for sentence in report.verdict.iter().flat_map(|v| &v.sentences) {
        let _ = writeln!(text, "{}", paint.bold(sentence));
    }
    text
}

/// A comparison follows each subject that has exactly two phases.
fn columns(phases: &[Phase]) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    for group in phases.chunk_by(|a, b| a.subject == b.subject) {
        columns.extend(group.iter().map(Column::Phase));
        if let [better, base] = group {
            columns.push(Column::Gain(better, base));
        }
    }
    columns
}

fn headings(text: &mut String, phases: &[Phase], columns: &[Column<'_>], paint: Paint) {
    let mut subjects = " ".repeat(LABEL);
    for group in phases.chunk_by(|a, b| a.subject == b.subject) {
        let gain = if group.len() == 2 { GAIN } else { 0 };
        let width = group.len() * FIGURE + gain;
        // A rule over the columns that belong together, the subject in it.
        let _ = write!(
            subjects,
            "   {:─^1$}",
            format!(" {} ", group[0].subject),
            width - 3
        );
    }
    let _ = writeln!(text, "\n{}", paint.bold(subjects.trim_end()));
    if phases.iter().all(|phase| phase.variant.is_empty()) {
        return;
    }
    let mut variants = " ".repeat(LABEL);
    for column in columns {
        let _ = match column {
            Column::Phase(phase) => write!(variants, "{:>FIGURE$}", phase.variant),
            Column::Gain(..) => write!(variants, "{:>GAIN$}", "gain"),
        };
    }
    let _ = writeln!(text, "{}", paint.bold(&variants));
}

fn line(text: &mut String, row: &Row, columns: &[Column<'_>], paint: Paint) {
    let _ = write!(text, "{:<LABEL$}", row.label);
    // A label may lean into the first column, whose figures leave room.
    let mut borrowed = row.label.len().saturating_sub(LABEL);
    for column in columns {
        let _ = match column {
            Column::Phase(phase) => {
                let width = FIGURE - std::mem::take(&mut borrowed);
                write!(text, "{:>width$}", (row.show)(&phase.result))
            }
            Column::Gain(better, base) => {
                let gain = format!("{:>GAIN$}", gain(row, better, base));
                write!(text, "{}", paint.green(&gain))
            }
        };
    }
    while text.ends_with(' ') {
        text.pop();
    }
    text.push('\n');
}

fn gain(row: &Row, better: &Phase, base: &Phase) -> String {
    let Some((figure, more_is_better)) = row.compare else {
        return String::new();
    };
    match (figure(&better.result), figure(&base.result)) {
        (Some(a), Some(b)) if a > 0.0 && b > 0.0 => {
            times(if more_is_better { a / b } else { b / a })
        }
        (Some(_) | None, Some(_) | None) => String::new(),
    }
}

/// The kinds of the failures, phase by phase.
fn errors(text: &mut String, phases: &[Phase], paint: Paint) {
    for phase in phases
        .iter()
        .filter(|phase| !phase.result.failed.is_empty())
    {
        let kinds: Vec<String> = phase
            .result
            .failed
            .iter()
            .map(|(kind, count)| format!("{} {kind}", grouped(*count)))
            .collect();
        let line = format!("failed ({}): {}", phase.title(), kinds.join(", "));
        let _ = write!(text, "\n{}", paint.red(&line));
    }
    if phases.iter().any(|phase| !phase.result.failed.is_empty()) {
        text.push('\n');
    }
}

/// Shards that did not tell their figures, phase by phase: what is said of the pool is older than it looks then.
fn unseen(text: &mut String, phases: &[Phase], paint: Paint) {
    for phase in phases {
        let pools = phase.result.series.samples.iter().filter_map(|s| s.pool);
        let (all, some) = pools.fold((0, 0), |(all, some), pool| {
            (all + 1, some + usize::from(pool.unseen() > 0))
        });
        if some > 0 {
            let line = format!(
                "unseen ({}): at the end of {some} of {all} intervals not every shard told its figures; `stress review` says more",
                phase.title()
            );
            let _ = write!(text, "\n{}", paint.red(&line));
        }
    }
}

fn user(result: &LoadResult) -> Option<f64> {
    result.us_per_request(result.cpu.user)
}

fn system(result: &LoadResult) -> Option<f64> {
    result.us_per_request(result.cpu.system)
}

fn count(number: Option<f64>) -> String {
    number.map_or(NONE.into(), |number| grouped(number.round() as u64))
}

fn cpu(microseconds: Option<f64>) -> String {
    microseconds.map_or(NONE.into(), |us| format!("{us:.1} µs"))
}

fn latency(result: &LoadResult, quantile: f64) -> String {
    result.latency_us(quantile).map_or(NONE.into(), time)
}

fn time(us: f64) -> String {
    match Duration::from_nanos((us * 1e3) as u64).as_micros() {
        0..1_000 => format!("{us:.0} µs"),
        1_000..1_000_000 => format!("{:.2} ms", us / 1e3),
        _ => format!("{:.2} s", us / 1e6),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds >= 100.0 {
        format!("{seconds:.0} s")
    } else {
        format!("{seconds:.2} s")
    }
}

/// A factor as people say it: `6.2×`, `140×`.
pub(crate) fn times(factor: f64) -> String {
    if factor >= 99.95 {
        format!("{factor:.0}×")
    } else {
        format!("{factor:.1}×")
    }
}

/// Terminal attributes, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    fn green(self, text: &str) -> String {
        if text.trim().is_empty() {
            text.to_owned()
        } else {
            self.with("32", text)
        }
    }

    fn red(self, text: &str) -> String {
        self.with("31", text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::phase;
    use super::*;

    fn pair() -> Report {
        let phases = vec![phase("TLS", "reuse", 1000), phase("TLS", "no reuse", 100)];
        Report {
            scenario: Some("demo"),
            phases,
            verdict: None,
            findings: None,
        }
    }

    #[test]
    fn a_pair_is_compared_and_lines_up() {
        let text = render(&pair(), false);
        assert!(!text.contains('\x1b'));
        let rate = text.lines().find(|l| l.starts_with("requests/s")).unwrap();
        let words: Vec<&str> = rate.split_whitespace().collect();
        assert_eq!(words, ["requests/s", "500", "50", "10.0×"]);
        let ends: Vec<usize> = text
            .lines()
            .filter(|l| l.ends_with('×') || l.ends_with("gain") || l.ends_with('─'))
            .map(|l| l.chars().count())
            .collect();
        assert!(
            ends.len() > 7 && ends.iter().all(|end| *end == ends[0]),
            "{ends:?}\n{text}"
        );
    }

    #[test]
    fn lower_is_better_for_latency() {
        let text = render(&pair(), false);
        let p99 = text
            .lines()
            .find(|l| l.starts_with("latency p99 "))
            .unwrap();
        assert!(
            p99.contains("100 µs") && p99.contains("1.00 ms") && p99.ends_with("10.0×"),
            "{p99}"
        );
    }

    #[test]
    fn colour_changes_no_text() {
        let mut stripped = render(&pair(), true);
        assert!(stripped.contains("\x1b[32m"));
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m"] {
            stripped = stripped.replace(code, "");
        }
        assert_eq!(stripped, render(&pair(), false));
    }

    #[test]
    fn failures_are_told_by_kind() {
        let mut report = Report::of_run(phase("run", "", 5));
        report.phases[0]
            .result
            .failed
            .insert("timed_out".into(), 1200);
        let text = render(&report, false);
        assert!(text.contains("failed (run): 1,200 timed_out"), "{text}");
        assert!(!text.contains("gain"));
    }

    #[test]
    fn shards_that_did_not_tell_are_counted_in_intervals() {
        let mut report = Report::of_run(phase("run", "", 5));
        let samples = &mut report.phases[0].result.series.samples;
        let pool = |missing| crate::series::PoolState {
            missing,
            ..crate::series::PoolState::default()
        };
        for missing in [0, 2, 1] {
            samples.push(crate::series::Sample {
                pool: Some(pool(missing)),
                ..crate::series::Sample::default()
            });
        }
        let text = render(&report, false);
        assert!(text.contains("unseen (run): at the end of 2 of "), "{text}");
        report.phases[0].result.series.samples.clear();
        assert!(!render(&report, false).contains("unseen"));
    }

    #[test]
    fn an_empty_run_shows_no_invented_figure() {
        let mut report = Report::of_run(phase("run", "", 1));
        report.phases[0].result = LoadResult {
            interrupted: true,
            ..LoadResult::default()
        };
        let text = render(&report, false);
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        assert!(text.contains("Interrupted"));
    }

    #[test]
    fn almost_all_is_not_all() {
        assert_eq!(percent(0.999_99), "99.99 %");
        assert_eq!(percent(1.0), "100.00 %");
        assert_eq!(times(9.96), "10.0×");
        assert_eq!(times(140.2), "140×");
    }
}
