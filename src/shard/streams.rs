//! The streams of multiplexed connections: who holds one, what it has received, how it ended.
//!
//! Owns: every stream of the shard, and each connection's table of its own. Never: more streams on a
//! connection than its peer allows, or a stream that outlives its lease.
//!
//! A *slot* is the pool's word for the right to use one stream. It is taken by a grant, becomes a stream
//! when its holder has looked at the connection, and goes back the moment the stream is over in both
//! directions, whatever its holder still has to read. A connection is leased while a slot of it is
//! taken, and idle otherwise.
//!
//! What is unread is bounded for each stream; where one has too much, the whole connection's receiving pauses
//! until that has been read. A protocol with windows need not come to that; one without them makes its streams
//! wait for each other, at worst until their deadlines.

use super::bytes_in::{End, Inbound};
use super::core::{Core, Timer};
use super::framing::Framing;
use super::pooling::Deferred;
use crate::config::UpstreamUrl;
use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, RequestSent};
use crate::pool::{Grant, Input};
use crate::slab::Key;
use crate::time::Time;
use crate::time::wheel::TimerKey;
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::Duration;

/// So many streams are used of those that a peer allows: what they may have unread adds up.
const STREAMS_MAX: u32 = 1024;

/// What a multiplexed connection knows of its streams.
pub(crate) struct Streams {
    pub(super) framing: Framing,
    /// Slots taken: by streams, and by grants whose holders have not looked yet.
    leases: u32,
    /// Streams that the peer may know of, by their ids.
    pub(super) open: BTreeMap<u32, Key>,
    /// Streams of which nothing has been written.
    unopened: Vec<Key>,
    limit: u32,
    /// The peer will go: no new streams.
    pub(super) retiring: bool,
    /// Streams with too much unread.
    pub(super) crowded: u32,
    /// Who waits for room to write.
    writers: BTreeMap<Key, Waker>,
}

impl Streams {
    /// For a connection to `url`, if many streams share it.
    pub(super) fn of(url: &UpstreamUrl) -> Option<Box<Streams>> {
        let framing = Framing::of(url)?;
        let mut streams = Streams {
            limit: 0,
            framing,
            leases: 0,
            open: BTreeMap::new(),
            unopened: Vec::new(),
            retiring: false,
            crowded: 0,
            writers: BTreeMap::new(),
        };
        streams.set_limit(streams.framing.limit_before_first());
        Some(Box::new(streams))
    }

    /// How many there may be at once.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// How many slots are taken.
    pub(crate) fn leases(&self) -> u32 {
        self.leases
    }

    /// The peer allows so many; returns how many are used of them.
    pub(super) fn set_limit(&mut self, streams: u32) -> u32 {
        self.limit = streams.min(STREAMS_MAX);
        self.limit
    }

    pub(super) fn take_slot(&mut self) {
        self.leases += 1;
    }

    /// Streams of which nothing has been written.
    pub(super) fn unopened(&self) -> &[Key] {
        &self.unopened
    }

    /// Whether it is for want of ids that no stream can be opened.
    pub(super) fn has_spent_its_ids(&self) -> bool {
        !self.retiring && self.open.len() < self.limit as usize
    }

    /// There is room to write.
    pub(super) fn wake_writers(&mut self) {
        while let Some((_, writer)) = self.writers.pop_first() {
            writer.wake();
        }
    }

    pub(super) fn await_room(&mut self, stream: Key, waker: &Waker) {
        self.writers.insert(stream, waker.clone());
    }

    pub(super) fn wake_writer(&mut self, stream: Key) {
        if let Some(writer) = self.writers.remove(&stream) {
            writer.wake();
        }
    }

    /// Gives an unopened stream its id, if the peer allows one more.
    pub(super) fn open(&mut self, stream: Key) -> Option<u32> {
        if self.retiring || self.open.len() >= self.limit as usize {
            return None;
        }
        let id = self.framing.open()?;
        self.unopened.retain(|&other| other != stream);
        self.open.insert(id, stream);
        Some(id)
    }

