//! Looks whether files that TLS settings name have changed.
//!
//! Owns: a thread, where there is something to look at, and what the files looked like. Never: reads a file, or judges
//! what is in it; what has changed is reloaded.

use super::EngineShared;
use crate::config::UpstreamConfig;
use crate::driver::uring::Uring;
use crate::error::{Error, ErrorKind};
use crate::shard::upstream::UpstreamShared;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often it is looked at least whether settings have come that name files, where none do.
const WITHOUT_FILES: Duration = Duration::from_secs(60);

/// The thread that looks. Dropped, it ends.
pub(crate) struct FileWatch {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// Begins to look, if a named upstream speaks TLS.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(shared: &Arc<EngineShared<Uring>>) -> Result<Option<FileWatch>, Error> {
        let upstreams = shared.directory.values();
        // Those without files may be given some.
        let upstreams = upstreams.filter(|one| one.url.is_tls());
        let mut watched: Vec<Watched> = upstreams.map(Watched::new).collect();
        let Some(interval) = shared
            .config
            .reload_interval
            .filter(|_| !watched.is_empty())
        else {
            return Ok(None);
        };
        let (end, ended) = mpsc::channel::<()>();
        let shared = shared.clone();
        let thread = thread::Builder::new()
            .name("ringpool-files".into())
            .spawn(move || {
                let pause = |watched: &[Watched]| match watched.iter().any(Watched::has_files) {
                    true => interval,
                    false => interval.max(WITHOUT_FILES),
                };
                while ended.recv_timeout(pause(&watched)) == Err(RecvTimeoutError::Timeout) {
                    for one in watched.iter_mut() {
                        if one.has_changed() {
                            // How it went is kept with the upstream, and shards need not be waited for.
                            let _ = shared.reload(&one.upstream);
                        }
                    }
                }
            });
        let thread = thread.map_err(|error| {
            let what = format!("cannot start a thread: {error}");
            Error::new(ErrorKind::Unsupported, what).caused_by(error)
        })?;
        Ok(Some(FileWatch {
            end: Some(end),
            thread: Some(thread),
        }))
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // Whatever it met, the engine ends.
            let _ = thread.join();
        }
    }
}

/// What tells one state of a file from another (stat(2)); `None` while there is no file.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// One upstream's files.
struct Watched {
    upstream: Arc<UpstreamShared>,
    /// As of the last reload.
    seen: Vec<Stamp>,
    /// Another state, which may not be whole yet.
    next: Option<Vec<Stamp>>,
}

impl Watched {
    fn new(upstream: &Arc<UpstreamShared>) -> Watched {
        Watched {
            upstream: upstream.clone(),
            // What was there when the engine read them is not known: they are read once more.
            seen: Vec::new(),
            next: None,
        }
    }

    fn has_files(&self) -> bool {
        !files(&self.upstream.settings()).is_empty()
    }

    /// Whether there is another state than that of the last reload, the second time in a row: who writes several files
    /// takes a moment.
    fn has_changed(&mut self) -> bool {
        let now = stamps(&self.upstream.settings());
        if now == self.seen {
            self.next = None;
            return false;
        }
        if self.next.as_ref() != Some(&now) {
            self.next = Some(now);
            return false;
        }
        self.next = None;
        self.seen = now;
        true
    }
}

fn stamps(settings: &UpstreamConfig) -> Vec<Stamp> {
    files(settings).into_iter().map(stamp).collect()
}

/// Follows links: what a link leads to may be replaced with the link as it is, and the other way round.
fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((
        about.dev(),
        about.ino(),
        about.size(),
        about.mtime(),
        about.mtime_nsec(),
    ))
}

fn files(settings: &UpstreamConfig) -> Vec<&Path> {
    match settings.url.is_tls() {
        true => settings.tls.files(),
        false => Vec::new(),
    }
}
