//! Where a call of a task on this shard runs: here, or at a home of its upstream.
//!
//! Local first: a connection that is free here, then a home, then a dial. A shard that is no home and
//! has no connection free forwards the call, so that an upstream with little to do keeps few connections
//! on however many shards; one with demand enough becomes a home, and dials for itself. A home does not
//! forward: what waits there may be taken by a sibling, and its own connections are as many as it needs. But
//! where what is short is the thread's own time, because the loop is late, calls go to a home that is not, from a
//! home too and whatever is free here.
//!
//! Owns: the looks at what this shard is to an upstream, and the choice. Never: allocates, or touches what
//! other threads write, where a connection is free here.

use super::core::Core;
use super::homes::{Seen, Standing, Step, Watch};
use super::lease::Lease;
use super::local::{LocalShard, LocalUpstream};
use super::mailbox::{Mailbox, Work};
use super::serve;
use super::sharing::movable::Movable;
use super::terms::Terms;
use super::upstream::{UpstreamShared, UpstreamState};
use crate::driver::Driver;
use crate::error::Error;
use crate::pool::{Exhausted, Input};
use crate::random::Random;
use crate::slab::Key;
use crate::time::Time;
use std::sync::Arc;

/// Where a call of a task here is to run.
pub(super) enum Place<D: Driver> {
    /// Here; with what it has got for its first attempt, if it has asked already.
    Here(Option<Result<Lease<D>, Error>>),
    /// At a home. `None`: nowhere as yet; it has to wait, and may be taken by a sibling meanwhile.
    Away(Option<usize>),
}

/// What this shard is to an upstream.
#[derive(Debug)]
pub(crate) struct Homing {
    watch: Watch,
    /// Calls of its tasks stay here: it is a home, or would be one if there might be more.
    settled: bool,
    /// It is on the list of those whose calls this shard does not take for now.
    declining: bool,
}

impl Homing {
    pub(super) fn new(now: Time, settled: bool) -> Homing {
        Homing {
            watch: Watch::new(now),
            settled,
            declining: false,
        }
    }
}

impl<D: Driver> Core<D> {
    /// A task here makes a call, for which no connection can be had at once.
    fn place_later(&mut self, upstream: Key) -> Place<D> {
        let Some(state) = self.upstreams.get(upstream) else {
            return Place::Here(None);
        };
        // With news to be looked at first, it may find one yet, unless those who wait for that already take them all.
        let census = state.pool.census();
        let may_find = census.spare as usize > self.deferred.len();
        if may_find || self.mailboxes.len() == 1 || !state.policy.current().sharing.steal {
            self.note_call(upstream);
            return Place::Here(None);
        }
        // Whoever has connections in use here soon has one free; until then a call that waits is on offer to
        // siblings, and in the order of its class.
        let has_own = census.leased + census.dialing > 0;
        let waits = has_own && !state.share.siblings_have_room(self.index);
        if state.homing.settled || waits {
            return Place::Away(None);
        }
        let shared = state.shared.clone();
        Place::Away(self.pick_home(&shared))
    }

    /// A task here makes a call.
    fn note_own(&mut self, upstream: Key) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.homing.watch.note_own();
            if state.homing.watch.is_due(self.now) {
                self.look_at_standing(upstream);
            }
        }
    }

    /// A call is served here, whoever made it.
    pub(super) fn note_served_here(&mut self, upstream: Key) {
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.homing.watch.note_served();
            if state.homing.watch.is_due(self.now) {
                self.look_at_standing(upstream);
            }
        }
    }

    /// Another home of the upstream that keeps up with what comes in, for a call that is here.
    pub(super) fn pick_home(&mut self, shared: &UpstreamShared) -> Option<usize> {
        let (index, mailboxes, random) = (self.index, &self.mailboxes, &mut self.random);
        let lag_max = shared.homes.lag_max();
        shared.homes.pick(
            || Random::new(random.next_u64()),
            |shard| {
                let mailbox = &mailboxes[shard];
                let suits = shard != index && mailbox.lag() <= lag_max && mailbox.has_room();
                suits.then(|| mailbox.depth())
            },
        )
    }

    /// A home for a task's call that this shard is too late for, whatever is free here.
    #[cold]
    fn pick_relief(&mut self, upstream: Key) -> Option<usize> {
        let state = self.upstreams.get(upstream)?;
        if !state.policy.current().sharing.steal {
            return None;
        }
        let shared = state.shared.clone();
        self.pick_home(&shared)
    }

    fn look_at_standing(&mut self, upstream: Key) {
        let (index, now, lag) = (self.index, self.now, self.lag.get());
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let shared = state.shared.clone();
        let homes = &shared.homes;
        if homes.are_too_many() {
            homes.leave(index);
        }
        if homes.contains(index) && !state.homing.settled {
            // Another home has invited this shard.
            state.homing.watch = Watch::new(now);
            state.homing.settled = true;
            return;
        }
        let standing = match state.homing.settled {
            _ if homes.is_always(index) => Standing::Always,
            true => Standing::Home,
            false => Standing::Guest,
        };
        let seen = Seen {
            standing,
            saturated: lag > homes.lag_max() || state.lacks_hands(),
            homes: homes.len(),
            capacity: homes.capacity(),
        };
        let mailboxes = &self.mailboxes;
        match state.homing.watch.look(now, seen) {
            Step::Stay => {}
            Step::Join => {
                homes.join(index);
                state.homing.settled = true;
            }
            Step::Invite(capacity) => {
                homes.set_capacity(capacity);
                homes.invite(|shard| {
                    let mailbox = &mailboxes[shard];
                    // One that is down would keep the place of one that is not.
                    mailbox.lag() <= homes.lag_max() && mailbox.has_room()
                });
            }
            Step::Leave => {
                homes.leave(index);
                state.homing.settled = false;
            }
        }
    }
}

