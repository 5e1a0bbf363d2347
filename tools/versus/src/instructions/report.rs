//! What was counted, for people and for programs. Keys of the JSON are a promise: they may be added to, never renamed.

use super::{Count, Counted};
use crate::cli::{By, InstructionsOptions};
use crate::host::Host;
use clap::ValueEnum;
use serde_json::{Map, Value, json as value};
use std::fmt::Write;

/// One client in one scenario.
pub(super) fn text(counted: &Counted, options: &InstructionsOptions) -> String {
    let (scenario, peer) = (counted.scenario.name, counted.peer.name);
    let count = match &counted.outcome {
        Ok(count) => count,
        Err(why) => return format!("\n{scenario}, {peer}: {why}\n"),
    };
    let mut text = format!(
        "\n{scenario}, {peer}: {:.1} user instructions per request, {:.3} system calls, {:.2} locked; {} requests, {} \
         thread{}\n",
        count.instructions,
        count.system_calls,
        count.locked,
        count.requests,
        count.threads,
        if count.threads == 1 { "" } else { "s" },
    );
    let share = |instructions: f64| 100.0 * instructions / count.instructions;
    let crates = count.profile.crates.iter().filter(|(_, sum)| *sum >= 0.05);
    let crates = crates.map(|(name, sum)| format!("{name} {sum:.1}"));
    let _ = writeln!(text, "  {}", crates.collect::<Vec<_>>().join(", "));
    let with_calls = options.by == By::Symbol;
    let _ = writeln!(
        text,
        "  {:>9} {:>6}{}  by {}",
        "each",
        "%",
        if with_calls { "    calls" } else { "" },
        by(options),
    );
    for row in count.profile.rows.iter().take(options.top) {
        let calls = row
            .calls
            .map_or(String::new(), |calls| format!("{calls:9.2}"));
        let (sum, share) = (row.instructions, share(row.instructions));
        let _ = writeln!(text, "  {sum:9.1} {share:6.1}{calls}  {}", row.name);
    }
    text
}

fn by(options: &InstructionsOptions) -> String {
    let by = options.by.to_possible_value();
    by.map_or(String::new(), |by| by.get_name().to_owned())
}

/// The whole report, indented, with a newline at its end.
pub(crate) fn json(host: &Host, options: &InstructionsOptions, all: &[Counted]) -> String {
    let mut scenarios = Map::new();
    for counted in all {
        let scenario = scenarios.entry(counted.scenario.name);
        let scenario = scenario.or_insert_with(|| value!({ "peers": {}, "failed": {} }));
        let (kind, told) = match &counted.outcome {
            Ok(count) => ("peers", peer(count, options.top)),
            Err(why) => ("failed", value!(why)),
        };
        scenario[kind][counted.peer.name] = told;
    }
    let report = value!({
        "host": host,
        "plan": { "by": by(options), "command": std::env::args().collect::<Vec<_>>() },
        "scenarios": scenarios,
    });
    format!("{report:#}\n")
}

fn peer(count: &Count, top: usize) -> Value {
    let rounded = |figure: f64| (figure * 1e4).round() / 1e4;
    let crates = count.profile.crates.iter();
    let crates: Map<_, _> = crates
        .map(|(name, sum)| (name.clone(), value!(rounded(*sum))))
        .collect();
    let rows = count.profile.rows.iter().take(top).map(|row| {
        value!({
            "name": row.name,
            "instructions": rounded(row.instructions),
            "calls": row.calls.map(rounded),
        })
    });
    value!({
        "requests": count.requests,
        "threads": count.threads,
        "instructions_per_request": rounded(count.instructions),
        "system_calls_per_request": rounded(count.system_calls),
        "locked_per_request": rounded(count.locked),
        "repeats_per_request": rounded(count.repeats),
        "crates": crates,
        "profile": rows.collect::<Vec<_>>(),
    })
}
