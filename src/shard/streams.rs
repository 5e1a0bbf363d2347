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

use super::bytes_in::Inbound;
use super::framing::Framing;
use super::waking::LocalWaker;
use crate::config::UpstreamUrl;
use crate::error::{Error, RequestSent};
use crate::slab::Key;
use crate::time::Time;
use crate::time::wheel::TimerKey;
use std::collections::BTreeMap;
use std::task::Waker;

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

    /// Returns how many are still taken.
    pub(super) fn give_slot_back(&mut self) -> u32 {
        self.leases -= 1;
        self.leases
    }

    /// A slot has become a stream.
    pub(super) fn add(&mut self, stream: Key) {
        self.unopened.push(stream);
    }

    /// A stream needs the connection no more.
    pub(super) fn remove(&mut self, stream: Key, id: Option<u32>) {
        self.writers.remove(&stream);
        match id {
            Some(id) => drop(self.open.remove(&id)),
            None => self.unopened.retain(|&other| other != stream),
        }
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
    pub(super) fn has_room(&self) -> bool {
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
    pub(super) reader: Option<LocalWaker>,
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
    pub(super) holds_slot: bool,
}

/// How a stream failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// How much of what was written the peer may have processed.
    pub(super) sent: RequestSent,
}

impl<B> Stream<B> {
    pub(super) fn new(connection: Key, now: Time) -> Stream<B> {
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
