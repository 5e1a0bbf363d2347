//! The connections of a pool, by name.
//!
//! Owns: each member's state, how many there are of each kind, and who may be granted; where they stand is kept by
//! [`rows`](super::rows).
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
use super::row::Place;
use super::rows::Rows;
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
    rows: Rows,
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
        self.rows.idle()
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
        self.named(self.rows.oldest_idle())
    }

    /// The idle member that began to idle after `id`, an idle one.
    pub(super) fn idle_after(&self, id: MemberId) -> Option<(MemberId, &Member)> {
        self.named(self.rows.idle_after(&self.all, id.0))
    }

    /// The free member of an endpoint and tier that was used last.
    #[inline]
    pub(super) fn newest_free(
        &self,
        endpoint: Option<EndpointId>,
        tier: Tier,
    ) -> Option<(MemberId, &Member)> {
        self.named(self.rows.newest_free(&self.all, endpoint, tier))
    }

    /// The free member of the same shelf that was used before `id`, a free one.
    pub(super) fn free_before(&self, id: MemberId) -> Option<(MemberId, &Member)> {
        self.named(self.rows.free_before(&self.all, id.0))
    }

    /// Whether there is a free one without an endpoint, but for the one that came to rest last.
    #[inline]
    pub(super) fn has_placeless(&self, tier: Tier) -> bool {
        self.rows.has_placeless(tier)
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
        self.rows.place_last(&mut self.all);
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
        let tier = member.tier;
        self.count_dialing(purpose, tier, -1);
        self.tiers[tier as usize].warm += 1;
        self.tiers[tier as usize].idle += 1;
        self.slots[tier as usize] += u64::from(opened.slots);
        self.rows.enter(&mut self.all, id.0, false);
    }

    /// The member that came to rest last is granted, if `fits` says so: it leaves no row.
    #[inline]
    pub(super) fn take_last(
        &mut self,
        now: Time,
        fits: impl FnOnce(&Member) -> bool,
    ) -> Option<(MemberId, Granted)> {
        let last = self.rows.last()?;
        let member = self.all.get_mut(last).filter(|member| fits(member))?;
        self.rows.take_last();
        self.tiers[member.tier as usize].idle -= 1;
        Some((MemberId(last), member.take(now)))
    }

    /// One slot of a free member is granted.
    pub(super) fn taken(&mut self, id: MemberId, now: Time) -> Granted {
        let member = self.all.get_mut(id.0).expect("the caller looked it up");
        debug_assert!(member.is_free(), "{id:?} is granted without a free slot");
        let granted = member.take(now);
        if member.used == 1 {
            self.tiers[member.tier as usize].idle -= 1;
        }
        self.rows.leave(&mut self.all, id.0);
        granted
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
        self.rows.rest(&mut self.all, id.0);
        Some(returned)
    }

    /// One slot of a leased member is free again.
    pub(super) fn returned(&mut self, id: MemberId, now: Time) -> Returned {
        self.rows.place_last(&mut self.all);
        let member = self.member(id);
        assert!(member.used > 0, "{id:?} is released without a lease");
        let was_free = member.is_free();
        let tier = member.tier as usize;
        let returned = member.give_back(now);
        self.tiers[tier].idle += u32::from(returned.idle);
        self.rows.enter(&mut self.all, id.0, was_free);
        returned
    }

    /// The peer of an open member allows another number of slots.
    pub(super) fn set_slots(&mut self, id: MemberId, slots: u32) {
        self.rows.place_last(&mut self.all);
        let member = self.member(id);
        let was_free = member.is_free();
        let before = std::mem::replace(&mut member.slots, slots);
        let (free, doomed) = (member.is_free(), member.doomed.is_some());
        let tier = member.tier as usize;
        if !doomed {
            self.slots[tier] = self.slots[tier] - u64::from(before) + u64::from(slots);
        }
        if free && !was_free {
            self.rows.shelve(&mut self.all, id.0);
        } else if was_free && !free {
            self.rows.unshelve(&mut self.all, id.0);
        }
    }

    /// An open member is granted to nobody any more. The first reason counts.
    pub(super) fn doom(&mut self, id: MemberId, reason: CloseReason) {
        self.rows.place_last(&mut self.all);
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
            self.rows.unshelve(&mut self.all, id.0);
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
        self.rows.place_last(&mut self.all);
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
                if member.used == 0 {
                    let tier = member.tier as usize;
                    self.tiers[tier].idle -= 1;
                    self.rows.leave_idle(&mut self.all, id.0);
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
            && count(&Member::is_free) == self.rows.free()
            && slots == self.slots.iter().sum::<u64>()
    }
}

#[cfg(test)]
mod tests;
