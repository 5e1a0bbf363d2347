//! One connection: its state, its bytes in both directions, what is under way for it.
//!
//! Owns: everything that belongs to one slot of the slab. Never: talks to the driver or the pool; the
//! shard does, and tells the connection what happened.

mod state;

use super::audit::Audited;
use super::bytes_in::Inbound;
use super::bytes_out::Outbound;
use super::core::Timer;
use super::streams::Streams;
use super::waking::LocalWaker;
use crate::audit::CloseCause;
use crate::driver::ReceivedBuffer;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::pool::{EndpointId, MemberId, Permit};
use crate::slab::Key;
use crate::time::Time;
use crate::time::wheel::{TimerKey, Wheel};
use crate::tls::Session;
use crate::trace::Span;

pub(crate) use state::{Event, State};

/// A slot's tenant.
pub(crate) struct Connection<B> {
    state: State,
    /// The upstream's slot on this shard.
    pub(crate) upstream: Key,
    /// The pool's name for it, as long as the pool knows it.
    pub(crate) member: Option<MemberId>,
    /// The right to be open; returns when the slot is freed.
    pub(crate) permit: Option<Permit>,
    pub(crate) operations: Operations,
    /// Its receive was armed anew: until the kernel was asked, more may have come than events have told of.
    pub(crate) behind: bool,
    /// The kernel held more when it told what came last.
    pub(crate) nonempty: bool,
    pub(crate) inbound: Inbound<B>,
    pub(crate) outbound: Outbound,
    pub(crate) tls: Option<Box<Session>>,
    /// Where many streams share the connection. There while it is idle or leased.
    pub(crate) streams: Option<Box<Streams>>,
    /// Who waits for bytes.
    pub(crate) reader: Option<LocalWaker>,
    /// Who waits for room or for everything to be sent.
    pub(crate) writer: Option<LocalWaker>,
    /// When what is under way has to be over.
    pub(crate) deadline: Time,
    /// The timer that looks at `deadline`. It may fire early and is then armed anew: moving a
    /// deadline costs nothing that way.
    pub(crate) timer: Option<(Time, TimerKey)>,
    /// The deadline passed while leased.
    pub(crate) expired: bool,
    /// The release waits until what the kernel holds ready has been looked at.
    pub(crate) releasing: bool,
    /// Where it is connected to, or being connected.
    pub(crate) endpoint: Option<Endpoint>,
    /// The pool's name for that place.
    pub(crate) place: Option<EndpointId>,
    /// Made under settings that have been replaced: closed then, whoever uses it.
    pub(crate) close_by: Time,
    /// Its socket is being closed, or is closed, though somebody still holds it.
    pub(crate) cut: bool,
    /// What broke it, where there is more to say than an IO error.
    pub(crate) fault: Option<Error>,
    /// Its receive is to stay disarmed: the socket is about to be given away.
    pub(crate) detaching: bool,
    pub(crate) dial: Option<Box<Dial>>,
    /// When its transport was connected, and its TLS handshake began.
    pub(crate) connected_at: Time,
    /// It was given out before its handshake was over.
    pub(crate) early: bool,
    /// Whose it is, while it is leased.
    pub(crate) holder: Holder,
    pub(crate) uses: u64,
    /// Bytes on the wire, TLS records included.
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// When it could be used first; never before that.
    pub(crate) opened_at: Time,
    /// Why it ends: the first reason is the one that counts.
    pub(crate) why: Option<CloseCause>,
    /// From its dial to its end, and the part of making it that is under way.
    pub(crate) span: Span,
    pub(crate) step: Span,
    /// Where an audit trail is kept.
    pub(crate) audited: Option<Box<Audited>>,
    /// When it was granted last.
    pub(crate) granted_at: Time,
}

/// Who holds a leased connection: for whoever has to tell what was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A task of this shard, as a raw stream.
    Task,
    /// A task's call.
    Call,
    /// Somebody on another thread, who is counted there.
    Outside,
}

/// What the kernel has under way for a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operations {
    pub(crate) connect: bool,
    pub(crate) receive: bool,
    pub(crate) send: bool,
    pub(crate) close: bool,
    pub(crate) cancels: u8,
    /// A socket is open under this key.
    pub(crate) socket: bool,
}

impl Operations {
    /// Whether nothing is under way, so that the descriptor may be closed or given away.
    pub(crate) fn none_in_flight(&self) -> bool {
        !self.connect && !self.receive && !self.send && !self.close && self.cancels == 0
    }
}

