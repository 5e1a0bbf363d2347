//! Who is not let into the queue, or sent away from it, and why.
//!
//! Owns: every [`Refusal`] but the failed dial's. Never: chooses whom to serve.

use super::Pool;
use super::dialing::PAUSE_MIN;
use super::message::{Action, Refusal, WaiterId};
use super::permit::Tier;
use super::queue::Left;
use crate::config::{Class, ShedConfig};
use crate::time::Time;

impl Pool {
    pub(super) fn enqueue(
        &mut self,
        now: Time,
        waiter: WaiterId,
        class: Class,
        deadline: Time,
        fresh: bool,
        actions: &mut Vec<Action>,
    ) {
        self.retire_due(now, actions);
        self.fail_late(now, actions);
        self.counters.misses += 1;
        self.asked(now);
        let refusal = if self.draining {
            Refusal::Draining
        } else if deadline <= now {
            self.counters.wait_timeouts += 1;
            Refusal::Deadline
        } else if !fresh
            && !self.unsettled
            && let Some(id) = self.pick(now, class)
        {
            self.counters.misses -= 1;
            self.counters.hits += 1;
            let grant = self.lease(now, id, true);
            return actions.push(Action::Grant { waiter, grant });
        } else if self.queue.len() >= self.dials_to_come() && self.is_broken(now) {
            self.counters.broken += 1;
            Refusal::Breaker {
                retry_after: self.endpoints.retry_after(now),
            }
        } else if self.queue.len() < self.limits.waiters_max || self.displace(class, actions) {
            if self.queue.is_empty() {
                self.dialing.queue_began(now);
            }
            self.counters.waits += 1;
            return self.queue.push(now, waiter, class, deadline, fresh);
        } else {
            self.queue_full()
        };
        actions.push(Action::Fail { waiter, refusal });
    }

    /// Fails the waiters whose deadlines have passed. Precedes every grant, so that none is late.
    pub(super) fn fail_late(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(waiter) = self.queue.pop_late(now) {
            self.counters.wait_timeouts += 1;
            self.fail(waiter, Refusal::Deadline, actions);
        }
    }

    /// Sends away who has waited too long while everybody does.
    pub(super) fn shed(&mut self, now: Time, actions: &mut Vec<Action>) {
        let Some(limits) = self.shed_limits() else {
            return self.shedder.rest(now);
        };
        while let Some(waiter) = self.shedder.shed(now, &mut self.queue, &limits) {
            self.counters.shed += 1;
            let retry_after = self.shedder.retry_after(&limits);
            self.fail(waiter, Refusal::Overloaded { retry_after }, actions);
        }
    }

    /// What to shed by, if callers wait because all connections are in use, and not for dials that are
    /// under way or fail: those are slow, or down, but not overloaded. Where connections are held for long
    /// no wait is short: the target is one hold time at least.
    pub(super) fn shed_limits(&self) -> Option<ShedConfig> {
        if self.members.leased() == 0 || !self.view_is_uncovered() {
            return None;
        }
        let hold = self.dialing.hold.duration()?;
        let shed = &self.limits.shed;
        Some(ShedConfig {
            sojourn_target: shed.sojourn_target.map(|target| target.max(hold)),
            sojourn_interval: shed.sojourn_interval.max(hold * 2),
        })
    }

    /// While no endpoint is worth a call, frees the queue but for those whose dials are under way.
    pub(super) fn refuse_the_broken(&mut self, now: Time, actions: &mut Vec<Action>) {
        if self.queue.is_empty() || !self.is_broken(now) {
            return;
        }
        let under_way = self.dials_to_come();
        let retry_after = self.endpoints.retry_after(now);
        while self.queue.len() > under_way
            && let Some(waiter) = self.queue.pop_last()
        {
            self.counters.broken += 1;
            self.fail(waiter, Refusal::Breaker { retry_after }, actions);
        }
    }

    pub(super) fn fail(&mut self, waiter: Left, refusal: Refusal, actions: &mut Vec<Action>) {
        let waiter = waiter.id;
        actions.push(Action::Fail { waiter, refusal });
    }

    /// Dials in flight that are more than an attempt to see who is there: whoever comes first in the
    /// queue may wait for them, even where no other may begin.
    fn dials_to_come(&self) -> u32 {
        self.members.dialing() - self.members.trials()
    }

    /// Whether nothing may be dialled, and nothing open may serve either.
    fn is_broken(&self, now: Time) -> bool {
        let breaker = &self.limits.breaker;
        self.endpoints.is_open(now, breaker)
            && !self.members.iter().any(|(_, member)| {
                let serves = |id| self.endpoints.may_serve(now, id, breaker);
                member.opened != Time::NEVER
                    && member.doomed.is_none()
                    && member.endpoint.is_none_or(serves)
            })
    }

    /// Makes room in a full queue for a caller of `class`, if somebody in it matters less.
    fn displace(&mut self, class: Class, actions: &mut Vec<Action>) -> bool {
        let Some(waiter) = self.queue.displace(class) else {
            return false;
        };
        let refusal = self.queue_full();
        self.fail(waiter, refusal, actions);
        true
    }

    fn queue_full(&mut self) -> Refusal {
        self.counters.refused += 1;
        // A full queue takes about so long to drain. Where nothing was ever held, it is a dial that all wait for.
        let hold = self.dialing.hold.duration();
        let hold = hold.unwrap_or(self.dialing.dial_time()).max(PAUSE_MIN);
        let rounds = u64::from(self.queue.len()) / self.members.slots(Tier::Open).max(1) + 1;
        let retry_after = hold.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX));
        Refusal::QueueFull { retry_after }
    }
}
