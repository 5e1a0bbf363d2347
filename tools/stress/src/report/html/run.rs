//! One run on a page: its figures, its charts, its tables.
//!
//! Owns the figures at the top. Never: computes one.

use std::fmt::Write;

use super::{escaped, plots, scale, tables};
use crate::load::LoadResult;
use crate::report::{View, grouped};

/// One run: its figures, its charts.
pub(super) fn section(html: &mut String, run: &View<'_>, prefix: &str, headed: bool) {
    if headed {
        let _ = writeln!(html, "<h2>{}</h2>", escaped(&run.title));
    }
    *html += "<ul class=\"tiles\">";
    for (name, value) in tiles(run.result) {
        let _ = write!(
            html,
            "<li><b>{}</b><span>{name}</span></li>",
            escaped(&value)
        );
    }
    *html += "</ul>\n";
    tables::agents(html, &run.result.members);
    *html += "<div class=\"charts\">\n";
    for chart in plots::all(prefix, run.result, &run.plan) {
        *html += &chart.render();
    }
    *html += "</div>\n";
    tables::percentiles(html, run.result);
    if !run.result.failed.is_empty() {
        let kinds = run.result.failed.iter();
        let rows: Vec<_> = kinds
            .map(|(kind, count)| (kind.clone(), grouped(*count)))
            .collect();
        *html += "<div class=\"facts\">\n";
        tables::facts(html, "Failed requests", &rows);
        *html += "</div>\n";
    }
}

/// The figures at the top.
fn tiles(result: &LoadResult) -> Vec<(&'static str, String)> {
    let none = || "–".to_owned();
    let latency = |quantile| {
        let value = result.latency_us(quantile);
        value.map_or_else(none, |us| scale::time(us * 1e3))
    };
    let hit_rate = result.hit_rate().map_or_else(none, |share| {
        format!("{:.2} %", (share * 1e4).floor() / 1e2)
    });
    let cpu = result.us_per_request(result.cpu.user + result.cpu.system);
    vec![
        (
            "requests/s",
            result
                .throughput()
                .map_or_else(none, |rate| grouped(rate.round() as u64)),
        ),
        ("answered", grouped(result.ok)),
        ("failed", grouped(result.failed_total())),
        ("p50", latency(0.5)),
        ("p99", latency(0.99)),
        ("p99.9", latency(0.999)),
        ("max", latency(1.0)),
        ("pool hit rate", hit_rate),
        ("connections opened", grouped(result.connections_opened)),
        (
            "TLS handshakes, full / resumed",
            format!(
                "{} / {}",
                grouped(result.handshakes_full),
                grouped(result.handshakes_resumed)
            ),
        ),
        (
            "handshake time avoided",
            scale::seconds(result.handshake_seconds_avoided),
        ),
        (
            "client CPU/request",
            cpu.map_or_else(none, |us| scale::time(us * 1e3)),
        ),
    ]
}
