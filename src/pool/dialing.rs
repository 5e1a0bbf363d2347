//! When to dial: the rule, its memory, and the back-off after failures.
//!
//! Owns: the observed hold and dial times, how fast dials ramp up, and until when they must wait: while it
//! is not clear yet which endpoint is to blame, or there is none known. One that is judged unreachable has pauses of
//! its own, and this rule none because of it.
//! Never: dials, or takes a permit. It is asked with a picture of the pool, and answers.
//!
//! For plain waiters, the rule weighs a dial against the queue it would shorten:
//!
//! > dial if uncovered waiters × hold time ÷ connections > dial time
//!
//! A dial in flight covers one waiter (or as many as a connection has had slots). The connections are those
//! open *and* those being dialled, since the latter will serve the rest of the queue too. So a queue drains within two dial times of
//! the decision, on far fewer connections than waiters. While the hold time is unknown there is
//! nothing to weigh: one dial begins, and each that completes allows one more in flight, which doubles them
//! every dial time, as TCP's slow start does.
//!
//! Where `dials_eager` asks for it there is no weighing: each uncovered waiter has a dial begun.
//!
//! Averages mislead when what holds the connections now is unlike what held them before. Hence the stall
//! guard: if no connection was released and no dial begun for a dial time while somebody waits uncovered, the average
//! is not believed until the next release, and the ramp decides, doubling at each further stall.

use std::time::Duration;

use super::counters::Ewma;
use super::limits::Limits;
use super::message::Purpose;
use super::permit::Tier;
use crate::random::Random;
use crate::time::Time;

/// Taken for the dial time until one has been observed: a slow network's TLS handshake.
const DIAL_TIME_ASSUMED: Duration = Duration::from_millis(100);

/// No stall is declared, and no pause taken, shorter than this: a queue's deadline is a timer's, and
/// timers are no finer.
pub(super) const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The pool at the moment of a decision.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// How many can be served at once: slots of open connections, at least one for each.
    pub(super) serving: u64,
    /// Dials in flight.
    pub(super) flying: u32,
    /// Those of them that will serve somebody who waits.
    pub(super) covering: u32,
    /// How many one of them will serve at once.
    pub(super) flying_slots: u32,
    /// Those of them begun for fresh waiters.
    pub(super) flying_fresh: u32,
    /// Waiters that only a dial can serve.
    pub(super) fresh: u32,
    /// The other waiters, but for those who are likely to be served elsewhere.
    pub(super) plain: u32,
    /// Where fewer connections are open or being dialled than are to be kept.
    pub(super) cold: Option<Tier>,
    /// When there may be a dial for that.
    pub(super) warm_from: Time,
}

impl View {
    /// Waiters beyond the dials in flight.
    pub(super) fn uncovered(&self) -> u32 {
        (self.fresh + self.plain).saturating_sub(self.covering.saturating_mul(self.flying_slots))
    }

    /// Fresh waiters without a dial in flight that will be theirs.
    pub(super) fn uncovered_fresh(&self) -> u32 {
        let without_own = self.fresh.saturating_sub(self.flying_fresh);
        without_own.min(self.uncovered())
    }

    /// How many will be served at once when the dials in flight are done.
    fn connections(&self) -> u64 {
        self.serving + u64::from(self.covering) * u64::from(self.flying_slots)
    }
}

#[derive(Debug)]
pub(super) struct Dialing {
    pub(super) hold: Ewma,
    pub(super) dial: Ewma,
    /// How many slots the connection opened last has.
    slots: u32,
    /// While the hold time is unknown or not believed: so many dials may be in flight.
    ramp: u32,
    /// No release since the last stall.
    stalled: bool,
    /// The last release, stall, dial for a waiter, or beginning of a queue.
    moved_at: Time,
    failures: u32,
    /// No dial before.
    blocked_until: Time,
    /// No dial for warmth before: there was no permit.
    warm_retry_at: Time,
    /// No dial for warmth before: the permit was given up for a sibling who needs it more.
    warm_yield_until: Time,
    /// A waiter needs a dial, no permit was free, and the shard has been told.
    pub(super) starving: bool,
}

