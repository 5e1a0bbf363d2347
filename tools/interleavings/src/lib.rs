//! The words by which ringpool's shards and callers meet, compiled over loom's atomics.
//!
//! These are the library's own files, not copies: what is proved in `tests` is what runs. Loom runs each
//! model in every order that the memory model allows (within its bound of preemptions).

#![allow(dead_code, reason = "the models use a part of each file")]

/// Stands for the library's `sync`.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
}

/// Stands for the library's `driver`, of which the parker knows only this.
pub mod driver {
    /// Ends the sleep of a shard's driver.
    pub trait Signal: Send + Sync {
        /// Makes a sleeper return, and one that is about to sleep.
        fn signal(&self);
    }
}

/// Stands for the library's `config`, of which the room knows only this.
mod config {
    #[derive(Clone, Copy)]
    pub(crate) enum Class {
        Critical,
        Normal,
        Sheddable,
    }

    impl Class {
        pub(crate) const ALL: [Class; 3] = [Class::Critical, Class::Normal, Class::Sheddable];
    }
}

/// Stands for the library's `pool`, for whom the room is two counts.
mod pool {
    pub(crate) struct Room {
        pub(crate) open: u32,
        pub(crate) reserved: u32,
    }
}

#[path = "../../../src/shard/sharing/claim.rs"]
mod claim;
#[path = "../../../src/shard/hunger.rs"]
mod hunger;
#[path = "../../../src/shard/parker.rs"]
mod parker;
#[path = "../../../src/pool/permit/mod.rs"]
mod permit;
#[path = "../../../src/shard/sharing/room.rs"]
mod room;

pub mod models;
