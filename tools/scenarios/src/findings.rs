//! What a run amounts to, as a table for people and as JSON for programs.
//!
//! Owns: how figures look, and when a criterion holds. Never: computes a figure.

use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

/// Width of the names of the figures.
const LABEL: usize = 30;
/// Width of one figure.
const FIGURE: usize = 14;

/// What a scenario found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What the figures' columns are.
    pub columns: Vec<Cow<'static, str>>,
    /// Rows of the table.
    pub figures: Vec<Figure>,
    /// Counts over time.
    pub series: Vec<Series>,
    /// What had to hold.
    pub criteria: Vec<Criterion>,
    /// Why none of it counts: what in the stage itself was the limit.
    pub invalid: Vec<String>,
}

/// One row: a value for each column.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: Cow<'static, str>,
    /// What it is counted in.
    pub unit: Unit,
    /// One for each column; `None` where there is nothing to say.
    pub values: Vec<Option<f64>>,
}

/// Counts in steps of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What is counted.
    pub name: &'static str,
    /// Where the first step begins, in seconds from the moment that the name speaks of.
    pub from: f64,
    /// How long a step is.
    pub step: Duration,
    /// The counts.
    pub values: Vec<f64>,
}

/// Something that has to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// For programs.
    pub key: Cow<'static, str>,
    /// For people.
    pub says: String,
    /// What it is counted in.
    pub unit: Unit,
    /// What was found.
    pub value: f64,
    /// What is allowed.
    pub bound: Bound,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// From the first to the second.
    Within(f64, f64),
}

/// What a value is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces.
    Count,
    /// Milliseconds.
    Millis,
    /// Microseconds.
    Micros,
    /// Hundredths; the value 1 is 100 %.
    Share,
    /// Times as much.
    Times,
}

/// The conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Every criterion holds.
    Pass,
    /// One does not.
    Fail,
    /// The stage was the limit: nothing was found.
    Invalid,
}

impl Unit {
    /// A value with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Count => format!("{value:.0}"),
            Unit::Millis if value.abs() >= 1000.0 => format!("{:.2} s", value / 1e3),
            Unit::Millis => format!("{value:.2} ms"),
            Unit::Micros => format!("{value:.2} µs"),
            Unit::Share => format!("{:.1} %", value * 100.0),
            Unit::Times => format!("{value:.2}×"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::Millis => "ms",
            Unit::Micros => "us",
            Unit::Share => "share",
            Unit::Times => "times",
        }
    }
}

impl Bound {
    fn allows(self, value: f64) -> bool {
        match self {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
            Bound::Within(least, most) => (least..=most).contains(&value),
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Bound::AtMost(most) => format!("at most {}", unit.show(most)),
            Bound::AtLeast(least) => format!("at least {}", unit.show(least)),
            Bound::Within(least, most) => {
                format!("{} to {}", unit.show(least), unit.show(most))
            }
        }
    }

    fn json(self) -> Value {
        match self {
            Bound::AtMost(most) => json!({ "at_most": most }),
            Bound::AtLeast(least) => json!({ "at_least": least }),
            Bound::Within(least, most) => json!({ "at_least": least, "at_most": most }),
        }
    }
}

impl Criterion {
    /// Whether it holds.
    pub fn holds(&self) -> bool {
        self.bound.allows(self.value)
    }

    /// How far it is beyond what is allowed; below zero where it holds.
    fn excess(&self) -> f64 {
        match self.bound {
            Bound::AtMost(most) => self.value - most,
            Bound::AtLeast(least) => least - self.value,
            Bound::Within(least, most) => (least - self.value).max(self.value - most),
        }
    }

    /// In one line, without the verdict.
    pub fn line(&self) -> String {
        let (found, bound) = (self.unit.show(self.value), self.bound.show(self.unit));
        format!("{}: {found} ({bound})", self.says)
    }
}

impl Conclusion {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Conclusion::Pass => "PASS",
            Conclusion::Fail => "FAIL",
            Conclusion::Invalid => "INVALID",
        }
    }
}

