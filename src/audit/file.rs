//! Audit events in a file: JSON Lines, one event a line.
//!
//! Owns: the file, and finding out that it was moved away. Never: keeps a line back once there is nothing more to write, or
//! writes a part of one.

use super::{AuditEvent, AuditSink};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// With so many bytes of lines they are written, whether or not more are to come.
const BATCH: usize = 64 * 1024;

/// Appends to a file that its owner alone may read. Where it was moved or removed meanwhile, as those do who rotate logs, a
/// new one is begun.
pub(crate) struct AuditFile {
    path: PathBuf,
    file: File,
    /// Whole lines that are not written yet.
    lines: Vec<u8>,
}

impl AuditFile {
    /// # Errors
    /// If it cannot be opened or made.
    pub(crate) fn open(path: &Path) -> io::Result<AuditFile> {
        Ok(AuditFile {
            path: path.to_owned(),
            file: open(path)?,
            lines: Vec::new(),
        })
    }

    /// Lines that cannot be written are lost: those to come must not be glued to a part of one.
    fn write(&mut self) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let written = self
            .follow_rotation()
            .and_then(|()| self.file.write_all(&self.lines));
        self.lines.clear();
        written
    }

    fn follow_rotation(&mut self) -> io::Result<()> {
        let now = fs::metadata(&self.path).ok();
        let ours = self.file.metadata()?;
        if now.is_none_or(|now| (now.dev(), now.ino()) != (ours.dev(), ours.ino())) {
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

impl AuditSink for AuditFile {
    fn record(&mut self, event: &AuditEvent) -> io::Result<()> {
        let whole = self.lines.len();
        if let Err(error) = serde_json::to_writer(&mut self.lines, event) {
            self.lines.truncate(whole);
            return Err(error.into());
        }
        self.lines.push(b'\n');
        if self.lines.len() < BATCH {
            return Ok(());
        }
        self.write()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write()
    }
}
