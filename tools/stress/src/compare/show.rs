//! A comparison for people, and for programs.
//!
//! Owns how it reads. Keys in JSON are a promise: they may be added to, never renamed.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{By, Change, Comparison, Judgement, Limit};

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

impl By {
    /// What a block is, in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parts => "parts of runs",
            Self::Runs => "runs",
            Self::Pairs => "pairs of runs",
        }
    }
}

/// A table; `colour` allows terminal attributes.
pub(crate) fn table(comparison: &Comparison, exceeded: &[(Limit, Change)], colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let by_runs = comparison.changes.iter().any(|one| one.by_runs.is_some());
    let mut text = format!(
        "{:<20}{:>12}{:>12}{:>11}   {:<22}{:>9}",
        "whole runs", "before", "after", "by blocks", "surely within", "shows"
    );
    if by_runs {
        text += "   by runs";
    }
    text += "\n";
    for change in &comparison.changes {
        let [before, after] = change.values.map(|value| change.metric.show(value));
        let told = |change_: f64| percent(change_, change.metric.is_ratio());
        let judgement = change.judgement();
        let word = match judgement {
            Judgement::Better => paint("32", judgement.name()),
            Judgement::Worse => paint("31", judgement.name()),
            Judgement::Same => String::new(),
        };
        let between = |[low, high]: [f64; 2]| format!("{} to {}", told(low), told(high));
        let runs = change.by_runs.map(between).unwrap_or_default();
        let runs = if by_runs {
            format!("   {runs:<22}")
        } else {
            String::new()
        };
        let line = format!(
            "{:<20}{before:>12}{after:>12}{:>11}   {:<22}{:>9}{runs} {word}",
            change.metric.name(),
            told(change.change),
            between(change.interval),
            told(change.least).replace('+', "±"),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for (metric, why) in &comparison.omitted {
        let _ = writeln!(text, "{:<20}not compared: {why}", metric.name());
    }
    let [before, after] = comparison.blocks;
    let _ = writeln!(
        text,
        "Before and after are of the whole runs; *by blocks* is the ratio of the means of {before} and {after} blocks, which are {}. All of \
         its\nintervals hold together with {:.0} % confidence; a change that is smaller than *shows* may stay unseen.",
        comparison.by.name(),
        (1.0 - super::ERROR) * 100.0
    );
    for (side, name) in ["before", "after"].into_iter().enumerate() {
        let (silent, blocks) = (comparison.silent[side], comparison.blocks[side]);
        if silent > 0 {
            let line = format!("ANSWERS: none in {silent} of {blocks} blocks {name}");
            let _ = writeln!(text, "{}", paint("31", &line));
        }
    }
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
            "blocks_before": change.means[0],
            "blocks_after": change.means[1],
            "change": change.change,
            "interval": change.interval,
            "interval_by_runs": change.by_runs,
            "least_shown": change.least,
            "judgement": change.judgement().name(),
        });
        (change.metric.key().to_owned(), one)
    });
    let omitted: Vec<_> = comparison.omitted.iter().map(|(m, _)| m.key()).collect();
    let why = comparison.omitted.iter();
    let why = why.map(|(metric, why)| (metric.key().to_owned(), why.clone().into()));
    let exceeded: Vec<_> = exceeded.iter().map(|(l, _)| l.metric.key()).collect();
    json!({
        "metrics": changes.collect::<serde_json::Map<_, _>>(),
        "not_compared": omitted,
        "not_compared_why": why.collect::<serde_json::Map<_, Value>>(),
        "runs": comparison.runs,
        "blocks": comparison.blocks,
        "blocks_are": comparison.by.name(),
        "silent_blocks": comparison.silent,
        "confidence": 1.0 - super::ERROR,
        "exceeded": exceeded,
        "notes": notes,
    })
}

/// A change as people write it; differences of shares are in percentage points.
pub(crate) fn percent(change: f64, ratio: bool) -> String {
    let percent = change * 100.0;
    match percent.abs() {
        _ if !ratio => format!("{percent:+.2} pp"),
        p if p >= 100_000.0 => ">1000×".to_owned(),
        p if p >= 1000.0 => format!("{percent:+.0} %"),
        _ => format!("{percent:+.1} %"),
    }
}
