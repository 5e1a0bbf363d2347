//! Where shards report that they have drained, and where whoever drains the engine waits.
//!
//! Owns: each shard's report, once. Never: is touched by a shard before its drain, or its life, is over.

use crate::error::Error;
use futures_channel::oneshot;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What one shard's drain came to.
#[derive(Debug)]
pub(crate) struct Drained {
    pub(crate) shard: usize,
    /// From the engine's drain to the last descriptor closed here.
    pub(crate) took: Duration,
    /// Calls and leases that were under way and ended by themselves.
    pub(crate) finished: u64,
    /// Tasks that were dropped.
    pub(crate) tasks: u64,
    /// Those of which something was left.
    pub(crate) upstreams: BTreeMap<Arc<str>, CutUpstream>,
    /// The shard failed before it was done.
    pub(crate) fault: Option<Error>,
}

/// What was left of one upstream on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CutUpstream {
    pub(crate) calls: u64,
    pub(crate) leases: u64,
    pub(crate) detached: u64,
}

impl CutUpstream {
    /// What the engine holds of it.
    pub(crate) fn held(&self) -> u64 {
        self.calls + self.leases
    }
}

/// Each shard's report.
pub(crate) struct Desk {
    state: Mutex<State>,
}

struct State {
    reports: Vec<Option<Arc<Drained>>>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Desk {
    pub(crate) fn new(shards: usize) -> Desk {
        Desk {
            state: Mutex::new(State {
                reports: vec![None; shards],
                waiting: Vec::new(),
            }),
        }
    }

    /// Takes a shard's report; its first one counts.
    pub(crate) fn deliver(&self, drained: Drained) {
        let mut state = self.state();
        let shard = drained.shard;
        state.reports[shard].get_or_insert_with(|| Arc::new(drained));
        if state.reports.iter().all(Option::is_some) {
            for waiting in state.waiting.drain(..) {
                // Whoever waited may be gone.
                let _ = waiting.send(());
            }
        }
    }

    /// Ready when every shard has reported.
    pub(crate) fn wait(&self) -> oneshot::Receiver<()> {
        let (done, waiting) = oneshot::channel();
        let mut state = self.state();
        if state.reports.iter().all(Option::is_some) {
            let _ = done.send(());
        } else {
            state.waiting.retain(|waiting| !waiting.is_canceled());
            state.waiting.push(done);
        }
        waiting
    }

    /// The reports that are there.
    pub(crate) fn reports(&self) -> Vec<Arc<Drained>> {
        self.state().reports.iter().flatten().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
