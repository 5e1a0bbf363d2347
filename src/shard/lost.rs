//! A shard that fails by itself: a defect of the engine, or a ring that is of no use any more.
//!
//! Owns: what becomes of those whom it was serving. Never: trusts anything that it decided; connections
//! are left to the driver, which cancels all of them and waits, and only then their permits go back.
//!
//! A panic of the engine's within a task's own call cannot be told from a panic of the task, and ends
//! that task.

use super::Shard;
use super::figures::Tally;
use super::local::LocalShard;
use super::mailbox::Errand;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::trace;

impl<D: Driver> Shard<D> {
    /// Lets everyone know whom the shard was serving, and drops its tasks. To be dropped next: its driver
    /// ends what is in flight, then its permits return. What is queued is left to a successor, and so are
    /// the totals.
    pub(crate) fn lose(&mut self, fault: &Error) -> Tally {
        self.lost = true;
        trace::lost(self.index(), fault);
        self.watches.clear();
        let mut core = self.local.core.borrow_mut();
        core.fault = Some(fault.duplicate());
        core.audit_lost();
        core.interrupt();
        let mut tally = core.legacy();
        drop(core);
        // Callers elsewhere are told how far each had got.
        let executor = self.local.executor.clone();
        executor.finish();
        tally.task_panics += executor.panics();
        tally
    }
}

impl<D: Driver> Shard<D> {
    /// Begins with these, before its first turn.
    pub(crate) fn begin_with(&mut self, tasks: Vec<Errand<D>>) {
        for task in tasks {
            task(&self.local);
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.mailbox.index()
    }
}

impl<D: Driver> LocalShard<D> {
    /// Whether the shard was lost, and its tasks are about to go.
    pub(crate) fn is_lost(&self) -> bool {
        // Borrowed: a task ends within a call of its own, which a lost shard serves no more.
        let core = self.core.try_borrow();
        core.is_ok_and(|core| core.fault.is_some())
    }
}

/// What those are told whom shard `index` was serving.
pub(crate) fn lost(index: usize, why: &str) -> Error {
    let what = format!(
        "shard {index} was lost by a defect of the engine, and with it what it was serving: {why}"
    );
    Error::new(ErrorKind::Closed, what)
}
