//! Checkouts: how one begins, waits, is answered, or is given up.
//!
//! Owns: waiters, and what is put off until a look at the driver's events. Never: decides who gets a
//! connection.

use super::core::Core;
use super::pooling::hand_out;
use super::sharing::movable::Movable;
use super::sharing::stake::Stake;
use super::waking::LocalWaker;
use crate::config::Class;
use crate::driver::Driver;
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::pool::{Before, Grant, Input, WaiterId};
use crate::slab::Key;
use crate::time::Time;
use crate::trace::{self, Span};
use std::task::Waker;
use std::time::Duration;

/// What a checkout asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) upstream: Key,
    pub(crate) class: Class,
    pub(crate) deadline: Time,
    /// Only a newly dialled connection will do.
    pub(crate) fresh: bool,
    /// For a caller who is counted elsewhere: on another thread, or with a call that may move.
    pub(crate) outside: bool,
}

/// A checkout that could not be answered at once.
pub(crate) struct Waiter {
    pub(super) wish: Wish,
    pub(super) since: Time,
    /// Whether the pool knows it already.
    pub(super) queued: bool,
    /// Whether it was in the pool's queue: the pool did not answer at once.
    pub(super) waits: bool,
    pub(super) waker: LocalWaker,
    /// While it waits.
    pub(super) span: Span,
    pub(super) answer: Option<Result<Grant, Error>>,
    /// Whether its call could run elsewhere.
    pub(super) stake: Stake,
}

#[cfg(feature = "simulation")]
impl Waiter {
    /// Whether a sibling may run its call.
    pub(super) fn is_movable(&self) -> bool {
        self.queued && self.answer.is_none() && !self.stake.stays()
    }
}

/// What waits for a look at the driver's events: nothing is granted while the kernel may be holding
/// the news that a connection was closed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deferred {
    /// A waiter that the pool does not know yet.
    Checkout(Key),
    /// A connection that was released while others wait.
    Release(Key),
    /// A slot of a connection, the same.
    Slot { connection: Key, held: Duration },
}

/// What a waiter was told, and the call that it waited for, if that could have run elsewhere.
pub(super) type Answered = (Result<Grant, Error>, Option<Box<Movable>>);

/// What was granted at once.
pub(super) struct Hit {
    pub(super) grant: Grant,
    /// Nothing has come on it that its holder did not ask for: it cannot be stale.
    pub(super) silent: bool,
}

/// What a checkout came to for now.
pub(crate) enum CheckedOut {
    Granted(Grant),
    Waiting(Key),
}

impl<D: Driver> Core<D> {
    /// Takes an idle connection, or queues for one. No system call either way.
    pub(crate) fn begin_checkout(
        &mut self,
        wish: Wish,
        waker: &Waker,
    ) -> Result<CheckedOut, Error> {
        if !wish.fresh {
            match self.hit(wish.upstream, wish.class) {
                Ok(Some(grant)) => return Ok(CheckedOut::Granted(grant)),
                Ok(None) => {}
                Err(error) => {
                    self.count_turned_away(wish.upstream);
                    return Err(error);
                }
            }
        }
        let waiter = self.wait(wish, Stake::Stays, waker);
        match self.take_answer(waiter) {
            Some((answer, _)) => answer.map(CheckedOut::Granted),
            None => Ok(CheckedOut::Waiting(waiter)),
        }
    }

    /// The answer to a waiting checkout, if it is there; the waiter is gone then.
    pub(crate) fn poll_checkout(
        &mut self,
        waiter: Key,
        waker: &Waker,
    ) -> Option<Result<Grant, Error>> {
        let answer = self.take_answer(waiter).map(|(answer, _)| answer);
        if answer.is_none()
            && let Some(waiter) = self.waiters.get_mut(waiter)
        {
            waiter.waker.update(waker);
        }
        answer
    }

    /// An idle connection, if one may be granted at once.
    pub(super) fn hit(&mut self, upstream: Key, class: Class) -> Result<Option<Grant>, Error> {
        Ok(self.hit_and_look(upstream, class)?.map(|hit| hit.grant))
    }

    /// The same, with what its holder asks first.
    #[inline]
    pub(super) fn hit_and_look(
        &mut self,
        upstream: Key,
        class: Class,
    ) -> Result<Option<Hit>, Error> {
        if self.stopping {
            return Err(self.ended());
        }
        let pending = self.has_news();
        let state = self
            .upstreams
            .get_mut(upstream)
            .ok_or_else(Error::draining)?;
        if pending {
            return Ok(None);
        }
        let Some(grant) = state.pool.checkout(self.now, class) else {
            return Ok(None);
        };
        if state.share.touch() {
            self.touched.push(upstream);
        }
        let connection = self.connections.get_mut(grant.conn);
        let connection = connection.expect("the pool grants what is open");
        let reused = hand_out(connection, Some(state), self.now);
        let silent = connection.is_silent();
        self.happened(grant.conn, Lifecycle::Leased { reused });
        let before = Before::of(reused);
        let grant = Grant { before, ..grant };
        Ok(Some(Hit { grant, silent }))
    }

    /// Queues for a connection. The pool may answer at once: a full queue, a drained upstream.
    pub(super) fn wait(&mut self, wish: Wish, stake: Stake, waker: &Waker) -> Key {
        let waiter = self.waiters.insert(Waiter {
            wish,
            since: self.now,
            queued: false,
            waits: false,
            waker: LocalWaker::of(waker),
            span: trace::wait(),
            answer: None,
            stake,
        });
        if let Some(state) = self.upstreams.get_mut(wish.upstream) {
            state.meters.asking.asked += 1;
        }
        if self.has_news() {
            self.deferred.push_back(Deferred::Checkout(waiter));
        } else {
            self.enqueue(waiter);
        }
        waiter
    }

