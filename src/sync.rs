//! The atomics of what shards share, imported in one place: `tools/interleavings` compiles the very files
//! that use them over loom's, which tries every order in which threads can meet.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
