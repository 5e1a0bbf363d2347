//! The pool's policy, sans-IO: which connections are opened, granted, queued for, kept and closed.
//!
//! One [`Pool`] holds one upstream's connections on one shard, as names. The shard tells it what
//! happened ([`Input`]) and does what it asks ([`Action`]).
//! Never: sees a socket, a clock, a thread, a future or a global random source. Time is an
//! argument, and randomness is seeded.
//!
//! | file | concept |
//! |---|---|
//! | `message` | what goes in and out |
//! | `limits` | the policy's values |
//! | `permit` | the right to have a connection open, counted over the engine |
//! | `member` | connections by name, and the idle list |
//! | `queue` | waiters |
//! | `dialing`, `supply` | when to dial; doing it, or going without |
//! | `retire` | when a connection goes |
//! | `counters` | what is told about it all |
//! | `list`, `due` | a linked list through a slab; deadlines, lazily cleaned |

mod counters;
mod dialing;
mod due;
mod limits;
mod list;
mod member;
mod message;
mod permit;
mod queue;
mod retire;
mod supply;
#[cfg(test)]
mod tests;

pub use counters::{Census, PoolCounters};
pub use limits::Limits;
pub use message::{Action, CloseReason, EndpointId, Grant, Input, MemberId, Refusal, WaiterId};
pub use permit::{Counter, Exhausted, Permit, Permits};

use crate::config::Class;
use crate::random::Random;
use crate::slab::Key;
use crate::time::Time;
use dialing::Dialing;
use due::Due;
use member::{Members, State};
use queue::Queue;
use std::time::Duration;

/// One upstream's connections on one shard.
///
/// `now` must never run backwards from one call to the next.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    permits: Permits,
    random: Random,
    members: Members,
    /// When the age of an open member ends its life; one entry each, from its dial on.
    ages: Due,
    queue: Queue,
    dialing: Dialing,
    /// When to ask the dial rule again.
    ask_again_at: Option<Time>,
    /// Connections closed for fresh waiters, whose permits have not come back yet.
    room_made: u32,
    draining: bool,
    counters: PoolCounters,
}

impl Pool {
    /// An empty pool. With an `idle_min`, its first `Tick` (due at once) begins to warm it.
    pub fn new(limits: Limits, permits: Permits, seed: u64) -> Pool {
        Pool {
            ask_again_at: (limits.idle_min > 0).then_some(Time::ZERO),
            limits,
            permits,
            random: Random::new(seed),
            members: Members::default(),
            ages: Due::default(),
            queue: Queue::default(),
            dialing: Dialing::new(),
            room_made: 0,
            draining: false,
            counters: PoolCounters::default(),
        }
    }

