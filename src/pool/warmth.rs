//! Connections kept open before anyone asks: how many, and how fast they are made.
//!
//! Owns: the floor, the forecast that raises it, the pace of dials for it, and the replacing of what ends
//! soon. Never: dials.
//!
//! A connection that ends soon is not counted as warm any more, so that its successor is there when it
//! goes (make before break). *Soon* is two dial times, and as long as the pace needs for the whole floor,
//! but never more than a quarter of a connection's life: or else successors would have successors at once. Where
//! a connection's uses are numbered, so are those in which its successor is dialled. (Where the cap leaves no
//! room for a successor, the old one has to go first.)

use super::Pool;
use super::forecast::Forecast;
use super::member::Member;
use super::message::MemberId;
use super::pace::Pace;
use super::peak::Peak;
use super::permit::Tier;
use super::retire::end_of_idling;
use crate::time::Time;
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Warmth {
    forecast: Forecast,
    pace: Pace,
    pub(super) peak: Peak,
    /// When idle members have to be looked at because one will end soon.
    pub(super) mark_at: Option<Time>,
    /// When surplus is to be given up next, if there is any.
    pub(super) purge_at: Option<Time>,
}

impl Pool {
    /// So many connections of a tier are to be kept open, used or not.
    pub(super) fn floor_of(&self, tier: Tier) -> u32 {
        if self.finishing {
            return 0;
        }
        let limits = &self.limits;
        match tier {
            Tier::Reserved => limits.critical_reserved,
            Tier::Open => {
                let hold = self.dialing.hold.duration();
                let wanted = self.warmth.forecast.wanted(hold, &limits.warm);
                let ceiling = limits.idle_min.saturating_add(limits.warm.forecast_max);
                wanted.min(ceiling).max(limits.idle_min)
            }
        }
    }

    /// The tier that has fewer connections than its floor.
    pub(super) fn cold(&self) -> Option<Tier> {
        [Tier::Open, Tier::Reserved].into_iter().find(|&tier| {
            let count = self.members.tier(tier);
            count.warm + count.dialing < self.floor_of(tier)
        })
    }

    /// When the pace allows the next dial for warmth.
    pub(super) fn warm_from(&self, now: Time) -> Time {
        let warm = &self.limits.warm;
        self.warmth.pace.next(now, warm.dials_per_second)
    }

    /// A dial for warmth has begun.
    pub(super) fn pace_warmth(&mut self, now: Time) {
        let (rate, burst) = (self.limits.warm.dials_per_second, self.limits.dials_max);
        let taken = self
            .warmth
            .pace
            .try_take(now, rate, burst.max(1), &mut self.random);
        debug_assert!(taken, "a dial for warmth was begun before its time");
    }

    /// Somebody asked for a connection: there is traffic to look at.
    #[inline]
    pub(super) fn asked(&mut self, now: Time) {
        self.wanted_at = now;
        if self.limits.warm.forecast_max > 0 && !self.finishing {
            let checkouts = self.counters.checkouts();
            self.warmth.forecast.woken(now, checkouts);
        }
    }

    /// Forgets what was foretold, where nothing is to be foretold any more.
    pub(super) fn reset_forecast(&mut self) {
        if self.limits.warm.forecast_max == 0 {
            self.warmth.forecast = Forecast::default();
        }
    }

    /// Looks at the traffic, and foretells how many connections it will need.
    pub(super) fn foresee(&mut self, now: Time) {
        if self.foresee_at().is_some_and(|at| at <= now) {
            let checkouts = self.counters.checkouts();
            self.warmth.forecast.observe(now, checkouts);
        }
    }

    /// When the forecast wants to look again.
    pub(super) fn foresee_at(&self) -> Option<Time> {
        self.warmth.forecast.next()
    }

    /// How long before its end the successor of a connection that lives for `life` is dialled.
    pub(super) fn lead(&self, life: Duration) -> Duration {
        let floor = self.floor();
        if floor == 0 {
            return Duration::ZERO;
        }
        let rate = self.limits.warm.dials_per_second.max(1);
        let paced = Duration::from_secs(1).saturating_mul(floor) / rate;
        let soon = self.dialing.dial_time().saturating_mul(2) + paced;
        soon.min(life / 4)
    }

    /// As `lead`, for the end of a member's life, whatever ends it.
    fn lead_of_end(&self, member: &Member) -> Duration {
        self.lead(member.retire_at.since(member.opened))
    }

    /// Whether a member has few uses left: no more than there are likely to be in two dial times, and than a
    /// quarter of all.
    pub(super) fn is_worn(&self, member: &Member) -> bool {
        let Some(max) = self.limits.uses_max else {
            return false;
        };
        let soon = self.dialing.dial_time().saturating_mul(2).as_nanos();
        let hold = self.dialing.hold.nanos().unwrap_or(1).max(1);
        let uses = u64::try_from(soon / u128::from(hold)).unwrap_or(u64::MAX);
        let lead = uses.min(max / 4).max(1);
        member.uses.saturating_add(lead) >= max
    }

    /// A member is idle from now on: notes when it, and surplus, are to be looked at.
    #[inline]
    pub(super) fn rests(&mut self, now: Time) {
        if self.warmth.mark_at.is_none()
            && let Some(timeout) = self.limits.idle_timeout
            && self.floor() > 0
        {
            self.warmth.mark_at = Some(now + (timeout - self.lead(timeout)));
        }
        if self.warmth.purge_at.is_none()
            && let Some(interval) = self.limits.warm.purge_interval
        {
            self.warmth.purge_at = Some(now + interval);
        }
    }

    /// When a member is to be looked at first, for its end: ahead of that, where a successor is wanted.
    pub(super) fn first_look(&self, member: &Member) -> Time {
        let lead = u64::try_from(self.lead_of_end(member).as_nanos()).unwrap_or(u64::MAX);
        Time::from_nanos(member.retire_at.as_nanos().saturating_sub(lead))
    }

    /// Whether a member's end is near, by age or by idling; keeps the counts.
    pub(super) fn look_at_end(&mut self, now: Time, id: MemberId) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let idles_out = self.limits.idle_timeout.is_some_and(|timeout| {
            let end = end_of_idling(&self.limits, member.since);
            member.is_idle() && end <= now + self.lead(timeout)
        });
        let aged = member.retire_at <= now + self.lead_of_end(member);
        let ending = idles_out || aged || self.is_worn(member);
        self.members.set_ending(id, ending);
    }

    /// Marks the idle members that will have idled too long soon, so that their successors are dialled.
    pub(super) fn mark_ending(&mut self, now: Time) {
        if self.warmth.mark_at.is_none_or(|at| at > now) {
            return;
        }
        self.warmth.mark_at = None;
        let Some(timeout) = self.limits.idle_timeout else {
            return;
        };
        let lead = self.lead(timeout);
        let mut at = self.members.oldest_idle();
        while let Some((id, member)) = at {
            let mark = member.since + (timeout - lead);
            if mark > now {
                self.warmth.mark_at = Some(mark);
                return;
            }
            self.members.set_ending(id, true);
            at = self.members.idle_after(id);
        }
    }
}
