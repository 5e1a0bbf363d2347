//! How connections leave those who held them: back to the pool, or out.
//!
//! Owns: the question whether a connection is clean. Never: gives a connection back that may not be.

use super::checkout::Deferred;
use super::connection::{Event, State};
use super::core::Core;
use super::receiving::Untold;
use crate::audit::CloseCause;
use crate::driver::Driver;
use crate::lifecycle::Lifecycle;
use crate::pool::{ComesFree, EndpointId, Input, MemberId};
use crate::slab::Key;
use crate::time::Time;
use std::time::Duration;

/// Why an idle connection was found unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    PeerClosed,
    StrayBytes,
    Failed,
}

impl<D: Driver> Core<D> {
    /// Gives a connection back for others to use. The caller vouches that it is clean; one that
    /// evidently is not is discarded instead.
    pub(crate) fn release(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.streams.is_some() {
            // A grant that nobody made a stream of.
            self.release_slot(key, Duration::ZERO);
            return;
        }
        let upstream = connection.upstream;
        let speaks_first = || {
            let upstream = self.upstreams.get(upstream);
            upstream.is_some_and(|upstream| !upstream.shared.url.is_http())
        };
        if self.stopping || !connection.is_clean(speaks_first) {
            self.discard_as(key, true);
            return;
        }
        connection.on(Event::Released);
        connection.deadline = Time::NEVER;
        connection.reader = None;
        connection.writer = None;
        connection.outbound.rest(&mut self.blocks);
        connection.releasing = false;
        let deaf = connection.is_deaf();
        let held = self.now.nanos_since(connection.granted_at);
        let (member, place) = (connection.member, connection.place);
        self.happened(key, Lifecycle::Idle);
        if deaf {
            return self.release_deaf(key);
        }
        if let Some(member) = member {
            let Some(state) = self.upstreams.get_mut(upstream) else {
                return;
            };
            if state.pool.has_waiters() {
                return self.release_to_waiters(key);
            }
            state.meters.held(place, held);
            let (now, actions) = (self.now, &mut self.actions);
            state.pool.release_held(now, member, held, actions);
            if !actions.is_empty() || state.share.starved.is_some() {
                return self.perform_released(upstream);
            }
            Self::schedule_later(state, upstream, &mut self.touched, &mut self.untimed);
        }
    }

    /// As for any grant, not past unread news.
    #[cold]
    fn release_to_waiters(&mut self, key: Key) {
        if self.has_news() {
            self.release_later(key);
        } else {
            self.release_to_pool(key);
        }
    }

