//! What handshakes leave behind for later ones, apart by identity.
//!
//! Owns: the map from an identity to its configuration, and so every ticket. Its lock is taken when an identity is
//! set up; handshakes, on whichever shard, go through their identity's own [`IdentityTickets`], which has no lock.
//! Never: hands anything to another identity.
//!
//! [`IdentityTickets`]: super::tickets::IdentityTickets

use super::config::{ClientTls, Identity};
use super::trust::{Revocation, Roots, Trust};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// How many identities are remembered. rustls keeps the server's certificates with every ticket: a
/// few KiB for an identity as a rule, 100 KiB if all its tickets are kept.
const IDENTITIES_MAX: usize = 4096;

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
    /// How many identities have been set up.
    numbers: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When each identity was last set up, in set-ups: its key in `clients`.
    set_up: BTreeMap<Identity, u64>,
    /// The configurations, in the order of their last set-up.
    clients: BTreeMap<u64, ClientTls>,
    set_ups: u64,
    /// What judges chains, one for each set of roots and lists, while somebody uses it.
    verifiers: BTreeMap<(Roots, Option<Revocation>), Weak<WebPkiServerVerifier>>,
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
            numbers: AtomicU64::new(0),
            known: Mutex::default(),
        }))
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.0.provider
    }

    pub(super) fn wall_clock(&self) -> &Arc<dyn TimeProvider> {
        &self.0.wall_clock
    }

    /// For an identity that is set up.
    pub(super) fn next_number(&self) -> u64 {
        self.0.numbers.fetch_add(1, Ordering::Relaxed) + 1
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

    /// What judges chains by the same roots and lists for somebody else, if there is such.
    pub(super) fn known_verifier(&self, trust: &Trust) -> Option<Arc<WebPkiServerVerifier>> {
        let key = (trust.roots.clone(), trust.revocation.clone());
        self.lock().verifiers.get(&key)?.upgrade()
    }

    /// Shares `verifier` with later identities of the same roots and lists, or gives the one that somebody
    /// else made meanwhile: a large one takes megabytes. (Nothing of it depends on the identity.)
    pub(super) fn keep_verifier(
        &self,
        trust: &Trust,
        verifier: Arc<WebPkiServerVerifier>,
    ) -> Arc<WebPkiServerVerifier> {
        let key = (trust.roots.clone(), trust.revocation.clone());
        let mut known = self.lock();
        known.verifiers.retain(|_, weak| weak.strong_count() > 0);
        if let Some(earlier) = known.verifiers.get(&key).and_then(Weak::upgrade) {
            return earlier;
        }
        known.verifiers.insert(key, Arc::downgrade(&verifier));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn identity(name: &str) -> Identity {
        Identity {
            server_name: name.into(),
            alpn: Vec::new(),
            trust: Roots::WebPki.into(),
            credentials: None,
            resumption: Some(Duration::from_secs(3600)),
            early_data: false,
            key_log: false,
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
        let first = store.known_verifier(&Roots::WebPki.into()).unwrap();
        let b = client(&store, "b.test");
        assert!(Arc::ptr_eq(
            &first,
            &store.known_verifier(&Roots::WebPki.into()).unwrap()
        ));
        drop((a, b, first));
        let mut known = store.lock();
        while known.forget_one() {}
        drop(known);
        assert!(store.known_verifier(&Roots::WebPki.into()).is_none());
    }
}
