//! The policy of one pool: one shard's view of its upstream's configuration.
//!
//! Owns: the values and what they mean. Never: checks them (the configuration does) or acts on them.

use crate::config::{BalanceConfig, BreakerConfig, ShedConfig, WarmConfig};
use std::time::Duration;

/// How one pool opens, keeps, queues for and retires connections. The engine derives it from the
/// upstream's configuration; the cap on connections is not here but in
/// [`Permits`](super::Permits), since it holds over all shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// So many connections are kept open on this shard, used or not: while fewer are live or being
    /// dialled, the pool dials without being asked. It counts leased ones too, so that N callers
    /// in a closed loop on `idle_min` = `connections_max` = N open N connections and no more.
    pub idle_min: u32,
    /// A connection idle for so long is closed, one within `idle_min` too (and then replaced):
    /// after that time a peer or a middlebox may have dropped it. `None`: it may idle for ever.
    pub idle_timeout: Option<Duration>,
    /// A connection so old is closed as soon as nobody uses it. Each one's limit is shortened by
    /// up to 25 % at random, so that what was opened together does not expire together. `None`:
    /// age does not matter.
    pub age_max: Option<Duration>,
    /// A connection granted so often is closed at its release. `None`: use does not matter.
    pub uses_max: Option<u64>,
    /// So many callers may wait; the next is refused at once. Zero: nobody may wait, not even
    /// for a dial.
    pub waiters_max: u32,
    /// So many dials of this pool may be in flight at once; zero counts as one.
    pub dials_max: u32,
    /// Whether each waiter has a dial begun for it, whatever the queue would take.
    pub dials_eager: bool,
    /// The pause after a first failed dial, before jitter (half to full); it doubles with each
    /// further failure. 10 ms is long enough not to spin and too short to be felt. Below 1 ms
    /// counts as 1 ms.
    pub dial_backoff_min: Duration,
    /// The longest pause after failed dials, before jitter. 500 ms: an upstream that comes back is
    /// noticed within half a second, and a dead one costs two dials a second and shard. It
    /// also paces retries for want of a permit.
    pub dial_backoff_max: Duration,
    /// So many connections of this pool serve critical calls alone, and are kept open like `idle_min`
    /// ones. What the engine over reserves is in the [`Permits`](super::Permits).
    pub critical_reserved: u32,
    /// When waiters are shed.
    pub shed: ShedConfig,
    /// How connections are made ahead of demand and given up after it.
    pub warm: WarmConfig,
    /// When endpoints are judged unfit.
    pub breaker: BreakerConfig,
    /// How endpoints are chosen.
    pub balance: BalanceConfig,
}
