//! Where a report goes besides the terminal: JSON, a time series as CSV, an HdrHistogram log, a page for a browser.
//!
//! Owns the files, created before a run: better to learn then that one cannot be. Never: knows a format.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

/// What the user wants to keep.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct OutputOptions {
    /// Write the report as JSON to this file; - is standard output
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
    /// Write the report as one page of HTML to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write the run over time as CSV to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the latencies of each interval to this file, as an HdrHistogram log
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
}

/// The files, open.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(super) json: Option<Target>,
    pub(super) report: Option<Target>,
    pub(super) csv: Option<Target>,
    pub(super) hlog: Option<Target>,
}

/// One of them.
#[derive(Debug)]
pub(super) enum Target {
    /// Standard output, which then carries nothing else.
    Stdout,
    File(PathBuf, File),
}

impl Outputs {
    /// Creates them.
    pub(crate) fn open(options: OutputOptions) -> Result<Self, Failure> {
        let open = |path: Option<PathBuf>| path.map(Target::create).transpose();
        let json = match options.json {
            Some(path) if path.as_os_str() == "-" => Some(Target::Stdout),
            path => open(path)?,
        };
        Ok(Self {
            json,
            report: open(options.report)?,
            csv: open(options.csv)?,
            hlog: open(options.hlog)?,
        })
    }

    /// Only JSON, to this file.
    pub(crate) fn of_json(json: Option<PathBuf>) -> Result<Self, Failure> {
        Self::open(OutputOptions {
            json,
            ..OutputOptions::default()
        })
    }

    /// Says a line at once, where people look. A reader that has gone away is no failure.
    pub(crate) fn say(&self, line: &str) {
        let line = format!("{line}\n");
        let _ = if self.takes_stdout() {
            write(io::stderr(), line.as_bytes())
        } else {
            write(io::stdout(), line.as_bytes())
        };
    }

    /// Writes what is no report, and nothing else.
    pub(crate) fn write_json(self, json: &serde_json::Value) -> Result<(), Failure> {
        match self.json {
            Some(target) => target.write(format!("{json:#}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Whether standard output is taken.
    pub(super) fn takes_stdout(&self) -> bool {
        matches!(self.json, Some(Target::Stdout))
    }
}

impl Target {
    fn create(path: PathBuf) -> Result<Self, Failure> {
        match File::create(&path) {
            Ok(file) => Ok(Self::File(path, file)),
            Err(e) => Err(Failure::Usage(format!(
                "cannot write {}: {e}",
                path.display()
            ))),
        }
    }

    /// Writes all of `bytes`.
    pub(super) fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout => write(io::stdout(), bytes),
            Self::File(path, mut file) => file
                .write_all(bytes)
                .map_err(|e| Failure::Run(format!("cannot write {}: {e}", path.display()))),
        }
    }
}

/// Writes all of `bytes`. A reader that has gone away (`stress | head`) is no failure.
pub(super) fn write(mut out: impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("cannot write the output: {e}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
