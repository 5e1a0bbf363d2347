//! The audit trail: who was connected to, when, how, and why that ended.
//!
//! Owns: the queue between shards and the thread that writes. Never: makes a shard wait: what the queue has no room for is
//! dropped, and counted.

mod event;
mod file;
mod writer;

pub use event::{AuditAction, AuditEvent, AuditTls, CloseCause, Closes, DialCause, Fingerprint};
pub(crate) use file::AuditFile;
pub(crate) use writer::AuditWriter;

use crate::endpoint::Endpoint;
use crate::time::Time;
use crate::time::clock::Clock;
use crossbeam::queue::ArrayQueue;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

/// Where audit events go to, one after the other, on a thread of their own.
///
/// Any `FnMut(&AuditEvent)` is one.
pub trait AuditSink: Send + 'static {
    /// Takes one event. It may block, at the cost of events that find the queue full meanwhile.
    ///
    /// # Errors
    /// Whatever kept it from that. The event is lost, which is counted, and the next one is tried all the same.
    fn record(&mut self, event: &AuditEvent) -> io::Result<()>;

    /// All events so far were recorded, and there may be none for a while.
    ///
    /// # Errors
    /// As [`record`](AuditSink::record).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut(&AuditEvent) + Send + 'static> AuditSink for F {
    fn record(&mut self, event: &AuditEvent) -> io::Result<()> {
        self(event);
        Ok(())
    }
}

/// How the audit trail fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFigures {
    /// Events that were given to all sinks.
    pub recorded: u64,
    /// Events that were dropped because the queue was full.
    pub dropped: u64,
    /// Events, and flushes, that a sink failed with.
    pub failed: u64,
    /// Why the last one failed that did.
    pub error: Option<String>,
}

/// An event as a shard tells it, which reads no calendar: [`AuditEvent`] explains the fields.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) at: Time,
    pub(crate) connection: u64,
    pub(crate) shard: usize,
    pub(crate) upstream: Arc<str>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) action: AuditAction,
    /// How many before it were dropped: for the trail to say.
    pub(crate) missing: u64,
}

/// What shards tell, until it is written.
pub(crate) struct Trail {
    queue: ArrayQueue<Box<Told>>,
    /// The number of the connection dialled last.
    numbers: AtomicU64,
    /// In all, and since the last event that found room.
    dropped: AtomicU64,
    missing: AtomicU64,
    recorded: AtomicU64,
    failed: AtomicU64,
    error: Mutex<Option<String>>,
    writer: OnceLock<Thread>,
    /// The writer looks at nothing before it is woken.
    asleep: AtomicBool,
    ended: AtomicBool,
}

impl Trail {
    /// With room for so many events.
    pub(crate) fn new(room: usize) -> Trail {
        Trail {
            queue: ArrayQueue::new(room.max(1)),
            numbers: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            recorded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            error: Mutex::default(),
            writer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    /// A connection's number.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Puts an event on its way.
    pub(crate) fn tell(&self, mut told: Told) {
        if self.missing.load(Ordering::Relaxed) > 0 {
            told.missing = self.missing.swap(0, Ordering::Relaxed);
        }
        if let Err(lost) = self.queue.push(Box::new(told)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.missing.fetch_add(lost.missing + 1, Ordering::Relaxed);
        }
        self.wake();
    }

    /// The next event.
    pub(crate) fn take(&self, clock: &Clock) -> Option<AuditEvent> {
        let told = *self.queue.pop()?;
        Some(AuditEvent {
            at: clock.time_of_day(told.at),
            connection: told.connection,
            shard: told.shard,
            upstream: told.upstream,
            endpoint: told.endpoint,
            missing_before: told.missing,
            action: told.action,
        })
    }

    pub(crate) fn figures(&self) -> AuditFigures {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        AuditFigures {
            recorded: count(&self.recorded),
            dropped: count(&self.dropped),
            failed: count(&self.failed),
            // It is a single store that is locked.
            error: (self.error.lock().unwrap_or_else(PoisonError::into_inner)).clone(),
        }
    }

    fn wake(&self) {
        // After the push, in the one order of all such operations: the writer says that it sleeps, and looks again.
        if self.asleep.load(Ordering::SeqCst)
            && self.asleep.swap(false, Ordering::SeqCst)
            && let Some(writer) = self.writer.get()
        {
            writer.unpark();
        }
    }
}

#[cfg(test)]
mod tests;
