//! The shard threads: started together or not at all, ended together.

use super::{EngineShared, cores};
use crate::driver::uring::{Refusal, Settings, Uring};
use crate::error::{Error, ErrorKind};
use crate::shard::Shard;
use crate::shard::mailbox::Mailbox;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

/// The running shards of an engine.
pub(crate) struct Threads {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<EngineShared<Uring>>,
}

impl Threads {
    /// Starts every shard, each on its thread with its ring, and waits until all run.
    ///
    /// # Errors
    /// What keeps one of them from running; those that ran are ended then.
    pub(crate) fn start(shared: &Arc<EngineShared<Uring>>) -> Result<Threads, Error> {
        let (report, reports) = mpsc::channel();
        let mut threads = Threads {
            threads: Vec::new(),
            shared: shared.clone(),
        };
        for index in 0..shared.mailboxes.len() {
            let (shared, report) = (shared.clone(), report.clone());
            let thread = thread::Builder::new()
                .name(format!("ringpool-{index}"))
                .spawn(move || run(&shared, index, report))
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Unsupported,
                        format!("cannot start a thread: {error}"),
                    )
                    .caused_by(error)
                })?;
            threads.threads.push(thread);
        }
        drop(report);
        let mut running = 0;
        for started in reports {
            started?;
            running += 1;
        }
        if running < threads.threads.len() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a shard's thread ended before it ran",
            ));
        }
        Ok(threads)
    }
}

fn run(shared: &EngineShared<Uring>, index: usize, report: mpsc::Sender<Result<(), Error>>) {
    let _closed = CloseAtEnd(&shared.mailboxes[index]);
    match prepare(shared, index) {
        Ok(mut shard) => {
            if report.send(Ok(())).is_err() {
                return;
            }
            // From now on the start's caller waits for the others only.
            drop(report);
            if let Err(error) = shard.run() {
                let what = format!("shard {index} has lost its ring and ended: {error}");
                let error = Error::new(ErrorKind::Unsupported, what).caused_by(error);
                shared.mailboxes[index].fail(error);
            }
        }
        Err(error) => {
            // The start may have failed already, for another shard's reason.
            let _ = report.send(Err(error));
        }
    }
}

/// Whatever ends a shard's thread, a panic included, those who wait for it learn it.
struct CloseAtEnd<'a>(&'a Mailbox<Uring>);

impl Drop for CloseAtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn prepare(shared: &EngineShared<Uring>, index: usize) -> Result<Shard<Uring>, Error> {
    let config = &shared.config;
    if let Some(core) = cores::for_shard(config, index) {
        cores::pin(core).map_err(|error| {
            let what = format!(
                "cannot pin shard {index} to core {core}: {error}; set `cores`, or `pin` to false"
            );
            Error::new(ErrorKind::Config, what).caused_by(error)
        })?;
    }
    let settings = Settings {
        entries: config.ring_entries,
        completions: config.ring_entries.saturating_mul(4),
        buffers: config.receive_buffers,
        buffer_size: config.receive_buffer_size,
    };
    let driver = Uring::new(&settings).map_err(unsupported)?;
    Ok(Shard::new(shared.parts(index, driver)))
}

/// What forbids io_uring, as the crate's own error.
pub(crate) fn unsupported(refusal: Refusal) -> Error {
    Error::new(ErrorKind::Unsupported, refusal.to_string()).caused_by(refusal)
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            // An engine dropped by one of its own tasks cannot wait for that task's thread.
            if thread.thread().id() == thread::current().id() {
                continue;
            }
            // A panic was the thread's own end; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}