/// How long, in milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl Findings {
    /// A table without rows.
    pub fn new(columns: &[&'static str]) -> Findings {
        Findings {
            columns: columns
                .iter()
                .map(|column| Cow::Borrowed(*column))
                .collect(),
            ..Findings::default()
        }
    }

    /// Adds a row.
    pub fn figure(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        unit: Unit,
        values: &[Option<f64>],
    ) {
        debug_assert_eq!(values.len(), self.columns.len(), "a value for each column");
        let values = values.to_vec();
        let name = name.into();
        self.figures.push(Figure { name, unit, values });
    }

    /// Adds something that has to hold.
    pub fn must(
        &mut self,
        key: impl Into<Cow<'static, str>>,
        says: impl Into<String>,
        unit: Unit,
        value: f64,
        bound: Bound,
    ) {
        self.criteria.push(Criterion {
            key: key.into(),
            says: says.into(),
            unit,
            value,
            bound,
        });
    }

    /// The conclusion.
    pub fn outcome(&self) -> Conclusion {
        if !self.invalid.is_empty() {
            Conclusion::Invalid
        } else if self.criteria.iter().all(Criterion::holds) {
            Conclusion::Pass
        } else {
            Conclusion::Fail
        }
    }

    /// The whole of many runs: the medians of their figures, the worst of what had to hold, and the
    /// series of the first. `None` of none.
    pub fn over(runs: &[Findings]) -> Option<Findings> {
        let mut whole = runs.first()?.clone();
        for (row, figure) in whole.figures.iter_mut().enumerate() {
            for (column, value) in figure.values.iter_mut().enumerate() {
                let known = runs
                    .iter()
                    .filter_map(|run| run.figures[row].values[column]);
                let mut known: Vec<f64> = known.collect();
                known.sort_unstable_by(f64::total_cmp);
                *value = known.get(known.len() / 2).copied();
            }
        }
        for (index, criterion) in whole.criteria.iter_mut().enumerate() {
            for run in runs {
                let other = &run.criteria[index];
                // What is no number holds nowhere, and is beyond nothing.
                let is_first_to_fail = criterion.holds() && !other.holds();
                if is_first_to_fail || other.excess() > criterion.excess() {
                    *criterion = other.clone();
                }
            }
        }
        let reasons = runs.iter().flat_map(|run| &run.invalid);
        whole.invalid = reasons.cloned().collect();
        Some(whole)
    }

    /// The whole as text.
    pub fn table(&self) -> String {
        let mut text = " ".repeat(LABEL);
        for column in &self.columns {
            let _ = write!(text, "{column:>FIGURE$}");
        }
        text.push('\n');
        for figure in &self.figures {
            let _ = write!(text, "{:<LABEL$}", figure.name);
            for value in &figure.values {
                let value = value.map_or("-".to_owned(), |value| figure.unit.show(value));
                let _ = write!(text, "{value:>FIGURE$}");
            }
            text.push('\n');
        }
        for series in &self.series {
            text.push_str(&series.text());
        }
        text.push('\n');
        for criterion in &self.criteria {
            let verdict = if criterion.holds() { "PASS" } else { "FAIL" };
            let _ = writeln!(text, "{verdict}  {}", criterion.line());
        }
        for reason in &self.invalid {
            let _ = writeln!(text, "INVALID  {reason}");
        }
        text
    }

    /// The whole for programs. Keys are a promise: they may be added to, never renamed.
    pub fn json(&self) -> Value {
        let figures: Map<String, Value> = self
            .figures
            .iter()
            .map(|figure| {
                let values = self.columns.iter().zip(&figure.values);
                let values: Map<String, Value> = values
                    .map(|(column, value)| (key(column), json!(value)))
                    .collect();
                let whole = json!({ "unit": figure.unit.name(), "values": values });
                (key(&figure.name), whole)
            })
            .collect();
        let series: Map<String, Value> = self
            .series
            .iter()
            .map(|series| {
                let step = series.step.as_secs_f64();
                let whole = json!({
                    "from_seconds": series.from, "step_seconds": step, "values": series.values,
                });
                (key(series.name), whole)
            })
            .collect();
        let criteria = self.criteria.iter().map(|one| {
            json!({
                "key": one.key,
                "says": one.says,
                "unit": one.unit.name(),
                "value": one.value,
                "bound": one.bound.json(),
                "value_text": one.unit.show(one.value),
                "bound_text": one.bound.show(one.unit),
                "holds": one.holds(),
            })
        });
        json!({
            "outcome": self.outcome().name(),
            "figures": figures,
            "series": series,
            "criteria": criteria.collect::<Vec<_>>(),
            "invalid": self.invalid,
        })
    }
}

