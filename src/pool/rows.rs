//! Where the members stand that may be found: idle ones in one row from the oldest to the one used last, free ones on a shelf for every
//! endpoint and tier.
//!
//! Owns: these orders, and each member's places in them. Never: decides who is idle or free, or counts members.
//!
//! The one that came to rest last has no place in either yet: it is the newest of both, most of the time the next to be taken, and then never
//! needs one. It gets its places before anything happens to members but that it is taken, or that another one comes to rest.

use super::member::Member;
use super::message::{CloseReason, EndpointId};
use super::permit::Tier;
use super::row::Row;
use crate::slab::{Key, Slab};

#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The one that came to rest last, while it has no place.
    last: Option<Key>,
    idle: Row,
    /// By endpoint (those without one first), then by tier.
    shelves: Vec<[Row; 2]>,
}

impl Rows {
    /// How many are idle.
    #[inline]
    pub(super) fn idle(&self) -> u32 {
        self.idle.len() + u32::from(self.last.is_some())
    }

    /// How many are free.
    pub(super) fn free(&self) -> u32 {
        let shelved: u32 = self.shelves.iter().flatten().map(Row::len).sum();
        shelved + u32::from(self.last.is_some())
    }

    /// The one that came to rest last, while it has no place.
    #[inline]
    pub(super) fn last(&self) -> Option<Key> {
        self.last
    }

    /// The one that has been idle longest.
    #[inline]
    pub(super) fn oldest_idle(&self) -> Option<Key> {
        self.idle.oldest().or(self.last)
    }

    /// The one that began to idle after `key`, an idle one.
    pub(super) fn idle_after(&self, all: &Slab<Member>, key: Key) -> Option<Key> {
        if self.last == Some(key) {
            return None;
        }
        let place = all.get(key)?.idle_place;
        self.idle.after(place).or(self.last)
    }

    /// The free one of an endpoint and tier that was used last.
    #[inline]
    pub(super) fn newest_free(
        &self,
        all: &Slab<Member>,
        endpoint: Option<EndpointId>,
        tier: Tier,
    ) -> Option<Key> {
        let last = self.last.filter(|last| {
            let member = all.get(*last);
            member.is_some_and(|member| (member.endpoint, member.tier) == (endpoint, tier))
        });
        last.or_else(|| self.newest_shelved(endpoint, tier))
    }

    /// The free one of the same shelf that was used before `key`, a free one.
    pub(super) fn free_before(&self, all: &Slab<Member>, key: Key) -> Option<Key> {
        let member = all.get(key)?;
        if self.last == Some(key) {
            return self.newest_shelved(member.endpoint, member.tier);
        }
        let shelf = self.shelves.get(shelf_index(member.endpoint))?;
        shelf[member.tier as usize].before(member.shelf_place)
    }

    /// Whether there is a free one without an endpoint, but for the one that came to rest last.
    #[inline]
    pub(super) fn has_placeless(&self, tier: Tier) -> bool {
        let shelf = self.shelves.get(shelf_index(None));
        shelf.is_some_and(|shelf| shelf[tier as usize].len() > 0)
    }

    #[inline]
    fn newest_shelved(&self, endpoint: Option<EndpointId>, tier: Tier) -> Option<Key> {
        let shelf = self.shelves.get(shelf_index(endpoint))?;
        shelf[tier as usize].newest()
    }

    /// A member of one slot has come to rest: the newest of all, without a place.
    #[inline]
    pub(super) fn rest(&mut self, all: &mut Slab<Member>, key: Key) {
        if let Some(before) = self.last.replace(key) {
            self.enter(all, before, false);
        }
    }

    /// The one that came to rest last is taken.
    #[inline]
    pub(super) fn take_last(&mut self) {
        self.last = None;
    }

    /// The one that came to rest last gets its places, as all others have.
    pub(super) fn place_last(&mut self, all: &mut Slab<Member>) {
        if let Some(last) = self.last.take() {
            self.enter(all, last, false);
        }
    }

    /// A member has a slot free, or one more: it gets its places.
    pub(super) fn enter(&mut self, all: &mut Slab<Member>, key: Key, was_free: bool) {
        let member = all.get_mut(key).expect("the caller looked it up");
        if member.used == 0 {
            member.idle_place = self.idle.push(key);
        }
        if !was_free && member.is_free() {
            self.shelve(all, key);
        }
    }

    /// One slot of a member was granted: it leaves what it is not in any more.
    pub(super) fn leave(&mut self, all: &mut Slab<Member>, key: Key) {
        if self.last == Some(key) {
            return self.take_last();
        }
        let member = all.get(key).expect("the caller looked it up");
        let (first, full) = (member.used == 1, member.used == member.slots);
        if first {
            self.leave_idle(all, key);
        }
        if full {
            self.unshelve(all, key);
        }
    }

    /// A member that has its places is idle no more.
    pub(super) fn leave_idle(&mut self, all: &mut Slab<Member>, key: Key) {
        let member = all.get(key).expect("the caller looked it up");
        self.idle.remove(member.idle_place, |key, place| {
            all.get_mut(key).expect("rows name members").idle_place = place;
        });
    }

    /// Puts a free member on its shelf. What was made under settings since replaced stands behind what was made under those in
    /// force.
    pub(super) fn shelve(&mut self, all: &mut Slab<Member>, key: Key) {
        let member = all.get_mut(key).expect("the caller looked it up");
        let (index, tier) = (shelf_index(member.endpoint), member.tier as usize);
        if index >= self.shelves.len() {
            self.shelves.resize_with(index + 1, Default::default);
        }
        let shelf = &mut self.shelves[index][tier];
        member.shelf_place = if member.retire_for == CloseReason::Reconfigured {
            shelf.push_back(key)
        } else {
            shelf.push(key)
        };
    }

    /// A member that has its places is free no more.
    pub(super) fn unshelve(&mut self, all: &mut Slab<Member>, key: Key) {
        let member = all.get(key).expect("the caller looked it up");
        let (index, tier) = (shelf_index(member.endpoint), member.tier as usize);
        let place = member.shelf_place;
        self.shelves[index][tier].remove(place, |key, place| {
            all.get_mut(key).expect("rows name members").shelf_place = place;
        });
    }
}

#[inline]
fn shelf_index(endpoint: Option<EndpointId>) -> usize {
    endpoint.map_or(0, |EndpointId(index)| index as usize + 1)
}
