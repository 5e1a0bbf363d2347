//! An upstream: what all shards share of it, and what one shard keeps of it.

use super::account::Account;
use crate::config::UpstreamConfig;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::pool::{Counter, Limits, Permits, Pool};
use crate::random::Random;
use crate::slab::Key;
use crate::time::Time;
use crate::tls::ClientTls;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Names an upstream over the whole engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UpstreamId(pub(crate) u64);

/// What all shards and handles share of an upstream. Immutable but for its counters.
pub(crate) struct UpstreamShared {
    pub(crate) id: UpstreamId,
    pub(crate) name: Arc<str>,
    pub(crate) config: UpstreamConfig,
    /// What the Host header says.
    pub(crate) authority: String,
    /// For `https` and `tls`.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) permits: Permits,
    /// The upstream's own part of `permits`.
    pub(crate) connections: Arc<Counter>,
    /// Calls from other threads under way: as long as there are any it is in use.
    pub(crate) calls: AtomicUsize,
    /// All shards, by preference for this upstream.
    shards: Vec<usize>,
}

impl UpstreamShared {
    pub(crate) fn new(
        id: UpstreamId,
        name: Arc<str>,
        config: UpstreamConfig,
        tls: Option<ClientTls>,
        engine_connections: &Arc<Counter>,
        shards: usize,
    ) -> UpstreamShared {
        let connections = Arc::new(Counter::new(config.connections_max));
        UpstreamShared {
            id,
            authority: config.url.authority(),
            tls,
            permits: Permits::new(connections.clone(), engine_connections.clone()),
            connections,
            calls: AtomicUsize::new(0),
            shards: by_preference(&name, shards),
            name,
            config,
        }
    }

    /// How many connections shard `shard` keeps warm: `idle_min` spread evenly, what is left over
    /// going to the preferred ones.
    pub(crate) fn idle_min_on(&self, shard: usize) -> u32 {
        let shards = self.shards.len() as u32;
        let position = self
            .shards
            .iter()
            .position(|&s| s == shard)
            .expect("a shard of this engine") as u32;
        self.config.idle_min / shards + u32::from(position < self.config.idle_min % shards)
    }

    /// The shards that calls from outside go to: those that keep connections warm, and if none
    /// does the preferred one alone, so that a quiet upstream keeps few connections in one place.
    pub(crate) fn homes(&self) -> &[usize] {
        let warm = (self.config.idle_min as usize).clamp(1, self.shards.len());
        &self.shards[..warm]
    }

    /// The pool's limits on shard `shard`.
    pub(crate) fn limits(&self, shard: usize) -> Limits {
        let config = &self.config;
        Limits {
            idle_min: self.idle_min_on(shard),
            idle_timeout: config.idle_timeout,
            age_max: config.age_max,
            uses_max: config.uses_max,
            waiters_max: config.waiters_max,
            dials_max: config.dials_max,
            dial_backoff_min: config.dial_backoff_min,
            dial_backoff_max: config.dial_backoff_max,
            critical_reserved: 0,
            shed: config.shed.clone(),
            warm: config.warm.clone(),
            breaker: config.breaker.clone(),
            balance: config.balance.clone(),
        }
    }
}

/// All shards in the order in which `name` prefers them: rendezvous hashing (Thaler and Ravishankar,
/// 1998), so that another number of shards moves few upstreams.
fn by_preference(name: &str, shards: usize) -> Vec<usize> {
    // FNV-1a over the name, then one generator step per shard to spread it.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut order: Vec<usize> = (0..shards).collect();
    order.sort_by_key(|&shard| {
        std::cmp::Reverse(Random::new(hash ^ (shard as u64) << 32).next_u64())
    });
    order
}

/// What one shard keeps of an upstream.
pub(crate) struct UpstreamState {
    pub(crate) shared: Arc<UpstreamShared>,
    pub(crate) pool: Pool,
    /// What calls have taught.
    pub(super) account: Account,
    /// When the pool's timer is armed for, and its key.
    pub(crate) tick: Option<(Time, crate::time::wheel::TimerKey)>,
    /// Resolved addresses and when they were.
    pub(crate) addresses: Option<(Arc<[Endpoint]>, Time)>,
    /// A look-up of the addresses is under way.
    pub(crate) lookup: bool,
    /// Connections that wait for it.
    pub(crate) resolving: Vec<Key>,
    /// Where the next dial begins among the addresses: moves on when one fails.
    pub(crate) address_next: usize,
    /// How long the quickest dial took; the maximum before the first.
    pub(crate) dial_nanos_min: u64,
    /// Why the last dial failed, for those who are refused because of it.
    pub(crate) dial_error: Option<Error>,
    /// To be removed as soon as nothing is left of it.
    pub(crate) forgotten: bool,
}

impl UpstreamState {
    pub(crate) fn new(shared: Arc<UpstreamShared>, shard: usize, seed: u64) -> UpstreamState {
        UpstreamState {
            pool: Pool::new(shared.limits(shard), shared.permits.clone(), seed),
            account: Account::new(&shared.config),
            shared,
            tick: None,
            addresses: None,
            lookup: false,
            resolving: Vec::new(),
            address_next: 0,
            dial_nanos_min: u64::MAX,
            dial_error: None,
            forgotten: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str, idle_min: u32, shards: usize) -> UpstreamShared {
        let config = UpstreamConfig {
            idle_min,
            ..UpstreamConfig::default()
        };
        let engine = Arc::new(Counter::new(100));
        UpstreamShared::new(UpstreamId(1), name.into(), config, None, &engine, shards)
    }

    #[test]
    fn warm_connections_are_spread_and_add_up() {
        for idle_min in [0, 1, 2, 3, 7, 64] {
            let upstream = upstream("users", idle_min, 3);
            let shares: Vec<u32> = (0..3).map(|shard| upstream.idle_min_on(shard)).collect();
            assert_eq!(shares.iter().sum::<u32>(), idle_min);
            for (shard, share) in shares.iter().enumerate() {
                let home = upstream.homes().contains(&shard);
                assert!(*share == 0 || home);
            }
            assert!(!upstream.homes().is_empty());
        }
    }

    #[test]
    fn names_spread_over_shards() {
        let mut counts = [0; 4];
        for n in 0..400 {
            counts[upstream(&format!("upstream-{n}"), 0, 4).homes()[0]] += 1;
        }
        assert!(counts.iter().all(|&count| count > 60), "{counts:?}");
    }
}
