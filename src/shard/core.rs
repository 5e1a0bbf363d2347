//! What a shard's loop and the handles on it share.
//!
//! Owns: the driver, the slab of connections, the upstreams with their pools, the timers. Never: runs
//! anybody's code but its own; wakers only note down whom to run.

use super::checkout::{Deferred, Waiter};
use super::connection::{Connection, Holder, State};
use super::copying::FiguresCopy;
use super::figures::Tally;
use super::lag::Lag;
use super::lookup::Resolver;
use super::mailbox::Mailbox;
use super::sharing::taking::Taken;
use super::streams::Stream;
use super::upstream::{UpstreamId, UpstreamState};
use crate::audit::Trail;
use crate::driver::{Driver, Event, SendBuffer};
use crate::error::Error;
use crate::lifecycle::LifecycleSubscriber;
use crate::pool::Action;
use crate::random::Random;
use crate::slab::{Key, Slab};
use crate::time::Time;
use crate::time::clock::Clock;
use crate::time::wheel::Wheel;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

/// Everything of a shard that is not its tasks.
pub(crate) struct Core<D: Driver> {
    pub(super) driver: D,
    pub(super) clock: Clock,
    /// The time at the beginning of this turn.
    pub(super) now: Time,
    pub(super) random: Random,
    /// Which shard this is.
    pub(super) index: usize,
    pub(super) settings: CoreSettings,
    pub(super) connections: Slab<Connection<D::Buffer>>,
    /// Those of multiplexed connections, as long as somebody holds them.
    pub(super) streams: Slab<Stream<D::Buffer>>,
    pub(super) upstreams: Slab<UpstreamState>,
    pub(super) upstream_keys: BTreeMap<UpstreamId, Key>,
    pub(super) waiters: Slab<Waiter>,
    /// Checkouts and releases that wait for the driver's events to be looked at first.
    pub(super) deferred: VecDeque<Deferred>,
    pub(super) timers: Wheel<Timer>,
    pub(super) sleeps: Slab<Sleep>,
    /// Connections whose receive is paused, and those that found no buffer.
    pub(super) paused: Vec<Key>,
    pub(super) starved: Vec<Key>,
    /// How often the driver's events have been looked at. Before each look it was entered.
    pub(super) looks: u64,
    /// The look after which the receive of an idle connection was armed last.
    pub(super) rearmed_after: u64,
    /// Send blocks nobody uses.
    pub(super) blocks: Vec<SendBuffer>,
    /// Upstreams whose pools' timers are to be looked at.
    pub(super) untimed: Vec<Key>,
    /// Upstreams whose part in what shards do for each other is to be looked at.
    pub(super) touched: Vec<Key>,
    /// Waiters of this turn whose calls a sibling could run.
    pub(super) overflow: Vec<Key>,
    /// Calls of siblings that begin here.
    pub(super) taken: Vec<Taken>,
    pub(super) resolver: Resolver,
    /// Every shard's mailbox, this one's included.
    pub(super) mailboxes: Arc<[Arc<Mailbox<D>>]>,
    /// Siblings' needs are to be looked at in this turn: one could not be met yet, or what may meet one
    /// has been dialled since the last look.
    pub(super) needs_left: bool,
    pub(super) tally: Tally,
    /// Copies of the figures that are being made.
    pub(super) copies: VecDeque<FiguresCopy>,
    /// Where connections are told of, if anywhere.
    pub(super) trail: Option<Arc<Trail>>,
    /// Who is told what happens to them, if anybody.
    pub(super) subscriber: Option<Arc<dyn LifecycleSubscriber>>,
    pub(super) lag: Lag,
    /// Upstreams whose calls siblings keep for now, because this shard is late.
    pub(super) declining: VecDeque<Key>,
    /// No call and no checkout of a task may begin any more.
    pub(super) draining: bool,
    /// Tasks that wait for that.
    pub(super) drain_watches: Slab<Waker>,
    /// No dial and no lease any more.
    pub(super) stopping: bool,
    /// What this shard was lost by: nothing of it is to be trusted, and all of it is about to go.
    pub(super) fault: Option<Error>,
    // Lists that keep their capacity from turn to turn.
    pub(super) actions: Vec<Action>,
    pub(super) plaintext: Vec<u8>,
    events: Vec<Event<D::Buffer>>,
    expired: Vec<Timer>,
}

/// What a shard is told about its own running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreSettings {
    /// Receive buffers that one connection may hold; what comes beyond is copied.
    pub(crate) buffers_per_connection: u32,
    /// Bytes that one connection may have unread before its receiving pauses.
    pub(crate) unread_max: usize,
    /// With fewer free receive buffers than this, received bytes are copied out of them.
    pub(crate) buffers_low: u32,
}

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A connection's deadline.
    Connection(Key),
    /// A stream's deadline.
    Stream(Key),
    /// An upstream's pool wants a tick.
    Pool(Key),
    /// Connections of an upstream that were made under replaced settings are to be closed.
    Sweep(Key),
    /// A task sleeps.
    Sleep(Key),
}

/// A sleeping task.
pub(crate) struct Sleep {
    pub(super) over: bool,
    pub(super) waker: Waker,
    pub(super) timer: Option<crate::time::wheel::TimerKey>,
}