    /// What came behind the last answer is nobody's: it has to be seen before the next request goes out.
    #[cold]
    fn release_deaf(&mut self, key: Key) {
        if self.ask_kernel(key) != Untold::Nothing {
            self.resume_paused(key);
            return self.release_later(key);
        }
        // Known now and here: nobody waits for a look, or dials meanwhile, because an answer was long.
        let rearmed_after = self.rearmed_after;
        self.resume_paused(key);
        self.rearmed_after = rearmed_after;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.behind = false;
        }
        self.release_to_pool(key);
    }

    /// Releases a connection when the driver's events have been looked at.
    fn release_later(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.releasing = true;
            self.deferred.push_back(Deferred::Release(key));
        }
    }

    /// The driver's events have been looked at, for a connection that waited for that.
    pub(super) fn release_after_look(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        if !connection.releasing || connection.state() != State::Idle {
            return;
        }
        if !connection.is_deaf() {
            self.release_to_pool(key);
        } else if connection.operations.cancels > 0 {
            // The end of that brings it here again.
        } else if !connection.operations.receive {
            // There is no buffer to look with, and may be none for long.
            self.tally.discards += 1;
            self.ends_by(key, CloseCause::Discarded);
            self.leave_pool(key);
            self.condemn(key);
        } else {
            match self.ask_kernel(key) {
                Untold::Nothing => self.release_to_pool(key),
                // What it tells brings it here again.
                Untold::Some => {}
                Untold::Unknown => self.release_later(key),
            }
        }
    }

    /// Closes a connection that somebody holds.
    pub(crate) fn discard(&mut self, key: Key) {
        self.discard_as(key, false);
    }

    /// The same; `complete`: what it was held for came to its end.
    pub(crate) fn discard_as(&mut self, key: Key, complete: bool) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.state() {
            State::Leased => {
                self.tally.discards += 1;
                if let Some(state) = self.upstreams.get_mut(connection.upstream) {
                    let held = self.now.nanos_since(connection.granted_at);
                    state.meters.held(connection.place, held);
                }
                self.ends_as_it_is(key, complete);
                self.leave_pool(key);
                self.condemn(key);
            }
            State::Dialing
            | State::Handshaking
            | State::Idle
            | State::Draining
            | State::Closing => {}
        }
    }

    /// Whether a connection turned out to be unusable between its grant and its holder's first look:
    /// the peer closed it, or sent what nobody had asked for. It is closed then.
    pub(crate) fn is_stale(&mut self, key: Key) -> bool {
        let Some(connection) = self.connections.get(key) else {
            return true;
        };
        let closed = connection.inbound.end().is_some();
        let failed = connection.outbound.failed.is_some();
        if connection.inbound.is_empty() && !closed && !failed {
            return false;
        }
        let upstream = self.upstreams.get(connection.upstream);
        let speaks_first =
            connection.uses <= 1 && upstream.is_some_and(|u| !u.shared.url.is_http());
        let upstream = connection.upstream;
        let stray = !connection.inbound.is_empty() && !speaks_first;
        let closed = closed && !speaks_first;
        if stray {
            self.tally.evicted_stray_bytes += 1;
            self.ends_by(key, CloseCause::StrayBytes);
        } else if closed || failed {
            self.tally.evicted_peer_closed += 1;
            self.ends_by(key, CloseCause::PeerClosed);
        } else {
            return false;
        }
        if let Some(state) = self.upstreams.get_mut(upstream) {
            state.meters.asking.stale += 1;
        }
        self.leave_pool(key);
        self.condemn(key);
        true
    }

    /// The pool forgets this connection: it is about to be closed, or given away.
    pub(super) fn leave_pool(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let upstream = connection.upstream;
        if let Some(member) = connection.member.take() {
            self.pool_input(upstream, Input::Closed { member });
        }
    }

    /// An idle connection turned out to be unusable: nobody gets it.
    pub(super) fn evict(&mut self, key: Key, why: Eviction) {
        let (count, cause) = match why {
            Eviction::PeerClosed => (&mut self.tally.evicted_peer_closed, CloseCause::PeerClosed),
            Eviction::StrayBytes => (&mut self.tally.evicted_stray_bytes, CloseCause::StrayBytes),
            Eviction::Failed => (&mut self.tally.evicted_failed, CloseCause::Failed),
        };
        *count += 1;
        self.ends_by(key, cause);
        self.leave_pool(key);
        self.condemn(key);
    }

    pub(super) fn release_to_pool(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.releasing = false;
        let held = self.now.nanos_since(connection.granted_at);
        if let Some(member) = connection.member {
            let (upstream, place) = (connection.upstream, connection.place);
            self.member_to_pool(upstream, member, place, held);
        }
    }

    /// Tells the pool of a slot that is free again, if it still knows the connection.
    pub(super) fn slot_to_pool(&mut self, key: Key, held: Duration) {
        if let Some(connection) = self.connections.get(key)
            && let Some(member) = connection.member
        {
            let held = u64::try_from(held.as_nanos()).unwrap_or(u64::MAX);
            self.member_to_pool(connection.upstream, member, connection.place, held);
        }
    }

    fn member_to_pool(
        &mut self,
        upstream: Key,
        member: MemberId,
        place: Option<EndpointId>,
        held: u64,
    ) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.meters.held(place, held);
        let awaited = state.pool.has_waiters();
        let released = ComesFree::Released {
            held: Duration::from_nanos(held),
        };
        if awaited && self.hand_on(upstream, member, released) {
            return;
        }
        if let Some(state) = self.upstreams.get_mut(upstream) {
            let (now, actions) = (self.now, &mut self.actions);
            state.pool.release_held(now, member, held, actions);
            if !actions.is_empty() || state.share.starved.is_some() {
                return self.perform_released(upstream);
            }
            Self::schedule_later(state, upstream, &mut self.touched, &mut self.untimed);
        }
    }

    /// Carries out what the pool wants done after a release.
    #[cold]
    fn perform_released(&mut self, upstream: Key) {
        let mut actions = std::mem::take(&mut self.actions);
        self.perform(upstream, &mut actions);
        self.actions = actions;
        self.schedule(upstream);
    }
}