impl Dialing {
    pub(super) fn new() -> Dialing {
        Dialing {
            hold: Ewma::default(),
            dial: Ewma::default(),
            slots: 1,
            ramp: 1,
            stalled: false,
            moved_at: Time::ZERO,
            failures: 0,
            blocked_until: Time::ZERO,
            warm_retry_at: Time::ZERO,
            warm_yield_until: Time::ZERO,
            starving: false,
        }
    }

    /// Whether to begin a dial now, and what for.
    pub(super) fn wanted(&self, now: Time, view: View, limits: &Limits) -> Option<Purpose> {
        if self.is_pausing(now) {
            return None;
        }
        self.wanted_but_for_pauses(now, view, limits)
    }

    /// Whether there is no dial because one has failed lately.
    pub(super) fn is_pausing(&self, now: Time) -> bool {
        now < self.blocked_until
    }

    /// As [`wanted`](Dialing::wanted), whether a pause is to pass before or not.
    pub(super) fn wanted_but_for_pauses(
        &self,
        now: Time,
        view: View,
        limits: &Limits,
    ) -> Option<Purpose> {
        if view.flying >= self.flying_max(limits) {
            None
        } else if view.uncovered_fresh() > 0 {
            Some(Purpose::Fresh)
        } else if view.uncovered() > 0 && self.pays(view, limits) {
            Some(Purpose::Queue)
        } else if view.cold.is_some() && now >= self.warm_from(view) {
            Some(Purpose::Warmth)
        } else {
            None
        }
    }

    /// When to ask [`wanted`](Dialing::wanted) again if nothing happens until then.
    pub(super) fn ask_again_at(&self, now: Time, view: View, limits: &Limits) -> Option<Time> {
        if self.is_pausing(now) {
            // With nobody waiting too: a pool is not vacant, and so its back-off not forgotten,
            // before the pause is over.
            return Some(self.blocked_until);
        }
        if view.flying >= self.flying_max(limits) {
            return None;
        }
        let stall = (view.uncovered() > 0).then(|| self.stalls_at(limits));
        let warm = view.cold.map(|_| self.warm_from(view));
        [stall, warm].into_iter().flatten().min()
    }

    /// So many dials may be in flight: after a failure one, on trial, until one succeeds.
    fn flying_max(&self, limits: &Limits) -> u32 {
        if self.failures > 0 {
            1
        } else {
            limits.dials_max.max(1)
        }
    }

    /// Whether one more dial is worth it for the uncovered waiters.
    fn pays(&self, view: View, limits: &Limits) -> bool {
        let connections = view.connections();
        if connections == 0 || limits.dials_eager {
            return true;
        }
        let ramp_allows = view.flying < self.ramp;
        match self.hold.nanos() {
            None => ramp_allows,
            Some(_) if self.stalled && ramp_allows => true,
            Some(_) => self.is_worth_it(view.uncovered(), connections),
        }
    }

    /// Whether so many waiters keep so many connections busy for longer than a dial takes.
    pub(super) fn is_worth_it(&self, waiters: u32, connections: u64) -> bool {
        let Some(hold) = self.hold.nanos() else {
            return true;
        };
        let queue = u128::from(waiters) * u128::from(hold);
        let dial = u128::from(self.dial_time().as_nanos() as u64);
        queue > dial * u128::from(connections)
    }

    /// How long a dial takes, as far as is known.
    pub(super) fn dial_time(&self) -> Duration {
        self.dial.duration().unwrap_or(DIAL_TIME_ASSUMED)
    }

    fn warm_from(&self, view: View) -> Time {
        let allowed = self.warm_retry_at.max(self.warm_yield_until);
        allowed.max(view.warm_from)
    }

