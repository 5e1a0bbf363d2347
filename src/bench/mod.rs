//! Parts of the inside, for `benches` to measure one by one: behind the feature `bench`, which the crate's own
//! dev-dependencies turn on. No part of the promise that versions make.
//!
//! Owns: a face for what is private. Never: anything that services run.

mod mailbox;
mod pool;

pub use crate::pool::Tail;
pub use crate::protocol::http1::{Exchange, Head, HeadStep, Limits, RequestBody, RequestFacts};
pub use crate::slab::{Key, Slab};
pub use crate::time::Time;
pub use crate::time::wheel::{TimerKey, Wheel};
pub use mailbox::Mailbox;
pub use pool::IdlePool;

use crate::stats::Latencies;
use std::time::Duration;

/// Counts one latency.
pub fn record(latencies: &mut Latencies, latency: Duration) {
    latencies.record(latency);
}
