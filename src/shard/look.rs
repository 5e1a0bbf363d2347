//! A look into a shard, between two turns: for whoever steps shards by hand and checks what must hold.
//!
//! Owns: plain copies, into lists that keep their room from look to look. Never: compiled into a service.

use super::Shard;
use super::connection::{Connection, State};
use super::core::Core;
use super::upstream::UpstreamState;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::slab::Key;
use std::sync::Arc;

/// What is there on a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Every slot in use, in the order of slots.
    pub connections: Vec<ConnectionLook>,
    /// Every upstream that the shard has met and not forgotten, in the order of its slots.
    pub upstreams: Vec<UpstreamLook>,
    /// Checkouts that have no answer yet, or whose answer nobody has fetched.
    pub waiters: usize,
    /// Timers armed.
    pub timers: usize,
    /// Tasks asleep.
    pub sleeps: usize,
    /// Tasks.
    pub tasks: usize,
    /// Tasks that ended by a panic.
    pub task_panics: u64,
    /// Open sockets of the driver.
    pub sockets: u64,
    /// Receive buffers held by somebody.
    pub buffers_held: u64,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLook {
    /// The slot, and the generation of its tenant.
    pub slot: u32,
    /// See `slot`.
    pub generation: u32,
    /// The state's name.
    pub state: &'static str,
    /// The upstream's id; 0 if the shard has forgotten it, which must not be.
    pub upstream: u64,
    /// Where it is connected to.
    pub endpoint: Option<Endpoint>,
    /// How often it was granted.
    pub uses: u64,
    /// Leases or streams on it now.
    pub streams: u32,
    /// The most that there may be.
    pub streams_max: u32,
    /// Operations in flight.
    pub operations: u32,
    /// Whether its timer is armed.
    pub timer_armed: bool,
    /// Whether it holds a permit.
    pub has_permit: bool,
    /// Whether its socket is being closed, or is closed, under whoever holds it.
    pub cut: bool,
    /// Whether it has bytes unread, or the news that it has ended or failed.
    pub unclean: bool,
}

/// One upstream on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamLook {
    /// Never used twice in an engine.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// Idle connections, as the pool counts them.
    pub idle: u32,
    /// Leased connections.
    pub leased: u32,
    /// Connections being dialled.
    pub dialing: u32,
    /// Callers in the pool's queue.
    pub waiters: u32,
    /// Those of them whom only a newly dialled connection serves.
    pub waiters_fresh: u32,
    /// Those of them whose calls siblings may run.
    pub waiters_movable: u32,
    /// Whether some of what is idle may not be granted: its endpoint is ejected, or on trial.
    pub choosy: bool,
    /// Whether some endpoint's trials are not those that are under way.
    pub trials_adrift: bool,
    /// How many are here who have asked for a connection and have no answer yet.
    pub unanswered: u64,
    /// How many more have asked than were answered, as it was counted.
    pub in_progress: i64,
    /// Totals since the shard met it.
    pub counters: UpstreamCounters,
}

/// Totals of one upstream on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpstreamCounters {
    /// Checkouts answered at once.
    pub hits: u64,
    /// Checkouts that were not.
    pub misses: u64,
    /// Misses that went into the queue.
    pub waits: u64,
    /// Waiters granted a connection that had been open before.
    pub waits_reused: u64,
    /// Waiters that failed by their deadline.
    pub wait_timeouts: u64,
    /// Checkouts refused because the queue was full.
    pub refused: u64,
    /// Dials begun.
    pub dials: u64,
    /// Those of them that nobody waited for.
    pub dials_warm: u64,
    /// Dials that failed.
    pub dials_failed: u64,
    /// Connections closed by the pool.
    pub evictions: u64,
    /// Waiters whose calls siblings ran.
    pub moved: u64,
    /// Calls of siblings that ran here.
    pub served_others: u64,
}

impl<D: Driver> Shard<D> {
    /// Copies what is there.
    pub(crate) fn look(&self, look: &mut Look) {
        self.local.core.borrow().look(look);
        look.tasks = self.local.executor.len();
        look.task_panics = self.local.executor.panics();
    }

    /// The driver, between two turns.
    pub(crate) fn with_driver(&self, with: impl FnOnce(&mut D)) {
        with(self.local.core.borrow_mut().driver());
    }
}

