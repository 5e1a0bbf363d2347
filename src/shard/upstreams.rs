//! The upstreams that a shard knows: met at their first use, given up when the engine says so.
//!
//! Owns: when the state of one is made and freed. Never: frees one that something is left of.

use super::core::Core;
use super::policy::Policy;
use super::upstream::{UpstreamId, UpstreamShared, UpstreamState};
use crate::driver::Driver;
use crate::slab::Key;
use std::rc::Rc;
use std::sync::Arc;

impl<D: Driver> Core<D> {
    /// Finds this shard's state of an upstream, making it if this is the first time.
    pub(crate) fn upstream_key(&mut self, shared: &Arc<UpstreamShared>) -> Key {
        if let Some(&key) = self.upstream_keys.get(&shared.id) {
            return key;
        }
        let seed = self.random.next_u64();
        let mut state = UpstreamState::new(shared.clone(), self.index, seed, self.now);
        if let Some((_, before)) = self.tally.inherited.remove(&shared.id) {
            state.meters = before;
        }
        let key = self.upstreams.insert(state);
        self.upstream_keys.insert(shared.id, key);
        self.schedule(key);
        if self.draining {
            // Met by a caller whom the mailbox let in before.
            self.pool_input(key, crate::pool::Input::Finish);
        }
        // Names are asked for by the first dial.
        self.tell_endpoints(key);
        // Whatever it was told before it knew of the upstream, it looks now.
        if let Some(offers) = shared.offers() {
            offers.room(self.index).hear();
        }
        self.touch(key);
        key
    }

    /// As [`upstream_key`](Core::upstream_key), with what a handle keeps beside it.
    pub(super) fn upstream_with_policy(
        &mut self,
        shared: &Arc<UpstreamShared>,
    ) -> (Key, Rc<Policy>) {
        let key = self.upstream_key(shared);
        let state = self.upstreams.get(key).expect("it was made just now");
        (key, state.policy.clone())
    }

    /// Whether `key` still names a living upstream.
    pub(crate) fn upstream_is_current(&self, key: Key) -> bool {
        self.upstreams
            .get(key)
            .is_some_and(|upstream| !upstream.forgotten)
    }

    /// Gives an upstream up: its idle connections close, those in use when they are released.
    pub(super) fn forget(&mut self, id: UpstreamId) {
        self.tally.inherited.remove(&id);
        let Some(key) = self.upstream_keys.remove(&id) else {
            return;
        };
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.forgotten = true;
        }
        self.pool_input(key, crate::pool::Input::Drain);
        self.remove_if_vacant(key);
    }

    /// Frees the state of an upstream that was given up, when nothing is left of it.
    pub(super) fn remove_if_vacant(&mut self, key: Key) {
        let Some(upstream) = self.upstreams.get(key) else {
            return;
        };
        if !upstream.forgotten || !upstream.pool.is_vacant() || upstream.addresses.is_asking() {
            return;
        }
        if let Some(upstream) = self.remove_upstream(key) {
            self.tally.keep(&upstream);
            self.copies_miss(key, &upstream);
        }
    }

    /// Takes an upstream's state away, and with it what others know of it.
    pub(super) fn remove_upstream(&mut self, key: Key) -> Option<UpstreamState> {
        let upstream = self.upstreams.remove(key)?;
        upstream.share.announce_none(self.index);
        let timers = [upstream.tick, upstream.sweep];
        for (_, timer) in timers.into_iter().flatten() {
            let removed = self.timers.remove(timer);
            debug_assert!(removed.is_some(), "a timer was gone before its upstream");
        }
        Some(upstream)
    }
}
