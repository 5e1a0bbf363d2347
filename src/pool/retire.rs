//! When a connection goes: idle too long, too old, used too often, surplus, or no longer wanted.
//!
//! Owns: the reasons, and closing by them. Never: closes a leased connection; those go at release.

use super::Pool;
use super::due::earliest;
use super::limits::Limits;
use super::member::{Member, State};
use super::message::{Action, CloseReason, MemberId};
use super::permit::Tier;
use crate::random::Random;
use crate::time::Time;
use std::cmp::Reverse;
use std::time::Duration;

/// The share of `age_max` by which a connection's life may be shorter. 2.5 % has been found too
/// little to keep connections opened together from expiring together.
const AGE_JITTER: f64 = 0.25;

/// When a member's life ends, and by what: its age, or that its peer is trusted no longer.
fn end_of_life(limits: &Limits, member: &Member, random: &mut Random) -> (Time, CloseReason) {
    let opened = member.opened;
    if member.replaced {
        return (opened, CloseReason::Reconfigured);
    }
    let mut end = (Time::NEVER, CloseReason::Age);
    if let Some(age_max) = limits.age_max {
        end.0 = opened + random.shorten(age_max, AGE_JITTER);
    }
    if member.trusted_until != Time::NEVER {
        let trusted = random.shorten(member.trusted_until.since(opened), AGE_JITTER);
        if opened + trusted < end.0 {
            end = (opened + trusted, CloseReason::Trust);
        }
    }
    end
}

/// When a member that idles since `since` has idled too long.
#[inline]
pub(super) fn end_of_idling(limits: &Limits, since: Time) -> Time {
    limits
        .idle_timeout
        .map_or(Time::NEVER, |timeout| since + timeout)
}

impl Pool {
    /// When idle members have to be looked at.
    #[inline]
    pub(super) fn retirement(&self) -> Option<Time> {
        let (_, oldest) = self.members.oldest_idle()?;
        let idle = self
            .limits
            .idle_timeout
            .map(|timeout| oldest.since + timeout);
        let purge = self.warmth.purge_at.filter(|_| self.has_surplus());
        earliest([idle, self.warmth.mark_at, purge])
    }

    /// Closes what has idled too long, grown too old, or was not needed lately.
    pub(super) fn retire_due(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some((id, member)) = self.members.oldest_idle()
            && end_of_idling(&self.limits, member.since) <= now
        {
            self.retire(id, CloseReason::IdleTimeout, actions);
        }
        self.mark_ending(now);
        while let Some(key) = self.ages.pop(now) {
            let id = MemberId(key);
            let Some(member) = self.members.get(id) else {
                continue;
            };
            let (retire_at, idle) = (member.retire_at, member.is_idle());
            if retire_at > now {
                // The look ahead of the end.
                self.look_at_end(now, id);
                self.ages.push(retire_at, key);
            } else if idle {
                let reason = member.retire_for;
                self.retire(id, reason, actions);
            } else {
                // Leased: it goes at its release, and its successor is wanted now.
                self.members.set_ending(id, true);
            }
        }
        self.purge(now, actions);
    }

