//! Tables of facts and of figures.
//!
//! Owns what they say. Never: computes a figure.

use std::fmt::Write;

use hdrhistogram::Histogram;
use scenarios::Findings;
use serde_json::Value;

use super::escaped;
use super::scale::{percentile, time};
use crate::load::LoadResult;
use crate::member::Member;
use crate::report::{View, grouped, members};

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
            |value: &Option<f64>| value.map_or("–".to_owned(), |value| figure.unit.show(value));
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
        let run = view.result;
        let latency = |quantile| {
            run.latency_us(quantile)
                .map_or_else(none, |us| time(us * 1e3))
        };
        let rate = run
            .throughput()
            .map_or_else(none, |rate| grouped(rate.round() as u64));
        let hits = run
            .hit_rate()
            .map_or_else(none, |share| format!("{:.2} %", share * 100.0));
        let cpu = run.us_per_request(run.cpu.user + run.cpu.system);
        vec![
            view.title.clone(),
            rate,
            grouped(run.ok),
            grouped(run.failed_total()),
            latency(0.5),
            latency(0.99),
            latency(0.999),
            latency(1.0),
            hits,
            cpu.map_or_else(none, |us| time(us * 1e3)),
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
            is_known.then(value).unwrap_or_else(none)
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

fn none() -> String {
    "–".to_owned()
}

/// A table with a head, whose first column names the rows; it may be wider than a telephone, and is moved then.
pub(super) fn grid(
    html: &mut String,
    caption: &str,
    head: &[String],
    rows: impl IntoIterator<Item = Vec<String>>,
) {
    let _ = write!(
        html,
        "<div class=\"grid-table\" tabindex=\"0\"><table><caption>{}</caption><tr>",
        escaped(caption)
    );
    for name in head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escaped(name));
    }
    *html += "</tr>";
    for row in rows {
        let mut cells = row.iter();
        let name = cells.next().map_or("", String::as_str);
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", escaped(name));
        for cell in cells {
            let _ = write!(html, "<td>{}</td>", escaped(cell));
        }
        *html += "</tr>";
    }
    *html += "</table></div>\n";
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
