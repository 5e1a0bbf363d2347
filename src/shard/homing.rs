//! Where a call of a task on this shard runs: here, or at a home of its upstream.
//!
//! Local first: a connection that is free here, then a home, then a dial. A shard that is no home and
//! has no connection free forwards the call, so that an upstream with little to do keeps few connections
//! on however many shards; one with demand enough becomes a home, and dials for itself. A home never
//! forwards: what waits there may be taken by a sibling, and its own connections are as many as it needs.
//!
//! Owns: the looks at what this shard is to an upstream, and the choice. Never: allocates, or touches what
//! other threads write, where a connection is free here.

use super::core::Core;
use super::homes::{Seen, Standing, Step, Watch};
use super::local::LocalShard;
use super::mailbox::Work;
use super::serve::Unbegun;
use super::upstream::{UpstreamShared, UpstreamState};
use crate::driver::Driver;
use crate::pool::Exhausted;
use crate::random::Random;
use crate::slab::Key;
use crate::time::Time;
use std::time::Duration;

/// A loop that is further behind than this is saturated: at 6 µs a request, 160 of them before anything new
/// gets its turn.
pub(super) const LAG_MAX: Duration = Duration::from_millis(1);

/// What this shard is to an upstream.
#[derive(Debug)]
pub(crate) struct Homing {
    watch: Watch,
    /// Calls of its tasks stay here: it is a home, or would be one if there might be more.
    settled: bool,
}

impl Homing {
    pub(super) fn new(now: Time, settled: bool) -> Homing {
        let watch = Watch::new(now);
        Homing { watch, settled }
    }
}

impl<D: Driver> Core<D> {
    /// A task here makes a call: on which other shard it runs, if not on this one.
    pub(super) fn place(&mut self, upstream: Key) -> Option<usize> {
        if self.mailboxes.len() == 1 {
            return None;
        }
        let state = self.upstreams.get_mut(upstream)?;
        state.homing.watch.note_own();
        if state.homing.watch.is_due(self.now) {
            self.look_at_standing(upstream);
        }
        let state = self.upstreams.get(upstream)?;
        if state.homing.settled || state.pool.census().spare > 0 {
            return None;
        }
        let shared = state.shared.clone();
        let home = self.pick_home(&shared)?;
        self.tally.forwarded += 1;
        Some(home)
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
        shared.homes.pick(
            || Random::new(random.next_u64()),
            |shard| {
                let mailbox = &mailboxes[shard];
                let suits = shard != index && mailbox.lag() <= LAG_MAX && mailbox.has_room();
                suits.then(|| mailbox.depth())
            },
        )
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
            state.homing = Homing::new(now, true);
            return;
        }
        let standing = match state.homing.settled {
            _ if homes.is_always(index) => Standing::Always,
            true => Standing::Home,
            false => Standing::Guest,
        };
        let seen = Seen {
            standing,
            saturated: lag > LAG_MAX || state.lacks_hands(),
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
                homes.invite(|shard| mailboxes[shard].lag() <= LAG_MAX);
            }
            Step::Leave => {
                homes.leave(index);
                state.homing.settled = false;
            }
        }
    }
}

impl<D: Driver> LocalShard<D> {
    /// Begins a call that has come by the mailbox; or, if this shard's loop is behind and another home's is
    /// not, passes it on.
    pub(super) fn take_call(&self, mut call: Box<Unbegun<D>>) {
        let mut core = self.core.borrow_mut();
        if core.lag.get() > LAG_MAX
            && !std::mem::replace(&mut call.passed_on, true)
            && let Some(upstream) = call.upstream().cloned()
            && let Some(home) = core.pick_home(&upstream)
        {
            let mailbox = core.mailboxes[home].clone();
            call.count_at(&mailbox);
            match mailbox.try_submit(Work::Call(call)) {
                Ok(()) => return core.tally.passed_on += 1,
                Err((_, Work::Call(back))) => {
                    // It has closed, or filled up, just now.
                    call = back;
                    call.count_at(&core.mailboxes[core.index]);
                }
                Err((_, Work::Own(_))) => unreachable!("what is given back is what was given"),
            }
        }
        drop(core);
        call.begin(self);
    }
}

impl<D: Driver> Core<D> {
    /// A turn ends; `left`: there is more to do already.
    pub(super) fn note_turn(&mut self, left: bool) {
        self.lag.turn_ends(self.now, left);
        self.mailboxes[self.index].publish_lag(self.lag.get());
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
