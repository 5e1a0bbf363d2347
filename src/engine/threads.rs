//! The shard threads: started together or not at all, ended together; a shard that is lost is followed by
//! another one on the same thread.

use super::restart::{Restarts, WINDOW};
use super::{EngineShared, cores};
use crate::driver::Signal;
use crate::driver::uring::{Refusal, Settings, Uring};
use crate::error::{Error, ErrorKind};
use crate::shard::Shard;
use crate::shard::figures::Tally;
use crate::shard::lost::lost;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

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
    let mut end = End {
        shared,
        index,
        fault: None,
    };
    let mut shard = match prepare(shared, index) {
        Ok(driver) => Shard::new(shared.parts(index, driver)),
        Err(error) => {
            // The start may have failed already, for another shard's reason.
            let _ = report.send(Err(error));
            return;
        }
    };
    if report.send(Ok(())).is_err() {
        return;
    }
    // From now on the start's caller waits for the others only.
    drop(report);
    let mut restarts = Restarts::new(shared.config.restarts_max);
    // Each round begins with a shard that is fit to run, and ends with one that was lost.
    while let Some(fault) = run_to_its_end(&mut shard, index) {
        let tally = give_up(shared, shard, &fault);
        match succeed(shared, index, &mut restarts, fault, tally) {
            Ok(successor) => shard = successor,
            Err(fault) => {
                end.fault = fault;
                return;
            }
        }
    }
}

/// Whatever ends a shard's thread, those who wait for it learn it.
struct End<'a> {
    shared: &'a EngineShared<Uring>,
    index: usize,
    fault: Option<Error>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.shared.on_shard_ended(self.index, self.fault.take());
    }
}

/// Turns until told to stop; if it is lost before that, says by what.
fn run_to_its_end(shard: &mut Shard<Uring>, index: usize) -> Option<Error> {
    match catch_unwind(AssertUnwindSafe(|| shard.run())) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            let why = format!("its ring is of no use any more: {error}");
            Some(lost(index, &why).caused_by(error))
        }
        Err(panic) => Some(lost(index, &format!("it panicked: {}", said(&*panic)))),
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing")
}

/// Lets go of a lost shard; its totals are left.
fn give_up(shared: &EngineShared<Uring>, mut shard: Shard<Uring>, fault: &Error) -> Tally {
    let index = shard.index();
    shared.mailboxes[index].lose(fault);
    // What panicked once may do so again. Whatever it does not come to is left to its drop.
    let tally = catch_unwind(AssertUnwindSafe(|| shard.lose(fault)));
    // The driver first: it cancels what is in flight and waits. Then the permits.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(shard)));
    shared.on_shard_lost(index);
    if let Ok(tally) = &tally {
        // Until a successor tells, or for good.
        (shared.told).keep(index, tally.figures(index, shared.now()));
    }
    tally.unwrap_or_default()
}

/// Starts a shard that follows a lost one, in its time.
///
/// # Errors
/// If there is to be none: what it stays down for, unless the engine ends anyway.
fn succeed(
    shared: &EngineShared<Uring>,
    index: usize,
    restarts: &mut Restarts,
    mut fault: Error,
    tally: Tally,
) -> Result<Shard<Uring>, Option<Error>> {
    loop {
        let Some(pause) = restarts.after_loss(shared.now()) else {
            return Err(Some(stays_down(index, &fault)));
        };
        wait_for_restart(shared, index, pause);
        if shared.is_ending() {
            // Whoever drains wants to know; whoever stops knows enough.
            return Err(Some(fault).filter(|_| !shared.is_stopping()));
        }
        match prepare(shared, index) {
            Ok(driver) => {
                let mut shard = Shard::new(shared.successor(index, driver, tally));
                shard.begin_with(shared.restore(index));
                return Ok(shard);
            }
            Err(error) => {
                let why = format!("it could not be started again: {error}");
                fault = lost(index, &why).caused_by(error);
                shared.mailboxes[index].lose(&fault);
            }
        }
    }
}

/// Waits for so long, or until the engine ends.
fn wait_for_restart(shared: &EngineShared<Uring>, index: usize, pause: Duration) {
    let parker = &shared.mailboxes[index].parker;
    parker.set_signal(Arc::new(Unpark(thread::current())));
    let until = shared.now() + pause;
    loop {
        parker.announce_sleep();
        let left = until.since(shared.now());
        if left == Duration::ZERO || shared.is_ending() {
            parker.woken();
            return;
        }
        thread::park_timeout(left);
        parker.woken();
    }
}

struct Unpark(Thread);

impl Signal for Unpark {
    fn signal(&self) {
        self.0.unpark();
    }
}

fn stays_down(index: usize, fault: &Error) -> Error {
    let what =
        format!("shard {index} stays down: it was lost too often within {WINDOW:?} (restarts_max)");
    Error::new(ErrorKind::Refused, what).caused_by(fault.duplicate())
}

fn prepare(shared: &EngineShared<Uring>, index: usize) -> Result<Uring, Error> {
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
        spin: config.spin.unwrap_or_default(),
    };
    Uring::new(&settings).map_err(unsupported)
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
        self.shared.on_all_ended();
    }
}
