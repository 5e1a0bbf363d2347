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

/// What the columns are called.
pub(super) fn head(comparison: &Comparison) -> Vec<&'static str> {
    let mut head = vec![
        "whole runs",
        "before",
        "after",
        "by blocks",
        "surely within",
        "shows",
    ];
    if comparison.changes.iter().any(|one| one.by_runs.is_some()) {
        head.push("by runs");
    }
    head
}

/// A change, column by column; nothing beneath *by runs* where that is not known.
pub(super) fn cells(change: &Change) -> [String; 7] {
    let [before, after] = change.values.map(|value| change.metric.show(value));
    let told = |change_: f64| percent(change_, change.metric.is_ratio());
    let between = |[low, high]: [f64; 2]| format!("{} to {}", told(low), told(high));
    [
        change.metric.name(),
        before,
        after,
        told(change.change),
        between(change.interval),
        told(change.least).replace('+', "±"),
        change.by_runs.map(between).unwrap_or_default(),
    ]
}

/// What the columns mean.
pub(super) fn legend(comparison: &Comparison) -> String {
    let [before, after] = comparison.blocks;
    format!(
        "Before and after are of the whole runs; *by blocks* is the ratio of the means of {before} and {after} blocks, which are {}. All of \
         its\nintervals hold together with {:.0} % confidence; a change that is smaller than *shows* may stay unseen.",
        comparison.by.name(),
        (1.0 - super::ERROR) * 100.0
    )
}

/// What is bad, whatever the figures: silence, and limits that are exceeded.
pub(super) fn alarms(comparison: &Comparison, exceeded: &[(Limit, Change)]) -> Vec<String> {
    let sides = ["before", "after"].into_iter().enumerate();
    let silent = sides.filter_map(|(side, name)| {
        let (silent, blocks) = (comparison.silent[side], comparison.blocks[side]);
        (silent > 0).then(|| format!("ANSWERS: none in {silent} of {blocks} blocks {name}"))
    });
    let exceeded = exceeded.iter().map(|(limit, change)| {
        let ratio = limit.metric.is_ratio();
        format!(
            "FAIL: {} changed by {}, surely beyond {}",
            limit.metric.key(),
            percent(change.change, ratio),
            percent(limit.change, ratio)
        )
    });
    silent.chain(exceeded).collect()
}

/// A table; `colour` allows terminal attributes.
pub(crate) fn table(comparison: &Comparison, exceeded: &[(Limit, Change)], colour: bool) -> String {
    let paint = |code: &str, text: &str| match colour {
        true => format!("\x1b[{code}m{text}\x1b[0m"),
        false => text.to_owned(),
    };
    let line = |cells: &[&str]| {
        let mut line = format!(
            "{:<20}{:>12}{:>12}{:>11}   {:<22}{:>9}",
            cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]
        );
        if let Some(by_runs) = cells.get(6) {
            let _ = write!(line, "   {by_runs:<22}");
        }
        line
    };
    let head = head(comparison);
    let mut text = format!("{}\n", line(&head).trim_end());
    for change in &comparison.changes {
        let judgement = change.judgement();
        let word = match judgement {
            Judgement::Better => paint("32", judgement.name()),
            Judgement::Worse => paint("31", judgement.name()),
            Judgement::Same => String::new(),
        };
        let cells = cells(change);
        let cells: Vec<&str> = cells.iter().map(String::as_str).take(head.len()).collect();
        let _ = writeln!(text, "{}", format!("{} {word}", line(&cells)).trim_end());
    }
    for (metric, why) in &comparison.omitted {
        let _ = writeln!(text, "{:<20}not compared: {why}", metric.name());
    }
    let _ = writeln!(text, "{}", legend(comparison));
    for alarm in alarms(comparison, exceeded) {
        let _ = writeln!(text, "{}", paint("31", &alarm));
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
