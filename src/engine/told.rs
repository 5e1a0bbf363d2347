//! What each shard has told last: for the time when it does not answer, or is no more.
//!
//! Owns: one copy of figures for each shard, and the questions that it owes an answer. Never: asks more than it has to: a question that
//! is not answered serves the next who asks, so that those to a shard that does not turn are no more than those who ask at once.

use crate::shard::figures::ShardFigures;
use futures_channel::oneshot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By shard.
pub(crate) struct Told(Box<[Mutex<OfShard>]>);

#[derive(Default)]
struct OfShard {
    last: Option<Arc<ShardFigures>>,
    owed: Vec<oneshot::Receiver<ShardFigures>>,
}

impl OfShard {
    fn keep(&mut self, figures: Arc<ShardFigures>) {
        // Two who ask at once may come back in any order.
        if (self.last.as_ref()).is_none_or(|last| last.at <= figures.at) {
            self.last = Some(figures);
        }
    }
}

impl Told {
    pub(super) fn new(shards: usize) -> Told {
        Told((0..shards).map(|_| Mutex::default()).collect())
    }

    /// Keeps what a shard has told.
    pub(crate) fn keep(&self, shard: usize, figures: ShardFigures) -> Arc<ShardFigures> {
        let figures = Arc::new(figures);
        self.of(shard).keep(figures.clone());
        figures
    }

    /// What it told last.
    pub(crate) fn last(&self, shard: usize) -> Option<Arc<ShardFigures>> {
        self.of(shard).last.clone()
    }

    /// A question that it has not answered yet.
    pub(crate) fn owed(&self, shard: usize) -> Option<oneshot::Receiver<ShardFigures>> {
        let mut told = self.of(shard);
        while let Some(mut answer) = told.owed.pop() {
            match answer.try_recv() {
                Ok(None) => return Some(answer),
                // It came too late for the one who had asked.
                Ok(Some(figures)) => told.keep(Arc::new(figures)),
                Err(oneshot::Canceled) => {}
            }
        }
        None
    }

    fn of(&self, shard: usize) -> MutexGuard<'_, OfShard> {
        // Every change under the lock is whole before anything can panic.
        (self.0[shard].lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever asked waits for the answer no more.
    pub(crate) fn owes(&self, shard: usize, answer: oneshot::Receiver<ShardFigures>) {
        self.of(shard).owed.push(answer);
    }
}
