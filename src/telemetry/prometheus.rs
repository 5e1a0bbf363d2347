//! Prometheus' text format, and OpenMetrics, which differs in details.
//!
//! Owns: escaping, and the order of lines. Never: a name or a value that the catalogue does not have.

use super::catalogue::{METRICS, Metric, Sample, Value, prometheus_label};
use crate::client::snapshot::Snapshot;
use crate::stats::Durations;
use std::io::{self, Write};
use std::time::Duration;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4: any Prometheus, and what reads its format.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What HTTP calls it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Writes a snapshot in Prometheus' text format (0.0.4).
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// let snapshot = ringpool::Snapshot::default(); // of `Engine::snapshot`
/// let mut page = Vec::new();
/// ringpool::telemetry::write_prometheus(&snapshot, &mut page)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of `to`.
pub fn write_prometheus(snapshot: &Snapshot, to: impl Write) -> io::Result<()> {
    write(snapshot, Format::Text, to)
}

/// Writes a snapshot as OpenMetrics (1.0): as [`write_prometheus`], with units.
///
/// # Errors
/// Those of `to`.
pub fn write_openmetrics(snapshot: &Snapshot, to: impl Write) -> io::Result<()> {
    write(snapshot, Format::OpenMetrics, to)
}

pub(super) fn write(snapshot: &Snapshot, format: Format, mut to: impl Write) -> io::Result<()> {
    for metric in METRICS {
        write_metric(metric, snapshot, format, &mut to)?;
    }
    match format {
        Format::Text => Ok(()),
        Format::OpenMetrics => to.write_all(b"# EOF\n"),
    }
}

fn write_metric(
    metric: &Metric,
    snapshot: &Snapshot,
    format: Format,
    to: &mut impl Write,
) -> io::Result<()> {
    let samples = metric.prometheus_name();
    let family = match format {
        Format::Text => samples.clone(),
        Format::OpenMetrics => metric.prometheus_family(),
    };
    let labels: Vec<String> = metric
        .labels
        .iter()
        .map(|name| prometheus_label(name))
        .collect();
    let (mut begun, mut result) = (false, Ok(()));
    metric.read(snapshot, &mut |sample| {
        if result.is_err() {
            return;
        }
        // What has no sample needs no header.
        if !std::mem::replace(&mut begun, true) {
            result = write_header(metric, &family, format, to);
        }
        if result.is_ok() {
            result = write_sample(&samples, &labels, sample, to);
        }
    });
    result
}

fn write_header(
    metric: &Metric,
    family: &str,
    format: Format,
    to: &mut impl Write,
) -> io::Result<()> {
    writeln!(to, "# HELP {family} {}", Escaped(metric.help, Quotes::Stay))?;
    writeln!(to, "# TYPE {family} {}", metric.kind.name())?;
    if format == Format::OpenMetrics && metric.unit == "s" {
        writeln!(to, "# UNIT {family} seconds")?;
    }
    Ok(())
}

fn write_sample(
    name: &str,
    labels: &[String],
    sample: Sample<'_>,
    to: &mut impl Write,
) -> io::Result<()> {
    let labels = Labels(labels, sample.labels);
    match sample.value {
        Value::Count(count) => writeln!(to, "{name}{} {count}", labels.and(None)),
        Value::Number(number) => writeln!(to, "{name}{} {number}", labels.and(None)),
        Value::Durations(durations) => write_durations(name, labels, durations, to),
    }
}

fn write_durations(
    name: &str,
    labels: Labels<'_>,
    durations: &Durations,
    to: &mut impl Write,
) -> io::Result<()> {
    for (bound, count) in durations.up_to() {
        let bound = Seconds(bound);
        writeln!(to, "{name}_bucket{} {count}", labels.and(Some(&bound)))?;
    }
    let (count, sum) = (durations.count(), durations.sum().as_secs_f64());
    writeln!(to, "{name}_bucket{} {count}", labels.and(Some(&"+Inf")))?;
    writeln!(to, "{name}_sum{} {sum}", labels.and(None))?;
    writeln!(to, "{name}_count{} {count}", labels.and(None))
}

