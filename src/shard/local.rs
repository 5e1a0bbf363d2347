//! Handles for code that runs on the shard's own thread.

use super::core::{Core, Sleep, Timer};
use super::exchange::Parts;
use super::executor::Executor;
use super::lease::{Checkout, Lease};
use super::policy::Policy;
use super::recycled::Spare;
use super::terms::{CheckoutTerms, Terms};
use super::upstream::UpstreamShared;
use crate::config::{CallOptions, Class, UpstreamConfig};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::protocol::http1::MethodKind;
use crate::slab::Key;
use crate::time::Time;
use crate::trace;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

/// The named upstreams; fixed when the engine starts, so that nobody has to lock them.
pub(crate) type Directory = Arc<BTreeMap<Arc<str>, Arc<UpstreamShared>>>;

/// The upstream of that name.
///
/// # Errors
/// [`Config`](ErrorKind::Config) if there is none.
pub(crate) fn named(directory: &Directory, name: &str) -> Result<Arc<UpstreamShared>, Error> {
    let upstream = directory.get(name).cloned();
    upstream.ok_or_else(|| {
        let what = format!("there is no upstream named {name:?} in the configuration");
        Error::new(ErrorKind::Config, what)
    })
}

/// A handle on the shard whose thread this is. To clone it is to count once, on this thread.
pub(crate) struct LocalShard<D: Driver>(Rc<LocalParts<D>>);

/// What handles on a shard lead to.
pub(crate) struct LocalParts<D: Driver> {
    pub(super) core: RefCell<Core<D>>,
    pub(super) executor: Rc<Executor<D>>,
    pub(super) directory: Directory,
    /// Places for exchanges.
    pub(super) exchanges: Rc<Spare<Parts<D>>>,
}

impl<D: Driver> Clone for LocalShard<D> {
    fn clone(&self) -> LocalShard<D> {
        LocalShard(self.0.clone())
    }
}

impl<D: Driver> Deref for LocalShard<D> {
    type Target = LocalParts<D>;

    #[inline]
    fn deref(&self) -> &LocalParts<D> {
        &self.0
    }
}

impl<D: Driver> LocalShard<D> {
    pub(super) fn new(parts: LocalParts<D>) -> LocalShard<D> {
        LocalShard(Rc::new(parts))
    }

    pub(crate) fn index(&self) -> usize {
        self.core.borrow().index()
    }

    /// The time at the beginning of this turn.
    pub(crate) fn now(&self) -> Time {
        self.core.borrow().now()
    }

    /// Whether this is the end: nothing begins any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.core.borrow().stopping
    }

    pub(crate) fn clock_now(&self) -> Time {
        self.core.borrow().clock_now()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(task);
    }

    /// Runs what serves a caller on another thread.
    pub(crate) fn spawn_serving(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn_serving(task);
    }

    /// Runs a call of a caller on another thread.
    #[inline(always)]
    pub(super) fn spawn_call<F: Future<Output = ()> + 'static>(&self, make: impl FnOnce() -> F) {
        self.executor.spawn_call(make);
    }

    /// A named upstream.
    ///
    /// # Errors
    /// As [`named`].
    pub(crate) fn named(&self, name: &str) -> Result<LocalUpstream<D>, Error> {
        Ok(self.upstream(named(&self.directory, name)?))
    }

    pub(crate) fn upstream(&self, shared: Arc<UpstreamShared>) -> LocalUpstream<D> {
        self.upstream_by(&shared, CallOptions::default())
    }

    /// For those whom the mailbox has let in, and who say `options`.
    pub(super) fn upstream_for_outside(
        &self,
        shared: &Arc<UpstreamShared>,
        options: CallOptions,
    ) -> LocalUpstream<D> {
        LocalUpstream {
            outside: true,
            ..self.upstream_by(shared, options)
        }
    }

    fn upstream_by(&self, shared: &Arc<UpstreamShared>, options: CallOptions) -> LocalUpstream<D> {
        let (key, policy) = self.core.borrow_mut().upstream_with_policy(shared);
        LocalUpstream {
            shard: self.clone(),
            options,
            outside: false,
            key: Cell::new(key),
            policy,
            is_multiplexed: shared.url.is_multiplexed(),
        }
    }

    /// A sleep of so long, or until the shard stops.
    pub(crate) fn sleep(&self, duration: Duration) -> LocalSleep<D> {
        let at = self.now() + duration;
        LocalSleep {
            shard: self.clone(),
            at,
            key: None,
        }
    }
}

/// An upstream, from its shard's own thread.
pub(crate) struct LocalUpstream<D: Driver> {
    pub(crate) shard: LocalShard<D>,
    /// What calls by this handle say that say nothing themselves.
    pub(crate) options: CallOptions,
    /// It serves callers on other threads, who are let in, and counted, at the mailbox.
    pub(super) outside: bool,
    /// This shard's state of it, unless it was given up meanwhile.
    key: Cell<Key>,
    /// Outlives that state: one that was given up has settings that never change.
    pub(super) policy: Rc<Policy>,
    /// Whether connections have streams there, and are not leased.
    is_multiplexed: bool,
}

impl<D: Driver> Clone for LocalUpstream<D> {
    fn clone(&self) -> LocalUpstream<D> {
        LocalUpstream {
            shard: self.shard.clone(),
            options: self.options,
            outside: self.outside,
            key: self.key.clone(),
            policy: self.policy.clone(),
            is_multiplexed: self.is_multiplexed,
        }
    }
}

