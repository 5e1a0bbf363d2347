//! What becomes of each connection, moment by moment, for whoever wants to be there.
//!
//! Owns: the words. Never: a queue: a subscriber is called on the shard's own thread, in the middle of its turn. For records, which may
//! take their time, there is the [audit trail](crate::audit).

use crate::audit::CloseCause;
use crate::endpoint::Endpoint;
use std::time::Duration;

/// Is told what happens to connections: see [`EngineBuilder::lifecycle`](crate::EngineBuilder::lifecycle).
///
/// Any `Fn(&LifecycleEvent<'_>)` is one. It is called by every shard, on its thread, while that does nothing else: it should count, or
/// push into something that never blocks. It must not call the engine. The panic of one is caught; it is
/// told nothing more by that shard, until the shard is lost and another one begins in its place.
pub trait LifecycleSubscriber: Send + Sync + 'static {
    /// Takes one event.
    fn on_event(&self, event: &LifecycleEvent<'_>);
}

impl<F: Fn(&LifecycleEvent<'_>) + Send + Sync + 'static> LifecycleSubscriber for F {
    fn on_event(&self, event: &LifecycleEvent<'_>) {
        self(event);
    }
}

/// One moment of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LifecycleEvent<'a> {
    /// Since the engine started, as of the beginning of the shard's turn.
    pub at: Duration,
    /// The shard that has it.
    pub shard: usize,
    /// Which connection: on its shard, while it lives and for long after, no other one has this number.
    pub connection: u64,
    /// The upstream's name.
    pub upstream: &'a str,
    /// Where it goes.
    pub endpoint: Option<&'a Endpoint>,
    /// What happened.
    pub what: Lifecycle,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lifecycle {
    /// It can be used: nobody has it yet.
    #[non_exhaustive]
    Opened {
        /// How long that took, from the beginning of its dial.
        took: Duration,
    },
    /// Somebody has it, or a slot of it.
    #[non_exhaustive]
    Leased {
        /// Whether it had carried something before.
        reused: bool,
    },
    /// It is leased for a call that waited on another shard. Comes after `Leased`.
    Stolen,
    /// It was given back, and waits for the next one.
    Idle,
    /// It is taken out of use.
    #[non_exhaustive]
    Retired {
        /// Why.
        why: CloseCause,
    },
    /// Its descriptor is closed, or given away (`Detached`). Comes after `Retired`, unless its shard was lost.
    #[non_exhaustive]
    Closed {
        /// Why.
        why: CloseCause,
        /// How often it was handed out.
        uses: u64,
        /// How long it was open.
        age: Duration,
    },
}
