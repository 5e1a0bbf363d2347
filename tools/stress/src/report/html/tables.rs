//! Tables of facts and of figures.
//!
//! Owns what they say. Never: computes a figure.

use std::fmt::Write;

use hdrhistogram::Histogram;
use scenarios::Findings;
use serde_json::Value;

use super::escaped;
use super::run::Figures;
use super::scale::{percentile, time};
use crate::load::LoadResult;
use crate::member::Member;
use crate::report::{View, grouped, members};

/// What stands for a figure that is not known.
pub(super) const NONE: &str = "–";

/// What had to hold, and the figures beside it.
pub(super) fn criteria(html: &mut String, findings: &Findings) {
    let rows: Vec<_> = findings
        .criteria
        .iter()
        .map(|one| {
            let verdict = if one.holds() { "PASS" } else { "FAIL" };
            (verdict.to_owned(), one.line())
        })
        .collect();
    *html += "<div class=\"criteria\">\n";
    facts(html, "What had to hold", &rows);
    *html += "</div>\n";
    let columns = findings.columns.iter().map(ToString::to_string);
    let head: Vec<String> = std::iter::once(String::new()).chain(columns).collect();
    let rows = findings.figures.iter().map(|figure| {
        let shown =
            |value: &Option<f64>| value.map_or(NONE.to_owned(), |value| figure.unit.show(value));
        let values = figure.values.iter().map(shown);
        std::iter::once(figure.name.to_string())
            .chain(values)
            .collect()
    });
    grid(html, "Figures", &head, rows);
}

/// The agents of a run, a line each; nothing of none.
pub(super) fn agents(html: &mut String, all: &[Member]) {
    if all.is_empty() {
        return;
    }
    let rows = all.iter().map(|member| members::row(member).into());
    grid(html, "Agents", &members::HEAD.map(str::to_owned), rows);
    let _ = writeln!(html, "<p>{}</p>", escaped(&Member::together(all)));
}

/// Several runs, a line each.
pub(super) fn runs(html: &mut String, all: &[View<'_>]) {
    let head = [
        "",
        "requests/s",
        "answered",
        "failed",
        "p50",
        "p99",
        "p99.9",
        "max",
        "hit rate",
        "CPU/request",
    ];
    let rows = all.iter().map(|view| {
        let (run, figures) = (view.result, Figures(view.result));
        vec![
            view.title.clone(),
            figures.rate(),
            grouped(run.ok),
            grouped(run.failed_total()),
            figures.latency(0.5),
            figures.latency(0.99),
            figures.latency(0.999),
            figures.latency(1.0),
            figures.hit_rate(),
            figures.cpu(),
        ]
    });
    grid(html, "Runs", &head.map(str::to_owned), rows);
}

/// Latency as figures; what a percentile has no request beyond it for is left out.
pub(super) fn percentiles(html: &mut String, run: &LoadResult) {
    let kinds = [
        ("from intended start", &run.latency),
        ("from send", &run.service),
        ("the tool's own lag", &run.lag),
    ];
    let kinds: Vec<_> = kinds
        .into_iter()
        .filter(|(_, one)| !one.is_empty())
        .collect();
    if kinds.is_empty() {
        return;
    }
    let names = kinds.iter().map(|(name, _)| (*name).to_owned());
    let head: Vec<String> = std::iter::once("percentile".to_owned())
        .chain(names)
        .collect();
    let quantiles = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999];
    let at = |quantile: f64| {
        let value = |(_, one): &(&str, &Histogram<u64>)| {
            let is_known = one.len() as f64 * (1.0 - quantile) >= 1.0;
            let value = || time(one.value_at_quantile(quantile) as f64);
            is_known.then(value).unwrap_or_else(|| NONE.to_owned())
        };
        let values = kinds.iter().map(value);
        std::iter::once(percentile(quantile))
            .chain(values)
            .collect::<Vec<_>>()
    };
    let row = |name: &str, value: fn(&Histogram<u64>) -> f64| {
        let values = kinds.iter().map(|(_, one)| time(value(one)));
        std::iter::once(name.to_owned())
            .chain(values)
            .collect::<Vec<_>>()
    };
    let rows = quantiles.map(at).into_iter().chain([
        row("longest", |one| one.max() as f64),
        row("mean", Histogram::mean),
    ]);
    grid(html, "Latency", &head, rows);
}

/// A table with a head, whose first column names the rows; it may be wider than a telephone, and is moved then.
fn grid(
    html: &mut String,
    caption: &str,
    head: &[String],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    begin_grid(html, caption, head);
    *html += "</tr>";
    for row in rows {
        cells(html, &row);
        *html += "</tr>";
    }
    *html += END_GRID;
}

/// What ends a grid.
pub(super) const END_GRID: &str = "</table></div>\n";

/// What begins a grid, up to the end of its first row, which is left open.
pub(super) fn begin_grid(html: &mut String, caption: &str, head: &[impl AsRef<str>]) {
    let _ = write!(
        html,
        "<div class=\"grid-table\" tabindex=\"0\"><table><caption>{}</caption><tr>",
        escaped(caption)
    );
    for name in head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escaped(name.as_ref()));
    }
}

/// A row of a grid, left open; its first cell names it.
pub(super) fn cells(html: &mut String, row: &[String]) {
    *html += "<tr>";
    for (nth, cell) in row.iter().enumerate() {
        let cell = escaped(cell);
        let _ = match nth {
            0 => write!(html, "<th scope=\"row\">{cell}</th>"),
            _ => write!(html, "<td>{cell}</td>"),
        };
    }
}

/// The leaves of a JSON value, by their path; what is null is left out.
pub(super) fn rows(path: &str, value: &Value) -> Vec<(String, String)> {
    let name = |key: &str| match path {
        "" => key.replace('_', " "),
        path => format!("{path} {}", key.replace('_', " ")),
    };
    match value {
        Value::Null => Vec::new(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(key, value)| rows(&name(key), value))
            .collect(),
        Value::Array(all) if all.iter().any(|one| one.is_object() || one.is_array()) => all
            .iter()
            .enumerate()
            .flat_map(|(nth, one)| rows(&name(&nth.to_string()), one))
            .collect(),
        Value::Array(all) => {
            let all: Vec<String> = all.iter().map(leaf).collect();
            vec![(path.to_owned(), all.join(", "))]
        }
        one => vec![(path.to_owned(), leaf(one))],
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
        other => other.to_string(),
    }
}

/// A table of facts and their values.
pub(super) fn facts(html: &mut String, caption: &str, rows: &[(String, String)]) {
    let _ = write!(html, "<table><caption>{}</caption>", escaped(caption));
    for (name, value) in rows {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escaped(name),
            escaped(value)
        );
    }
    *html += "</table>\n";
}
