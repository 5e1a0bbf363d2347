//! The ways in which the tool fails, and the exit code of each.

use std::fmt;
use std::process::ExitCode;

/// Why there is no report, or not a complete one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A client or the backend failed, or a file could not be written. Exit code 1.
    Run(String),
    /// The command line asks for something that does not exist. Exit code 2.
    Usage(String),
    /// The machine lacks something that every client needs. Exit code 3.
    Machine(String),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Run(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Machine(_) => 3,
        })
    }

    /// Puts what was attempted before why it failed.
    pub(crate) fn run(attempt: &str, why: impl fmt::Display) -> Failure {
        Failure::Run(format!("{attempt}: {why}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Run(why) | Failure::Usage(why) | Failure::Machine(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}