    /// How many a connection being dialled will serve at once: as many as the one before.
    pub(super) fn slots_expected(&self) -> u32 {
        self.slots
    }

    /// A connection has so many slots.
    pub(super) fn slots_seen(&mut self, slots: u32) {
        self.slots = slots.max(1);
    }

    fn stalls_at(&self, limits: &Limits) -> Time {
        let patience = self.dial_time().max(PAUSE_MIN);
        if self.starving {
            // A stall brings no permit; it only asks again.
            self.moved_at + patience.max(limits.dial_backoff_max)
        } else {
            self.moved_at + patience
        }
    }

    /// A lease that lasted `hold` nanoseconds has ended; `reusable` if its connection serves on.
    #[inline]
    pub(super) fn lease_ended(&mut self, now: Time, hold: u64, reusable: bool) {
        self.hold.observe_nanos(hold);
        if reusable {
            self.moved_at = now;
            self.stalled = false;
        }
    }

    /// Somebody waits, and nobody did before.
    pub(super) fn queue_began(&mut self, now: Time) {
        self.moved_at = now;
        self.stalled = false;
        self.ramp = 1;
    }

    /// Somebody who waited is served elsewhere: that is movement as well.
    pub(super) fn queue_moved(&mut self, now: Time) {
        self.moved_at = now;
    }

    /// Looks at the clock: true if the queue has stood still for too long, which changes the answers.
    pub(super) fn check_stall(&mut self, now: Time, view: View, limits: &Limits) -> bool {
        if view.uncovered() == 0 || now < self.stalls_at(limits) {
            return false;
        }
        let doubled = if self.stalled { self.ramp } else { 0 };
        self.ramp = doubled.saturating_mul(2).max(view.flying + 1);
        self.stalled = true;
        self.moved_at = now;
        true
    }

    /// A dial has begun for somebody who waits: that, too, is movement.
    pub(super) fn began_for_queue(&mut self, now: Time) {
        self.moved_at = now;
        self.starving = false;
    }

    /// A dial that took `time` has succeeded.
    pub(super) fn succeeded(&mut self, time: Duration, slots: u32) {
        self.dial.observe(time);
        self.slots_seen(slots);
        self.failures = 0;
        self.blocked_until = Time::ZERO;
        self.ramp = self.ramp.saturating_add(1);
    }

    /// A dial begun at `began` has failed.
    pub(super) fn failed(&mut self, now: Time, began: Time, limits: &Limits, random: &mut Random) {
        // Dials begun together fail together, for one reason: only the first of them counts.
        if began < self.blocked_until {
            return;
        }
        let doublings = self.failures.min(20);
        self.failures += 1;
        self.ramp = 1;
        let floor = limits.dial_backoff_min.max(PAUSE_MIN);
        let pause = floor.saturating_mul(1 << doublings);
        let pause = pause.min(limits.dial_backoff_max.max(floor));
        self.blocked_until = now + random.shorten(pause, 0.5);
    }

    /// The endpoint that failed is tried in the background from now on, with pauses of its own: there is none
    /// here any more.
    pub(super) fn handed_over(&mut self) {
        self.failures = 0;
        self.blocked_until = Time::ZERO;
    }

    /// No permit was free. One for warmth is not asked for again for a while.
    pub(super) fn no_permit(&mut self, now: Time, limits: &Limits) {
        self.warm_retry_at = now + limits.dial_backoff_max.max(PAUSE_MIN);
    }

    /// A permit may be free again.
    pub(super) fn capacity(&mut self) {
        self.warm_retry_at = Time::ZERO;
        self.starving = false;
    }

    /// A connection is being given up for a sibling, who is to have the permit first.
    pub(super) fn yield_permit(&mut self, now: Time, limits: &Limits) {
        self.warm_yield_until = now + limits.dial_backoff_max.max(PAUSE_MIN);
    }
}
