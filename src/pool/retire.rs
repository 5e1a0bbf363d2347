//! When a connection goes: idle too long, too old, used too often, or no longer wanted.
//!
//! Owns: the reasons, and closing by them. Never: closes a leased connection; those go at release.

use super::Pool;
use super::limits::Limits;
use super::member::{Member, State};
use super::message::{Action, CloseReason, MemberId};
use crate::random::Random;
use crate::time::Time;

/// The share of `age_max` by which a connection's life may be shorter. 2.5 % has been found too
/// little to keep connections opened together from expiring together.
const AGE_JITTER: f64 = 0.25;

/// When the age of a connection opened at `opened` ends its life.
pub(super) fn end_of_life(limits: &Limits, opened: Time, random: &mut Random) -> Time {
    match limits.age_max {
        None => Time::NEVER,
        Some(age_max) => opened + random.shorten(age_max, AGE_JITTER),
    }
}

/// When a member that idles since `since` has idled too long.
pub(super) fn end_of_idling(limits: &Limits, since: Time) -> Time {
    limits
        .idle_timeout
        .map_or(Time::NEVER, |timeout| since + timeout)
}

impl Pool {
    /// Closes what has idled too long or grown too old.
    pub(super) fn retire_due(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some((id, member)) = self.members.oldest_idle()
            && end_of_idling(&self.limits, member.since) <= now
        {
            self.close(id, CloseReason::IdleTimeout, actions);
        }
        while let Some(key) = self.ages.pop(now) {
            let id = MemberId(key);
            match self.members.get(id).map(|member| member.state) {
                Some(State::Idle(_)) => self.close(id, CloseReason::Age, actions),
                // Leased: it goes at its release. Gone: garbage.
                Some(State::Leased(_) | State::Dialing { .. }) | None => {}
            }
        }
    }

    /// Why a member may not be used again after its release, if so.
    #[inline]
    pub(super) fn condemned(&self, now: Time, member: &Member) -> Option<CloseReason> {
        if self.draining {
            Some(CloseReason::Drained)
        } else if self.limits.uses_max.is_some_and(|max| member.uses >= max) {
            Some(CloseReason::Uses)
        } else if member.retire_at <= now {
            Some(CloseReason::Age)
        } else {
            None
        }
    }

    /// Puts new limits in force: connections get a new end of life, and idle ones past a limit go.
    pub(super) fn reconfigure(&mut self, now: Time, limits: Limits, actions: &mut Vec<Action>) {
        // What was due under the old limits goes under its own name.
        self.retire_due(now, actions);
        let age_changed = limits.age_max != self.limits.age_max;
        self.limits = limits;
        if age_changed {
            self.ages.clear();
            let (limits, random, ages) = (&self.limits, &mut self.random, &mut self.ages);
            self.members.retire_all_at(|id, member| {
                let retire_at = end_of_life(limits, member.opened, random);
                ages.push(retire_at, id.0);
                retire_at
            });
        }
        let past: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| matches!(member.state, State::Idle(_)))
            .filter(|(_, member)| {
                end_of_idling(&self.limits, member.since) <= now
                    || self.condemned(now, member).is_some()
            })
            .map(|(id, _)| id)
            .collect();
        for id in past {
            self.close(id, CloseReason::Reconfigured, actions);
        }
    }

    /// Closes everything idle, for good.
    pub(super) fn close_idle(&mut self, reason: CloseReason, actions: &mut Vec<Action>) {
        while let Some((id, _)) = self.members.oldest_idle() {
            self.close(id, reason, actions);
        }
    }

    /// Asks the shard to close an open member that nobody uses, and forgets it.
    pub(super) fn close(&mut self, id: MemberId, reason: CloseReason, actions: &mut Vec<Action>) {
        let Some(gone) = self.forget(id) else { return };
        match gone.state {
            State::Dialing { .. } => unreachable!("{id:?} is closed before it is open"),
            State::Idle(conn) | State::Leased(conn) => {
                self.counters.count_eviction(reason);
                actions.push(Action::Close {
                    member: id,
                    conn,
                    reason,
                });
            }
        }
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
