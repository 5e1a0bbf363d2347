//! The report as one page for a browser: nothing in it is fetched, and nothing in it runs.
//!
//! Owns the page around the charts: verdict, figures, parameters, host. Its policy (`Content-Security-Policy`) forbids scripts and
//! requests, whatever a server's name or an error contains. Light or dark is the reader's choice, and a telephone is wide enough.
//!
//! | file | concept |
//! |---|---|
//! | `beside` | the page of two sides that are compared |
//! | `chart` | one chart as SVG |
//! | `plots` | which charts a run is shown by |
//! | `run` | one run: its figures, its charts |
//! | `scale` | places along an axis |
//! | `tables` | tables of facts and of figures |

mod beside;
mod chart;
mod plots;
mod run;
mod scale;
mod tables;

pub(crate) use beside::{Beside, Row, Side};

use std::fmt::Write;

use scenarios::Findings;
use serde_json::Value;

use crate::report::View;
use tables::{facts, rows};

/// What the page shows.
pub(super) struct Page<'a> {
    pub(super) title: String,
    /// The command that made it.
    pub(super) command: &'a str,
    /// Whether all is well; `None` where nothing was judged.
    pub(super) verdict: Option<bool>,
    /// The verdict in words.
    pub(super) sentences: Vec<String>,
    /// What a scenario found, if it was one with criteria.
    pub(super) findings: Option<&'a Findings>,
    pub(super) host: &'a Value,
    pub(super) runs: &'a [View<'a>],
}

impl Page<'_> {
    /// The page as HTML.
    pub(super) fn render(&self) -> String {
        let mut html = begin(&self.title, self.host["date"].as_str());
        self.verdict(&mut html);
        if let Some(findings) = self.findings {
            tables::criteria(&mut html, findings);
        }
        if self.runs.len() > 1 {
            tables::runs(&mut html, self.runs);
        }
        for (nth, run) in self.runs.iter().enumerate() {
            let prefix = if nth == 0 {
                String::new()
            } else {
                format!("run{}-", nth + 1)
            };
            run::section(&mut html, run, &prefix, self.runs.len() > 1);
        }
        html += "<h2>How it was made</h2>\n";
        let _ = writeln!(html, "<p><code>{}</code></p>", escaped(self.command));
        html += "<div class=\"facts\">\n";
        for run in self.runs {
            let caption = if self.runs.len() > 1 {
                format!("Parameters: {}", run.title)
            } else {
                "Parameters".to_owned()
            };
            let mut rows = rows("", &run.plan);
            // Older runs do not tell it among their parameters.
            if let Some(seed) = run.result.seed.filter(|_| run.plan["seed"].is_null()) {
                rows.push(("seed".to_owned(), seed.to_string()));
            }
            facts(&mut html, &caption, &rows);
        }
        facts(&mut html, "Host", &rows("", self.host));
        for member in self.runs.iter().flat_map(|run| &run.result.members) {
            let caption = format!("Host of agent {}", member.agent);
            facts(&mut html, &caption, &rows("", &member.host));
        }
        html += "</div>\n";
        html += END;
        html
    }

    fn verdict(&self, html: &mut String) {
        let invalid = self.runs.iter().flat_map(|run| &run.result.invalid);
        let invalid: Vec<_> = invalid.map(|why| format!("INVALID: {why}")).collect();
        let is_bad = self.verdict == Some(false) || !invalid.is_empty();
        verdict(html, is_bad, invalid.iter().chain(&self.sentences));
    }
}

/// What it came to, in words; nothing if nothing is said.
fn verdict<'a>(html: &mut String, is_bad: bool, sentences: impl Iterator<Item = &'a String>) {
    let sentences: String = sentences
        .map(|sentence| format!("<p>{}</p>", escaped(sentence)))
        .collect();
    if !sentences.is_empty() {
        let class = if is_bad { "verdict bad" } else { "verdict" };
        let _ = writeln!(html, "<div class=\"{class}\">{sentences}</div>");
    }
}

/// What ends every page.
const END: &str = "</body>\n</html>\n";

