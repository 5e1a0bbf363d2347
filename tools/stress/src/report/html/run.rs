//! One run on a page: its figures, its charts, its tables.
//!
//! Owns the figures at the top. Never: computes one.

use std::fmt::Write;

use super::tables::NONE;
use super::{escaped, plots, scale, tables};
use crate::load::LoadResult;
use crate::report::{View, grouped, percent};

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
    let figures = Figures(result);
    let [full, resumed] = [result.handshakes_full, result.handshakes_resumed].map(grouped);
    let avoided = scale::seconds(result.handshake_seconds_avoided);
    vec![
        ("requests/s", figures.rate()),
        ("answered", grouped(result.ok)),
        ("failed", grouped(result.failed_total())),
        ("p50", figures.latency(0.5)),
        ("p99", figures.latency(0.99)),
        ("p99.9", figures.latency(0.999)),
        ("max", figures.latency(1.0)),
        ("pool hit rate", figures.hit_rate()),
        ("connections opened", grouped(result.connections_opened)),
        (
            "TLS handshakes, full / resumed",
            format!("{full} / {resumed}"),
        ),
        ("handshake time avoided", avoided),
        ("client CPU/request", figures.cpu()),
    ]
}

/// A run's figures as they read on a page; a dash for one that is not known.
pub(super) struct Figures<'a>(pub(super) &'a LoadResult);

impl Figures<'_> {
    pub(super) fn rate(&self) -> String {
        shown(self.0.throughput(), |rate| grouped(rate.round() as u64))
    }

    pub(super) fn latency(&self, quantile: f64) -> String {
        shown(self.0.latency_us(quantile), |us| scale::time(us * 1e3))
    }

    pub(super) fn hit_rate(&self) -> String {
        shown(self.0.hit_rate(), percent)
    }

    pub(super) fn cpu(&self) -> String {
        let all = self.0.cpu.user + self.0.cpu.system;
        shown(self.0.us_per_request(all), |us| scale::time(us * 1e3))
    }
}

fn shown(value: Option<f64>, how: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), how)
}