/// A connection in the making.
pub(crate) struct Dial {
    pub(crate) started: Time,
    /// When connecting to the endpoint tried last began.
    pub(crate) connecting: Time,
    /// The endpoint that this dial tries, on trial, and no other.
    pub(crate) trial: Option<EndpointId>,
    /// Those tried, in order.
    pub(crate) tried: Vec<EndpointId>,
    /// Why the last one failed.
    pub(crate) error: Option<std::io::Error>,
}

impl<B: ReceivedBuffer> Connection<B> {
    /// Whether neither bytes have come, nor an end, nor a failure.
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.inbound.is_empty() && self.inbound.end().is_none() && self.outbound.failed.is_none()
    }

    /// Whether the kernel may hold bytes for it that no event has told of: its receive is not armed, or was armed anew
    /// with much there already, or more came at once than is told at once.
    #[inline]
    pub(crate) fn is_deaf(&self) -> bool {
        let operations = &self.operations;
        // What a raw server said first is there already, and for the first who uses the connection.
        self.inbound.is_empty()
            && (!operations.receive || operations.cancels > 0 || self.behind || self.nonempty)
    }

    /// Whether nothing is left of what it was held for. `speaks_first`: whether its server may have said something
    /// unasked, which is kept for the first who uses it.
    #[inline]
    pub(crate) fn is_clean(&self, speaks_first: impl FnOnce() -> bool) -> bool {
        let unused = || self.outbound.handed == 0 && !self.expired && self.uses <= 1;
        self.state == State::Leased
            && (self.inbound.is_empty() || (unused() && speaks_first()))
            && self.inbound.end().is_none()
            && self.outbound.is_empty()
            && self.outbound.failed.is_none()
            && !(self.operations.send | self.expired | self.detaching | self.early)
            && self.fault.is_none()
    }
}

impl<B> Connection<B> {
    pub(crate) fn new(
        upstream: Key,
        member: MemberId,
        permit: Permit,
        dial: Dial,
    ) -> Connection<B> {
        Connection {
            state: State::Dialing,
            upstream,
            member: Some(member),
            permit: Some(permit),
            operations: Operations::default(),
            inbound: Inbound::new(),
            outbound: Outbound::new(),
            tls: None,
            streams: None,
            reader: None,
            writer: None,
            deadline: Time::NEVER,
            timer: None,
            expired: false,
            behind: false,
            nonempty: false,
            releasing: false,
            endpoint: None,
            place: None,
            close_by: Time::NEVER,
            cut: false,
            fault: None,
            detaching: false,
            dial: Some(Box::new(dial)),
            connected_at: Time::NEVER,
            early: false,
            holder: Holder::Task,
            uses: 0,
            sent: 0,
            received: 0,
            opened_at: Time::NEVER,
            why: None,
            span: Span::default(),
            step: Span::default(),
            audited: None,
            granted_at: Time::ZERO,
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Moves as the table says; returns the state after it.
    ///
    /// # Panics
    /// If this cannot happen in its state: that is a defect of the shard, or of the driver.
    #[inline(always)]
    pub(crate) fn on(&mut self, event: Event) -> State {
        self.state = self.state.next(event);
        self.state
    }

    /// One more holds it, or a stream of it, from now on. Whether somebody did before.
    #[inline]
    pub(crate) fn granted(&mut self, now: Time) -> bool {
        self.uses += 1;
        self.granted_at = now;
        match self.streams.as_deref_mut() {
            None => {
                self.on(Event::Granted);
                self.expired = false;
                self.outbound.handed = 0;
                self.holder = Holder::Task;
            }
            Some(streams) => {
                streams.take_slot();
                if streams.leases() == 1 {
                    self.on(Event::Granted);
                }
            }
        }
        self.uses > 1
    }

    /// Moves the deadline. Costs nothing but a store unless it comes nearer. `key`: its own.
    #[inline]
    pub(super) fn due_by(&mut self, key: Key, at: Time, timers: &mut Wheel<Timer>) {
        self.deadline = at;
        let is_due = self.timer.is_some_and(|(armed, _)| armed <= at);
        if !is_due && at != Time::NEVER {
            self.arm(key, at, timers);
        }
    }

    fn arm(&mut self, key: Key, at: Time, timers: &mut Wheel<Timer>) {
        if let Some((_, timer)) = self.timer.take() {
            timers.remove(timer);
        }
        self.timer = Some((at, timers.insert(at, Timer::Connection(key))));
    }

    pub(crate) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(crate) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        if let Some(streams) = self.streams.as_deref_mut() {
            streams.wake_writers();
        }
    }
}