/// What begins every page, up to its title and its date.
fn begin(title: &str, date: Option<&str>) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{0}</title>\n<style>\n{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escaped(title),
        include_str!("page.css"),
    );
    if let Some(date) = date {
        let _ = writeln!(html, "<p class=\"under\">{}</p>", escaped(date));
    }
    html
}

/// `text` as it stands in HTML, attributes included.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            c => html.push(c),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::super::tests::{busy, phase, view};
    use super::*;
    use crate::load::LoadResult;
    use crate::member::Member;
    use serde_json::json;

    fn page(runs: &[View<'_>], verdict: bool) -> String {
        Page {
            title: "stress <run>".to_owned(),
            command: "stress run 'http://h/?a=<b>&c'",
            verdict: Some(verdict),
            sentences: vec!["All's well.".to_owned()],
            findings: None,
            host: &json!({ "kernel": "6.1", "date": "2026-01-01T00:00:00Z", "smt": null, "interfaces": [{ "name": "lo" }] }),
            runs,
        }
        .render()
    }

    #[test]
    fn every_chart_is_there_and_nothing_is_taken_for_markup() {
        let phase = busy(40);
        let html = page(&[view(&phase)], true);
        let charts = [
            "percentiles",
            "throughput",
            "latency",
            "heatmap",
            "states",
            "occupancy",
            "handshakes",
            "errors",
            "cpu",
        ];
        for id in charts {
            assert!(html.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert_eq!(html.matches("<svg").count(), charts.len());
        assert!(html.contains("stress &lt;run&gt;") && !html.contains("<b>&c"));
        for absent in [
            "<script",
            "http-equiv=\"refresh",
            "@import",
            "url(",
            "NaN",
            "inf",
        ] {
            assert!(!html.contains(absent), "{absent}");
        }
        assert!(html.contains("interfaces 0 name") && !html.contains("smt"));
        assert!(!html.contains("verdict bad"));
    }

    #[test]
    fn what_makes_a_run_invalid_stands_first() {
        let mut phase = busy(3);
        phase.result.invalid.push("the tool was late".to_owned());
        let html = page(&[view(&phase)], true);
        let verdict = html.find("verdict bad").expect("it is bad");
        assert!(html[verdict..].find("INVALID: the tool was late") < html[verdict..].find("well"));
    }

    #[test]
    fn what_had_to_hold_is_told_with_its_figures() {
        use scenarios::{Bound, Unit};
        let mut findings = Findings::new(&["<all>"]);
        findings.figure("p50", Unit::Millis, &[Some(2.0)]);
        findings.must("rate", "rate & more", Unit::Count, 5.0, Bound::AtLeast(6.0));
        let mut html = String::new();
        tables::criteria(&mut html, &findings);
        for part in [
            "FAIL",
            "rate &amp; more: 5 (at least 6)",
            "&lt;all&gt;",
            "2.00 ms",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn agents_have_a_line_each_and_their_hosts_are_told() {
        let mut phase = busy(3);
        phase.result.members = ["h:1", "<h>:2"]
            .map(|name| Member {
                agent: name.to_owned(),
                host: json!({ "kernel": format!("6.{name}") }),
                ..Member::default()
            })
            .into();
        let html = page(&[view(&phase)], true);
        assert!(html.contains("<caption>Agents</caption>"));
        assert_eq!(html.matches("<caption>Host of agent").count(), 2);
        assert!(html.contains("6.h:1") && html.contains("6.&lt;h&gt;:2"));
    }

    #[test]
    fn several_runs_have_names_of_their_own_and_an_empty_one_is_no_error() {
        let (first, mut second) = (busy(4), phase("TLS", "no reuse", 10));
        second.result = LoadResult::default();
        let html = page(&[view(&first), view(&second)], false);
        assert!(html.contains("id=\"run2-throughput\"") && html.contains("TLS, no reuse"));
        assert_eq!(html.matches("Nothing of this was recorded").count(), 9);
        assert!(html.contains("<caption>Runs</caption>"));
        assert!(!html.contains("NaN"));
    }
}