    /// The caller is gone. A grant that crossed its way passes on to the next one. What is left of its call
    /// is returned, to be dropped where nothing is borrowed.
    pub(crate) fn cancel_checkout(&mut self, waiter: Key) -> Option<Box<Movable>> {
        if !self.take_back(waiter) {
            return None;
        }
        let gone = self.remove_waiter(waiter)?;
        match gone.answer {
            Some(Ok(grant)) => self.give_back(grant),
            Some(Err(_)) => {}
            None => {
                if let Some(state) = self.upstreams.get_mut(gone.wish.upstream) {
                    state.meters.asking.cancelled += 1;
                }
                if gone.queued {
                    let waiter = WaiterId(waiter);
                    self.pool_input(gone.wish.upstream, Input::Cancel { waiter });
                }
            }
        }
        gone.stake.into_call()
    }

    pub(super) fn on_deferred(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::Checkout(key) => {
                let Some(waiter) = self.waiters.get(key) else {
                    return;
                };
                let wish = waiter.wish;
                let grant = match self.upstreams.get_mut(wish.upstream) {
                    Some(state) if !wish.fresh => {
                        let grant = state.pool.checkout(self.now, wish.class);
                        state.meters.asking.hits_late += u64::from(grant.is_some());
                        grant
                    }
                    Some(_) | None => None,
                };
                match grant {
                    Some(grant) => {
                        self.touch(wish.upstream);
                        self.answer(key, Ok(grant));
                    }
                    None => self.enqueue(key),
                }
            }
            Deferred::Release(key) => self.release_after_look(key),
            Deferred::Slot { connection, held } => self.slot_to_pool(connection, held),
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        waiter.queued = true;
        let wish = waiter.wish;
        let stays = waiter.stake.stays();
        let Some(state) = self.upstreams.get_mut(wish.upstream) else {
            return self.answer(key, Err(Error::draining()));
        };
        state.share.staying += u32::from(stays);
        let (hits, waits) = state.pool.hits_and_waits();
        let input = Input::Enqueue {
            waiter: WaiterId(key),
            class: wish.class,
            deadline: wish.deadline,
            fresh: wish.fresh,
            elsewhere: !stays && state.share.siblings_have_room_for(self.index, wish.class),
        };
        self.pool_input(wish.upstream, input);
        if let Some(state) = self.upstreams.get_mut(wish.upstream) {
            let (hits_now, waits_now) = state.pool.hits_and_waits();
            state.meters.asking.hits_late += hits_now - hits;
            if let Some(waiter) = self.waiters.get_mut(key) {
                waiter.waits = waits_now > waits;
            }
        }
        if stays {
            self.check_starving(wish.upstream);
        } else {
            self.overflow.push(key);
        }
    }

    pub(super) fn answer(&mut self, key: Key, answer: Result<Grant, Error>) {
        let answer = answer.map(|grant| self.on_granted(grant));
        let is_here = self.take_back(key);
        match (self.waiters.get_mut(key), answer) {
            (Some(waiter), answer) if is_here => {
                let (upstream, served) = (waiter.wish.upstream, answer.is_ok());
                let stayed = waiter.queued && waiter.stake.stays();
                waiter.answer = Some(answer);
                waiter.span = Span::default();
                waiter.waker.wake_by_ref();
                self.left_queue(upstream, stayed, served);
            }
            // Cancelled in the same breath, or a sibling runs its call: the grant passes on.
            (Some(_) | None, Ok(grant)) => self.give_back(grant),
            (Some(_) | None, Err(_)) => {}
        }
    }

    /// Answers a waiter who has no answer yet, and whom its pool does not know any more.
    pub(super) fn refuse_unanswered(&mut self, key: Key, error: Error) {
        if let Some(waiter) = self.waiters.get(key)
            && waiter.answer.is_none()
        {
            if let Some(state) = self.upstreams.get_mut(waiter.wish.upstream) {
                state.meters.asking.draining += 1;
            }
            self.answer(key, Err(error));
        }
    }

    /// A waiter has got an answer, or goes without.
    pub(super) fn left_queue(&mut self, upstream: Key, stayed: bool, served: bool) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        state.share.staying -= u32::from(stayed);
        if let (true, Some((_, since))) = (served, &mut state.share.starved) {
            *since = self.now;
        }
    }

    /// Gives a granted connection back that nobody has used for this.
    pub(super) fn give_back(&mut self, grant: Grant) {
        if let Some(connection) = self.connections.get_mut(grant.conn) {
            connection.uses -= 1;
        }
        self.release(grant.conn);
    }

    fn remove_waiter(&mut self, key: Key) -> Option<Waiter> {
        let waiter = self.waiters.remove(key)?;
        self.record_wait(&waiter);
        if waiter.answer.is_none() {
            let stayed = waiter.queued && waiter.stake.stays();
            self.left_queue(waiter.wish.upstream, stayed, false);
        }
        Some(waiter)
    }

    pub(super) fn take_answer(&mut self, key: Key) -> Option<Answered> {
        self.waiters.get(key)?.answer.as_ref()?;
        let waiter = self.waiters.remove(key)?;
        self.record_wait(&waiter);
        Some((waiter.answer?, waiter.stake.into_call()))
    }

    /// Somebody waits no longer: whoever was in the queue has waited, whatever came of it.
    pub(super) fn record_wait(&mut self, waiter: &Waiter) {
        if !waiter.waits {
            return;
        }
        let waited = self.now.since(waiter.since);
        self.tally.waited(waited);
        if let Some(state) = self.upstreams.get_mut(waiter.wish.upstream) {
            state.meters.waits.record(waited);
        }
    }
}
