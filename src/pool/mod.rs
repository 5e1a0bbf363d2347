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
//! | `member`, `members` | one connection; all of them by name, and how many there are |
//! | `rows` | where the idle and the free ones stand |
//! | `granting` | who gets which connection |
//! | `queue`, `shed` | waiters by class; who is sent away under overload |
//! | `elsewhere` | waiters for whom no dial is begun yet |
//! | `refusing` | who is not let in, or sent away, and why |
//! | `dialing`, `supply` | when to dial; doing it, or going without |
//! | `outcome` | what becomes of a dial |
//! | `releasing` | how a lease ends |
//! | `verdicts` | what is learnt about endpoints |
//! | `warmth`, `forecast`, `pace` | connections made ahead: how many, and how fast |
//! | `retire`, `peak` | when a connection goes; how many were needed lately |
//! | `endpoints` | which of several addresses; breakers |
//! | `tail`, `retry` | how long an attempt may take, and whether there is another: for the shard |
//! | `counters` | what is told about it all |
//! | `list`, `row`, `due` | a linked list through a slab; an order without links; deadlines, lazily cleaned |

mod counters;
mod dialing;
mod due;
mod elsewhere;
mod endpoints;
mod forecast;
mod granting;
mod histogram;
mod limits;
mod list;
mod member;
mod members;
mod message;
mod outcome;
mod pace;
mod peak;
mod permit;
mod queue;
mod refusing;
mod releasing;
mod retire;
mod retry;
mod row;
mod rows;
mod shed;
mod supply;
mod tail;
#[cfg(test)]
mod tests;
mod verdicts;
mod warmth;

pub use counters::{Census, PoolCounters};
pub use endpoints::BreakerState;
pub use limits::Limits;
pub use message::{
    Action, Before, CloseReason, ComesFree, EndpointId, Grant, Input, MemberId, Opened, Purpose,
    Refusal, Room, WaiterId,
};
pub use permit::{Counter, Exhausted, Permit, Permits, Quota, Tier};
pub use retry::{RetryBudget, backoff};
pub use tail::Tail;

use crate::random::Random;
use crate::time::Time;
use dialing::Dialing;
use due::{Due, earliest};
use endpoints::Endpoints;
use member::State;
use members::Members;
use queue::Queue;
use shed::Shedder;
use warmth::Warmth;

/// One upstream's connections on one shard.
///
/// `now` must never run backwards from one call to the next.
#[derive(Debug)]
pub struct Pool {
    limits: Limits,
    permits: Permits,
    random: Random,
    members: Members,
    endpoints: Endpoints,
    /// When the age of an open member is to be looked at; one entry each, from its dial on.
    ages: Due,
    queue: Queue,
    shedder: Shedder,
    dialing: Dialing,
    warmth: Warmth,
    /// When to ask the dial rule again.
    ask_again_at: Option<Time>,
    /// Connections closed for fresh waiters, whose permits have not come back yet.
    room_made: u32,
    /// The cap was lowered below what is open, and not all of that has gone.
    over_cap: bool,
    /// When a connection was last asked for.
    wanted_at: Time,
    /// Something changed in a call that can ask for nothing: the next one settles it, which is due at once.
    unsettled: bool,
    /// Nothing is kept for callers to come: the engine drains.
    finishing: bool,
    draining: bool,
    counters: PoolCounters,
}

impl Pool {
    /// An empty pool. With a floor to keep warm, its first `Tick` (due at once) begins with that.
    pub fn new(limits: Limits, permits: Permits, seed: u64) -> Pool {
        let cold = limits.idle_min > 0 || limits.critical_reserved > 0;
        Pool {
            ask_again_at: cold.then_some(Time::ZERO),
            limits,
            permits,
            random: Random::new(seed),
            members: Members::default(),
            endpoints: Endpoints::new(),
            ages: Due::default(),
            queue: Queue::default(),
            shedder: Shedder::default(),
            dialing: Dialing::new(),
            warmth: Warmth::default(),
            room_made: 0,
            over_cap: false,
            wanted_at: Time::ZERO,
            unsettled: false,
            finishing: false,
            draining: false,
            counters: PoolCounters::default(),
        }
    }

    /// When [`Input::Tick`] is due; one in the past is due at once.
    pub fn deadline(&self) -> Option<Time> {
        if self.unsettled {
            return Some(Time::ZERO);
        }
        let waiting = if self.queue.is_empty() {
            None
        } else {
            let limits = self.shed_limits();
            let shed = limits.and_then(|limits| self.shedder.next(&self.queue, &limits));
            earliest([self.queue.next_deadline(), shed, self.queue.lapses_at()])
        };
        let trial = if self.draining || self.is_left() {
            None
        } else {
            self.endpoints.next()
        };
        earliest([
            trial,
            self.ask_again_at,
            self.retirement(),
            self.ages.next(),
            self.foresee_at(),
            waiting,
        ])
    }

