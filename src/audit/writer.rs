//! The thread that hands audit events to their sinks.
//!
//! Owns: the order of events, their time of day, and what becomes of a sink's failures. Never: holds a shard up.

use super::{AuditSink, Trail};
use crate::time::clock::Clock;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

/// The thread. Dropped, it records what there is, and ends.
pub(crate) struct AuditWriter {
    trail: Arc<Trail>,
    thread: Option<JoinHandle<()>>,
}

impl AuditWriter {
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn start(
        trail: Arc<Trail>,
        clock: Clock,
        sinks: Vec<Box<dyn AuditSink>>,
    ) -> io::Result<AuditWriter> {
        let own = trail.clone();
        let thread = thread::Builder::new()
            .name("ringpool-audit".into())
            .spawn(move || write(&own, &clock, sinks))?;
        // An event that came before this is found with the next one, or at the end; there is none before shards run.
        let _first = trail.writer.set(thread.thread().clone());
        Ok(AuditWriter {
            trail,
            thread: Some(thread),
        })
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        self.trail.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Whatever a sink met, the engine ends.
            let _ = thread.join();
        }
    }
}

fn write(trail: &Trail, clock: &Clock, mut sinks: Vec<Box<dyn AuditSink>>) {
    loop {
        let ended = trail.ended.load(Ordering::SeqCst);
        let mut news = false;
        while let Some(event) = trail.take(clock) {
            news = true;
            for sink in &mut sinks {
                trail.keep_from(|| sink.record(&event));
            }
            trail.recorded.fetch_add(1, Ordering::Relaxed);
        }
        for sink in sinks.iter_mut().filter(|_| news) {
            trail.keep_from(|| sink.flush());
        }
        if ended {
            return;
        }
        trail.asleep.store(true, Ordering::SeqCst);
        if trail.queue.is_empty() && !trail.ended.load(Ordering::SeqCst) {
            thread::park();
        }
        trail.asleep.store(false, Ordering::SeqCst);
    }
}

impl Trail {
    /// What a sink does, and a panic in it, is kept from the other sinks and the events to come.
    fn keep_from(&self, sink: impl FnOnce() -> io::Result<()>) {
        match catch_unwind(AssertUnwindSafe(sink)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.sink_failed(&error),
            Err(_panic) => self.sink_failed(&io::Error::other("it panicked")),
        }
    }

    fn sink_failed(&self, error: &io::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut last = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }
}
