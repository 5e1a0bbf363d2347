//! `stress compare`: finds and reads the runs, and shows how they compare.
//!
//! Owns the exit code: 1 where a limit is surely exceeded or answers stayed away, 2 where a limit could not be judged, 3 where a run does not count. Never: judges.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use super::page::page;
use super::{Comparison, differ, json, table};
use crate::cli::CompareOptions;
use crate::failure::{EXIT_MACHINE, EXIT_REQUESTS_FAILED, Failure};
use crate::load::LoadResult;
use crate::progress::colour_wanted;
use crate::record::Kept;
use crate::report::{self, Outputs};

/// More runs on one side than anybody makes; each may take megabytes.
const RUNS_MAX: usize = 200;

/// Carries it out.
pub(crate) fn run(options: &CompareOptions) -> Result<ExitCode, Failure> {
    let (paths_before, paths_after) = (files(&options.before)?, files(&options.after)?);
    let outputs = Outputs::of_page(options.report.clone())?;
    for path in paths_before.iter().chain(&paths_after) {
        outputs.spare(path)?;
    }
    let read = |paths: &[PathBuf]| -> Result<Vec<Kept>, Failure> {
        let phase = options.phase.as_deref();
        paths.iter().map(|path| Kept::open(path, phase)).collect()
    };
    let (before, after) = (read(&paths_before)?, read(&paths_after)?);
    let [a, b] = [&before, &after].map(|side| {
        side.iter()
            .map(|one| &one.result)
            .collect::<Vec<&LoadResult>>()
    });
    let comparison = Comparison::of(&a, &b, options.pairs)
        .map_err(|incomparable| Failure::Usage(incomparable.to_string()))?;
    let all: Vec<&Kept> = before.iter().chain(&after).collect();
    let limits = options.fail_on.as_deref().unwrap_or_default();
    let exceeded = comparison.exceeded(limits);
    let mut notes = differ::notes(&all);
    notes.extend(comparison.undecidable(limits));
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
    let sides = [before.as_slice(), after.as_slice()];
    outputs.write_page(|| page(&comparison, &exceeded, &notes, sides).render())?;
    if all.iter().any(|one| !one.result.invalid.is_empty()) {
        return Ok(ExitCode::from(EXIT_MACHINE));
    }
    if !exceeded.is_empty() || comparison.fell_silent(limits) {
        return Ok(ExitCode::from(EXIT_REQUESTS_FAILED));
    }
    // What was not compared cannot have been found to be within its limit.
    match comparison.unseen(limits) {
        Some((metric, why)) => Err(Failure::Usage(format!(
            "{} could not be compared: {why}",
            metric.key()
        ))),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// The files of one side: each is a name, or a pattern such as `before-*.json`, whose files come in the order of their names.
fn files(patterns: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for pattern in patterns {
        let path = PathBuf::from(pattern);
        if path.exists() {
            files.push(path);
            continue;
        }
        let failed = |why: String| Failure::Usage(format!("{pattern}: {why}"));
        let found = glob::glob(pattern).map_err(|e| failed(e.to_string()))?;
        let found: Result<Vec<PathBuf>, _> = found.collect();
        let found = found.map_err(|e| failed(e.to_string()))?;
        if found.is_empty() {
            return Err(failed("there is no such file".to_owned()));
        }
        files.extend(found);
    }
    if files.len() > RUNS_MAX {
        return Err(Failure::Usage(format!(
            "{} runs on one side are more than {RUNS_MAX}",
            files.len()
        )));
    }
    Ok(files)
}
