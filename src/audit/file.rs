//! Audit events in a file: JSON Lines, one event a line.
//!
//! Owns: the file, and finding out that it was moved away. Never: keeps a line back once there is nothing more to write.

use super::{AuditEvent, AuditSink};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Appends to a file that its owner alone may read. Where it was moved or removed meanwhile, as those do who rotate logs, a
/// new one is begun.
pub(crate) struct AuditFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// Looked at once for every batch.
    looked: bool,
}

impl AuditFile {
    /// # Errors
    /// If it cannot be opened or made.
    pub(crate) fn open(path: &Path) -> io::Result<AuditFile> {
        Ok(AuditFile {
            path: path.to_owned(),
            file: BufWriter::new(open(path)?),
            looked: false,
        })
    }

    fn follow_rotation(&mut self) -> io::Result<()> {
        let now = fs::metadata(&self.path).ok();
        let ours = self.file.get_ref().metadata()?;
        if now.is_none_or(|now| (now.dev(), now.ino()) != (ours.dev(), ours.ino())) {
            self.file.flush()?;
            self.file = BufWriter::new(open(&self.path)?);
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
        if !self.looked {
            self.follow_rotation()?;
            self.looked = true;
        }
        serde_json::to_writer(&mut self.file, event)?;
        self.file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.looked = false;
        self.file.flush()
    }
}
