//! The connections of a pool, by name.
//!
//! Owns: each member's state, who may be granted it, and the rows to find one by: idle members from the
//! oldest to the one used last, and a shelf of free ones for every endpoint and tier.
//! Never: decides who gets a member or when one goes, or touches a connection.
//!
//! ```text
//! Dialing ──opened──▶ Open: idle ◀──returned / taken──▶ leased        any ──removed──▶ forgotten
//! ```
//! A member has slots: one, or as many as its peer allows streams. It is *idle* while none is used,
//! *free* while one is left and it is not doomed. A doomed member is granted to nobody any more.

use super::member::{Granted, Member, Returned, State};
use super::message::{CloseReason, EndpointId, MemberId, Opened, Purpose};
use super::permit::Tier;
use super::row::{Place, Row};
use crate::slab::{Key, Slab};
use crate::time::Time;

/// How many members of a tier there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TierCount {
    /// Open, not doomed, not ending.
    pub(super) warm: u32,
    /// Being dialled.
    pub(super) dialing: u32,
    /// Open and unused.
    pub(super) idle: u32,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    all: Slab<Member>,
    /// The one that came to rest last, while it has no place in the rows yet: behind all that have one. Most of the
    /// time it is the next one to be taken, and never needs one.
    last: Option<MemberId>,
    idle: Row,
    /// By endpoint (those without one first), then by tier.
    shelves: Vec<[Row; 2]>,
    tiers: [TierCount; 2],
    dialing: u32,
    dialing_fresh: u32,
    trials: u32,
    doomed: u32,
    /// Over open members that are not doomed, by tier.
    slots: [u64; 2],
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Open ones, idle or leased, doomed or not.
    pub(super) fn live(&self) -> u32 {
        self.all.len() as u32 - self.dialing
    }

    pub(super) fn idle(&self) -> u32 {
        self.idle.len() + u32::from(self.last.is_some())
    }

    pub(super) fn leased(&self) -> u32 {
        self.live() - self.idle()
    }

    /// Open ones that will not be granted again.
    pub(super) fn doomed(&self) -> u32 {
        self.doomed
    }

    pub(super) fn dialing(&self) -> u32 {
        self.dialing
    }

    /// Those of the dialling ones that were begun for fresh waiters.
    pub(super) fn dialing_fresh(&self) -> u32 {
        self.dialing_fresh
    }

    /// Those of the dialling ones that only try an endpoint.
    pub(super) fn trials(&self) -> u32 {
        self.trials
    }

    /// How many can be served at once by what is open.
    pub(super) fn slots(&self, tier: Tier) -> u64 {
        self.slots[tier as usize]
    }

    pub(super) fn tier(&self, tier: Tier) -> TierCount {
        self.tiers[tier as usize]
    }

    #[inline]
    pub(super) fn get(&self, id: MemberId) -> Option<&Member> {
        self.all.get(id.0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberId, &Member)> {
        self.all.iter().map(|(key, member)| (MemberId(key), member))
    }

    /// The ids of members that `wanted` picks: for changes that walk all of them.
    pub(super) fn select(&self, wanted: impl Fn(&Member) -> bool) -> Vec<MemberId> {
        let picked = self.iter().filter(|(_, member)| wanted(member));
        picked.map(|(id, _)| id).collect()
    }

    /// The idle member that has been idle longest.
    pub(super) fn oldest_idle(&self) -> Option<(MemberId, &Member)> {
        self.named(self.idle.oldest()).or_else(|| self.last())
    }

    /// The idle member that began to idle after `id`, an idle one.
    pub(super) fn idle_after(&self, id: MemberId) -> Option<(MemberId, &Member)> {
        if self.last == Some(id) {
            return None;
        }
        let place = self.all.get(id.0)?.idle_place;
        self.named(self.idle.after(place)).or_else(|| self.last())
    }

    /// The free member of an endpoint and tier that was used last.
    #[inline]
    pub(super) fn newest_free(
        &self,
        endpoint: Option<EndpointId>,
        tier: Tier,
    ) -> Option<(MemberId, &Member)> {
        if let Some((last, member)) = self.last()
            && (member.endpoint, member.tier) == (endpoint, tier)
        {
            return Some((last, member));
        }
        self.newest_shelved(endpoint, tier)
    }

    /// Whether there is one without an endpoint, but for the one that came to rest last.
    #[inline]
    pub(super) fn has_placeless(&self, tier: Tier) -> bool {
        let shelf = self.shelves.get(shelf_index(None));
        shelf.is_some_and(|shelf| shelf[tier as usize].len() > 0)
    }

    #[inline]
    fn newest_shelved(
        &self,
        endpoint: Option<EndpointId>,
        tier: Tier,
    ) -> Option<(MemberId, &Member)> {
        let shelf = self.shelves.get(shelf_index(endpoint))?;
        self.named(shelf[tier as usize].newest())
    }

    /// The free member of the same shelf that was used before `id`, a free one.
    pub(super) fn free_before(&self, id: MemberId) -> Option<(MemberId, &Member)> {
        let member = self.all.get(id.0)?;
        if self.last == Some(id) {
            return self.newest_shelved(member.endpoint, member.tier);
        }
        let shelf = self.shelves.get(shelf_index(member.endpoint))?;
        self.named(shelf[member.tier as usize].before(member.shelf_place))
    }

    #[inline]
    fn last(&self) -> Option<(MemberId, &Member)> {
        self.named(self.last.map(|id| id.0))
    }

    #[inline]
    fn named(&self, key: Option<Key>) -> Option<(MemberId, &Member)> {
        let key = key?;
        let member = self.all.get(key).expect("rows name members");
        Some((MemberId(key), member))
    }

    /// A new member, dialling.
    pub(super) fn dial(
        &mut self,
        now: Time,
        purpose: Purpose,
        tier: Tier,
        endpoint: Option<EndpointId>,
    ) -> MemberId {
        self.count_dialing(purpose, tier, 1);
        MemberId(self.all.insert(Member {
            state: State::Dialing(purpose),
            tier,
            endpoint,
            since: now,
            retire_at: Time::NEVER,
            retire_for: CloseReason::Age,
            opened: Time::NEVER,
            trusted_until: Time::NEVER,
            replaced: false,
            uses: 0,
            slots: 0,
            used: 0,
            judged: 0,
            claimed: false,
            ending: false,
            doomed: None,
            idle_place: Place::default(),
            shelf_place: Place::default(),
        }))
    }

    /// Notes where a dialling member goes.
    pub(super) fn set_endpoint(&mut self, id: MemberId, endpoint: Option<EndpointId>) {
        let member = self.member(id);
        debug_assert!(matches!(member.state, State::Dialing(_)), "{id:?} is open");
        member.endpoint = endpoint;
    }

    /// A dialling member is open now, and idle.
    pub(super) fn opened(&mut self, id: MemberId, opened: Opened, now: Time) {
        self.place_last();
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        let State::Dialing(purpose) = member.state else {
            unreachable!("{id:?} is open already");
        };
        member.state = State::Open(opened.conn);
        member.since = now;
        member.opened = now;
        member.trusted_until = opened.trusted_until;
        member.replaced = opened.replaced;
        if opened.replaced {
            member.retire_for = CloseReason::Reconfigured;
        }
        member.slots = opened.slots;
        member.idle_place = self.idle.push(id.0);
        let (tier, free) = (member.tier, member.is_free());
        self.count_dialing(purpose, tier, -1);
        self.tiers[tier as usize].warm += 1;
        self.tiers[tier as usize].idle += 1;
        self.slots[tier as usize] += u64::from(opened.slots);
        if free {
            self.shelve(id);
        }
    }

    /// The member that came to rest last is granted, if `fits` says so: it leaves no row.
    #[inline]
    pub(super) fn take_last(
        &mut self,
        now: Time,
        fits: impl FnOnce(&Member) -> bool,
    ) -> Option<(MemberId, Granted)> {
        let id = self.last?;
        let member = self.all.get_mut(id.0).filter(|member| fits(member))?;
        self.last = None;
        self.tiers[member.tier as usize].idle -= 1;
        Some((id, member.take(now)))
    }

    /// One slot of a free member is granted.
    pub(super) fn taken(&mut self, id: MemberId, now: Time) -> Granted {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        debug_assert!(member.is_free(), "{id:?} is granted without a free slot");
        let granted = member.take(now);
        if member.used == 1 {
            self.tiers[member.tier as usize].idle -= 1;
        }
        if self.last == Some(id) {
            self.last = None;
        } else {
            self.leave_rows(id);
        }
        granted
    }

    /// One slot of a member that has its places in the rows was granted.
    fn leave_rows(&mut self, id: MemberId) {
        let member = self.member(id);
        let (first, full) = (member.used == 1, member.used == member.slots);
        let (endpoint, tier) = (member.endpoint, member.tier as usize);
        let (idle_place, shelf_place) = (member.idle_place, member.shelf_place);
        if first {
            self.leave_idle(idle_place);
        }
        if full {
            self.leave_shelf(endpoint, tier, shelf_place);
        }
    }

    /// It goes because there are too many.
    pub(super) fn set_claimed(&mut self, id: MemberId) {
        self.member(id).claimed = true;
    }

    /// One of those who use a member has its verdict, if none had it already.
    #[inline]
    pub(super) fn judge(&mut self, id: MemberId) {
        let member = self.member(id);
        member.judged = member.used.min(member.judged + 1);
    }

    /// The only lease of a member is over, and it comes to rest, to be the first one that is granted: in no row yet. `None`, and
    /// nothing was done: for what has streams, may not be granted now, or not before others; [`returned`](Members::returned)
    /// does what is to be done.
    #[inline(always)]
    pub(super) fn rest(&mut self, id: MemberId, now: Time) -> Option<Returned> {
        let member = self.all.get_mut(id.0)?;
        let simple = member.is_leased()
            && (member.used, member.slots) == (1, 1)
            && member.doomed.is_none()
            && member.retire_for != CloseReason::Reconfigured
            && now < member.retire_at;
        if !simple {
            return None;
        }
        let returned = member.give_back(now);
        self.tiers[member.tier as usize].idle += 1;
        if let Some(before) = self.last.replace(id) {
            self.enter_rows(before, false);
        }
        Some(returned)
    }

    /// One slot of a leased member is free again.
    pub(super) fn returned(&mut self, id: MemberId, now: Time) -> Returned {
        self.place_last();
        let member = self.member(id);
        assert!(member.used > 0, "{id:?} is released without a lease");
        let was_free = member.is_free();
        let tier = member.tier as usize;
        let returned = member.give_back(now);
        self.tiers[tier].idle += u32::from(returned.idle);
        self.enter_rows(id, was_free);
        returned
    }

    /// A member has a slot free, or one more: it gets its places in the rows.
    fn enter_rows(&mut self, id: MemberId, was_free: bool) {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        if member.used == 0 {
            member.idle_place = self.idle.push(id.0);
        }
        if !was_free && member.is_free() {
            member.shelf_place = shelve(&mut self.shelves, id, member);
        }
    }

    /// The one that came to rest last gets its places in the rows, as all others have: before anything happens to members but
    /// that it is taken, or that another one comes to rest.
    fn place_last(&mut self) {
        if let Some(last) = self.last.take() {
            self.enter_rows(last, false);
        }
    }

    /// The peer of an open member allows another number of slots.
    pub(super) fn set_slots(&mut self, id: MemberId, slots: u32) {
        self.place_last();
        let member = self.member(id);
        let was_free = member.is_free();
        let before = std::mem::replace(&mut member.slots, slots);
        let (free, doomed) = (member.is_free(), member.doomed.is_some());
        let tier = member.tier as usize;
        if !doomed {
            self.slots[tier] = self.slots[tier] - u64::from(before) + u64::from(slots);
        }
        if free && !was_free {
            self.shelve(id);
        } else if was_free && !free {
            self.unshelve(id);
        }
    }

    /// An open member is granted to nobody any more. The first reason counts.
    pub(super) fn doom(&mut self, id: MemberId, reason: CloseReason) {
        self.place_last();
        let member = self.member(id);
        if member.doomed.is_some() {
            return;
        }
        let was_free = member.is_free();
        member.doomed = Some(reason);
        let (tier, slots, ending) = (member.tier, member.slots, member.ending);
        self.doomed += 1;
        self.slots[tier as usize] -= u64::from(slots);
        if !ending {
            self.tiers[tier as usize].warm -= 1;
        }
        if was_free {
            self.unshelve(id);
        }
    }

    /// Whether an open member ends soon.
    pub(super) fn set_ending(&mut self, id: MemberId, ending: bool) {
        let member = self.member(id);
        if std::mem::replace(&mut member.ending, ending) == ending || member.doomed.is_some() {
            return;
        }
        let tier = member.tier as usize;
        if ending {
            self.tiers[tier].warm -= 1;
        } else {
            self.tiers[tier].warm += 1;
        }
    }

    /// An open member's time is over at `retire_at` from now on.
    pub(super) fn set_retirement(
        &mut self,
        id: MemberId,
        retire_at: Time,
        retire_for: CloseReason,
    ) {
        self.place_last();
        let member = self.member(id);
        member.retire_at = retire_at;
        member.retire_for = retire_for;
    }

    /// Forgets a member, whatever it is doing.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Member> {
        match self.all.get(id.0)?.state {
            State::Dialing(purpose) => {
                let tier = self.member(id).tier;
                self.count_dialing(purpose, tier, -1);
            }
            State::Open(_) => {
                // Dooming takes it off its shelf and out of the counts.
                self.doom(id, CloseReason::Drained);
                self.doomed -= 1;
                let member = self.member(id);
                let (tier, place) = (member.tier as usize, member.idle_place);
                if member.used == 0 {
                    self.tiers[tier].idle -= 1;
                    self.leave_idle(place);
                }
            }
        }
        self.all.remove(id.0)
    }

    #[inline]
    fn member(&mut self, id: MemberId) -> &mut Member {
        self.all.get_mut(id.0).expect("the caller looked it up")
    }

    fn count_dialing(&mut self, purpose: Purpose, tier: Tier, by: i32) {
        let add = |count: &mut u32| *count = count.wrapping_add_signed(by);
        add(&mut self.dialing);
        add(&mut self.tiers[tier as usize].dialing);
        match purpose {
            Purpose::Fresh => add(&mut self.dialing_fresh),
            Purpose::Trial => add(&mut self.trials),
            Purpose::Queue | Purpose::Warmth => {}
        }
    }

    fn shelve(&mut self, id: MemberId) {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        member.shelf_place = shelve(&mut self.shelves, id, member);
    }

    fn unshelve(&mut self, id: MemberId) {
        let member = self.all.get(id.0).expect("the caller looked it up");
        let (endpoint, tier) = (member.endpoint, member.tier as usize);
        self.leave_shelf(endpoint, tier, member.shelf_place);
    }

    #[inline(always)]
    fn leave_shelf(&mut self, endpoint: Option<EndpointId>, tier: usize, place: Place) {
        let all = &mut self.all;
        self.shelves[shelf_index(endpoint)][tier].remove(place, |key, place| {
            all.get_mut(key).expect("rows name members").shelf_place = place;
        });
    }

    #[inline(always)]
    fn leave_idle(&mut self, place: Place) {
        let all = &mut self.all;
        self.idle.remove(place, |key, place| {
            all.get_mut(key).expect("rows name members").idle_place = place;
        });
    }

    /// Whether the counts equal a census of the slab. Walks all members: for tests and assertions.
    pub(super) fn counts_hold(&self) -> bool {
        let count = |wanted: &dyn Fn(&Member) -> bool| {
            self.all.iter().filter(|(_, member)| wanted(member)).count() as u32
        };
        let is_dialing = |member: &Member| matches!(member.state, State::Dialing(_));
        let is_open = |member: &Member| !is_dialing(member) && member.doomed.is_none();
        let tiers_hold = [Tier::Open, Tier::Reserved].into_iter().all(|tier| {
            let counts = self.tier(tier);
            count(&|m| m.tier == tier && is_dialing(m)) == counts.dialing
                && count(&|m| m.tier == tier && m.is_idle()) == counts.idle
                && count(&|m| m.tier == tier && is_open(m) && !m.ending) == counts.warm
        });
        let shelved: u32 = self.shelves.iter().flatten().map(Row::len).sum();
        let slots: u64 = self
            .iter()
            .filter(|(_, member)| is_open(member))
            .map(|(_, member)| u64::from(member.slots))
            .sum();
        let fresh = State::Dialing(Purpose::Fresh);
        let trial = State::Dialing(Purpose::Trial);
        tiers_hold
            && count(&is_dialing) == self.dialing
            && count(&|m| m.state == fresh) == self.dialing_fresh
            && count(&|m| m.state == trial) == self.trials
            && count(&|m| m.doomed.is_some()) == self.doomed
            && count(&Member::is_idle) == self.idle()
            && count(&Member::is_free) == shelved + u32::from(self.last.is_some())
            && slots == self.slots.iter().sum::<u64>()
    }
}

/// Puts a free member on its shelf. What was made under settings since replaced stands behind what was made under those in
/// force.
#[inline]
fn shelve(shelves: &mut Vec<[Row; 2]>, id: MemberId, member: &Member) -> Place {
    let (index, tier) = (shelf_index(member.endpoint), member.tier as usize);
    if index >= shelves.len() {
        shelves.resize_with(index + 1, Default::default);
    }
    let shelf = &mut shelves[index][tier];
    if member.retire_for == CloseReason::Reconfigured {
        shelf.push_back(id.0)
    } else {
        shelf.push(id.0)
    }
}

#[inline]
fn shelf_index(endpoint: Option<EndpointId>) -> usize {
    endpoint.map_or(0, |EndpointId(index)| index as usize + 1)
}

#[cfg(test)]
mod tests;
