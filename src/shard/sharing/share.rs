//! One shard's part in the sharing of an upstream's calls.
//!
//! Owns: when that is looked at (at the end of each turn that touched its pool), and what was said of room.
//! Never: touches a word that others read unless what it says has changed.

use super::offers::Offers;
use super::room::Free;
use super::turns::Offered;
use crate::config::Class;
use crate::driver::Driver;
use crate::pool::Exhausted;
use crate::shard::core::Core;
use crate::shard::upstream::UpstreamShared;
use crate::slab::Key;
use crate::time::Time;
use std::sync::Arc;

/// What one shard keeps of it.
pub(crate) struct Share {
    /// Once a call to the upstream has waited anywhere.
    pub(super) offers: Option<Arc<Offers>>,
    /// Whether it is on the list of those to be looked at.
    touched: bool,
    /// What the others know of this shard's room.
    pub(super) announced: Free,
    /// The calls that it has offered.
    pub(super) offered: Offered,
    /// Waiters in the pool whose calls cannot move.
    pub(in crate::shard) staying: u32,
    /// What the pool starves for, and since when nobody who waits there has got anything.
    pub(in crate::shard) starved: Option<(Exhausted, Time)>,
}

impl Share {
    pub(in crate::shard) fn new(shared: &UpstreamShared) -> Share {
        Share {
            offers: shared.offers().cloned(),
            touched: false,
            announced: Free::default(),
            offered: Offered::default(),
            staying: 0,
            starved: None,
        }
    }
}

impl Share {
    /// It is to be looked at. Whether it is to be put on the list of those.
    #[inline]
    pub(in crate::shard) fn touch(&mut self) -> bool {
        self.offers.is_some() && !std::mem::replace(&mut self.touched, true)
    }

    /// Whether siblings of `shard` have more connections free than calls are offered to them already.
    pub(in crate::shard) fn siblings_have_room_for(&self, shard: usize, class: Class) -> bool {
        let Some(offers) = &self.offers else {
            return false;
        };
        let mut open = offers.open();
        open.add(class);
        self.siblings(shard).any(|free| {
            open.serve(free);
            open.is_empty_of(class)
        })
    }

    /// Whether a sibling of `shard` has a connection free that anybody may have.
    pub(in crate::shard) fn siblings_have_room(&self, shard: usize) -> bool {
        self.siblings(shard).any(|free| free.open > 0)
    }

    /// What the siblings of `shard` say of their room.
    fn siblings(&self, shard: usize) -> impl Iterator<Item = Free> {
        let offers = self.offers.iter();
        let all = offers.flat_map(|offers| (0..offers.shards()).map(move |one| (one, offers)));
        all.filter(move |(sibling, _)| *sibling != shard)
            .map(|(sibling, offers)| offers.room(sibling).free())
    }

    /// No room here, from now on.
    pub(in crate::shard) fn announce_none(&self, shard: usize) {
        if let (Some(offers), true) = (&self.offers, self.announced != Free::default()) {
            offers.room(shard).announce(Free::default());
        }
    }
}

impl<D: Driver> Core<D> {
    /// The pool of an upstream has changed: its share in others' calls is looked at when the turn ends.
    #[inline]
    pub(in crate::shard) fn touch(&mut self, upstream: Key) {
        if let Some(state) = self.upstreams.get_mut(upstream)
            && state.share.touch()
        {
            self.touched.push(upstream);
        }
    }

    /// Shards share an upstream's waiting calls from now on.
    pub(in crate::shard) fn on_share(&mut self, shared: &Arc<UpstreamShared>) {
        let Some(&key) = self.upstream_keys.get(&shared.id) else {
            return; // It has no room for any. Whoever meets it later finds the offers.
        };
        if let Some(state) = self.upstreams.get_mut(key) {
            state.share.offers = shared.offers().cloned();
        }
        self.touch(key);
    }

    /// What shards do for each other has changed: those who wait go by that.
    pub(in crate::shard) fn share_anew(&mut self, upstream: Key) {
        let waiters = self.waiters.iter();
        let mut here: Vec<(Time, Key)> = waiters
            .filter(|(_, waiter)| waiter.wish.upstream == upstream && !waiter.stake.stays())
            .map(|(key, waiter)| (waiter.since, key))
            .collect();
        here.sort_unstable();
        self.overflow.extend(here.into_iter().map(|(_, key)| key));
        self.touch(upstream);
        let starved = self
            .upstreams
            .get(upstream)
            .map(|state| state.share.starved);
        if let Some((exhausted, _)) = starved.flatten() {
            self.on_starving(upstream, exhausted);
        }
    }

    /// Looks at the upstreams that were touched. What is touched by that is looked at in the next turn.
    pub(super) fn look_at_touched(&mut self, look: impl Fn(&mut Core<D>, Key)) {
        let mut touched = std::mem::take(&mut self.touched);
        for &key in &touched {
            if let Some(state) = self.upstreams.get_mut(key) {
                state.share.touched = false;
            }
        }
        for &key in &touched {
            look(self, key);
        }
        // The list keeps its room.
        touched.clear();
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    /// Siblings need not count on this shard any more.
    pub(in crate::shard) fn announce_no_room(&mut self) {
        for (_, state) in self.upstreams.iter() {
            state.share.announce_none(self.index);
        }
    }
}