    /// How many connections and waiters there are now.
    pub fn census(&self) -> Census {
        Census {
            idle: self.members.idle(),
            spare: self.members.tier(Tier::Open).idle,
            leased: self.members.leased(),
            dialing: self.members.dialing(),
            waiters: self.queue.len(),
            ejected: self.endpoints.ejected(),
        }
    }

    /// Of those who asked: how many got an idle connection at once, and how many had to queue.
    pub fn hits_and_waits(&self) -> (u64, u64) {
        (self.counters.hits, self.counters.waits)
    }

    /// Each endpoint, what its breaker says, and how often it was ejected.
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, BreakerState, u64)> {
        self.endpoints.told()
    }

    /// Whether somebody waits here.
    #[inline]
    pub fn has_waiters(&self) -> bool {
        !self.queue.is_empty()
    }

    /// How many of the waiters want a connection that is dialled for them.
    #[cfg(feature = "simulation")]
    pub fn waiters_fresh(&self) -> u32 {
        self.queue.fresh_len()
    }

    /// Whether some of what is idle may not be granted just now.
    #[cfg(feature = "simulation")]
    pub fn is_choosy(&self) -> bool {
        self.endpoints.is_choosy()
    }

    /// Whether what is on trial adds up to the work that is outstanding.
    #[cfg(feature = "simulation")]
    pub fn trials_add_up(&self) -> bool {
        self.endpoints.trials_add_up()
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

    /// So many connections are to be kept open, reserved ones included.
    pub fn floor(&self) -> u32 {
        self.floor_of(Tier::Open) + self.floor_of(Tier::Reserved)
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
                elsewhere,
            } => {
                self.enqueue(now, waiter, class, deadline, fresh, actions);
                if elsewhere {
                    self.queue.expect_elsewhere(now, waiter);
                }
            }
            Input::Cancel { waiter } => {
                self.queue.cancel(waiter);
            }
            Input::Moved { waiter } => self.moved(now, waiter),
            Input::Dialed { member, opened } => self.dialed(now, member, opened, actions),
            Input::DialFailed { member } => self.dial_failed(now, member, actions),
            Input::Closed { member } => self.closed(now, member),
            Input::Slots { member, slots } => self.slots(member, slots),
            Input::Retire { member } => self.retire(member, CloseReason::Retired, actions),
            Input::Endpoints(ids) => self.set_endpoints(now, &ids, actions),
            Input::Faulted { member, served } => self.faulted(now, member, served, actions),
            Input::Grow => self.grow(now, actions),
            Input::Capacity => self.capacity(),
            Input::GiveUp => self.give_up(now, actions),
            Input::Tick => self.tick(now, actions),
            Input::Configure {
                limits,
                renew_within,
            } => self.reconfigure(now, *limits, renew_within, actions),
            Input::Finish => self.finish(),
            Input::Drain => self.drain(actions),
        }
        self.settle(now, actions);
    }

    fn capacity(&mut self) {
        self.dialing.capacity();
        self.room_made = 0;
    }

    /// A sibling needs a permit more: of those that everyone may use.
    fn give_up(&mut self, now: Time, actions: &mut Vec<Action>) {
        if let Some(id) = self.oldest_idle_of(Tier::Open) {
            self.dialing.yield_permit(now, &self.limits);
            self.retire(id, CloseReason::Capacity, actions);
        }
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.retire_due(now, actions);
        self.fail_late(now, actions);
        self.foresee(now);
        if self.dialing.check_stall(now, self.view(now), &self.limits) {
            // Whatever was said or closed for want of a permit has not helped: say it again.
            self.dialing.starving = false;
            self.room_made = 0;
        }
    }

    fn finish(&mut self) {
        self.finishing = true;
        self.warmth = Warmth::default();
    }

    /// Whether the pool finishes and nobody waits: nothing is dialled, or tried, for anyone to come.
    fn is_left(&self) -> bool {
        self.finishing && self.queue.is_empty()
    }

    fn drain(&mut self, actions: &mut Vec<Action>) {
        self.draining = true;
        while let Some(waiter) = self.queue.pop_first() {
            self.fail(waiter, Refusal::Draining, actions);
        }
        for id in self.members.select(|m| matches!(m.state, State::Open(_))) {
            self.retire(id, CloseReason::Drained, actions);
        }
    }

    /// What follows from any input: waiters are served or sent away, dials begun.
    fn settle(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.unsettled = false;
        self.fail_late(now, actions);
        self.queue.lapse(now);
        self.endpoints.tick(now, &self.limits.balance);
        self.match_waiters(now, actions);
        self.shed(now, actions);
        self.refuse_the_broken(now, actions);
        self.close_unneeded(actions);
        self.supply(now, actions);
        self.check(now);
    }

    /// What holds after every input.
    fn check(&mut self, now: Time) {
        debug_assert!(
            self.queue.plain_len() == 0 || !self.has_pick(now, self.least_waiting()),
            "a connection is free beside a waiter that could use it"
        );
        debug_assert!(
            !cfg!(test) || self.members.counts_hold(),
            "counts differ from a census"
        );
    }
}
