//! How a pool comes by connections: dials, and what to do when no permit is free.
//!
//! Owns: carrying out what the dial rule wants. Never: holds a permit; each leaves with its `Dial`.

use super::Pool;
use super::dialing::View;
use super::member::Member;
use super::message::{Action, CloseReason, MemberId, Purpose};
use super::permit::{Exhausted, Permit, Tier};
use crate::time::Time;
use std::time::Duration;

/// How long after the last caller an endpoint that cannot be connected to is still tried. After that
/// the next caller finds out.
const TRIAL_INTEREST: Duration = Duration::from_secs(60);

impl Pool {
    /// Begins the dials that are wanted, and notes when to think again. Follows every input that
    /// changed what is open, under way or waited for.
    pub(super) fn supply(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.draining || self.is_left() {
            self.dialing.starving = false;
            self.ask_again_at = None;
            return;
        }
        self.dial_trials(now, actions);
        // Ends: each round raises the dials in flight, which have a cap, or breaks.
        while self.may_dial(now)
            && let Some(purpose) = self.dialing.wanted(now, self.view(now), &self.limits)
        {
            match self.acquire(purpose) {
                Ok((permit, tier)) => self.dial(now, purpose, permit, tier, actions),
                Err(exhausted) => {
                    self.dialing.no_permit(now, &self.limits);
                    self.go_without(now, purpose, exhausted, actions);
                    break;
                }
            }
        }
        self.ask_during_pause(now, actions);
        let view = self.view(now);
        if view.uncovered() == 0 {
            self.dialing.starving = false;
            self.room_made = 0;
        }
        self.ask_again_at = if self.may_dial(now) {
            self.dialing.ask_again_at(now, view, &self.limits)
        } else {
            None // Until an endpoint may be dialled again: that is an event of its own.
        };
    }

    /// Opens one connection more, for those who would rather be served here. One at a time: when it is there it
    /// shows whether another one is missed.
    pub(super) fn grow(&mut self, now: Time, actions: &mut Vec<Action>) {
        let may = !self.draining && self.may_dial(now) && !self.dialing.is_pausing(now);
        // Ahead of need, as any dial for warmth, and at their pace.
        if !may || self.members.dialing() > 0 || self.warm_from(now) > now {
            return;
        }
        // What serves those who are served anyway is no reason to ask anyone to give a permit up.
        if let Ok(permit) = self.permits.try_acquire(Tier::Open) {
            self.dial(now, Purpose::Warmth, permit, Tier::Open, actions);
        }
    }

    /// Whether a dial would serve so many waiters sooner than the connections that are there.
    pub fn is_worth_a_dial(&self, waiters: u32) -> bool {
        let here = self.members.leased() + self.members.dialing();
        waiters > 0 && (here == 0 || self.dialing.is_worth_it(waiters, here.into()))
    }

    /// Tries endpoints that could not be connected to, in the background.
    fn dial_trials(&mut self, now: Time, actions: &mut Vec<Action>) {
        let wanted = self.floor() > 0 || now.since(self.wanted_at) < TRIAL_INTEREST;
        if !wanted && self.endpoints.next().is_some_and(|at| at <= now) {
            self.endpoints.forgive();
        }
        while let Some(endpoint) = self.endpoints.trial_due(now) {
            match self.permits.try_acquire(Tier::Open) {
                Ok(permit) => {
                    self.counters.dials += 1;
                    self.counters.trials += 1;
                    self.endpoints.began(now, endpoint);
                    let purpose = Purpose::Trial;
                    let member = self.members.dial(now, purpose, Tier::Open, Some(endpoint));
                    actions.push(Action::Dial {
                        member,
                        permit,
                        endpoint: Some(endpoint),
                    });
                }
                Err(_) => {
                    // Siblings have them all, and may well be served. Callers here are not to be
                    // refused for want of a permit to try with: the next one waits for one.
                    self.trial_abandoned(now, endpoint);
                    self.endpoints.forgive();
                }
            }
        }
    }

    /// Whether there is an endpoint to dial, or none is known yet (which a dial finds out).
    fn may_dial(&self, now: Time) -> bool {
        !self.endpoints.is_known() || self.endpoints.dialable(now, &self.limits.breaker)
    }

    fn acquire(&mut self, purpose: Purpose) -> Result<(Permit, Tier), Exhausted> {
        let tier = match (purpose, self.cold()) {
            (Purpose::Warmth, Some(tier)) => tier,
            (Purpose::Warmth | Purpose::Fresh | Purpose::Queue | Purpose::Trial, _) => Tier::Open,
        };
        match self.permits.try_acquire(tier) {
            Ok(permit) => Ok((permit, tier)),
            Err(Exhausted::Upstream) if purpose != Purpose::Warmth && self.critical_uncovered() => {
                let permit = self.permits.try_acquire(Tier::Reserved)?;
                Ok((permit, Tier::Reserved))
            }
            Err(exhausted) => Err(exhausted),
        }
    }