impl<D: Driver> Core<D> {
    pub(crate) fn new(
        driver: D,
        clock: Clock,
        index: usize,
        seed: u64,
        settings: CoreSettings,
        resolver: Resolver,
        mailboxes: Arc<[Arc<Mailbox<D>>]>,
    ) -> Core<D> {
        let now = clock.now();
        Core {
            driver,
            clock,
            now,
            random: Random::new(seed),
            index,
            settings,
            connections: Slab::new(),
            streams: Slab::new(),
            upstreams: Slab::new(),
            upstream_keys: BTreeMap::new(),
            waiters: Slab::new(),
            // Rarely used: it would grow for the first time when the shard is long warm.
            deferred: VecDeque::with_capacity(64),
            timers: Wheel::new(now),
            sleeps: Slab::new(),
            paused: Vec::new(),
            starved: Vec::new(),
            looks: 0,
            rearmed_after: 0,
            blocks: Vec::new(),
            untimed: Vec::new(),
            touched: Vec::new(),
            overflow: Vec::new(),
            taken: Vec::new(),
            resolver,
            mailboxes,
            needs_left: false,
            tally: Tally::default(),
            copies: VecDeque::new(),
            trail: None,
            subscriber: None,
            lag: Lag::default(),
            declining: VecDeque::new(),
            draining: false,
            drain_watches: Slab::new(),
            stopping: false,
            fault: None,
            actions: Vec::new(),
            plaintext: Vec::new(),
            events: Vec::new(),
            expired: Vec::new(),
        }
    }

    /// The time at the beginning of this turn.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// The time this very moment: a clock reading, for measuring.
    pub(crate) fn clock_now(&self) -> Time {
        self.clock.now()
    }

    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The first part of a turn: what the driver has, and what the clock brings.
    pub(super) fn reap(&mut self) {
        self.now = self.clock.now();
        self.lag.turn_begins(self.now);
        self.translate();
        self.expire();
        self.resume_receiving();
    }

    /// Turns the driver's events into changes of state.
    pub(super) fn translate(&mut self) {
        self.looks += 1;
        let mut events = std::mem::take(&mut self.events);
        self.driver.reap(&mut events);
        for event in events.drain(..) {
            self.on_event(event);
        }
        self.events = events;
    }

    fn expire(&mut self) {
        let mut expired = std::mem::take(&mut self.expired);
        self.timers.expire(self.now, &mut expired);
        for timer in expired.drain(..) {
            match timer {
                Timer::Connection(key) => self.on_connection_timer(key),
                Timer::Stream(key) => self.on_stream_timer(key),
                Timer::Pool(upstream) => self.on_pool_timer(upstream),
                Timer::Sweep(upstream) => self.on_sweep(upstream),
                Timer::Sleep(key) => {
                    if let Some(sleep) = self.sleeps.get_mut(key) {
                        sleep.over = true;
                        sleep.timer = None;
                        sleep.waker.wake_by_ref();
                    }
                }
            }
        }
        self.expired = expired;
    }

    /// Looks at what the kernel holds ready, then grants what had to wait for that.
    ///
    /// # Errors
    /// If the driver is unusable.
    pub(super) fn settle_deferred(&mut self) -> std::io::Result<()> {
        if self.deferred.is_empty() {
            return Ok(());
        }
        self.tally.looks += 1;
        self.driver.enter(crate::driver::Wait::No)?;
        self.translate();
        // Only those that were deferred before the look: others may come from it.
        for _ in 0..self.deferred.len() {
            match self.deferred.pop_front() {
                Some(deferred) => self.on_deferred(deferred),
                None => break,
            }
        }
        Ok(())
    }

    /// Whether something is left for the next turn: somebody waits for the next look at the driver's events, or
    /// siblings are to be looked after.
    pub(super) fn has_left(&self) -> bool {
        !self.deferred.is_empty() || self.has_shares()
    }

    /// When the next timer is due.
    pub(super) fn next_timer(&self) -> Option<Time> {
        self.timers.next()
    }

    pub(super) fn driver(&mut self) -> &mut D {
        &mut self.driver
    }

    /// Moves a connection's deadline. Costs nothing but a store unless it comes nearer.
    pub(super) fn set_deadline(&mut self, key: Key, at: Time) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.due_by(key, at, &mut self.timers);
        }
    }

    fn on_connection_timer(&mut self, key: Key) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if self.timers.is_armed_again(connection.timer) {
            return;
        }
        connection.timer = None;
        let deadline = connection.deadline;
        if deadline > now {
            self.set_deadline(key, deadline);
            return;
        }
        match connection.state() {
            State::Dialing | State::Handshaking => self.on_dial_timeout(key),
            State::Leased => {
                connection.expired = true;
                connection.wake_reader();
                connection.wake_writer();
            }
            State::Draining => self.cancel_all(key),
            State::Idle | State::Closing => {}
        }
    }

    /// Why nothing begins here any more.
    pub(super) fn ended(&self) -> Error {
        self.fault
            .as_ref()
            .map_or_else(Error::draining, Error::duplicate)
    }

    /// Notes who holds a leased connection.
    pub(super) fn held_by(&mut self, key: Key, holder: Holder) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.holder = holder;
        }
    }

    /// Whether nothing is open, waiting or armed any more.
    pub(super) fn is_quiet(&self) -> bool {
        self.connections.is_empty() && self.waiters.is_empty()
    }
}
