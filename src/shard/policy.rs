//! An upstream's settings as they change under it: how a shard takes new ones, and what becomes of
//! connections made under others.
//!
//! Owns: the settings that decisions on this shard go by; when a connection made under replaced ones
//! is closed whether or not somebody uses it. Never: decides which connections are renewed before that,
//! and how fast; the pool does.

use super::bytes_in::End;
use super::connection::{Connection, Event, State};
use super::core::{Core, Timer};
use super::options::socket_options;
use super::upstream::{UpstreamShared, UpstreamState};
use crate::audit::CloseCause;
use crate::config::{Class, UpstreamConfig};
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};
use crate::pool::Input;
use crate::slab::Key;
use crate::time::Time;
use crate::tls::ClientTls;
use std::cell::{Cell, Ref, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// An upstream's settings on one shard, shared with all handles there: those made before a change
/// see it at their next decision. No lock, and no count that another thread touches.
pub(crate) struct Policy {
    /// Here, so that handles on this shard come and go without a count that other threads touch.
    upstream: Arc<UpstreamShared>,
    settings: RefCell<Rc<UpstreamConfig>>,
    /// Theirs, for a glance without a borrow.
    class: Cell<Class>,
}

impl Policy {
    pub(super) fn new(upstream: Arc<UpstreamShared>, settings: &UpstreamConfig) -> Policy {
        Policy {
            upstream,
            settings: RefCell::new(Rc::new(settings.clone())),
            class: Cell::new(settings.class),
        }
    }

    /// The upstream that it is of.
    #[inline]
    pub(crate) fn upstream(&self) -> &Arc<UpstreamShared> {
        &self.upstream
    }

    /// The upstream's name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.upstream.name
    }

    /// The settings in force. Whoever keeps them goes on by them.
    pub(crate) fn current(&self) -> Rc<UpstreamConfig> {
        self.settings.borrow().clone()
    }

    /// The same, for a glance.
    #[inline]
    pub(crate) fn glance(&self) -> Ref<'_, UpstreamConfig> {
        Ref::map(self.settings.borrow(), |settings| &**settings)
    }

    /// The class of what says nothing of its own.
    #[inline]
    pub(super) fn class(&self) -> Class {
        self.class.get()
    }

    fn replace(&self, settings: &UpstreamConfig) {
        self.settings.replace(Rc::new(settings.clone()));
        self.class.set(settings.class);
    }
}

impl<D: Driver> Core<D> {
    /// Puts new settings in force: what is decided on this shard from now on goes by them.
    pub(super) fn configure(&mut self, shared: &Arc<UpstreamShared>, settings: &UpstreamConfig) {
        let Some(&key) = self.upstream_keys.get(&shared.id) else {
            // Not met here yet: whoever meets it finds the settings of the time. To keep some warm is
            // to meet it.
            if shared.warm_on(self.index, settings) > 0 {
                self.upstream_key(shared);
            }
            return;
        };
        let Some(state) = self.upstreams.get_mut(key) else {
            return;
        };
        let before = state.policy.current();
        state.policy.replace(settings);
        let tls = shared.tls();
        let [before_tls, after_tls] =
            [&state.tls, &tls].map(|tls| tls.as_ref().map(ClientTls::identity));
        let proves_otherwise = before_tls != after_tls;
        state.tls = tls;
        let renewed = proves_otherwise || socket_options(&before) != socket_options(settings);
        let moved = before.endpoints != settings.endpoints;
        if moved {
            state.addresses.replace(settings);
        }
        if renewed {
            self.close_in_time(key, |_, _| true);
        }
        let configure = Input::Configure {
            limits: shared.limits(self.index, settings).into(),
            renew_within: renewed.then_some(settings.drain_timeout),
        };
        self.pool_input(key, configure);
        if before.sharing != settings.sharing {
            self.share_anew(key);
        }
        if moved {
            self.refresh_addresses(key);
            self.tell_endpoints(key);
            self.dial_those_waiting(key);
        }
    }

    /// Bounds the life of those connections that `which` picks: what is left of them after
    /// `drain_timeout` is closed, whoever uses it.
    pub(super) fn close_in_time(
        &mut self,
        upstream: Key,
        which: impl Fn(&UpstreamState, &Connection<D::Buffer>) -> bool,
    ) {
        let Some(state) = self.upstreams.get(upstream) else {
            return;
        };
        let by = self.now + state.policy.current().drain_timeout;
        let picked: Vec<Key> = self
            .connections
            .iter()
            // A dial without a socket yet will make one under the new settings.
            .filter(|(_, connection)| connection.operations.socket)
            .filter(|(_, connection)| connection.upstream == upstream && which(state, connection))
            .map(|(key, _)| key)
            .collect();
        for key in picked {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.close_by = connection.close_by.min(by);
            }
        }
        self.arm_sweep(upstream);
    }

    /// The time of connections made under settings that were replaced is over.
    pub(super) fn on_sweep(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        if self.timers.is_armed_again(state.sweep) {
            return;
        }
        state.sweep = None;
        let due: Vec<Key> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.upstream == upstream)
            .filter(|(_, connection)| connection.close_by <= self.now)
            .map(|(key, _)| key)
            .collect();
        for key in due {
            self.close_replaced(key);
        }
        self.arm_sweep(upstream);
    }

    fn close_replaced(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.close_by = Time::NEVER;
        match connection.state() {
            State::Dialing | State::Handshaking => self.fail_dial(key, replaced()),
            State::Idle => {
                self.tally.evicted_by_policy += 1;
                self.ends_by(key, CloseCause::Reconfigured);
                self.leave_pool(key);
                self.condemn(key);
            }
            State::Leased => self.cut(key),
            State::Draining | State::Closing => {}
        }
    }

    /// Closes the socket of a connection that somebody holds. Its slot stays with the holder, who reads
    /// what has come and then finds [`Closed`](ErrorKind::Closed); its permit returns with the socket.
    fn cut(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.detaching {
            // About to leave the engine, which is no longer answerable for it then.
            return;
        }
        if connection.cut {
            // Its holder still has it, and its settings were replaced once more.
            return;
        }
        connection.on(Event::Cut);
        connection.cut = true;
        connection.fault.get_or_insert_with(replaced);
        let why = io::ErrorKind::ConnectionAborted;
        connection.inbound.finish(End::Failed(why));
        connection.outbound.failed.get_or_insert(why);
        connection.wake_reader();
        connection.wake_writer();
        self.ends_by(key, CloseCause::Reconfigured);
        self.tally.evicted_by_policy += 1;
        self.leave_pool(key);
        self.cancel_all(key);
    }

    fn arm_sweep(&mut self, upstream: Key) {
        let Some(state) = self.upstreams.get_mut(upstream) else {
            return;
        };
        let connections = self.connections.iter();
        let next = connections
            .filter(|(_, connection)| connection.upstream == upstream)
            .map(|(_, connection)| connection.close_by)
            .min();
        if let Some((_, timer)) = state.sweep.take() {
            self.timers.remove(timer);
        }
        if let Some(at) = next.filter(|&at| at != Time::NEVER) {
            state.sweep = Some((at, self.timers.insert(at, Timer::Sweep(upstream))));
        }
    }
}

fn replaced() -> Error {
    Error::new(
        ErrorKind::Closed,
        "the connection was made under settings that have been replaced, and its time (drain_timeout) is over",
    )
}