    /// When [`Input::Tick`] is due; one in the past is due at once.
    pub fn deadline(&self) -> Option<Time> {
        let idle = match (self.limits.idle_timeout, self.members.oldest_idle()) {
            (Some(timeout), Some((_, oldest))) => Some(oldest.since + timeout),
            (None, _) | (_, None) => None,
        };
        [
            idle,
            self.ages.next(),
            self.queue.next_deadline(),
            self.ask_again_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// How many connections and waiters there are now.
    pub fn census(&self) -> Census {
        Census {
            idle: self.members.idle(),
            leased: self.members.live() - self.members.idle(),
            dialing: self.members.dialing(),
            waiters: self.queue.len(),
        }
    }

    /// How many of the waiters want a connection that is dialled for them.
    #[cfg(any(test, feature = "simulation"))]
    pub fn waiters_fresh(&self) -> u32 {
        self.queue.fresh_len()
    }

    /// Totals so far.
    pub fn counters(&self) -> PoolCounters {
        PoolCounters {
            hold: self.dialing.hold.duration(),
            dial: self.dialing.dial.duration(),
            ..self.counters.clone()
        }
    }

    /// Whether the pool could be dropped and nothing would be missed: no connection, no waiter, and
    /// nothing to do later.
    pub fn is_vacant(&self) -> bool {
        self.members.is_empty() && self.queue.is_empty() && self.deadline().is_none()
    }

    /// Whether a waiter needs a dial and no permit was free.
    pub fn is_starving(&self) -> bool {
        self.dialing.starving
    }

    /// The connection used last, if a good one is idle. `None`: [`Input::Enqueue`].
    ///
    /// Nobody is overtaken: no connection idles while somebody waits whom it could serve.
    /// Connections found past a limit are passed over; `Tick`, due by then, closes them.
    #[inline]
    pub fn checkout(&mut self, now: Time, _class: Class) -> Option<Grant> {
        let mut at = self.members.newest_idle();
        while let Some((id, member)) = at {
            if retire::end_of_idling(&self.limits, member.since) <= now {
                return None; // All others have idled longer.
            }
            if now < member.retire_at {
                self.counters.hits += 1;
                return Some(self.lease(now, id, true));
            }
            at = self.members.idle_before(id);
        }
        None
    }

    /// Takes note of `input`, and adds what is to be done to `actions`.
    pub fn handle(&mut self, now: Time, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Released { member, held } => return self.release(now, member, held, actions),
            Input::Enqueue {
                waiter,
                class,
                deadline,
                fresh,
            } => self.enqueue(now, waiter, class, deadline, fresh, actions),
            Input::Cancel { waiter } => self.queue.cancel(waiter),
            Input::Dialed { member, conn, .. } => self.dialed(now, member, conn, actions),
            Input::DialFailed { member } => self.dial_failed(now, member, actions),
            Input::Closed { member } => self.closed(now, member),
            Input::Capacity => {
                self.dialing.capacity();
                self.room_made = 0;
            }
            Input::GiveUp => self.give_up(now, actions),
            Input::Tick => self.tick(now, actions),
            Input::Configure { limits, .. } => self.reconfigure(now, limits, actions),
            Input::Slots { .. }
            | Input::Retire { .. }
            | Input::Endpoints(_)
            | Input::Faulted { .. } => {}
            Input::Drain => self.drain(actions),
        }
        self.fail_late(now, actions);
        self.supply(now, actions);
        self.check();
    }

    /// The endpoint for the dial of `member`, other than those `tried` already. `None`: there is none
    /// left to try.
    pub fn choose_endpoint(
        &mut self,
        _now: Time,
        _member: MemberId,
        tried: &[EndpointId],
    ) -> Option<EndpointId> {
        tried.is_empty().then_some(EndpointId(0))
    }

    /// The endpoint chosen for the dial of `member` cannot be connected to; another one may be chosen.
    pub fn endpoint_failed(&mut self, _now: Time, _member: MemberId) {}

    /// What `member` was used for went well, with `latency` until the first byte of the answer.
    /// Its release follows.
    #[inline]
    pub fn served(&mut self, _now: Time, _member: MemberId, _latency: Duration) {}

    /// The same as `handle` with [`Input::Released`]. Constant time and no allocation while
    /// nobody waits and the connection stays.
    #[inline]
    pub fn release(&mut self, now: Time, id: MemberId, held: Duration, actions: &mut Vec<Action>) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        if !matches!(member.state, State::Leased(_)) {
            debug_assert!(false, "{id:?} is released without a lease");
            return;
        }
        let condemned = self.condemned(now, member);
        self.dialing.lease_ended(now, held, condemned.is_none());
        if condemned.is_none() && self.queue.is_empty() {
            return self.members.rested(id, now);
        }
        self.fail_late(now, actions);
        if let Some(reason) = condemned {
            self.close(id, reason, actions);
        } else if self.release_must_make_room() {
            self.room_made += 1;
            self.close(id, CloseReason::Capacity, actions);
        } else if let Some(waiter) = self.queue.pop_plain() {
            self.grant(now, waiter, id, true, actions);
        } else {
            self.members.rested(id, now);
        }
        self.supply(now, actions);
        self.check();
    }

    fn enqueue(
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
        let refusal = if self.draining {
            Refusal::Draining
        } else if deadline <= now {
            self.counters.wait_timeouts += 1;
            Refusal::Deadline
        } else if !fresh && let Some(grant) = self.checkout(now, class) {
            return actions.push(Action::Grant { waiter, grant });
        } else if self.queue.len() >= self.limits.waiters_max {
            self.counters.refused += 1;
            Refusal::QueueFull {
                retry_after: Duration::ZERO,
            }
        } else {
            if self.queue.is_empty() {
                self.dialing.queue_began(now);
            }
            self.counters.misses += 1;
            self.counters.waits += 1;
            return self.queue.push(waiter, deadline, fresh);
        };
        self.counters.misses += 1;
        actions.push(Action::Fail { waiter, refusal });
    }

