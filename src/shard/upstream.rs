//! An upstream: what all shards share of it, and what one shard keeps of it.
//!
//! Owns: its name, its counts, and the settings last put in force. Never: is asked for settings on a
//! shard's hot path; each shard has its own copy (`policy`).

use super::account::Account;
use super::addresses::Addresses;
use super::homes::Homes;
use super::homing::Homing;
use super::meters::Meters;
use super::policy::Policy;
use super::sharing::offers::Offers;
use super::sharing::share::Share;
use crate::config::{UpstreamConfig, UpstreamUrl};
use crate::error::{Error, ErrorKind};
use crate::pool::{Counter, Exhausted, Limits, Permits, Pool, Quota};
use crate::protocol::http1::Host;
use crate::random::Random;
use crate::slab::Key;
use crate::time::Time;
use crate::time::wheel::TimerKey;
use crate::tls::ClientTls;
use crossbeam::utils::CachePadded;
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Names an upstream over the whole engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UpstreamId(pub(crate) u64);

/// What callers on other threads have of an upstream by way of one shard.
#[derive(Default)]
pub(crate) struct Outside {
    /// Calls under way.
    pub(crate) calls: AtomicUsize,
    /// Checkouts and leases.
    pub(crate) leases: AtomicUsize,
    /// Sockets that left the engine and count against the caps still.
    pub(crate) detached: AtomicUsize,
}

impl Outside {
    fn has_callers(&self) -> bool {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        count(&self.calls) + count(&self.leases) > 0
    }
}

/// What all shards and handles share of an upstream.
pub(crate) struct UpstreamShared {
    pub(crate) id: UpstreamId,
    pub(crate) name: Arc<str>,
    /// Where it is and what is spoken there, which never changes.
    pub(crate) url: Arc<UpstreamUrl>,
    /// The Host header of requests that bring none.
    pub(crate) host: Host,
    pub(crate) permits: Permits,
    /// The upstream's own part of `permits`.
    pub(crate) connections: Arc<Counter>,
    /// By shard, what callers elsewhere have of it.
    outside: Box<[CachePadded<Outside>]>,
    /// Calls that wait, from all shards; made when the first one does, so that a quiet upstream costs nothing.
    offers: OnceLock<Arc<Offers>>,
    /// The settings in force. A shard looks when it meets the upstream for the first time, and is told
    /// of changes.
    in_force: Mutex<InForce>,
    pub(crate) reloads: Reloads,
    /// Whether calls tell whose part they are: [`UpstreamConfig::trace_context`].
    trace_context: AtomicBool,
    /// Where calls for it go to: the shards that keep connections warm, and if none does the preferred
    /// one, so that a quiet upstream keeps few connections in one place; more when they are needed.
    pub(crate) homes: Homes,
}

impl fmt::Debug for UpstreamShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpstreamShared({:?})", self.name)
    }
}

/// How the files that an upstream's TLS settings name fared when they were read anew.
#[derive(Default)]
pub(crate) struct Reloads {
    /// Brought something new into force.
    done: AtomicU64,
    failed: AtomicU64,
    /// Why the last one failed, until one succeeds.
    why: Mutex<Option<Arc<str>>>,
}

impl Reloads {
    pub(crate) fn succeeded(&self, news: bool) {
        self.done.fetch_add(u64::from(news), Ordering::Relaxed);
        *self.lock() = None;
    }

    pub(crate) fn failed(&self, why: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.lock() = Some(why.to_string().into());
    }