impl<D: Driver> Core<D> {
    fn look(&self, look: &mut Look) {
        look.connections.clear();
        let connections = self.connections.iter();
        look.connections
            .extend(connections.map(|(key, connection)| self.connection_look(key, connection)));
        look.upstreams.clear();
        let upstreams = self.upstreams.iter();
        look.upstreams
            .extend(upstreams.map(|(_, upstream)| upstream_look(upstream)));
        for (_, waiter) in self.waiters.iter() {
            let upstream = self.upstreams.get(waiter.wish.upstream);
            let id = upstream.map_or(0, |upstream| upstream.shared.id.0);
            let its = look.upstreams.iter_mut().find(|one| one.id == id);
            if let Some(its) = its {
                its.waiters_movable += u32::from(waiter.is_movable());
                its.unanswered += u64::from(waiter.answer.is_none());
            }
        }
        look.waiters = self.waiters.len();
        look.timers = self.timers.len();
        look.sleeps = self.sleeps.len();
        let counters = self.driver.counters();
        look.sockets = counters.sockets;
        look.buffers_held = counters.buffers_held;
    }

    fn connection_look(&self, key: Key, connection: &Connection<D::Buffer>) -> ConnectionLook {
        let operations = connection.operations;
        let single = [
            operations.connect,
            operations.receive,
            operations.send,
            operations.close,
        ];
        // One whose release waits for a look is nobody's yet, and the pool's least of all.
        let state = match connection.state() {
            State::Idle if connection.releasing => State::Leased,
            state => state,
        };
        let in_flight = single.iter().filter(|&&one| one).count() as u32;
        ConnectionLook {
            slot: key.index(),
            generation: key.generation(),
            state: name_of(state),
            upstream: self
                .upstreams
                .get(connection.upstream)
                .map_or(0, |upstream| upstream.shared.id.0),
            endpoint: connection.endpoint.clone(),
            // One that was granted, and given back unused, was granted.
            uses: connection.uses.max(u64::from(state == State::Leased)),
            streams: connection.streams.as_deref().map_or_else(
                || u32::from(state == State::Leased),
                |streams| streams.leases(),
            ),
            streams_max: connection
                .streams
                .as_deref()
                .map_or(1, |streams| streams.limit()),
            operations: in_flight + u32::from(operations.cancels),
            timer_armed: connection.timer.is_some(),
            has_permit: connection.permit.is_some(),
            cut: connection.cut,
            unclean: !connection.inbound.is_empty()
                || connection.inbound.end().is_some()
                || connection.outbound.failed.is_some(),
        }
    }
}

/// Of those who did not get a connection at once.
fn in_progress(upstream: &UpstreamState) -> i64 {
    let mut pool = upstream.pool.counters();
    pool.add(&upstream.meters.before);
    let asking = &upstream.meters.asking;
    let granted = asking.hits_late + pool.waits_reused + pool.waits_dialed + pool.moved;
    let refused = pool.wait_timeouts + pool.shed + pool.refused + pool.broken;
    let others = asking.failed + asking.draining + asking.cancelled;
    asking.asked as i64 - (granted + refused + others) as i64
}

fn upstream_look(upstream: &UpstreamState) -> UpstreamLook {
    let census = upstream.pool.census();
    let counters = upstream.pool.counters();
    UpstreamLook {
        id: upstream.shared.id.0,
        name: upstream.shared.name.clone(),
        idle: census.idle,
        leased: census.leased,
        dialing: census.dialing,
        waiters: census.waiters,
        waiters_fresh: upstream.pool.waiters_fresh(),
        waiters_movable: 0,
        choosy: upstream.pool.is_choosy(),
        trials_adrift: !upstream.pool.trials_add_up(),
        unanswered: 0,
        in_progress: in_progress(upstream),
        counters: UpstreamCounters {
            hits: counters.hits,
            misses: counters.misses,
            waits: counters.waits,
            waits_reused: counters.waits_reused,
            wait_timeouts: counters.wait_timeouts,
            refused: counters.refused,
            dials: counters.dials,
            dials_warm: counters.dials_warm,
            dials_failed: counters.dials_failed,
            evictions: counters.evictions.iter().sum(),
            moved: counters.moved,
            served_others: counters.served_others,
        },
    }
}

fn name_of(state: State) -> &'static str {
    match state {
        State::Dialing => "dialing",
        State::Handshaking => "handshaking",
        State::Idle => "idle",
        State::Leased => "leased",
        State::Draining => "draining",
        State::Closing => "closing",
    }
}