impl<D: Driver> LocalUpstream<D> {
    /// Where a call of a task here is to run that begins now, by `terms`. One that runs here is counted.
    #[inline]
    pub(super) fn place(&self, terms: &Terms) -> Place<D> {
        let mut core = self.shard.core.borrow_mut();
        let upstream = self.key(&mut core);
        core.note_own(upstream);
        if core.is_late_for(upstream)
            && let Some(home) = core.pick_relief(upstream)
        {
            return Place::Away(Some(home));
        }
        let first = match core.hit(upstream, terms.class) {
            Ok(None) => return core.place_later(upstream),
            // Not even a look is needed: the driver had no news.
            Ok(Some(grant)) => Ok(Lease::granted(self, grant)),
            Err(error) => Err(self.name_error(error)),
        };
        core.note_call(upstream);
        Place::Here(Some(first))
    }
}

impl<D: Driver> LocalUpstream<D> {
    /// A call of a task here found no connection, and a sibling has taken it. At a home that is to be the
    /// exception: without this it would go on like that, for what siblings serve makes no queue here that
    /// would be worth a dial.
    pub(super) fn note_strayed(&self) {
        let mut core = self.shard.core.borrow_mut();
        let upstream = self.key(&mut core);
        let state = core.upstreams.get(upstream);
        if state.is_some_and(|state| state.homing.settled) {
            core.pool_input(upstream, Input::Grow);
        }
    }
}

impl<D: Driver> LocalShard<D> {
    /// The mailbox for a call of a task here: of the home that it is forwarded to, or its own.
    pub(super) fn mailbox_for(&self, home: Option<usize>) -> Arc<Mailbox<D>> {
        let mut core = self.core.borrow_mut();
        core.tally.forwarded += u64::from(home.is_some());
        core.mailboxes[home.unwrap_or(core.index)].clone()
    }

    /// Takes up what has come by the mailbox.
    pub(super) fn take(&self, work: Work<D>) {
        match work {
            Work::Call(call) => self.take_call(call),
            Work::Run(work) => work(self),
        }
    }

    /// Begins a call that has come by the mailbox; or, if this shard's loop is behind and another home's is
    /// not, passes it on.
    fn take_call(&self, mut call: Box<Movable>) {
        let Some(home) = self.relief_for(&mut call) else {
            return serve::begin(self, call);
        };
        call.caller.move_to(&home);
        // Nothing is borrowed: a home that closes just now fails the calls in its mailbox, and their callers' code may run here.
        match home.try_submit(Work::Call(call)) {
            Ok(()) => self.core.borrow_mut().tally.passed_on += 1,
            // It has closed, or filled up, just now.
            Err((_, Work::Call(mut back))) => {
                back.caller.move_to(&self.mailbox_for(None));
                serve::begin(self, back);
            }
            Err((_, Work::Run(_))) => unreachable!("what is given back is what was given"),
        }
    }

    /// The mailbox of a home for a call that this shard is too late for. A call is passed on once.
    #[inline]
    fn relief_for(&self, call: &mut Movable) -> Option<Arc<Mailbox<D>>> {
        let mut core = self.core.borrow_mut();
        let upstream = call.caller.upstream();
        if core.lag.get() <= upstream.homes.lag_max() || call.passed_on {
            return None;
        }
        call.passed_on = true;
        let upstream = upstream.clone();
        let home = core.pick_home(&upstream)?;
        Some(core.mailboxes[home].clone())
    }
}

impl<D: Driver> Core<D> {
    /// A turn ends; `left`: there is more to do already.
    pub(super) fn note_turn(&mut self, left: bool) {
        self.lag.turn_ends(self.now, left);
        self.mailboxes[self.index].publish_lag(self.lag.get());
        // Who has caught up has room again for calls of others.
        for _ in 0..self.declining.len() {
            let Some(upstream) = self.declining.pop_front() else {
                break;
            };
            if self.is_late_for(upstream) {
                self.declining.push_back(upstream);
            } else if let Some(state) = self.upstreams.get_mut(upstream) {
                state.homing.declining = false;
                self.touch(upstream);
            }
        }
    }

    /// Whether this shard's loop is too far behind to take calls of others to an upstream.
    pub(super) fn is_late_for(&self, upstream: Key) -> bool {
        let lag = self.lag.get();
        let late = |state: &UpstreamState| lag > state.shared.homes.lag_max();
        !lag.is_zero() && self.upstreams.get(upstream).is_some_and(late)
    }

    /// As [`is_late_for`](Core::is_late_for), and if so siblings hear of it when that is over.
    pub(super) fn declines(&mut self, upstream: Key) -> bool {
        let late = self.is_late_for(upstream);
        if late
            && let Some(state) = self.upstreams.get_mut(upstream)
            && !std::mem::replace(&mut state.homing.declining, true)
        {
            self.declining.push_back(upstream);
        }
        late
    }
}

impl UpstreamState {
    /// Whether callers wait though connections are in use and more might be opened: what is short is
    /// somebody to do it. Where permits are short another home would only divide the same connections; there
    /// the calls that wait are what siblings take.
    fn lacks_hands(&self) -> bool {
        let census = self.pool.census();
        let short = census.waiters > 0 && census.idle == 0 && census.leased > 0;
        short && self.shared.permits.has_room(Exhausted::Upstream)
    }
}