impl<D: Driver> LocalUpstream<D> {
    /// Takes a connection: an idle one, or one that is released or dialled before `deadline`. With
    /// `fresh`, only one that is dialled for this checkout.
    pub(crate) fn checkout(&self, class: Class, deadline: Time, fresh: bool) -> Checkout<'_, D> {
        Checkout::new(self, class, deadline, fresh)
    }

    /// Takes a connection for raw use, by the rules of this handle.
    ///
    /// # Errors
    /// [`Draining`](ErrorKind::Draining) if nothing may begin any more.
    pub(crate) fn lease(&self) -> Result<Checkout<'_, D>, Error> {
        let terms = CheckoutTerms::begin(self)?;
        Ok(self.checkout(terms.class, terms.deadline, false))
    }

    /// An idle connection for raw use, if one may be had at once; else, and whatever else is to be said, [`lease`]
    /// (LocalUpstream::lease).
    #[inline]
    pub(crate) fn lease_idle(&self) -> Option<Lease<D>> {
        if self.is_multiplexed {
            return None;
        }
        let mut core = self.shard.core.borrow_mut();
        if core.draining {
            return None;
        }
        let class = self.options.class.unwrap_or_else(|| self.policy.class());
        // What was given up meanwhile grants nothing.
        let hit = core.hit_and_look(self.key.get(), class).ok()??;
        // The driver had no news; but what a server said first may lie unread since before.
        if !hit.silent && core.is_stale(hit.grant.conn) {
            return None;
        }
        Some(Lease::granted(self, hit.grant))
    }

    /// A handle for calls that go by `options` where they say nothing themselves; where those say nothing
    /// either, by this handle's.
    pub(crate) fn with_options(&self, options: CallOptions) -> LocalUpstream<D> {
        LocalUpstream {
            options: options.or(self.options),
            ..self.clone()
        }
    }

    /// Counts a call that begins now.
    pub(super) fn begin_call(&self) {
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        core.note_call(key);
    }

    /// Says whether a call or a checkout may begin, and when that is.
    ///
    /// # Errors
    /// [`Draining`](ErrorKind::Draining) if it may not begin any more.
    pub(crate) fn let_in(&self) -> Result<Time, Error> {
        let core = self.shard.core.borrow();
        if !core.draining || self.outside {
            return Ok(core.now());
        }
        drop(core);
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        core.count_turned_away(key);
        Err(self.name_error(Error::draining()))
    }

    /// The pause before a call's `retry`-th retry.
    pub(super) fn backoff(&self, retry: u32, at_once: bool) -> Duration {
        let mut core = self.shard.core.borrow_mut();
        core.backoff(&self.policy().retry, retry, at_once)
    }

    /// Whether one call more may be tried again; if so it is counted.
    pub(super) fn take_retry(&self) -> bool {
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        core.take_retry(key)
    }

    /// A call has ended by an error.
    pub(super) fn note_failed(&self, terms: &Terms, method: MethodKind, error: Error) -> Error {
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        trace::failed(&error);
        let took = core.now.nanos_since(terms.begun);
        if let Some(state) = core.upstreams.get_mut(key) {
            state.meters.failed(method, error.kind(), took);
        }
        error
    }

    /// Why nothing begins any more, at the end.
    pub(super) fn ended(&self) -> Error {
        self.shard.core.borrow().ended()
    }

    /// Counts calls that wait for the time of their next attempt.
    pub(super) fn change_between(&self, by: i32) {
        let mut core = self.shard.core.borrow_mut();
        let key = self.key(&mut core);
        if let Some(state) = core.upstreams.get_mut(key) {
            state.between = state.between.saturating_add_signed(by);
        }
    }

    pub(super) fn key(&self, core: &mut Core<D>) -> Key {
        if !core.upstream_is_current(self.key.get()) {
            self.key.set(core.upstream_key(self.shared()));
        }
        self.key.get()
    }

    /// The upstream, as all threads share it.
    #[inline]
    pub(crate) fn shared(&self) -> &Arc<UpstreamShared> {
        self.policy.upstream()
    }

    /// The settings in force now. What begins goes by them to its end; what begins later asks again.
    pub(crate) fn policy(&self) -> Rc<UpstreamConfig> {
        self.policy.current()
    }

    /// The error with this upstream's name.
    pub(crate) fn name_error(&self, error: Error) -> Error {
        error.at_upstream(&self.shared().name)
    }
}

/// Sleeps on the shard's timer wheel: to the next millisecond or so.
pub(crate) struct LocalSleep<D: Driver> {
    shard: LocalShard<D>,
    at: Time,
    key: Option<Key>,
}

impl<D: Driver> Future for LocalSleep<D> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let shard = self.shard.clone();
        let mut core = shard.core.borrow_mut();
        let core = &mut *core;
        if core.stopping {
            return Poll::Ready(());
        }
        if let Some(key) = self.key {
            return match core.sleeps.get_mut(key) {
                Some(sleep) if !sleep.over => {
                    sleep.waker.clone_from(cx.waker());
                    Poll::Pending
                }
                Some(_) | None => {
                    core.sleeps.remove(key);
                    self.key = None;
                    self.at = Time::ZERO;
                    Poll::Ready(())
                }
            };
        }
        if self.at <= core.now {
            return Poll::Ready(());
        }
        let key = core.sleeps.insert(Sleep {
            over: false,
            waker: cx.waker().clone(),
            timer: None,
        });
        let timer = core.timers.insert(self.at, Timer::Sleep(key));
        if let Some(sleep) = core.sleeps.get_mut(key) {
            sleep.timer = Some(timer);
        }
        self.key = Some(key);
        Poll::Pending
    }
}

impl<D: Driver> Drop for LocalSleep<D> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let mut core = self.shard.core.borrow_mut();
        if let Some(timer) = core.sleeps.remove(key).and_then(|sleep| sleep.timer) {
            core.timers.remove(timer);
        }
    }
}
