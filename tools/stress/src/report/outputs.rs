//! Where a report goes besides the terminal: JSON, a time series as CSV, an HdrHistogram log, a page for a browser.
//!
//! Owns the files, opened before a run: better to learn then that one cannot be. What stood in a file goes when there is something to take
//! its place, and not before: a run that fails leaves the one of yesterday alone. Never: knows a format.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of a file that keeps what is written; a device or a pipe may be named twice.
    fn of(file: &File) -> Option<Self> {
        let facts = file.metadata().ok().filter(|facts| facts.is_file())?;
        Some(Self {
            device: facts.dev(),
            inode: facts.ino(),
        })
    }
}

/// One of them.
#[derive(Debug)]
pub(super) enum Target {
    /// Standard output, which then carries nothing else.
    Stdout,
    File(PathBuf, File),
}

impl Outputs {
    /// Opens them, and creates those that are not there.
    pub(crate) fn open(options: OutputOptions) -> Result<Self, Failure> {
        let open = |path: Option<PathBuf>| path.map(Target::create).transpose();
        let json = match options.json {
            Some(path) if path.as_os_str() == "-" => Some(Target::Stdout),
            path => open(path)?,
        };
        let outputs = Self {
            json,
            report: open(options.report)?,
            csv: open(options.csv)?,
            hlog: open(options.hlog)?,
        };
        outputs.check_apart()?;
        Ok(outputs)
    }

    /// The files that keep what is written, by their options.
    fn files(&self) -> impl Iterator<Item = (&'static str, &Path, FileId)> {
        let targets = [
            ("--json", &self.json),
            ("--report", &self.report),
            ("--csv", &self.csv),
            ("--hlog", &self.hlog),
        ];
        targets.into_iter().filter_map(|(option, target)| {
            let Some(Target::File(path, file)) = target else {
                return None;
            };
            Some((option, path.as_path(), FileId::of(file)?))
        })
    }

    /// Refuses to write over `input`, which is read, however it is spelt.
    pub(crate) fn spare(&self, input: &Path) -> Result<(), Failure> {
        let Some(read) = File::open(input).ok().and_then(|file| FileId::of(&file)) else {
            return Ok(());
        };
        match self.files().find(|(.., id)| *id == read) {
            Some((option, path, _)) => Err(Failure::Usage(format!(
                "{option} names the file that is read: {}",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Refuses to write two of them into one file, however it is spelt.
    fn check_apart(&self) -> Result<(), Failure> {
        let mut seen: Vec<(&str, FileId)> = Vec::new();
        for (option, path, id) in self.files() {
            if let Some((other, _)) = seen.iter().find(|(_, seen)| *seen == id) {
                return Err(Failure::Usage(format!(
                    "{other} and {option} name the same file: {}",
                    path.display()
                )));
            }
            seen.push((option, id));
        }
        Ok(())
    }

    /// Only JSON, to this file.
    pub(crate) fn of_json(json: Option<PathBuf>) -> Result<Self, Failure> {
        Self::open(OutputOptions {
            json,
            ..OutputOptions::default()
        })
    }

    /// Only a page, in this file.
    pub(crate) fn of_page(report: Option<PathBuf>) -> Result<Self, Failure> {
        Self::open(OutputOptions {
            report,
            ..OutputOptions::default()
        })
    }

    /// Writes a page, if one is wanted, and nothing else.
    pub(crate) fn write_page(self, page: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.report {
            Some(target) => target.write(page().as_bytes()),
            None => Ok(()),
        }
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
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        match opened {
            Ok(file) => Ok(Self::File(path, file)),
            Err(e) => Err(Failure::Usage(format!(
                "cannot write {}: {e}",
                path.display()
            ))),
        }
    }

    /// Writes all of `bytes`, and nothing that was there is left.
    pub(super) fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout => write(io::stdout(), bytes),
            Self::File(path, mut file) => FileId::of(&file)
                .map_or(Ok(()), |_| file.set_len(0))
                .and_then(|()| file.write_all(bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_outputs_are_two_files_however_they_are_spelt() {
        let name = format!("stress-outputs-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let link = directory.join("link");
        std::os::unix::fs::symlink(directory.join("a"), &link).unwrap();
        let open = |csv: PathBuf, hlog: PathBuf| {
            Outputs::open(OutputOptions {
                csv: Some(csv),
                hlog: Some(hlog),
                ..OutputOptions::default()
            })
        };
        let a = || directory.join("a");
        for other in [a(), directory.join("./a"), link.clone()] {
            let error = open(a(), other).unwrap_err();
            assert!(matches!(error, Failure::Usage(why) if why.contains("--csv and --hlog")));
        }
        assert!(open(a(), directory.join("b")).is_ok());
        assert!(open("/dev/null".into(), "/dev/null".into()).is_ok());
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_stood_there_goes_only_when_there_is_something_to_take_its_place() {
        let name = format!("stress-outputs-kept-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, "yesterday's, and longer than today's").unwrap();
        let there = || std::fs::read_to_string(&path).unwrap();
        let before = there();
        let open = || Outputs::of_json(Some(path.clone())).unwrap();
        drop(open());
        assert_eq!(there(), before, "the run failed");
        let twice = OutputOptions {
            json: Some(path.clone()),
            csv: Some(path.clone()),
            ..OutputOptions::default()
        };
        assert!(Outputs::open(twice).is_err());
        assert!(matches!(open().spare(&path), Err(Failure::Usage(why)) if why.contains("--json")));
        assert!(open().spare(Path::new("/dev/null")).is_ok());
        assert_eq!(there(), before, "it was refused");
        open().write_json(&serde_json::json!(1)).unwrap();
        assert_eq!(there(), "1\n");
        std::fs::remove_file(&path).unwrap();
    }
}
