//! Resumption: what lets a connection skip most of a handshake because an earlier one had it.
//!
//! Owns: every ticket, apart by identity, and the map from an identity to its configuration. The
//! map's lock is taken when an identity is set up; handshakes, on whichever shard, go through their
//! identity's own [`IdentityTickets`], which has no lock.
//! Never: hands a TLS 1.3 ticket out twice (RFC 8446, appendix C.4: reuse lets an observer link
//! connections), or a ticket to another identity.

use super::config::{ClientTls, Identity, Roots};
use crossbeam::atomic::AtomicCell;
use crossbeam::queue::ArrayQueue;
use rustls::NamedGroup;
use rustls::client::{
    ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue, WebPkiServerVerifier,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::ServerName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many identities are remembered. rustls keeps the server's certificates with every ticket: a
/// few KiB for an identity as a rule, 100 KiB if all its tickets are kept.
const IDENTITIES_MAX: usize = 4096;

/// How many TLS 1.3 tickets an identity keeps. Servers send one or two for each handshake, which
/// uses one: 32 carry a burst of two shards that dial as many connections at once as they may by
/// default. With eight, 64 callers without reuse resumed a quarter of their handshakes.
const TICKETS_MAX: usize = 32;

/// The tickets of one engine, shared by its shards. Clones share everything.
///
/// At most 4,096 identities are remembered. When one more comes, the one that was set up the longest
/// ago, of those that nobody uses, is forgotten; if all are in use, the new one keeps its tickets to
/// itself.
#[derive(Clone)]
pub struct TicketStore(Arc<Shared>);

struct Shared {
    provider: Arc<CryptoProvider>,
    wall_clock: Arc<dyn TimeProvider>,
    identities_max: usize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When each identity was last set up, in set-ups: its key in `clients`.
    set_up: BTreeMap<Identity, u64>,
    /// The configurations, in the order of their last set-up.
    clients: BTreeMap<u64, ClientTls>,
    set_ups: u64,
    /// One verifier for each set of roots, while somebody uses it.
    verifiers: BTreeMap<Roots, Weak<WebPkiServerVerifier>>,
}

impl Default for TicketStore {
    fn default() -> TicketStore {
        TicketStore::new()
    }
}

impl TicketStore {
    /// A store without tickets.
    pub fn new() -> TicketStore {
        TicketStore::with(aws_lc_rs::default_provider(), Arc::new(DefaultTimeProvider))
    }

    /// A store without tickets, for an engine whose keys `provider` makes and whose certificates
    /// and tickets are judged by `wall_clock`.
    pub fn with(provider: CryptoProvider, wall_clock: Arc<dyn TimeProvider>) -> TicketStore {
        TicketStore::bounded(provider, wall_clock, IDENTITIES_MAX)
    }

    fn bounded(
        provider: CryptoProvider,
        wall_clock: Arc<dyn TimeProvider>,
        identities_max: usize,
    ) -> TicketStore {
        TicketStore(Arc::new(Shared {
            provider: Arc::new(provider),
            wall_clock,
            identities_max,
            known: Mutex::default(),
        }))
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.0.provider
    }

    pub(super) fn wall_clock(&self) -> &Arc<dyn TimeProvider> {
        &self.0.wall_clock
    }

    /// The configuration of `identity`, if remembered; it then counts as set up just now.
    pub(super) fn known(&self, identity: &Identity) -> Option<ClientTls> {
        self.lock().find(identity)
    }

    /// Forgets an identity that has been replaced, and drops its tickets. Who uses it goes on, and whoever sets it up
    /// again begins without tickets.
    pub fn forget(&self, client: &ClientTls) {
        let mut known = self.lock();
        if let Some(at) = known.set_up.remove(client.identity()) {
            known.clients.remove(&at);
        }
        drop(known);
        client.purge();
    }

    /// Remembers `client`, or gives the one that somebody else made meanwhile.
    pub(super) fn keep(&self, client: ClientTls) -> ClientTls {
        let mut known = self.lock();
        if let Some(earlier) = known.find(client.identity()) {
            return earlier;
        }
        if known.clients.len() >= self.0.identities_max && !known.forget_one() {
            return client;
        }
        let at = known.next();
        known.set_up.insert(client.identity().clone(), at);
        known.clients.insert(at, client.clone());
        client
    }

    pub(super) fn known_verifier(&self, roots: &Roots) -> Option<Arc<WebPkiServerVerifier>> {
        self.lock().verifiers.get(roots)?.upgrade()
    }

    /// Shares `verifier` with later identities of the same roots, or gives the one that somebody
    /// else made meanwhile. (Tickets stay apart all the same: each identity has its own.)
    pub(super) fn keep_verifier(
        &self,
        roots: &Roots,
        verifier: Arc<WebPkiServerVerifier>,
    ) -> Arc<WebPkiServerVerifier> {
        let mut known = self.lock();
        known.verifiers.retain(|_, weak| weak.strong_count() > 0);
        if let Some(earlier) = known.verifiers.get(roots).and_then(Weak::upgrade) {
            return earlier;
        }
        known
            .verifiers
            .insert(roots.clone(), Arc::downgrade(&verifier));
        verifier
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Nothing under the lock calls foreign code, so a panic there leaves the maps sound.
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TicketStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketStore").finish_non_exhaustive()
    }
}

impl Known {
    fn next(&mut self) -> u64 {
        self.set_ups += 1;
        self.set_ups
    }

    fn find(&mut self, identity: &Identity) -> Option<ClientTls> {
        let now = self.next();
        let at = self.set_up.get_mut(identity)?;
        let client = self.clients.remove(at)?;
        *at = now;
        self.clients.insert(now, client.clone());
        Some(client)
    }

    /// Forgets the identity set up the longest ago that nobody uses; false if all are used.
    fn forget_one(&mut self) -> bool {
        let unused = self.clients.iter().find(|(_, client)| client.is_unshared());
        let Some(at) = unused.map(|(at, _)| *at) else {
            return false;
        };
        if let Some(client) = self.clients.remove(&at) {
            self.set_up.remove(client.identity());
        }
        true
    }
}

/// One identity's tickets, as rustls wants them kept: the view of the store that is bound to one
/// configuration. rustls asks by server name only, which is why no two identities share a view.
pub(super) struct IdentityTickets {
    server_name: ServerName<'static>,
    tls13: Newest<Tls13ClientSessionValue>,
    /// A TLS 1.2 session may be used any number of times: taken out, cloned and put back.
    tls12: ArrayQueue<Tls12ClientSessionValue>,
    /// The key-exchange group the server chose last; 0, which is no group, for none.
    group: AtomicU16,
}

impl IdentityTickets {
    /// Drops all that there are.
    pub(super) fn clear(&self) {
        while self.tls13.take().is_some() {}
        while self.tls12.pop().is_some() {}
    }

    pub(super) fn new(server_name: ServerName<'static>) -> IdentityTickets {
        IdentityTickets {
            server_name,
            tls13: Newest::new(),
            tls12: ArrayQueue::new(1),
            group: AtomicU16::new(0),
        }
    }

    fn is_for(&self, server_name: &ServerName<'_>) -> bool {
        self.server_name == *server_name
    }
}

impl ClientSessionStore for IdentityTickets {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        if self.is_for(&server_name) {
            self.group.store(u16::from(group), Ordering::Relaxed);
        }
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        match self.group.load(Ordering::Relaxed) {
            0 => None,
            group => self.is_for(server_name).then(|| NamedGroup::from(group)),
        }
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        if self.is_for(&server_name) {
            self.tls12.force_push(value);
        }
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        if !self.is_for(server_name) {
            return None;
        }
        let session = self.tls12.pop()?;
        // Refused if a newer one has come meanwhile, which is as it should be.
        let _newer_is_there = self.tls12.push(session.clone());
        Some(session)
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        if self.is_for(server_name) {
            self.tls12.pop();
        }
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        if self.is_for(&server_name) {
            self.tls13.insert(value);
        }
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        if !self.is_for(server_name) {
            return None;
        }
        self.tls13.take()
    }
}