    /// No permit is taken before its dial may begin. But where none is left to be taken then, siblings
    /// hear of it now: what idles there need not wait for a pause here.
    fn ask_during_pause(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.queue.is_empty() || !self.dialing.is_pausing(now) || !self.may_dial(now) {
            return;
        }
        let view = self.view(now);
        let wanted = self.dialing.wanted_but_for_pauses(now, view, &self.limits);
        let full = if self.critical_uncovered() {
            Exhausted::Reserved
        } else {
            Exhausted::Upstream
        };
        let mut caps = [full, Exhausted::Engine].into_iter();
        let Some(exhausted) = caps.find(|&cap| !self.permits.has_room(cap)) else {
            return;
        };
        match wanted {
            Some(Purpose::Queue) => self.starve(exhausted, actions),
            // Its permit is made here, when the pause is over.
            Some(Purpose::Fresh) if self.oldest_idle_of(Tier::Open).is_some() => {}
            Some(Purpose::Fresh) => self.starve(exhausted, actions),
            Some(Purpose::Warmth | Purpose::Trial) | None => {}
        }
    }

    /// Whether a critical caller waits for whom no reserved connection is being dialled.
    fn critical_uncovered(&self) -> bool {
        self.queue.critical_len() > self.members.tier(Tier::Reserved).dialing
    }

    fn dial(
        &mut self,
        now: Time,
        purpose: Purpose,
        permit: Permit,
        tier: Tier,
        actions: &mut Vec<Action>,
    ) {
        self.counters.dials += 1;
        match purpose {
            Purpose::Warmth => {
                self.counters.dials_warm += 1;
                self.pace_warmth(now);
            }
            Purpose::Fresh | Purpose::Queue | Purpose::Trial => {
                self.dialing.began_for_queue(now);
                self.room_made = self.room_made.saturating_sub(1);
            }
        }
        let member: MemberId = self.members.dial(now, purpose, tier, None);
        if self.endpoints.is_known() {
            // Chosen now, so that a trial is not promised to more dials than it takes.
            self.choose_endpoint(now, member, &[]);
        }
        actions.push(Action::Dial {
            member,
            permit,
            endpoint: None,
        });
    }

    /// Whether a connection just released has to go, so that its permit serves the waiter who is
    /// first, fresh, and found no permit. Without this, a fresh waiter would starve at the cap while
    /// plain ones are served for ever.
    pub(super) fn release_must_make_room(&self, now: Time, id: MemberId) -> bool {
        self.first_lacks_permit(now) && self.members.get(id).is_some_and(Member::is_idle)
    }

    /// Whether the first waiter is fresh, and found no permit.
    pub(super) fn first_lacks_permit(&self, now: Time) -> bool {
        self.dialing.starving && self.queue.first_is_fresh() && self.fresh_without_room(now) > 0
    }

    /// A picture for the dial rule.
    pub(super) fn view(&self, now: Time) -> View {
        // What is reserved for critical calls serves nobody else.
        let critical = self.queue.critical_len() > 0;
        let tiers = [(Tier::Open, true), (Tier::Reserved, critical)];
        let (mut serving, mut covering) = (0, 0);
        for (tier, _) in tiers.into_iter().filter(|(_, serves)| *serves) {
            let count = self.members.tier(tier);
            serving += self.members.slots(tier).max(u64::from(count.warm));
            covering += count.dialing;
        }
        View {
            serving,
            covering,
            flying: self.members.dialing(),
            flying_slots: self.dialing.slots_expected(),
            flying_fresh: self.members.dialing_fresh(),
            fresh: self.queue.fresh_len(),
            plain: self.queue.plain_len() - self.queue.elsewhere_len(),
            cold: self.cold(),
            warm_from: self.warm_from(now),
        }
    }

    /// Whether more wait than the dials in flight will serve.
    pub(super) fn view_is_uncovered(&self) -> bool {
        let covered = u64::from(self.members.dialing()) * u64::from(self.dialing.slots_expected());
        u64::from(self.queue.len()) > covered
    }

    /// No permit: a fresh waiter's is made by closing a connection that idles here, if one does.
    /// (Where plain waiters wait, none idles.) Otherwise the shard has to ask its siblings.
    fn go_without(
        &mut self,
        now: Time,
        purpose: Purpose,
        exhausted: Exhausted,
        actions: &mut Vec<Action>,
    ) {
        let content = match purpose {
            Purpose::Warmth | Purpose::Trial => true,
            Purpose::Queue => false,
            Purpose::Fresh => {
                while self.fresh_without_room(now) > 0
                    && let Some(member) = self.oldest_idle_of(Tier::Open)
                {
                    self.room_made += 1;
                    self.retire(member, CloseReason::Capacity, actions);
                }
                self.fresh_without_room(now) == 0
            }
        };
        if !content {
            self.starve(exhausted, actions);
        }
    }

    /// Tells, once, that siblings have to be asked.
    fn starve(&mut self, exhausted: Exhausted, actions: &mut Vec<Action>) {
        if !self.dialing.starving {
            self.dialing.starving = true;
            actions.push(Action::Starving(exhausted));
        }
    }

    /// Fresh waiters with neither a dial in flight nor a permit on its way back.
    fn fresh_without_room(&self, now: Time) -> u32 {
        let uncovered = self.view(now).uncovered_fresh();
        uncovered.saturating_sub(self.room_made)
    }
}
