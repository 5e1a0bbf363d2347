//! Tasks that services run on every shard, kept so that a shard which follows a lost one runs them too.
//!
//! Owns: how each is made anew, as long as it has not ended. Never: runs one, or keeps one that ended by
//! itself.

use crate::driver::Driver;
use crate::shard::mailbox::Errand;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One task that runs on every shard.
pub(crate) trait StandingTask<D: Driver>: Send {
    /// The work that begins it on `shard`; `None` if it has ended there.
    fn make(&self, shard: usize) -> Option<Errand<D>>;

    /// It will not be made on `shard` any more: whoever waits for what it returns learns it.
    fn end(&self, shard: usize);

    /// Whether it has ended on every shard.
    fn is_over(&self) -> bool;
}

/// All of them.
pub(crate) struct Standing<D: Driver> {
    tasks: Mutex<Vec<Box<dyn StandingTask<D>>>>,
}

impl<D: Driver> Default for Standing<D> {
    fn default() -> Standing<D> {
        Standing {
            tasks: Mutex::default(),
        }
    }
}

impl<D: Driver> Standing<D> {
    /// Keeps a task, and forgets those that are over.
    pub(crate) fn add(&self, task: Box<dyn StandingTask<D>>) {
        let mut tasks = self.tasks();
        tasks.retain(|task| !task.is_over());
        tasks.push(task);
    }

    /// What begins the tasks that a lost shard was running.
    pub(crate) fn anew(&self, shard: usize) -> Vec<Errand<D>> {
        let tasks = self.tasks();
        tasks.iter().filter_map(|task| task.make(shard)).collect()
    }

    /// The shard has ended for good.
    pub(crate) fn end(&self, shard: usize) {
        for task in self.tasks().iter() {
            task.end(shard);
        }
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<Box<dyn StandingTask<D>>>> {
        // What a panic under the lock could leave half done is a list of whole tasks.
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
