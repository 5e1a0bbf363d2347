//! Who gets which connection.
//!
//! Owns: the choice among free members, for a checkout that comes and for those who wait. Never: opens
//! or closes one.

use super::Pool;
use super::limits::Limits;
use super::member::{Granted, Member};
use super::members::Members;
use super::message::{Action, Before, EndpointId, Grant, MemberId, Purpose, Room, WaiterId};
use super::permit::Tier;
use super::queue::{Left, Who};
use super::retire::end_of_idling;
use crate::config::Class;
use crate::time::Time;

impl Pool {
    /// The connection used last, if a good one is free. `None`: [`Input::Enqueue`](super::Input).
    ///
    /// Nobody is overtaken: no connection is free while somebody waits whom it could serve.
    /// Connections found past a limit are passed over; `Tick`, due by then, closes them.
    #[inline]
    pub fn checkout(&mut self, now: Time, class: Class) -> Option<Grant> {
        if self.unsettled {
            return None; // Whoever waits may be owed what is free.
        }
        let grant = match self.take_last(now) {
            Some(grant) => grant,
            None => self.take_another(now, class)?,
        };
        self.counters.hits += 1;
        self.asked(now);
        Some(grant)
    }

    /// The one that came to rest last, where there is one endpoint: nearly always it is the one to be granted, and little is to be looked at.
    #[inline]
    fn take_last(&mut self, now: Time) -> Option<Grant> {
        if self.members.has_placeless(Tier::Open) {
            return None;
        }
        let limits = &self.limits;
        let (only, began) = self.endpoints.only_serving(now, &limits.breaker)?;
        let fits = |member: &Member| {
            member.endpoint == Some(only)
                && member.tier == Tier::Open
                && is_good(limits, now, member)
        };
        let (id, granted) = self.members.take_last(now, fits)?;
        began.began(now);
        Some(self.granted(now, id, granted, true))
    }

    #[inline(never)]
    fn take_another(&mut self, now: Time, class: Class) -> Option<Grant> {
        let id = self.pick(now, class)?;
        Some(self.lease(now, id, true))
    }

    /// How many more could be served now without a dial. None while somebody waits here for what is free, or
    /// for the permit of one that idles.
    pub fn room(&mut self, now: Time) -> Room {
        if self.has_no_room() {
            return Room::default();
        }
        let mut free = |tier: Tier| match self.members.slots(tier) {
            0 => 0,
            // With streams, one that is free is not always idle.
            _ => match self.pick_of(now, tier) {
                Some(_) => self.members.tier(tier).idle.max(1),
                None => 0,
            },
        };
        Room {
            open: free(Tier::Open),
            reserved: free(Tier::Reserved),
        }
    }

    /// As [`room`](Pool::room), at a glance: what is idle, whether it may be granted just now or not.
    #[inline]
    pub fn idle_room(&self) -> Room {
        if self.has_no_room() {
            return Room::default();
        }
        Room {
            open: self.members.tier(Tier::Open).idle,
            reserved: self.members.tier(Tier::Reserved).idle,
        }
    }

    fn has_no_room(&self) -> bool {
        self.draining || self.unsettled || self.queue.plain_len() > 0 || self.dialing.starving
    }

    /// A connection for one who has waited elsewhere, and is counted there; after
    /// [`room`](Pool::room) said that there is one.
    pub fn serve_other(&mut self, now: Time, class: Class) -> Option<Grant> {
        let id = self.pick(now, class)?;
        self.counters.served_others += 1;
        self.asked(now);
        Some(self.lease(now, id, true))
    }

    /// A waiter is served elsewhere.
    pub(super) fn moved(&mut self, now: Time, waiter: WaiterId) {
        if self.queue.cancel(waiter) {
            self.counters.moved += 1;
            self.dialing.queue_moved(now);
        }
    }

    /// Serves those who wait with what is free.
    pub(super) fn match_waiters(&mut self, now: Time, actions: &mut Vec<Action>) {
        while self.queue.plain_len() > 0 {
            let (who, class) = if self.queue.has_plain(Who::Critical) {
                (Who::Critical, Class::Critical)
            } else {
                (Who::Anyone, Class::Normal)
            };
            // What is not there for critical callers is not there for others.
            let Some(id) = self.pick(now, class) else {
                break;
            };
            match self.queue.pop_plain(who) {
                Some(waiter) => self.grant(now, waiter, id, true, actions),
                None => break,
            }
        }
    }

    /// Grants a connection straight from its dial. A fresh waiter has a dial of its own; all others
    /// serve whoever comes first.
    pub(super) fn grant_dialed(
        &mut self,
        now: Time,
        id: MemberId,
        purpose: Purpose,
        actions: &mut Vec<Action>,
    ) {
        let mut own = purpose == Purpose::Fresh;
        while let Some(member) = self.members.get(id)
            && self.is_usable(now, member)
        {
            let who = match member.tier {
                Tier::Open => Who::Anyone,
                Tier::Reserved if self.queue.critical_len() > 0 => Who::Critical,
                Tier::Reserved => return,
            };
            let fresh = if std::mem::take(&mut own) {
                self.queue.pop_fresh(who)
            } else {
                None
            };
            // Critical callers are first in the queue: what is theirs alone goes to nobody else.
            match fresh.or_else(|| self.queue.pop_first()) {
                Some(waiter) => self.grant(now, waiter, id, false, actions),
                None => return,
            }
        }
    }