    /// Whether a stream more could be opened, once all that are there have been.
    fn has_room(&self) -> bool {
        !self.retiring && self.open.len() + self.unopened.len() < self.limit as usize
    }
}

/// One stream. Its lease ends it; until then it keeps what was received, also after its connection.
pub(crate) struct Stream<B> {
    pub(super) connection: Key,
    /// The peer's name for it; none as long as nothing was written.
    pub(super) id: Option<u32>,
    /// What it wrote, as places in what the connection sends.
    pub(super) begin: u64,
    pub(super) end: u64,
    /// Everything has been written.
    pub(super) ended: bool,
    pub(super) inbound: Inbound<B>,
    pub(super) failure: Option<Failure>,
    pub(super) reader: Option<Waker>,
    pub(super) timer: Option<TimerKey>,
    pub(super) expired: bool,
    /// When its slot was granted, and when its first frame was written.
    pub(super) granted: Time,
    pub(super) opened: Time,
    /// The first bytes of the answer have come.
    pub(super) answered: bool,
    /// It counts among its connection's crowded ones.
    pub(super) crowds: bool,
    /// Its slot is still taken.
    holds_slot: bool,
}

/// How a stream failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// How much of what was written the peer may have processed.
    pub(super) sent: RequestSent,
}

impl<B> Stream<B> {
    fn new(connection: Key, now: Time) -> Stream<B> {
        Stream {
            connection,
            id: None,
            begin: 0,
            end: 0,
            ended: false,
            inbound: Inbound::new(),
            failure: None,
            reader: None,
            timer: None,
            expired: false,
            granted: now,
            opened: now,
            answered: false,
            crowds: false,
            holds_slot: true,
        }
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// How much of it was handed to the kernel, of a connection that has handed over so many bytes.
    pub(super) fn sent(&self, handed: u64) -> RequestSent {
        match self.id {
            None => RequestSent::No,
            Some(_) if handed <= self.begin => RequestSent::No,
            Some(_) if self.ended && handed >= self.end => RequestSent::Whole,
            Some(_) => RequestSent::Partly,
        }
    }

    /// The first failure counts.
    pub(super) fn fail(&mut self, error: Error, sent: RequestSent) {
        self.failure.get_or_insert(Failure { error, sent });
        self.wake_reader();
    }
}

impl<D: Driver> Core<D> {
    /// Makes a stream of a granted slot. `None`: the connection has gone bad since the grant, or its
    /// peer allows fewer streams by now; the slot is given back.
    pub(super) fn take_stream(&mut self, grant: Grant) -> Option<Key> {
        let connection = self.connections.get_mut(grant.conn)?;
        let sendable = connection.outbound.failed.is_none();
        let streams = connection.streams.as_deref_mut()?;
        if !sendable || !streams.has_room() {
            // Nobody has used it for this.
            connection.uses -= 1;
            self.release_slot(grant.conn, Duration::ZERO);
            return None;
        }
        let stream = self.streams.insert(Stream::new(grant.conn, self.now));
        streams.unopened.push(stream);
        Some(stream)
    }

    /// The lease of a stream ends. What the peer still expects or sends of it is called off; the
    /// connection stays.
    pub(super) fn end_stream(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else {
            return;
        };
        let (connection, called_off) = (stream.connection, stream.id.filter(|_| stream.holds_slot));
        if let Some(id) = called_off {
            self.write_frame(connection, |framing, out| framing.cancel(out, id));
            self.flush(connection);
        }
        self.leave_connection(key);
        if let Some(timer) = self.streams.remove(key).and_then(|stream| stream.timer) {
            self.timers.remove(timer);
        }
    }

