//! The queue between callers and a shard, without the shard.
//!
//! Owns: a mailbox that nobody sleeps at. Never: runs what is in it.

use crate::driver::uring::Uring;
use crate::shard::mailbox::{Mailbox as ShardMailbox, Work};

/// A shard's mailbox.
pub struct Mailbox(ShardMailbox<Uring>);

impl Mailbox {
    /// With room for so many pieces of work.
    pub fn new(work_max: usize) -> Mailbox {
        Mailbox(ShardMailbox::new(0, work_max))
    }

    /// Hands work over, as callers do: a closure on the heap. Whether there was room.
    pub fn submit(&self, work: u64) -> bool {
        let errand = move |_: &_| {
            std::hint::black_box(work);
        };
        self.0.submit(Work::Run(Box::new(errand))).is_ok()
    }

    /// Takes one piece of work out, as the shard does in its turn, and drops it. Whether there was one.
    pub fn take(&self) -> bool {
        self.0.take_work().is_some()
    }
}
