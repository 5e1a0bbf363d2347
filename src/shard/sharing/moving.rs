//! The first checkout of a call from outside: while it waits, the call may go to another shard.
//!
//! Owns: the call until it has a connection. Never: runs it, or keeps a connection that it does not hand on.

use super::movable::Movable;
use super::stake::Stake;
use super::taking::Taken;
use crate::config::Class;
use crate::driver::Driver;
use crate::error::Error;
use crate::pool::Grant;
use crate::shard::checkout::Wish;
use crate::shard::connection::Holder;
use crate::shard::core::Core;
use crate::shard::lease::{GRANTS_MAX, Lease, nothing_usable};
use crate::shard::local::{LocalShard, LocalUpstream};
use crate::slab::Key;
use crate::time::Time;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

/// A checkout under way, with the call that it is for.
pub(in crate::shard) struct Moving<'a, D: Driver> {
    upstream: &'a LocalUpstream<D>,
    class: Class,
    deadline: Time,
    at: At<D>,
}

enum At<D: Driver> {
    /// The call is here, and has nothing.
    Begin(Box<Movable>),
    /// It was taken from a sibling, for a connection that was free.
    Granted(Box<Movable>, Granted<D>),
    /// It waits.
    Waiting(Key),
    Done,
}

/// What became of it.
pub(in crate::shard) enum Moved<D: Driver> {
    /// It begins here, or fails.
    Stayed(Box<Movable>, Result<Lease<D>, Error>),
    /// A sibling runs it, or its caller has gone.
    Gone,
}

/// A connection granted to a call whose task has not looked at it yet. Dropped, it passes on.
pub(in crate::shard) struct Granted<D: Driver> {
    shard: LocalShard<D>,
    grant: Option<Grant>,
}

impl<D: Driver> Granted<D> {
    /// Of a call taken from a sibling.
    pub(in crate::shard) fn split(
        shard: &LocalShard<D>,
        taken: Taken,
    ) -> (Box<Movable>, Granted<D>) {
        let granted = Granted {
            shard: shard.clone(),
            grant: Some(taken.grant),
        };
        (taken.call, granted)
    }
}

impl<D: Driver> Drop for Granted<D> {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            self.shard.core.borrow_mut().give_back(grant);
        }
    }
}

impl<'a, D: Driver> Moving<'a, D> {
    pub(in crate::shard) fn new(
        upstream: &'a LocalUpstream<D>,
        class: Class,
        deadline: Time,
        call: Box<Movable>,
        granted: Option<Granted<D>>,
    ) -> Moving<'a, D> {
        Moving {
            upstream,
            class,
            deadline,
            at: match granted {
                Some(granted) => At::Granted(call, granted),
                None => At::Begin(call),
            },
        }
    }

    fn poll_grant(&mut self, cx: &mut TaskContext<'_>) -> Poll<Asked> {
        let mut core = self.upstream.shard.core.borrow_mut();
        match std::mem::replace(&mut self.at, At::Done) {
            At::Begin(mut call) => {
                if call.caller.is_gone() {
                    return Poll::Ready(Asked::Lost(Some(call)));
                }
                let wish = Wish {
                    upstream: self.upstream.key(&mut core),
                    class: self.class,
                    deadline: self.deadline,
                    fresh: false,
                    // Whoever made the call is counted with it.
                    outside: true,
                };
                let waiter = match core.hit(wish.upstream, wish.class) {
                    Ok(Some(grant)) => return Poll::Ready(Asked::Answered(call, Ok(grant))),
                    Err(error) => {
                        core.count_turned_away(wish.upstream);
                        return Poll::Ready(Asked::Answered(call, Err(error)));
                    }
                    // It waits: from now on its caller may go.
                    Ok(None) if call.caller.poll_gone(cx).is_ready() => {
                        return Poll::Ready(Asked::Lost(Some(call)));
                    }
                    Ok(None) => core.wait(wish, Stake::Here(call), cx.waker()),
                };
                // The pool may have answered at once.
                if let Some((answer, call)) = core.take_answer(waiter) {
                    let call = call.expect("it was handed over just now");
                    return Poll::Ready(Asked::Answered(call, answer));
                }
                self.at = At::Waiting(waiter);
                Poll::Pending
            }
            At::Granted(call, mut granted) => {
                let grant = granted.grant.take().expect("it is taken once");
                if call.caller.is_gone() {
                    core.give_back(grant);
                    return Poll::Ready(Asked::Lost(Some(call)));
                }
                Poll::Ready(Asked::Answered(call, Ok(grant)))
            }
            At::Waiting(waiter) => {
                let asked = core.poll_moving(waiter, cx);
                if asked.is_pending() {
                    self.at = At::Waiting(waiter);
                }
                asked
            }
            At::Done => unreachable!("it is not polled after its end"),
        }
    }
}

/// What asking for a connection came to.
enum Asked {
    Answered(Box<Movable>, Result<Grant, Error>),
    /// A sibling has the call, or nobody wants it any more.
    Lost(Option<Box<Movable>>),
}

impl<D: Driver> Future for Moving<'_, D> {
    type Output = Moved<D>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Moved<D>> {
        let upstream = self.upstream;
        let mut left = GRANTS_MAX;
        loop {
            let (call, answer) = match ready!(self.poll_grant(cx)) {
                Asked::Answered(call, answer) => (call, answer),
                Asked::Lost(call) => {
                    // Here, where nothing is borrowed: its caller may have much to drop.
                    drop(call);
                    return Poll::Ready(Moved::Gone);
                }
            };
            left -= 1;
            let lease = match answer {
                Ok(grant) if !upstream.shard.core.borrow_mut().is_stale(grant.conn) => {
                    if upstream.outside {
                        let mut core = upstream.shard.core.borrow_mut();
                        core.held_by(grant.conn, Holder::Outside);
                    }
                    Ok(Lease::granted(upstream, grant))
                }
                Ok(_) if left > 0 => {
                    self.at = At::Begin(call);
                    continue;
                }
                Ok(_) => {
                    let mut core = upstream.shard.core.borrow_mut();
                    let key = upstream.key(&mut core);
                    core.count_nothing_usable(key);
                    Err(nothing_usable())
                }
                Err(error) => Err(error),
            };
            let lease = lease.map_err(|error| upstream.name_error(error));
            return Poll::Ready(Moved::Stayed(call, lease));
        }
    }
}

impl<D: Driver> Drop for Moving<'_, D> {
    fn drop(&mut self) {
        if let At::Waiting(waiter) = self.at {
            let core = &self.upstream.shard.core;
            let call = core.borrow_mut().cancel_checkout(waiter);
            // Where nothing is borrowed any more.
            drop(call);
        }
    }
}

impl<D: Driver> Core<D> {
    /// The task of a waiter looks: for an answer, or because its caller may have gone.
    fn poll_moving(&mut self, key: Key, cx: &mut TaskContext<'_>) -> Poll<Asked> {
        if let Some((answer, call)) = self.take_answer(key) {
            let call = call.expect("its call was taken back before it was answered");
            return Poll::Ready(Asked::Answered(call, answer));
        }
        if !self.take_back(key) {
            return Poll::Ready(Asked::Lost(None));
        }
        let Some(waiter) = self.waiters.get_mut(key) else {
            return Poll::Ready(Asked::Lost(None));
        };
        waiter.waker.update(cx.waker());
        if let Stake::Here(call) = &mut waiter.stake
            && call.caller.poll_gone(cx).is_ready()
        {
            return Poll::Ready(Asked::Lost(self.cancel_checkout(key)));
        }
        self.overflow.push(key);
        Poll::Pending
    }
}