    /// A stream needs its connection no more: its slot goes back.
    pub(super) fn leave_connection(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut stream.holds_slot, false) {
            return;
        }
        let (connection, held) = (stream.connection, self.now.since(stream.granted));
        let (id, crowded) = (stream.id, std::mem::replace(&mut stream.crowds, false));
        let streams = self
            .connections
            .get_mut(connection)
            .and_then(|connection| connection.streams.as_deref_mut());
        let Some(streams) = streams else {
            return;
        };
        streams.crowded -= u32::from(crowded);
        streams.writers.remove(&key);
        match id {
            Some(id) => drop(streams.open.remove(&id)),
            None => streams.unopened.retain(|&other| other != key),
        }
        self.release_slot(connection, held);
    }

    /// A slot of a connection is free again, after `held`.
    pub(super) fn release_slot(&mut self, key: Key, held: Duration) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(streams) = connection.streams.as_deref_mut() else {
            return;
        };
        streams.leases -= 1;
        let last = streams.leases == 0;
        if connection.member.is_none() {
            // It has failed, and was kept for those who still listened to it.
            if last {
                self.condemn(key);
            }
            return;
        }
        if last {
            connection.become_state(super::connection::State::Idle);
            if connection.outbound.is_empty() {
                connection.outbound.rest(&mut self.blocks);
            }
        }
        let upstream = connection.upstream;
        let others_wait = self
            .upstreams
            .get(upstream)
            .is_some_and(|state| state.pool.census().waiters > 0);
        if others_wait && self.driver.pending() {
            let connection = key;
            self.deferred.push_back(Deferred::Slot { connection, held });
            return;
        }
        self.slot_to_pool(key, held);
    }

    pub(super) fn stream_endpoint(&self, key: Key) -> Option<&Endpoint> {
        let stream = self.streams.get(key)?;
        self.endpoint(stream.connection)
    }

    pub(super) fn set_stream_deadline(&mut self, key: Key, at: Time) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if let Some(timer) = stream.timer.take() {
            self.timers.remove(timer);
        }
        stream.expired = false;
        if at != Time::NEVER {
            stream.timer = Some(self.timers.insert(at, Timer::Stream(key)));
        }
    }

    pub(super) fn on_stream_timer(&mut self, key: Key) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        stream.timer = None;
        stream.expired = true;
        stream.wake_reader();
        let overdue = stream.id.is_some() && stream.holds_slot;
        let connection = stream.connection;
        if let Some(connection) = self.connections.get_mut(connection)
            && let Some(streams) = connection.streams.as_deref_mut()
        {
            streams.wake_writer(key);
        }
        if overdue {
            self.fault_of(connection);
        }
    }

    /// What a connection was used for failed, and its endpoint may be why.
    pub(super) fn fault_of(&mut self, key: Key) {
        if let Some(connection) = self.connections.get(key)
            && let Some(member) = connection.member
        {
            self.pool_input(connection.upstream, Input::Faulted { member });
        }
    }

    /// A connection with streams on it is of no use any more.
    pub(super) fn lose_streams(&mut self, key: Key, end: End) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.inbound.finish(end);
        }
        self.fault_of(key);
        self.leave_pool(key);
        // The pool may have wanted it closed by then.
        if self.is_multiplexed(key) {
            self.condemn(key);
        }
    }

    /// Whether a connection is open and carries streams.
    fn is_multiplexed(&self, key: Key) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.streams.is_some())
    }

    /// A connection is being closed: its streams fail, each as far as it got.
    pub(super) fn fail_streams(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Some(mut streams) = connection.streams.take() else {
            return;
        };
        let handed = connection.outbound.handed;
        let error = match (&connection.fault, connection.inbound.end()) {
            (Some(fault), _) => fault.duplicate(),
            (None, Some(end)) => super::faults::ended(end),
            (None, None) => Error::new(ErrorKind::Closed, "the connection was closed"),
        };
        let all = streams.open.values().chain(&streams.unopened);
        for &key in all {
            if let Some(stream) = self.streams.get_mut(key) {
                let sent = stream.sent(handed);
                stream.holds_slot = false;
                stream.crowds = false;
                stream.fail(error.duplicate(), sent);
            }
        }
        streams.wake_writers();
    }
}
