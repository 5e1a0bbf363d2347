//! The ways in which the tool itself fails, and the exit code of each.
//!
//! Failed requests are not here: they are counted in a report, which is still shown.

use std::fmt;
use std::process::ExitCode;

/// Some requests failed, or the run broke off.
pub(crate) const EXIT_REQUESTS_FAILED: u8 = 1;
/// The command line asks for something that does not exist or cannot be read.
pub(crate) const EXIT_USAGE: u8 = 2;
/// The machine lacks something that the run needs.
pub(crate) const EXIT_MACHINE: u8 = 3;

/// Why the tool stops without a (complete) report.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The run broke off: the backend died, a file could not be written.
    Run(String),
    /// The command line is at fault.
    Usage(String),
    /// The machine cannot run it; the remedy says what to change.
    Machine {
        /// What is missing or forbidden.
        cause: String,
        /// What the user can do about it.
        remedy: String,
    },
}

impl Failure {
    /// The exit code that stands for this failure.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Run(_) => EXIT_REQUESTS_FAILED,
            Self::Usage(_) => EXIT_USAGE,
            Self::Machine { .. } => EXIT_MACHINE,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(cause) | Self::Usage(cause) => f.write_str(cause),
            Self::Machine { cause, remedy } => write!(f, "{cause}\nremedy: {remedy}"),
        }
    }
}

impl std::error::Error for Failure {}
