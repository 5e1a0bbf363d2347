//! The page of two sides that are compared: what changed, and both in each chart.
//!
//! Owns how it is laid out. Never: judges; what is said of a change comes with it.

use std::fmt::Write;

use serde_json::Value;

use super::plots::{self, SIDES as NAMES};
use super::tables::{END_GRID, begin_grid, cells, facts, rows};
use super::{END, begin, escaped, verdict};
use crate::load::LoadResult;

/// A comparison, in words and figures.
pub(crate) struct Beside<'a> {
    /// The command that compared.
    pub(crate) command: String,
    /// What it came to, each with whether it is bad.
    pub(crate) sentences: Vec<(bool, String)>,
    /// What the columns of figures are called.
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Row>,
    /// What the columns mean.
    pub(crate) legend: String,
    pub(crate) notes: Vec<String>,
    /// Before and after.
    pub(crate) sides: [Side<'a>; 2],
}

/// One figure that was compared.
pub(crate) struct Row {
    /// As many as the head has.
    pub(crate) cells: Vec<String>,
    /// What it means, if it is a difference, and whether that is bad.
    pub(crate) word: Option<(&'static str, bool)>,
}

/// One side: a run, or several of one kind.
pub(crate) struct Side<'a> {
    pub(crate) runs: Vec<&'a LoadResult>,
    /// Of the first of them.
    pub(crate) command: &'a str,
    pub(crate) plan: &'a Value,
    pub(crate) host: &'a Value,
}

impl Beside<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let dates = self.sides.each_ref().map(|side| side.host["date"].as_str());
        let under = match dates {
            [Some(before), Some(after)] => Some(format!("before: {before}, after: {after}")),
            _ => None,
        };
        let mut html = begin("stress compare", under.as_deref());
        let is_bad = self.sentences.iter().any(|(bad, _)| *bad);
        verdict(
            &mut html,
            is_bad,
            self.sentences.iter().map(|(_, said)| said),
        );
        self.table(&mut html);
        html += "<div class=\"charts\">\n";
        let [before, after] = &self.sides;
        for chart in plots::both([&before.runs, &after.runs]) {
            html += &chart.render();
        }
        html += "</div>\n";
        if !self.notes.is_empty() {
            html += "<h2>What to keep in mind</h2>\n<ul class=\"notes\">";
            for note in &self.notes {
                let _ = write!(html, "<li>{}</li>", escaped(note));
            }
            html += "</ul>\n";
        }
        html += "<h2>How it was made</h2>\n";
        let _ = writeln!(html, "<p><code>{}</code></p>", escaped(&self.command));
        html += "<div class=\"facts\">\n";
        for (name, side) in NAMES.iter().zip(&self.sides) {
            let mut all = vec![("command".to_owned(), side.command.to_owned())];
            all.push(("runs".to_owned(), side.runs.len().to_string()));
            all.extend(rows("", side.plan));
            facts(&mut html, &format!("Parameters {name}"), &all);
        }
        for (name, side) in NAMES.iter().zip(&self.sides) {
            facts(&mut html, &format!("Host {name}"), &rows("", side.host));
        }
        html += "</div>\n";
        html += END;
        html
    }

    fn table(&self, html: &mut String) {
        begin_grid(html, "What changed", &self.head);
        // The judgement's.
        *html += "<td></td></tr>";
        for row in &self.rows {
            cells(html, &row.cells);
            let (class, word) = match row.word {
                Some((word, true)) => ("worse", word),
                Some((word, false)) => ("better", word),
                None => ("", ""),
            };
            let _ = write!(html, "<td class=\"{class}\">{word}</td></tr>");
        }
        *html += END_GRID;
        // Its emphasis is that of plain text.
        let legend = escaped(&self.legend).replace('*', "");
        let _ = writeln!(html, "<p class=\"under\">{legend}</p>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::busy;
    use serde_json::json;

    #[test]
    fn both_sides_are_in_every_chart_and_nothing_is_taken_for_markup() {
        let (a, b) = (busy(20).result, busy(30).result);
        let (plan, host) = (json!({ "url": "http://<a>/" }), json!({ "kernel": "6.1" }));
        let side = |runs| Side {
            runs,
            command: "stress run '<x>'",
            plan: &plan,
            host: &host,
        };
        let page = Beside {
            command: "stress compare".to_owned(),
            sentences: vec![(true, "p50 is <worse>.".to_owned())],
            head: vec!["", "before", "after"],
            legend: "before < after".to_owned(),
            rows: vec![Row {
                cells: ["p50", "1 ms", "2 ms"].map(str::to_owned).into(),
                word: Some(("worse", true)),
            }],
            notes: vec!["a & b".to_owned()],
            sides: [side(vec![&a, &a]), side(vec![&b])],
        };
        let html = page.render();
        assert_eq!(html.matches("<svg").count(), 7);
        assert_eq!(html.matches("</i>before</li>").count(), 7, "named once");
        assert_eq!(html.matches("</i>after</li>").count(), 7);
        assert!(html.contains("class=\"worse\">worse") && html.contains("verdict bad"));
        assert!(html.contains("p50 is &lt;worse&gt;.") && html.contains("a &amp; b"));
        for absent in ["<script", "url(", "NaN", "inf", "<x>"] {
            assert!(!html.contains(absent), "{absent}");
        }
    }
}
