//! `stress compare`: reads the runs, says what could make them incomparable, and shows the comparison.
//!
//! Owns the exit code: 1 where a limit is surely exceeded, 3 where a run does not count. Never: judges.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::{Comparison, TooShort, json, table};
use crate::cli::CompareOptions;
use crate::failure::{EXIT_MACHINE, EXIT_REQUESTS_FAILED, Failure};
use crate::load::LoadResult;
use crate::progress::colour_wanted;
use crate::record::Kept;
use crate::report;

/// What of a plan may differ without a word: where the backend was.
const PLACES: [&str; 1] = ["url"];
/// Facts of the host that change what is measured.
const FACTS: [&str; 5] = ["kernel", "cpu", "cores", "governor", "boost"];

/// Carries it out.
pub(crate) fn run(options: &CompareOptions) -> Result<ExitCode, Failure> {
    let read = |paths: &[PathBuf]| -> Result<Vec<Kept>, Failure> {
        let phase = options.phase.as_deref();
        paths.iter().map(|path| Kept::open(path, phase)).collect()
    };
    let (before, after) = (read(&options.before)?, read(&options.after)?);
    let [a, b] = [&before, &after].map(|side| {
        side.iter()
            .map(|one| &one.result)
            .collect::<Vec<&LoadResult>>()
    });
    let comparison = Comparison::of(&a, &b).map_err(|TooShort| {
        Failure::Usage("a run is too short to be compared: two seconds at least".to_owned())
    })?;
    let all: Vec<&Kept> = before.iter().chain(&after).collect();
    let notes = notes(&all);
    let limits = options.fail_on.as_deref().unwrap_or_default();
    let exceeded = comparison.exceeded(limits);
    if options.json {
        let told = json(&comparison, &exceeded, &notes);
        report::write(io::stdout(), &format!("{told:#}\n"))?;
    } else {
        let colour = io::stdout().is_terminal() && colour_wanted();
        let mut text = table(&comparison, &exceeded, colour);
        for note in &notes {
            text += &format!("note: {note}\n");
        }
        report::write(io::stdout(), &text)?;
    }
    // What was not compared cannot have been found to be within its limit.
    let unseen = limits
        .iter()
        .find(|limit| comparison.omitted.iter().any(|(m, _)| *m == limit.metric));
    if let Some(limit) = unseen {
        return Err(Failure::Usage(format!(
            "{} could not be compared; the table says why",
            limit.metric.key()
        )));
    }
    if all.iter().any(|one| !one.result.invalid.is_empty()) {
        return Ok(ExitCode::from(EXIT_MACHINE));
    }
    Ok(if exceeded.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_REQUESTS_FAILED)
    })
}

/// What makes the runs hard to compare.
fn notes(runs: &[&Kept]) -> Vec<String> {
    let mut notes = Vec::new();
    for run in runs {
        for why in &run.result.invalid {
            notes.push(format!("a run is INVALID: {why}"));
        }
        if run.result.interrupted {
            notes.push("a run was interrupted".to_owned());
        }
    }
    let [first, others @ ..] = runs else {
        return notes;
    };
    let mut differ = |what: &str, one: &Value, other: &Value, key: &str| {
        let (one, other) = (&one[key], &other[key]);
        if one != other {
            notes.push(format!("{what} differ in {key}: {one} and {other}"));
        }
    };
    for other in others {
        for key in first
            .plan
            .as_object()
            .into_iter()
            .flat_map(|plan| plan.keys())
        {
            if !PLACES.contains(&key.as_str()) {
                differ("the plans", &first.plan, &other.plan, key);
            }
        }
        for key in FACTS {
            differ("the hosts", &first.host, &other.host, key);
        }
    }
    notes.dedup();
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_beside_the_build_is_told() {
        let kept = |rate: f64, kernel: &str, url: &str| Kept {
            title: "run".to_owned(),
            result: LoadResult::default(),
            plan: json!({ "rate": rate, "url": url }),
            command: String::new(),
            host: json!({ "kernel": kernel, "date": url }),
        };
        let (a, same) = (kept(1.0, "6.1", "http://a/"), kept(1.0, "6.1", "http://b/"));
        assert!(notes(&[&a, &same]).is_empty());
        let mut other = kept(2.0, "6.2", "http://a/");
        other.result.invalid.push("late".to_owned());
        let told = notes(&[&a, &other]);
        assert_eq!(
            told,
            [
                "a run is INVALID: late",
                "the plans differ in rate: 1.0 and 2.0",
                "the hosts differ in kernel: \"6.1\" and \"6.2\"",
            ]
        );
    }
}