    /// The free member that a caller of this class gets.
    pub(super) fn pick(&mut self, now: Time, class: Class) -> Option<MemberId> {
        if let Some(id) = self.pick_of(now, Tier::Open) {
            return Some(id);
        }
        match class {
            Class::Critical => self.pick_of(now, Tier::Reserved),
            Class::Normal | Class::Sheddable => None,
        }
    }

    /// Whether [`pick`](Pool::pick) finds one. For checks that some builds leave out: the dice are as they
    /// were afterwards, so that the course of things is the same with them and without.
    pub(super) fn has_pick(&mut self, now: Time, class: Class) -> bool {
        let dice = self.random.clone();
        let found = self.pick(now, class).is_some();
        self.random = dice;
        found
    }

    fn pick_of(&mut self, now: Time, tier: Tier) -> Option<MemberId> {
        // Where endpoints are unknown, or were when the connection was dialled.
        if let Some(id) = self.newest_good(now, None, tier) {
            return Some(id);
        }
        match self.endpoints.only() {
            Some(only) if self.may_serve(now, only) => self.newest_good(now, Some(only), tier),
            Some(_) => None,
            None => self.pick_among(now, tier),
        }
    }

    /// The same, where there are several endpoints.
    fn pick_among(&mut self, now: Time, tier: Tier) -> Option<MemberId> {
        let (members, limits) = (&self.members, &self.limits);
        let has_free = |endpoint| newest_good(members, limits, now, Some(endpoint), tier).is_some();
        let endpoint = self.endpoints.choose_grant(
            now,
            has_free,
            &limits.breaker,
            &limits.balance,
            &mut self.random,
        )?;
        self.newest_good(now, Some(endpoint), tier)
    }

    /// Whether the open connections of an endpoint may be used now.
    #[inline]
    pub(super) fn may_serve(&self, now: Time, endpoint: EndpointId) -> bool {
        self.endpoints
            .may_serve(now, endpoint, &self.limits.breaker)
    }

    #[inline]
    fn newest_good(&self, now: Time, endpoint: Option<EndpointId>, tier: Tier) -> Option<MemberId> {
        newest_good(&self.members, &self.limits, now, endpoint, tier)
    }

    /// Whether a member has a free slot that may be granted now.
    fn is_usable(&self, now: Time, member: &Member) -> bool {
        member.doomed.is_none()
            && member.used < member.slots
            && member
                .endpoint
                .is_none_or(|endpoint| self.may_serve(now, endpoint))
    }

    /// Grants a free member to someone who waited.
    fn grant(
        &mut self,
        now: Time,
        waiter: Left,
        id: MemberId,
        reused: bool,
        actions: &mut Vec<Action>,
    ) {
        self.counters.waits_reused += u64::from(reused);
        self.counters.waits_dialed += u64::from(!reused);
        if let Some(limits) = self.shed_limits() {
            let Left { class, since, .. } = waiter;
            self.shedder.served(now, class, since, &limits);
        }
        let grant = self.lease(now, id, reused);
        let waiter = waiter.id;
        actions.push(Action::Grant { waiter, grant });
    }

    pub(super) fn lease(&mut self, now: Time, id: MemberId, reused: bool) -> Grant {
        let granted = self.members.taken(id, now);
        if let Some(endpoint) = granted.endpoint {
            self.endpoints.began(now, endpoint);
        }
        self.granted(now, id, granted, reused)
    }

    #[inline]
    fn granted(&mut self, now: Time, id: MemberId, granted: Granted, reused: bool) -> Grant {
        if granted.ending {
            self.look_at_end(now, id);
        }
        self.warmth.peak.in_use(self.members.leased());
        Grant {
            member: id,
            conn: granted.conn,
            before: Before::of(reused),
        }
    }

    /// The most important class that waits for a free connection.
    pub(super) fn least_waiting(&self) -> Class {
        if self.queue.has_plain(Who::Critical) {
            Class::Critical
        } else {
            Class::Normal
        }
    }
}

/// The newest free one is nearly always good.
#[inline(always)]
fn newest_good(
    members: &Members,
    limits: &Limits,
    now: Time,
    endpoint: Option<EndpointId>,
    tier: Tier,
) -> Option<MemberId> {
    let (id, member) = members.newest_free(endpoint, tier)?;
    if is_good(limits, now, member) {
        return Some(id);
    }
    good_before(members, limits, now, id)
}

/// The newest good one of those on the same shelf that are older than a free one.
#[cold]
fn good_before(
    members: &Members,
    limits: &Limits,
    now: Time,
    mut newer: MemberId,
) -> Option<MemberId> {
    while let Some((id, member)) = members.free_before(newer) {
        if is_good(limits, now, member) {
            return Some(id);
        }
        newer = id;
    }
    None
}

/// Whether a free member's time is not over.
#[inline]
fn is_good(limits: &Limits, now: Time, member: &Member) -> bool {
    // What came to rest in this very turn has not idled out: there is no limit of nothing.
    let idles = member.used == 0 && member.since < now;
    let idled = idles && end_of_idling(limits, member.since) <= now;
    !idled && now < member.retire_at
}
