//! How a lease ends, and what changes on an open connection meanwhile.
//!
//! Owns: the way back of a member, or its way out. Never: decides who gets it next.

use super::Pool;
use super::member::State;
use super::message::{Action, CloseReason, ComesFree, Grant, MemberId, Purpose};
use super::permit::Tier;
use super::queue::Who;
use crate::config::Class;
use crate::time::Time;
use std::time::Duration;

impl Pool {
    /// The same as `handle` with [`Input::Released`]. Constant time and no allocation while
    /// nobody waits and the connection stays.
    #[inline]
    pub fn release(&mut self, now: Time, id: MemberId, held: Duration, actions: &mut Vec<Action>) {
        let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
        self.release_held(now, id, held, actions);
    }

    /// The same, for a lease that lasted so many nanoseconds.
    #[inline]
    pub fn release_held(&mut self, now: Time, id: MemberId, held: u64, actions: &mut Vec<Action>) {
        let is_quiet = !(self.draining | self.finishing | self.over_cap | self.unsettled)
            && self.queue.is_empty()
            && self.limits.uses_max.is_none();
        if is_quiet && let Some(returned) = self.members.rest(id, now) {
            if let Some(endpoint) = returned.endpoint {
                self.endpoints.ended(endpoint, returned.judged);
            }
            self.dialing.lease_ended(now, held, true);
            self.rests(now);
        } else {
            self.settle_release(now, id, held, actions);
        }
    }

    /// A release where somebody waits, or where something may speak against the connection.
    #[inline(never)]
    fn settle_release(&mut self, now: Time, id: MemberId, held: u64, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if !member.is_leased() {
            debug_assert!(false, "{id:?} is released without a lease");
            return;
        }
        let condemned = self.condemned(now, id);
        self.dialing.lease_ended(now, held, condemned.is_none());
        if self.returned(now, id) {
            self.rests(now);
        }
        let wears = condemned.is_none() && self.wears_out(now, id);
        if condemned.is_none() && self.queue.is_empty() && !self.unsettled && !wears {
            return;
        }
        self.fail_late(now, actions);
        if let Some(reason) = condemned {
            self.retire(id, reason, actions);
        } else if self.release_must_make_room(now, id) {
            self.room_made += 1;
            self.retire(id, CloseReason::Capacity, actions);
        }
        self.settle(now, actions);
    }

    /// One who used a member is done with it: whether nobody uses it any more.
    fn returned(&mut self, now: Time, id: MemberId) -> bool {
        let returned = self.members.returned(id, now);
        if let Some(endpoint) = returned.endpoint {
            self.endpoints.ended(endpoint, returned.judged);
        }
        returned.idle
    }

    /// For whom a connection that is about to come free would be, of those who wait here: of which class, and since
    /// when it has waited. `None` also where the connection would not serve, or not at once.
    pub fn next_for(&mut self, now: Time, id: MemberId) -> Option<(Class, Time)> {
        if self.is_over_cap() {
            return None; // Whether this one goes is decided, and claimed, when it is released.
        }
        let member = self.members.get(id)?;
        let who = match member.tier {
            Tier::Open => Who::Anyone,
            Tier::Reserved => Who::Critical,
        };
        let serves = |endpoint| self.may_serve(now, endpoint);
        let comes_free = match member.state {
            // Whoever wants a new one waits for this one.
            State::Dialing(purpose) => purpose != Purpose::Fresh,
            State::Open(_) => member.is_leased() && member.slots == 1,
        };
        let serves = comes_free && member.endpoint.is_none_or(serves);
        if !serves || self.unsettled || self.condemned(now, id).is_some() {
            return None;
        }
        // Its permit is what the first here has waited for.
        if self.first_lacks_permit(now) {
            return None;
        }
        self.queue.next_plain(who)
    }

    /// A connection comes free, and is leased at once to one who waits elsewhere, before all who wait here. After
    /// [`next_for`](Pool::next_for) said that it serves.
    pub fn hand_on(&mut self, now: Time, id: MemberId, comes: ComesFree) -> Grant {
        match comes {
            ComesFree::Released { held } => {
                let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
                self.dialing.lease_ended(now, held, true);
                self.returned(now, id);
                self.unsettled |= self.wears_out(now, id);
            }
            ComesFree::Dialed(opened) => {
                self.opened(now, id, opened);
                // The waiter whom it was dialled for wants another one.
                self.unsettled = true;
            }
        }
        self.counters.served_others += 1;
        self.asked(now);
        self.lease(now, id, true)
    }

    /// Whether a member that was just released is found to have few uses left, and a successor is wanted.
    #[inline]
    fn wears_out(&mut self, now: Time, id: MemberId) -> bool {
        if self.limits.uses_max.is_none() || self.floor() == 0 {
            return false;
        }
        let ending = |pool: &Pool| pool.members.get(id).is_some_and(|member| member.ending);
        let before = ending(self);
        self.look_at_end(now, id);
        !before && ending(self)
    }

    pub(super) fn closed(&mut self, now: Time, id: MemberId) {
        let Some(gone) = self.forget(id) else { return };
        match gone.state {
            State::Dialing(purpose) => self.dial_abandoned(now, purpose, gone.endpoint),
            State::Open(_) => {
                if gone.claimed {
                    self.permits.unclaim(gone.tier);
                }
                for n in 0..gone.used {
                    if let Some(endpoint) = gone.endpoint {
                        self.endpoints.ended(endpoint, n < gone.judged);
                    }
                }
                if gone.used > 0 {
                    let held = now.nanos_since(gone.since);
                    self.dialing.lease_ended(now, held, false);
                }
            }
        }
    }

    pub(super) fn slots(&mut self, id: MemberId, slots: u32) {
        match self.members.get(id).map(|member| member.state) {
            Some(State::Open(_)) => {
                self.dialing.slots_seen(slots);
                self.members.set_slots(id, slots);
            }
            Some(State::Dialing(_)) => debug_assert!(false, "{id:?} is not open yet"),
            None => {}
        }
    }
}