/// A bound, as a number of seconds that has no more digits than it needs: `0.000001`, `1.0`.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // OpenMetrics wants a decimal point.
        write!(f, "{:?}", Plain(self.0.as_secs_f64()))
    }
}

struct Plain(f64);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.fract() == 0.0 {
            true => write!(f, "{:.1}", self.0),
            false => write!(f, "{}", self.0),
        }
    }
}

/// Names and values.
#[derive(Clone, Copy)]
struct Labels<'a>(&'a [String], &'a [&'a str]);

impl<'a> Labels<'a> {
    fn and(self, bound: Option<&'a dyn std::fmt::Display>) -> Written<'a> {
        Written {
            labels: self,
            bound,
        }
    }
}

struct Written<'a> {
    labels: Labels<'a>,
    bound: Option<&'a dyn std::fmt::Display>,
}

impl std::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Labels(names, values) = self.labels;
        // An empty value is the same as none.
        let said = names
            .iter()
            .zip(values)
            .filter(|(_, value)| !value.is_empty());
        let mut open = '{';
        for (name, value) in said {
            write!(f, "{open}{name}=\"{}\"", Escaped(value, Quotes::Escape))?;
            open = ',';
        }
        if let Some(bound) = self.bound {
            write!(f, "{open}le=\"{bound}\"")?;
            open = ',';
        }
        match open {
            '{' => Ok(()),
            _ => f.write_str("}"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    Escape,
    Stay,
}

struct Escaped<'a>(&'a str, Quotes);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.1 == Quotes::Escape => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Whether a family has another kind than Prometheus' own names say.
#[cfg(test)]
fn is_consistent(metric: &Metric) -> bool {
    (metric.kind == crate::telemetry::Kind::Counter) == metric.prometheus_name().ends_with("_total")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::figures::UpstreamFigures;

    fn written(snapshot: &Snapshot, format: Format) -> String {
        let mut text = Vec::new();
        write(snapshot, format, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn values_are_escaped_and_empty_ones_left_out() {
        let mut snapshot = Snapshot::default();
        let name = "http://\"a\\b\"\n".to_owned();
        snapshot.upstreams.insert(name, UpstreamFigures::default());
        let text = written(&snapshot, Format::Text);
        let escaped = r#"ringpool_pool_dials_total{upstream="http://\"a\\b\"\n"} 0"#;
        assert!(text.lines().any(|line| line == escaped), "{text}");
        assert!(!text.contains("=\"\""));
        assert!(METRICS.iter().all(is_consistent));
    }

    #[test]
    #[cfg(feature = "telemetry")]
    fn durations_are_cumulative_and_end_with_all() {
        let mut snapshot = Snapshot::default();
        let mut upstream = UpstreamFigures::default();
        upstream.wait.record(Duration::from_micros(3));
        upstream.wait.record(Duration::from_secs(60));
        snapshot.upstreams.insert("a".to_owned(), upstream);
        let text = written(&snapshot, Format::Text);
        let name = "ringpool_pool_connection_wait_time_seconds";
        for line in [
            "_bucket{upstream=\"a\",le=\"0.000002\"} 0",
            "_bucket{upstream=\"a\",le=\"0.000005\"} 1",
            "_bucket{upstream=\"a\",le=\"10.0\"} 1",
            "_bucket{upstream=\"a\",le=\"+Inf\"} 2",
            "_sum{upstream=\"a\"} 60.000003",
            "_count{upstream=\"a\"} 2",
        ] {
            let line = format!("{name}{line}");
            assert!(
                text.lines().any(|written| written == line),
                "{line} in {text}"
            );
        }
        let open = written(&snapshot, Format::OpenMetrics);
        assert!(open.contains(&format!("# UNIT {name} seconds\n")));
        assert!(open.contains("# TYPE ringpool_pool_dials counter\n"));
        assert!(open.contains("ringpool_pool_dials_total{upstream=\"a\"} 0\n"));
        assert!(open.ends_with("# EOF\n"));
    }
}
