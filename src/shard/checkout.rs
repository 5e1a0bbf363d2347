//! Checkouts: how one begins, waits, is answered, or is given up.
//!
//! Owns: waiters, and what is put off until a look at the driver's events. Never: decides who gets a
//! connection.

use super::connection::State;
use super::core::Core;
use crate::config::Class;
use crate::driver::Driver;
use crate::error::Error;
use crate::pool::{Grant, Input, WaiterId};
use crate::slab::Key;
use crate::time::Time;
use std::task::Waker;
use std::time::Duration;

/// A checkout that could not be answered at once.
pub(crate) struct Waiter {
    pub(super) upstream: Key,
    class: Class,
    deadline: Time,
    /// It waits for a caller on another thread, who is counted there.
    pub(super) outside: bool,
    pub(super) since: Time,
    fresh: bool,
    /// Whether the pool knows it already.
    queued: bool,
    pub(super) waker: Waker,
    pub(super) answer: Option<Result<Grant, Error>>,
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

/// What a checkout came to for now.
pub(crate) enum CheckedOut {
    Granted(Grant),
    Waiting(Key),
}

impl<D: Driver> Core<D> {
    /// Takes an idle connection, or queues for one. No system call either way.
    pub(crate) fn begin_checkout(
        &mut self,
        upstream: Key,
        class: Class,
        deadline: Time,
        fresh: bool,
        outside: bool,
        waker: &Waker,
    ) -> Result<CheckedOut, Error> {
        if self.stopping {
            return Err(self.ended());
        }
        let pending = self.driver.pending();
        let state = self
            .upstreams
            .get_mut(upstream)
            .ok_or_else(Error::draining)?;
        if !fresh
            && !pending
            && let Some(grant) = state.pool.checkout(self.now, class)
        {
            return Ok(CheckedOut::Granted(self.on_granted(grant)));
        }
        let waiter = self.waiters.insert(Waiter {
            upstream,
            class,
            deadline,
            outside,
            since: self.now,
            fresh,
            queued: false,
            waker: waker.clone(),
            answer: None,
        });
        if pending {
            self.deferred.push_back(Deferred::Checkout(waiter));
        } else {
            self.enqueue(waiter);
        }
        // The pool may have answered already: a full queue, a drained upstream.
        match self.take_answer(waiter) {
            Some(answer) => answer.map(CheckedOut::Granted),
            None => Ok(CheckedOut::Waiting(waiter)),
        }
    }

    /// The answer to a waiting checkout, if it is there; the waiter is gone then.
    pub(crate) fn poll_checkout(
        &mut self,
        waiter: Key,
        waker: &Waker,
    ) -> Option<Result<Grant, Error>> {
        let answer = self.take_answer(waiter);
        if answer.is_none()
            && let Some(waiter) = self.waiters.get_mut(waiter)
        {
            waiter.waker.clone_from(waker);
        }
        answer
    }

    /// The caller is gone. A grant that crossed its way passes on to the next one.
    pub(crate) fn cancel_checkout(&mut self, waiter: Key) {
        let Some(gone) = self.waiters.remove(waiter) else {
            return;
        };
        match gone.answer {
            Some(Ok(grant)) => {
                // Nobody has used it for this.
                if let Some(connection) = self.connections.get_mut(grant.conn) {
                    connection.uses -= 1;
                }
                self.release(grant.conn);
            }
            Some(Err(_)) => {}
            None if gone.queued => self.pool_input(
                gone.upstream,
                Input::Cancel {
                    waiter: WaiterId(waiter),
                },
            ),
            None => {}
        }
    }

    pub(super) fn on_deferred(&mut self, deferred: Deferred) {
        match deferred {
            Deferred::Checkout(key) => {
                let Some(waiter) = self.waiters.get(key) else {
                    return;
                };
                let (upstream, class, fresh) = (waiter.upstream, waiter.class, waiter.fresh);
                let grant = match self.upstreams.get_mut(upstream) {
                    Some(state) if !fresh => state.pool.checkout(self.now, class),
                    Some(_) | None => None,
                };
                match grant {
                    Some(grant) => self.answer(key, Ok(grant)),
                    None => self.enqueue(key),
                }
            }
            Deferred::Release(key) => {
                if let Some(connection) = self.connections.get(key)
                    && connection.releasing
                    && connection.state() == State::Idle
                {
                    self.release_to_pool(key);
                }
            }
            Deferred::Slot { connection, held } => self.slot_to_pool(connection, held),
        }
    }

    fn enqueue(&mut self, key: Key) {
        let Some(waiter) = self.waiters.get_mut(key) else {
            return;
        };
        waiter.queued = true;
        let upstream = waiter.upstream;
        let input = Input::Enqueue {
            waiter: WaiterId(key),
            class: waiter.class,
            deadline: waiter.deadline,
            fresh: waiter.fresh,
        };
        if self.upstreams.contains(upstream) {
            self.pool_input(upstream, input);
        } else {
            self.answer(key, Err(Error::draining()));
        }
    }

    pub(super) fn answer(&mut self, key: Key, answer: Result<Grant, Error>) {
        let answer = answer.map(|grant| self.on_granted(grant));
        match self.waiters.get_mut(key) {
            Some(waiter) => {
                waiter.answer = Some(answer);
                waiter.waker.wake_by_ref();
            }
            // Cancelled in the same breath: pass it on.
            None => {
                if let Ok(grant) = answer {
                    self.release(grant.conn);
                }
            }
        }
    }

    /// Answers a waiter who has no answer yet, and whom its pool does not know any more.
    pub(super) fn answer_unanswered(&mut self, key: Key, error: Error) {
        if let Some(waiter) = self.waiters.get_mut(key)
            && waiter.answer.is_none()
        {
            self.answer(key, Err(error));
        }
    }

    fn take_answer(&mut self, key: Key) -> Option<Result<Grant, Error>> {
        self.waiters.get(key)?.answer.as_ref()?;
        let waiter = self.waiters.remove(key)?;
        let waited = self.now.since(waiter.since);
        self.tally.wait_nanos += u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        waiter.answer
    }
}