impl Series {
    fn text(&self) -> String {
        let mut text = format!("\n{}\n", self.name);
        let most = self.values.iter().copied().fold(1.0, f64::max);
        for (index, value) in self.values.iter().enumerate() {
            let at = self.from + self.step.as_secs_f64() * index as f64;
            // Forty characters for the largest.
            let bar = "▪".repeat((value / most.max(40.0) * 40.0).round() as usize);
            let line = format!("{at:>8.1} s {value:>5.0} {bar}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// A name for programs: its words, joined by underscores.
fn key(name: &str) -> String {
    let letters = name
        .to_lowercase()
        .replace(|c: char| !c.is_alphanumeric(), " ");
    letters.split_whitespace().collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let mut findings = Findings::new(&["ours", "one each"]);
        findings.figure("slowest caller", Unit::Millis, &[Some(22.5), None]);
        findings.series.push(Series {
            name: "dials in 100 ms",
            from: -0.1,
            step: Duration::from_millis(100),
            values: vec![0.0, 3.0],
        });
        findings.must("opened", "opened", Unit::Count, 6.0, Bound::AtMost(6.0));
        findings
    }

    #[test]
    fn one_criterion_that_fails_fails_it_and_an_invalid_run_found_nothing() {
        let mut findings = findings();
        assert_eq!(findings.outcome(), Conclusion::Pass);
        findings.must("rate", "rate", Unit::Share, 0.5, Bound::Within(0.9, 1.1));
        assert_eq!(findings.outcome(), Conclusion::Fail);
        assert!(
            findings
                .table()
                .contains("FAIL  rate: 50.0 % (90.0 % to 110.0 %)")
        );
        findings.invalid.push("it lagged".to_owned());
        assert_eq!(findings.outcome(), Conclusion::Invalid);
    }

    #[test]
    fn of_many_runs_the_worst_counts_and_the_median_is_shown() {
        let run = |slowest, opened| {
            let mut run = findings();
            run.figures[0].values[0] = Some(slowest);
            run.criteria[0].value = opened;
            run
        };
        let whole = Findings::over(&[run(3.0, 5.0), run(1.0, 7.0), run(2.0, 6.0)]);
        let whole = whole.expect("three runs");
        assert_eq!(whole.figures[0].values, [Some(2.0), None]);
        assert_eq!(whole.criteria[0].value, 7.0);
        assert_eq!(whole.outcome(), Conclusion::Fail);
        let none = Findings::over(&[run(1.0, 0.0), run(1.0, f64::NAN), run(1.0, 0.0)]);
        assert_eq!(none.expect("three runs").outcome(), Conclusion::Fail);
        assert_eq!(Findings::over(&[]), None);
    }

    #[test]
    fn people_and_programs_read_the_same() {
        let findings = findings();
        let table = findings.table();
        assert!(
            table.contains("slowest caller") && table.contains("22.50 ms"),
            "{table}"
        );
        assert!(table.contains("     0.0 s     3 ▪▪▪"), "{table}");
        let json = findings.json();
        assert_eq!(json["figures"]["slowest_caller"]["values"]["ours"], 22.5);
        assert!(json["figures"]["slowest_caller"]["values"]["one_each"].is_null());
        assert_eq!(json["series"]["dials_in_100_ms"]["values"][1], 3.0);
        assert_eq!(json["criteria"][0]["bound"]["at_most"], 6.0);
        assert_eq!(json["criteria"][0]["bound_text"], "at most 6");
        assert_eq!(json["criteria"][0]["value_text"], "6");
        assert_eq!(json["outcome"], "PASS");
    }
}