    fn dialed(&mut self, now: Time, id: MemberId, conn: Key, actions: &mut Vec<Action>) {
        let Some((began, fresh)) = self.dial_of(id) else {
            return;
        };
        self.dialing.succeeded(now.since(began));
        let retire_at = retire::end_of_life(&self.limits, now, &mut self.random);
        self.members.opened(id, conn, now, retire_at);
        self.ages.push(retire_at, id.0);
        self.fail_late(now, actions);
        if self.draining {
            return self.close(id, CloseReason::Drained, actions);
        }
        // A fresh waiter has a dial of its own; all others serve whoever has waited longest.
        let own = if fresh { self.queue.pop_fresh() } else { None };
        if let Some(waiter) = own.or_else(|| self.queue.pop_oldest()) {
            self.grant(now, waiter, id, false, actions);
        }
    }

    fn dial_failed(&mut self, now: Time, id: MemberId, actions: &mut Vec<Action>) {
        let Some((began, _)) = self.dial_of(id) else {
            return;
        };
        self.forget(id);
        self.counters.dials_failed += 1;
        self.dialing
            .failed(now, began, &self.limits, &mut self.random);
        self.fail_late(now, actions);
        // One failure fails at most one waiter: whoever has waited longest of those whom nothing
        // open or under way can serve. The others wait for the next dial, until their deadlines.
        let victim = if self.members.dialing() > 0 {
            None
        } else if self.members.live() > 0 {
            self.queue.pop_fresh()
        } else {
            self.queue.pop_oldest()
        };
        if let Some(waiter) = victim {
            let refusal = Refusal::DialFailed;
            actions.push(Action::Fail { waiter, refusal });
        }
    }

    fn closed(&mut self, now: Time, id: MemberId) {
        if let Some(gone) = self.forget(id) {
            match gone.state {
                State::Leased(_) => {
                    self.dialing.lease_ended(now, now.since(gone.since), false);
                }
                State::Idle(_) | State::Dialing { .. } => {}
            }
        }
    }

    fn give_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        if let Some((id, _)) = self.members.oldest_idle() {
            self.dialing.yield_permit(now, &self.limits);
            self.close(id, CloseReason::Capacity, actions);
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.retire_due(now, actions);
        self.fail_late(now, actions);
        if self.dialing.check_stall(now, self.view(), &self.limits) {
            // Whatever was said or closed for want of a permit has not helped: say it again.
            self.dialing.starving = false;
            self.room_made = 0;
        }
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        self.draining = true;
        while let Some(waiter) = self.queue.pop_oldest() {
            let refusal = Refusal::Draining;
            actions.push(Action::Fail { waiter, refusal });
        }
        self.close_idle(CloseReason::Drained, actions);
    }

    /// Fails the waiters whose deadlines have passed. Precedes every grant, so that none is late.
    fn fail_late(&mut self, now: Time, actions: &mut Vec<Action>) {
        while let Some(waiter) = self.queue.pop_late(now) {
            self.counters.wait_timeouts += 1;
            let refusal = Refusal::Deadline;
            actions.push(Action::Fail { waiter, refusal });
        }
    }

    /// Grants an open member to someone who waited.
    fn grant(
        &mut self,
        now: Time,
        waiter: WaiterId,
        id: MemberId,
        reused: bool,
        actions: &mut Vec<Action>,
    ) {
        self.counters.waits_reused += u64::from(reused);
        let grant = self.lease(now, id, reused);
        actions.push(Action::Grant { waiter, grant });
    }

    #[inline]
    fn lease(&mut self, now: Time, member: MemberId, reused: bool) -> Grant {
        let conn = self.members.leased(member, now);
        Grant {
            member,
            conn,
            reused,
        }
    }

    /// When the dial of `id` began, and whether for a fresh waiter, if it is being dialled.
    fn dial_of(&self, id: MemberId) -> Option<(Time, bool)> {
        let member = self.members.get(id)?;
        match member.state {
            State::Dialing { fresh } => Some((member.since, fresh)),
            State::Idle(_) | State::Leased(_) => {
                debug_assert!(false, "{id:?} was dialled already");
                None
            }
        }
    }

    /// What holds after every input.
    fn check(&self) {
        debug_assert!(
            self.queue.plain_len() == 0 || self.members.idle() == 0,
            "a connection idles beside a waiter that could use it"
        );
        debug_assert!(
            !cfg!(test) || self.members.counts_hold(),
            "counts differ from a census"
        );
    }
}