    /// Sets when the life of a member that has just been opened ends.
    pub(super) fn set_end_of_life(&mut self, id: MemberId) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let (retire_at, reason) = end_of_life(&self.limits, member, &mut self.random);
        self.members.set_retirement(id, retire_at, reason);
        self.look_at_age(id);
    }

    /// Notes when a member's age has to be looked at: at its end, or ahead of it where a successor is wanted.
    fn look_at_age(&mut self, id: MemberId) {
        if let Some(member) = self.members.get(id)
            && member.retire_at != Time::NEVER
        {
            self.ages.push(self.first_look(member), id.0);
        }
    }

    /// Gives up half of what the recent peak did not need.
    fn purge(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(interval) = self.limits.warm.purge_interval else {
            return;
        };
        if self.warmth.purge_at.is_none_or(|at| at > now) {
            return;
        }
        let leased = self.members.leased();
        self.warmth.peak.roll(leased);
        self.warmth.purge_at = Some(now + interval);
        let (live, floor) = (self.members.live(), self.floor());
        for _ in 0..self.warmth.peak.surplus(live, leased, floor) {
            let Some(id) = self.oldest_idle_of(Tier::Open) else {
                break;
            };
            self.retire(id, CloseReason::Surplus, actions);
        }
    }

    /// While the pool finishes: what serves none of those who wait goes.
    pub(super) fn close_unneeded(&mut self, actions: &mut Vec<Action>) {
        if !self.finishing {
            return;
        }
        for id in self.members.select(Member::is_idle) {
            self.retire(id, CloseReason::Drained, actions);
        }
    }

    fn has_surplus(&self) -> bool {
        self.members.live() > self.floor()
    }

    /// The member of a tier that has been idle longest.
    pub(super) fn oldest_idle_of(&self, tier: Tier) -> Option<MemberId> {
        let mut at = self.members.oldest_idle();
        while let Some((id, member)) = at {
            if member.tier == tier {
                return Some(id);
            }
            at = self.members.idle_after(id);
        }
        None
    }

    /// Why a member may not be used again after its release, if so.
    pub(super) fn condemned(&mut self, now: Time, id: MemberId) -> Option<CloseReason> {
        let member = self.members.get(id)?;
        if self.draining || self.is_left() {
            Some(CloseReason::Drained)
        } else if member.doomed.is_some() {
            member.doomed
        } else if self.limits.uses_max.is_some_and(|max| member.uses >= max) {
            Some(CloseReason::Uses)
        } else if member.retire_at <= now {
            Some(member.retire_for)
        } else if self.over_cap {
            let tier = member.tier;
            let goes = self.is_over_cap() && self.permits.claim_over(tier);
            goes.then(|| {
                self.members.set_claimed(id);
                CloseReason::Reconfigured
            })
        } else {
            None
        }
    }

    /// Whether there are more connections than a cap that was lowered allows, and not all that are too many go.
    #[inline]
    pub(super) fn is_over_cap(&mut self) -> bool {
        self.over_cap = self.over_cap && self.permits.over() > 0;
        self.over_cap
    }

    /// Puts new limits in force: connections get a new end of life, and idle ones past a limit go.
    pub(super) fn reconfigure(
        &mut self,
        now: Time,
        limits: Limits,
        renew_within: Option<Duration>,
        actions: &mut Vec<Action>,
    ) {
        // What was due under the old limits goes under its own name.
        self.retire_due(now, actions);
        let age_changed = limits.age_max != self.limits.age_max;
        self.limits = limits;
        self.reset_forecast();
        self.warmth.mark_at = None;
        self.warmth.purge_at = None;
        self.over_cap = true;
        if age_changed || renew_within.is_some() {
            self.renew(now, age_changed, renew_within);
        }
        let idle = self.members.select(Member::is_idle);
        for id in idle {
            self.rests(now);
            let Some(member) = self.members.get(id) else {
                continue;
            };
            if end_of_idling(&self.limits, member.since) <= now || self.condemned(now, id).is_some()
            {
                self.retire(id, CloseReason::Reconfigured, actions);
            }
        }
        self.over_cap = self.permits.over() > 0;
        for id in self.members.select(|m| matches!(m.state, State::Open(_))) {
            self.look_at_end(now, id);
        }
        // What does not end soon yet is found at the next look.
        self.warmth.mark_at = self.warmth.mark_at.map(|_| now);
    }

    /// Gives every open member a new end. Within a time they go steadily, each at a random moment of its share of it;
    /// those first that would be granted next, and the first of all at once: its successor shows what is new.
    fn renew(&mut self, now: Time, age_changed: bool, within: Option<Duration>) {
        self.ages.clear();
        let mut open = self
            .members
            .select(|member| matches!(member.state, State::Open(_)));
        open.sort_by_key(|&id| self.members.get(id).map(|member| Reverse(member.since)));
        let shares = u32::try_from(open.len()).unwrap_or(u32::MAX).max(1);
        for (nth, id) in (0..).zip(open) {
            let Some(member) = self.members.get(id) else {
                continue;
            };
            let (mut retire_at, mut reason) = (member.retire_at, member.retire_for);
            if age_changed {
                (retire_at, reason) = end_of_life(&self.limits, member, &mut self.random);
            }
            if let Some(within) = within {
                let share = within / shares;
                let before = match nth {
                    0 => Duration::ZERO,
                    _ => share * (nth - 1) + self.random.shorten(share, 1.0),
                };
                let soon = now + before;
                if soon < retire_at {
                    (retire_at, reason) = (soon, CloseReason::Reconfigured);
                }
            }
            self.members.set_retirement(id, retire_at, reason);
            self.look_at_age(id);
        }
    }

    /// Lets go of an open member: at once if nobody uses it, else when the last one has released it.
    pub(super) fn retire(&mut self, id: MemberId, reason: CloseReason, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let State::Open(conn) = member.state else {
            unreachable!("{id:?} is retired before it is open");
        };
        let (used, first) = (member.used, member.doomed.unwrap_or(reason));
        if used > 0 {
            return self.members.doom(id, reason);
        }
        let claimed = member.claimed;
        self.forget(id);
        self.counters.count_eviction(first);
        actions.push(Action::Close {
            member: id,
            conn,
            reason: first,
            claimed,
        });
    }

    /// Forgets a member.
    pub(super) fn forget(&mut self, id: MemberId) -> Option<Member> {
        let gone = self.members.remove(id)?;
        let members = &self.members;
        let live = members.live() as usize;
        self.ages
            .tidy(live, |key| members.get(MemberId(key)).is_some());
        Some(gone)
    }
}