    /// How many brought news, how many failed, and why the last one did if it was the last.
    pub(crate) fn told(&self) -> (u64, u64, Option<Arc<str>>) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.done), count(&self.failed), self.lock().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<str>>> {
        // It is a single store that is locked.
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be replaced while the upstream is in use.
struct InForce {
    settings: Arc<UpstreamConfig>,
    /// For `https` and `tls`.
    tls: Option<ClientTls>,
}

impl UpstreamShared {
    pub(crate) fn new(
        id: UpstreamId,
        name: Arc<str>,
        config: UpstreamConfig,
        tls: Option<ClientTls>,
        permits: Permits,
        shards: usize,
    ) -> UpstreamShared {
        UpstreamShared {
            id,
            host: Host::new(&config.url.authority()),
            connections: permits.upstream().clone(),
            permits,
            outside: (0..shards).map(|_| CachePadded::default()).collect(),
            offers: OnceLock::new(),
            homes: Homes::new(by_preference(&name, shards), warm(&config), &config.sharing),
            name,
            url: Arc::new(config.url.clone()),
            trace_context: AtomicBool::new(config.trace_context),
            reloads: Reloads::default(),
            in_force: Mutex::new(InForce {
                settings: Arc::new(config),
                tls,
            }),
        }
    }

    /// The calls that wait, if ever one was offered.
    pub(crate) fn offers(&self) -> Option<&Arc<Offers>> {
        self.offers.get()
    }

    /// The calls that wait; true for the one who made the place for them.
    pub(crate) fn make_offers(&self) -> (Arc<Offers>, bool) {
        let mut made = false;
        let offers = self.offers.get_or_init(|| {
            made = true;
            Arc::new(Offers::new(self.homes.shards()))
        });
        (offers.clone(), made)
    }

    /// What callers on other threads have of it by way of one shard.
    pub(crate) fn outside(&self, shard: usize) -> &Outside {
        &self.outside[shard]
    }

    /// Whether callers on other threads have anything of it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.outside.iter().any(|outside| outside.has_callers())
    }

    /// Whether calls that do not say themselves whose part they are tell it by the caller's context.
    pub(crate) fn wants_trace_context(&self) -> bool {
        self.trace_context.load(Ordering::Relaxed)
    }

    /// The settings in force. Locks: not for a shard's hot path.
    pub(crate) fn settings(&self) -> Arc<UpstreamConfig> {
        self.lock().settings.clone()
    }

    /// What connects by TLS from now on, where that is spoken. Locks, as [`settings`](UpstreamShared::settings).
    pub(crate) fn tls(&self) -> Option<ClientTls> {
        self.lock().tls.clone()
    }

    /// Puts other settings in force for whoever looks from now on: shards that know the upstream have
    /// to be told. What connected by TLS before is returned.
    pub(crate) fn replace_settings(
        &self,
        settings: &Arc<UpstreamConfig>,
        tls: Option<ClientTls>,
    ) -> Option<ClientTls> {
        self.permits.set_quota(quota(settings));
        self.homes.configure(warm(settings), &settings.sharing);
        (self.trace_context).store(settings.trace_context, Ordering::Relaxed);
        let settings = settings.clone();
        std::mem::replace(&mut *self.lock(), InForce { settings, tls }).tls
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        // It is a single store that is locked.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections shard `shard` keeps warm.
    pub(crate) fn warm_on(&self, shard: usize, settings: &UpstreamConfig) -> u32 {
        let shares = [settings.idle_min, settings.critical_reserved];
        shares.map(|all| self.share(all, shard)).iter().sum()
    }

    /// The share of shard `shard` in `all`: as much as the others', what is left over going to the
    /// preferred ones.
    fn share(&self, all: u32, shard: usize) -> u32 {
        let shards = self.homes.shards() as u32;
        let place = self.homes.place(shard) as u32;
        all / shards + u32::from(place < all % shards)
    }

    /// The pool's limits on shard `shard`.
    pub(crate) fn limits(&self, shard: usize, config: &UpstreamConfig) -> Limits {
        Limits {
            idle_min: self.share(config.idle_min, shard),
            idle_timeout: config.idle_timeout,
            age_max: config.age_max,
            uses_max: config.uses_max,
            waiters_max: config.waiters_max,
            dials_max: config.dials_max,
            dials_eager: config.dials_eager,
            dial_backoff_min: config.dial_backoff_min,
            dial_backoff_max: config.dial_backoff_max,
            critical_reserved: self.share(config.critical_reserved, shard),
            shed: config.shed.clone(),
            warm: config.warm.clone(),
            breaker: config.breaker.clone(),
            balance: config.balance.clone(),
        }
    }
}

/// What of `settings` is counted over all shards.
pub(crate) fn quota(settings: &UpstreamConfig) -> Quota {
    Quota {
        connections_max: settings.connections_max,
        critical_reserved: settings.critical_reserved,
        connections_reserved: settings.connections_reserved,
    }
}

/// On how many shards connections are kept warm, if there are as many.
fn warm(settings: &UpstreamConfig) -> usize {
    settings.idle_min.max(settings.critical_reserved) as usize
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
    /// What is counted of it. On the heap: the table of upstreams grows by doubling, and keeps what it has.
    pub(crate) meters: Box<Meters>,
    /// What calls have taught.
    pub(super) account: Account,
    /// What this shard is to it.
    pub(super) homing: Homing,
    /// The settings that decisions here go by.
    pub(crate) policy: Rc<Policy>,
    /// What dials from here connect by, where TLS is spoken.
    pub(crate) tls: Option<ClientTls>,
    /// When the pool's timer is armed for, and its key.
    pub(crate) tick: Option<(Time, TimerKey)>,
    /// Whether that is to be looked at when the turn ends.
    pub(crate) untimed: bool,
    /// When connections made under replaced settings are closed.
    pub(crate) sweep: Option<(Time, TimerKey)>,
    pub(crate) addresses: Addresses,
    /// Connections that wait for a look-up.
    pub(crate) resolving: Vec<Key>,
    /// Why the last look-up failed that did.
    pub(crate) resolve_error: Option<(ErrorKind, String)>,
    /// Its part in what shards do for each other.
    pub(super) share: Share,
    /// What the pool is known to starve for, over all shards.
    pub(crate) need: Option<Exhausted>,
    /// Calls of tasks here that wait for the time of their next attempt.
    pub(crate) between: u32,
    /// How long the quickest dial took; the maximum before the first.
    pub(crate) dial_nanos_min: u64,
    /// How long the quickest full handshake took.
    pub(crate) handshake_min: Option<Duration>,
    /// Why the last dial failed, for those who are refused because of it.
    pub(crate) dial_error: Option<Error>,
    /// To be removed as soon as nothing is left of it.
    pub(crate) forgotten: bool,
}

impl UpstreamState {
    pub(crate) fn new(
        shared: Arc<UpstreamShared>,
        shard: usize,
        seed: u64,
        now: Time,
    ) -> UpstreamState {
        let settings = shared.settings();
        let limits = shared.limits(shard, &settings);
        UpstreamState {
            pool: Pool::new(limits, shared.permits.clone(), seed),
            meters: Box::default(),
            account: Account::new(&settings.retry),
            homing: Homing::new(now, shared.homes.contains(shard)),
            share: Share::new(&shared),
            tls: shared.tls(),
            policy: Rc::new(Policy::new(shared.clone(), &settings)),
            shared,
            tick: None,
            untimed: false,
            sweep: None,
            addresses: Addresses::new(&settings),
            resolving: Vec::new(),
            resolve_error: None,
            need: None,
            between: 0,
            dial_nanos_min: u64::MAX,
            handshake_min: None,
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
        let engine = || Arc::new(Counter::new(100));
        let permits = Permits::with_quota(engine(), engine(), quota(&config));
        UpstreamShared::new(UpstreamId(1), name.into(), config, None, permits, shards)
    }

    #[test]
    fn warm_connections_are_spread_and_add_up() {
        for idle_min in [0, 1, 2, 3, 7, 64] {
            let upstream = upstream("users", idle_min, 3);
            let shares: Vec<u32> = (0..3)
                .map(|shard| upstream.warm_on(shard, &upstream.settings()))
                .collect();
            assert_eq!(shares.iter().sum::<u32>(), idle_min);
            for (shard, share) in shares.iter().enumerate() {
                assert!(*share == 0 || upstream.homes.contains(shard));
            }
            assert!(upstream.homes.len() > 0);
        }
    }

    #[test]
    fn names_spread_over_shards() {
        let mut counts = [0; 4];
        for n in 0..400 {
            counts[upstream(&format!("upstream-{n}"), 0, 4).homes.first()] += 1;
        }
        assert!(counts.iter().all(|&count| count > 60), "{counts:?}");
    }
}
