//! Between the pool, which decides, and the connections, which it knows by name only.
//!
//! Owns: the carrying out of the pool's actions, and its timer. Never: decides who gets a connection.

use super::connection::Connection;
use super::core::{Core, Timer};
use super::upstream::UpstreamState;
use crate::driver::Driver;
use crate::lifecycle::Lifecycle;
use crate::pool::{Action, Before, Grant, Input};
use crate::slab::Key;
use crate::time::Time;

impl<D: Driver> Core<D> {
    /// Gives the pool an input and carries out what it wants done.
    pub(super) fn pool_input(&mut self, upstream: Key, input: Input) {
        if self.fault.is_some() {
            return;
        }
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        state.pool.handle(self.now, input, &mut actions);
        self.perform(upstream, &mut actions);
        self.actions = actions;
        self.schedule(upstream);
    }

    /// Arms the pool's timer if it comes nearer; one that fires early finds nothing to do. Disarms it
    /// when the pool has nothing to wait for.
    pub(super) fn schedule(&mut self, upstream: Key) {
        self.touch(upstream);
        self.arm(upstream);
    }

    fn arm(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.check_need();
        if state.share.starved.is_some() {
            self.check_starving_for_own(upstream);
        }
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let Some(at) = state.pool.deadline() else {
            // Nothing is left to wait for: nothing stays armed.
            if let Some((_, timer)) = state.tick.take() {
                self.timers.remove(timer);
            }
            return;
        };
        match state.tick {
            Some((armed, _)) if armed <= at => {}
            Some((_, timer)) => {
                self.timers.remove(timer);
                state.tick = Some((at, self.timers.insert(at, Timer::Pool(upstream))));
            }
            None => state.tick = Some((at, self.timers.insert(at, Timer::Pool(upstream)))),
        }
    }

    /// As [`schedule`](Core::schedule), but when the turn ends: for what happens many times in one.
    #[inline]
    pub(super) fn schedule_later(
        state: &mut UpstreamState,
        upstream: Key,
        touched: &mut Vec<Key>,
        untimed: &mut Vec<Key>,
    ) {
        if state.share.touch() {
            touched.push(upstream);
        }
        if !std::mem::replace(&mut state.untimed, true) {
            untimed.push(upstream);
        }
    }

    /// Arms the timers of pools that have put it off. What shards do for each other has been looked at since: nothing is
    /// touched, or no turn would be the last.
    pub(super) fn schedule_untimed(&mut self) {
        while let Some(upstream) = self.untimed.pop() {
            if let Some(state) = self.upstreams.get_mut(upstream) {
                state.untimed = false;
                self.arm(upstream);
            }
        }
    }

    pub(super) fn on_pool_timer(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        if self.timers.is_armed_again(state.tick) {
            return;
        }
        state.tick = None;
        match state.pool.deadline() {
            Some(at) if at <= self.now => self.pool_input(upstream, Input::Tick),
            Some(_) => self.schedule(upstream),
            None => {}
        }
    }

    pub(super) fn perform(&mut self, upstream: Key, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            match action {
                Action::Dial {
                    member,
                    permit,
                    endpoint,
                } => self.begin_dial(upstream, member, permit, endpoint),
                Action::Grant { waiter, grant } => self.answer(waiter.0, Ok(grant)),
                Action::Fail { waiter, refusal } => {
                    self.count_refusal(upstream, &refusal);
                    let error = self.refusal(upstream, waiter.0, refusal);
                    self.answer(waiter.0, Err(error));
                }
                Action::Close {
                    member,
                    conn,
                    reason,
                    claimed,
                } => {
                    self.tally.closed(reason);
                    self.ends_by_pool(conn, upstream, reason);
                    if let Some(connection) = self.connections.get_mut(conn) {
                        debug_assert_eq!(
                            connection.member,
                            Some(member),
                            "the pool's names are the shard's"
                        );
                        connection.member = None;
                        if claimed && let Some(permit) = &mut connection.permit {
                            permit.leave();
                        }
                    }
                    self.condemn(conn);
                }
                Action::Starving(exhausted) => self.on_starving(upstream, exhausted),
            }
        }
    }

    /// What the pool has granted, as its user is to see it: a connection made ahead is new to the
    /// first one who uses it, though to the pool it has idled.
    pub(super) fn on_granted(&mut self, grant: Grant) -> Grant {
        let connection = self
            .connections
            .get_mut(grant.conn)
            .expect("the pool grants what is open");
        let state = self.upstreams.get_mut(connection.upstream);
        let reused = hand_out(connection, state, self.now);
        self.happened(grant.conn, Lifecycle::Leased { reused });
        let before = Before::of(reused);
        Grant { before, ..grant }
    }
}

/// The connection goes to whom the pool has granted it, or a slot of it. Whether it had carried something before: then a dial
/// was spared, which had taken as long as the quickest one, at least. Dials that compete with each other take longer.
#[inline]
pub(super) fn hand_out<B>(
    connection: &mut Connection<B>,
    state: Option<&mut UpstreamState>,
    now: Time,
) -> bool {
    let reused = connection.granted(now);
    if let (true, Some(state)) = (reused, state) {
        state.meters.avoided_by_reuse += state.dial_nanos_min;
    }
    reused
}
