//! `stress doctor`: whether this machine can run the engine, and what would disturb a measurement; with the remedy for each.
//!
//! Owns how findings are shown, and the exit code: 3 where the engine cannot run. Never: changes anything.

mod rules;

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use host::Host;
use serde_json::json;

use crate::cli::DoctorOptions;
use crate::failure::{EXIT_MACHINE, Failure};
use crate::load::DriveError;
use crate::progress::colour_wanted;
use crate::{drive, report};

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// It runs, but figures suffer.
    Poor,
    /// It does not run.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) health: Health,
    /// How it is.
    pub(crate) says: String,
    /// What to do; empty where nothing need be done.
    pub(crate) remedy: String,
}

impl Health {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Poor => "poor",
            Self::Bad => "bad",
        }
    }
}

impl Finding {
    fn new(what: &'static str, health: Health, says: String, remedy: &str) -> Self {
        Self {
            what,
            health,
            says,
            remedy: remedy.to_owned(),
        }
    }
}

/// Looks, and tells.
pub(crate) fn run(options: &DoctorOptions) -> Result<ExitCode, Failure> {
    // The limits as they are when it begins: `run` raises that on descriptors itself.
    let host = Host::look();
    let mut findings = vec![engine(drive::probe())];
    findings.extend(rules::all(&host, options.connections));
    if options.json {
        let told = json!({
            "findings": findings.iter().map(|finding| json!({
                "what": finding.what,
                "health": finding.health.name(),
                "says": finding.says,
                "remedy": finding.remedy,
            })).collect::<Vec<_>>(),
            "host": host.json(),
        });
        report::write(io::stdout(), &format!("{told:#}\n"))?;
    } else {
        let colour = io::stdout().is_terminal() && colour_wanted();
        report::write(io::stdout(), &text(&findings, colour))?;
    }
    let is_bad = findings.iter().any(|one| one.health == Health::Bad);
    Ok(if is_bad {
        ExitCode::from(EXIT_MACHINE)
    } else {
        ExitCode::SUCCESS
    })
}

/// What an engine that was started and ended has told.
fn engine(probed: Result<(), DriveError>) -> Finding {
    match probed {
        Ok(()) => Finding::new(
            "engine",
            Health::Good,
            "starts: the kernel has every feature of io_uring that it needs".to_owned(),
            "",
        ),
        Err(DriveError::Machine { cause, remedy }) => {
            Finding::new("engine", Health::Bad, cause, &remedy)
        }
        Err(DriveError::Plan(cause)) => Finding::new("engine", Health::Bad, cause, "see above"),
    }
}

fn text(findings: &[Finding], colour: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = format!("{:<5}", finding.health.name());
        let word = match (colour, finding.health) {
            (false, _) => word,
            (true, Health::Good) => format!("\x1b[32m{word}\x1b[0m"),
            (true, Health::Poor) => format!("\x1b[33m{word}\x1b[0m"),
            (true, Health::Bad) => format!("\x1b[31m{word}\x1b[0m"),
        };
        let _ = writeln!(text, "{word} {:<12} {}", finding.what, finding.says);
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "{:>18} remedy: {}", "", finding.remedy);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_forbids_it_is_bad_with_its_remedy() {
        let forbidden = DriveError::Machine {
            cause: "a filter forbids io_uring".to_owned(),
            remedy: "allow it".to_owned(),
        };
        let finding = engine(Err(forbidden));
        assert_eq!(finding.health, Health::Bad);
        let text = text(&[finding], false);
        assert!(text.starts_with("bad   engine"), "{text}");
        assert!(text.contains("remedy: allow it"));
    }
}