impl fmt::Debug for IdentityTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What it holds is secret.
        f.debug_struct("IdentityTickets")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// The last [`TICKETS_MAX`] values put in, less those taken out; the newest is taken first. Not a
/// queue: taking the oldest would let a client that dials rarely meet expired tickets for ever, with
/// fresh ones behind them. Lock-free; a value moves by an atomic swap of its pointer, so it is taken
/// at most once. Under contention "newest" is approximate.
struct Newest<T> {
    slots: [AtomicCell<Option<Box<T>>>; TICKETS_MAX],
    inserted: AtomicUsize,
}

impl<T> Newest<T> {
    fn new() -> Newest<T> {
        const { assert!(AtomicCell::<Option<Box<T>>>::is_lock_free()) };
        // So that a count that wraps goes on with slot 0.
        const { assert!(TICKETS_MAX.is_power_of_two()) };
        Newest {
            slots: std::array::from_fn(|_| AtomicCell::new(None)),
            inserted: AtomicUsize::new(0),
        }
    }

    fn insert(&self, value: T) {
        let nth = self.inserted.fetch_add(1, Ordering::Relaxed);
        self.slots[nth % TICKETS_MAX].swap(Some(Box::new(value)));
    }

    fn take(&self) -> Option<T> {
        let inserted = self.inserted.load(Ordering::Relaxed);
        (1..=TICKETS_MAX)
            .find_map(|back| self.slots[inserted.wrapping_sub(back) % TICKETS_MAX].take())
            .map(|value| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::thread;

    fn identity(name: &str) -> Identity {
        Identity {
            server_name: name.into(),
            alpn: Vec::new(),
            roots: Roots::WebPki,
            credentials: None,
            resumption: true,
        }
    }

    fn client(store: &TicketStore, name: &str) -> ClientTls {
        ClientTls::new(identity(name), store).unwrap()
    }

    fn small() -> TicketStore {
        let provider = aws_lc_rs::default_provider();
        TicketStore::bounded(provider, Arc::new(DefaultTimeProvider), 2)
    }

    #[test]
    fn one_configuration_for_each_identity() {
        let store = TicketStore::new();
        let a = client(&store, "a.test");
        assert!(a.is_same(&client(&store.clone(), "a.test")));
        assert!(!a.is_same(&client(&store, "b.test")));
        assert!(!a.is_same(&client(&TicketStore::new(), "a.test")));
    }

    #[test]
    fn the_oldest_unused_identity_is_forgotten_first() {
        let store = small();
        drop(client(&store, "a.test"));
        drop(client(&store, "b.test"));
        drop(client(&store, "a.test"));
        let c = client(&store, "c.test");
        assert!(store.known(&identity("a.test")).is_some());
        assert!(store.known(&identity("b.test")).is_none());
        assert!(c.is_same(&client(&store, "c.test")));
    }

    #[test]
    fn identities_in_use_stay_and_the_number_is_bounded() {
        let store = small();
        let (a, b) = (client(&store, "a.test"), client(&store, "b.test"));
        let c = client(&store, "c.test");
        assert!(!c.is_same(&client(&store, "c.test")));
        assert!(a.is_same(&client(&store, "a.test")));
        drop(b);
        let d = client(&store, "d.test");
        assert!(d.is_same(&client(&store, "d.test")));
        assert_eq!(store.lock().clients.len(), 2);
        assert_eq!(store.lock().set_up.len(), 2);
    }

    #[test]
    fn identities_with_the_same_roots_share_a_verifier_while_it_is_used() {
        let store = small();
        let a = client(&store, "a.test");
        let first = store.known_verifier(&Roots::WebPki).unwrap();
        let b = client(&store, "b.test");
        assert!(Arc::ptr_eq(
            &first,
            &store.known_verifier(&Roots::WebPki).unwrap()
        ));
        drop((a, b, first));
        let mut known = store.lock();
        while known.forget_one() {}
        drop(known);
        assert!(store.known_verifier(&Roots::WebPki).is_none());
    }

    #[test]
    fn the_newest_are_kept_and_the_newest_of_them_is_taken_first() {
        let newest = Newest::new();
        assert_eq!(newest.take(), None::<usize>);
        for n in 0..TICKETS_MAX + 3 {
            newest.insert(n);
        }
        assert_eq!(newest.take(), Some(TICKETS_MAX + 2));
        newest.insert(1000);
        let rest: Vec<usize> = std::iter::from_fn(|| newest.take()).collect();
        let kept = (4..TICKETS_MAX + 2).rev();
        assert_eq!(rest, std::iter::once(1000).chain(kept).collect::<Vec<_>>());
    }

    #[test]
    fn a_count_that_wraps_loses_nothing() {
        let newest = Newest::new();
        newest.inserted.store(usize::MAX - 2, Ordering::Relaxed);
        for n in 0..6 {
            newest.insert(n);
        }
        let all: Vec<u32> = std::iter::from_fn(|| newest.take()).collect();
        assert_eq!(all, [5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn nothing_is_taken_twice_by_threads() {
        const EACH: usize = 2000;
        let newest = Newest::new();
        let taken: Vec<AtomicU32> = (0..4 * EACH).map(|_| AtomicU32::new(0)).collect();
        thread::scope(|scope| {
            for thread in 0..4 {
                let (newest, taken) = (&newest, &taken);
                scope.spawn(move || {
                    for n in 0..EACH {
                        newest.insert(thread * EACH + n);
                        if let Some(value) = newest.take() {
                            taken[value].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(taken.iter().all(|n| n.load(Ordering::Relaxed) <= 1));
        assert!(taken.iter().any(|n| n.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_view_answers_for_its_own_server_only() {
        let name = |name: &'static str| ServerName::try_from(name).unwrap();
        let tickets = IdentityTickets::new(name("a.test"));
        tickets.set_kx_hint(name("b.test"), NamedGroup::X25519);
        assert_eq!(tickets.kx_hint(&name("a.test")), None);
        tickets.set_kx_hint(name("a.test"), NamedGroup::X25519);
        assert_eq!(tickets.kx_hint(&name("a.test")), Some(NamedGroup::X25519));
        assert_eq!(tickets.kx_hint(&name("b.test")), None);
    }
}
