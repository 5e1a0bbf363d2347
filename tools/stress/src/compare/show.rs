//! A comparison for people, and for programs.
//!
//! Owns how it reads. Keys in JSON are a promise: they may be added to, never renamed.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Change, Comparison, Judgement, Limit};

impl Judgement {
    /// For people and programs alike.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Same => "same",
        }
    }
}

/// A table; `colour` allows terminal attributes.
pub(crate) fn table(comparison: &Comparison, exceeded: &[(Limit, Change)], colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let mut text = format!(
        "{:<20}{:>12}{:>12}{:>10}   {:<22}\n",
        "", "before", "after", "change", "surely within"
    );
    for change in &comparison.changes {
        let [(name, before), (_, after)] = change.values.map(|value| change.metric.show(value));
        let ratio = change.metric.is_ratio();
        let [low, high] = change.interval.map(|end| percent(end, ratio));
        let judgement = change.judgement();
        let word = match judgement {
            Judgement::Better => paint("32", judgement.name()),
            Judgement::Worse => paint("31", judgement.name()),
            Judgement::Same => String::new(),
        };
        let line = format!(
            "{name:<20}{before:>12}{after:>12}{:>10}   {:<22} {word}",
            percent(change.change, ratio),
            format!("{low} to {high}")
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for (metric, why) in &comparison.omitted {
        let _ = writeln!(text, "{:<20}not compared: {why}", metric.show(0.0).0);
    }
    let [before, after] = comparison.blocks;
    let _ = writeln!(
        text,
        "All intervals hold together with 99 % confidence, by {before} and {after} blocks."
    );
    for (limit, change) in exceeded {
        let ratio = limit.metric.is_ratio();
        let line = format!(
            "FAIL: {} changed by {}, surely beyond {}",
            limit.metric.key(),
            percent(change.change, ratio),
            percent(limit.change, ratio)
        );
        let _ = writeln!(text, "{}", paint("31", &line));
    }
    text
}

/// For programs.
pub(crate) fn json(
    comparison: &Comparison,
    exceeded: &[(Limit, Change)],
    notes: &[String],
) -> Value {
    let changes = comparison.changes.iter().map(|change| {
        let one = json!({
            "before": change.values[0],
            "after": change.values[1],
            "change": change.change,
            "interval": change.interval,
            "judgement": change.judgement().name(),
        });
        (change.metric.key().to_owned(), one)
    });
    let omitted: Vec<_> = comparison.omitted.iter().map(|(m, _)| m.key()).collect();
    let exceeded: Vec<_> = exceeded.iter().map(|(l, _)| l.metric.key()).collect();
    json!({
        "metrics": changes.collect::<serde_json::Map<_, _>>(),
        "not_compared": omitted,
        "blocks": comparison.blocks,
        "confidence": 1.0 - super::ERROR,
        "exceeded": exceeded,
        "notes": notes,
    })
}

/// A change as people write it; differences of shares are in percentage points.
fn percent(change: f64, ratio: bool) -> String {
    let percent = change * 100.0;
    match percent.abs() {
        _ if !ratio => format!("{percent:+.2} pp"),
        p if p >= 1000.0 => format!("{percent:+.0} %"),
        _ => format!("{percent:+.1} %"),
    }
}
