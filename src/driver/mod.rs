//! The kernel boundary: operations go down, events come up.
//!
//! Owns: sockets, the buffers of operations in flight, the sleep of a shard. Never: decides anything.
//! [`uring`] is the production driver, [`sim`] stands in for it under a test that owns the network.
//!
//! What a caller has to keep to:
//! - at most one `connect`, one armed `receive` and one `send` per socket at a time;
//! - every operation ends with exactly one final event: [`Event::Connected`], [`Event::Received`]
//!   with `more == false`, [`Event::Sent`], [`Event::Cancelled`], [`Event::Closed`]. A cancelled
//!   operation still has its own final event, before or after the `Cancelled`;
//! - `close` and `detach` only when every operation on the socket has had its final event. Until
//!   then the driver keeps the buffers.
//!
//! Nothing reaches the kernel before [`Driver::enter`], unless the submission queue fills up.

mod send_buffer;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
pub mod socket;
pub mod uring;

use crate::endpoint::Endpoint;
use crate::slab::Key;
use socket::SocketOptions;
use std::io;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

pub use send_buffer::{PIECES_MAX, SendBuffer};

/// The kernel, or its stand-in, as one shard sees it. Sockets are named by the shard's own keys.
pub trait Driver: 'static {
    /// A piece of received bytes.
    type Buffer: ReceivedBuffer;

    /// Makes a socket for `endpoint`, with `options` set, and names it `key`. No operation yet.
    ///
    /// # Errors
    /// What the kernel said: EMFILE and ENFILE where descriptors ran out, EAFNOSUPPORT without IPv6.
    fn open(&mut self, key: Key, endpoint: &Endpoint, options: &SocketOptions) -> io::Result<()>;

    /// Begins to connect the socket to the endpoint it was opened for. Ends with [`Event::Connected`].
    fn connect(&mut self, key: Key);

    /// Arms receiving until it ends by itself, by [`cancel`](Driver::cancel) or for want of buffers:
    /// any number of [`Event::Received`] with `more`, then one without.
    fn receive(&mut self, key: Key);

    /// Begins to send what is left in `buffer`. Ends with [`Event::Sent`], which brings the buffer
    /// back, advanced by what was sent; that may be less than all.
    fn send(&mut self, key: Key, buffer: SendBuffer);

    /// Asks for the socket's operations in `scope` to be given up. Ends with [`Event::Cancelled`]
    /// whether or not there was something to cancel.
    fn cancel(&mut self, key: Key, scope: Scope);

    /// Shuts the socket down and closes it. Ends with [`Event::Closed`], when its descriptor is free.
    fn close(&mut self, key: Key);

    /// Gives the socket away; its key is void from now on.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] where there is no descriptor to give (simulation).
    fn detach(&mut self, key: Key) -> io::Result<OwnedFd>;

    /// Whether events wait to be reaped, or to be fetched by [`enter`](Driver::enter). Looks at
    /// shared memory: no system call, unless what the kernel tells there is known to be untrue.
    fn pending(&self) -> bool;

    /// Hands what was queued to the kernel, runs its deferred work, and sleeps as `wait` says.
    /// Returns early, without error, when interrupted.
    ///
    /// # Errors
    /// Only what leaves the driver unusable.
    fn enter(&mut self, wait: Wait) -> io::Result<()>;

    /// Appends the events that are there. No system call, unless the completion queue overflowed.
    fn reap(&mut self, events: &mut Vec<Event<Self::Buffer>>);

    /// Whether the kernel holds neither bytes nor an end for the socket that no event has told of yet; to be asked
    /// when nothing is [`pending`](Driver::pending). A system call: for a socket whose receive is not armed, or was
    /// armed anew.
    fn is_silent(&self, key: Key) -> bool;

    /// How many received buffers of this socket are still held by somebody.
    fn buffers_held(&self, key: Key) -> u32;

    /// How many buffers the kernel has left to receive into.
    fn buffers_free(&self) -> u32;

    /// What ends this driver's sleep, from any thread.
    fn signal(&self) -> Arc<dyn Signal>;

    /// What it has counted so far.
    fn counters(&self) -> Counters;
}

/// Ends a driver's sleep.
pub trait Signal: Send + Sync {
    /// Makes a sleeping [`Driver::enter`] return soon, and one that is about to sleep return at
    /// once. Costs a system call: call it only when the state word says that the shard sleeps. Between a reap of a
    /// driver and its next enter the driver's thread may put it off until then, and save the call.
    fn signal(&self);
}

/// An owned view of received bytes. Clones share the same memory; when the last one is dropped the
/// memory goes back to the driver. May be held for as long as one likes, under the shard's quota.
pub trait ReceivedBuffer: Deref<Target = [u8]> + Clone + 'static {
    /// Gives up the first `n` bytes of this view.
    ///
    /// # Panics
    /// If it holds fewer.
    fn advance(&mut self, n: usize);

    /// Gives up all but the first `len` bytes of this view; nothing if it holds fewer.
    fn truncate(&mut self, len: usize);
}

/// How long [`Driver::enter`] may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until an event is there.
    Event,
    /// Until an event is there, or this long.
    EventOr(Duration),
}

/// Which of a socket's operations to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The armed receive.
    Receive,
    /// All of them.
    All,
}

/// What happened to an operation.
#[derive(Debug)]
pub enum Event<B> {
    /// The connect has ended.
    Connected {
        /// Which socket.
        key: Key,
        /// Whether it is connected.
        result: io::Result<()>,
    },
    /// Something came, or receiving came to its end.
    Received {
        /// Which socket.
        key: Key,
        /// What came.
        outcome: Received<B>,
        /// Whether receiving goes on by itself.
        more: bool,
        /// The kernel held more for the socket when it told this (`IORING_CQE_F_SOCK_NONEMPTY`, Linux 5.19; where a
        /// kind of socket does not say, never). It tells so much at once of one socket, and the rest after others' turn.
        nonempty: bool,
    },
    /// A send has ended.
    Sent {
        /// Which socket.
        key: Key,
        /// The buffer, advanced by what was sent.
        buffer: SendBuffer,
        /// How many bytes the kernel took, or why none.
        result: io::Result<usize>,
    },
    /// A cancel has ended (its target may still be on the way).
    Cancelled {
        /// Which socket.
        key: Key,
    },
    /// The socket's descriptor is closed and its key void.
    Closed {
        /// Which socket.
        key: Key,
    },
}

/// What an armed receive brought.
#[derive(Debug)]
pub enum Received<B> {
    /// Bytes, at least one.
    Data(B),
    /// The peer sent FIN.
    End,
    /// No buffer was free: arm again when some came back.
    NoBuffers,
    /// It was cancelled, or ended by the kernel for no fault of the peer: arm again if wanted.
    Stopped,
    /// The connection failed.
    Failed(io::Error),
}

/// What a driver counts, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// `io_uring_enter` calls.
    pub enters: u64,
    /// Those of them made because deferred work was left over.
    pub enters_extra: u64,
    /// Operations submitted.
    pub submissions: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Siblings woken from ring to ring, without a system call of their own.
    pub messages: u64,
    /// Receives that ended for want of a buffer.
    pub out_of_buffers: u64,
    /// Completions that failed with EFAULT: the kernel met memory that is gone. Always zero, or it
    /// is our fault.
    pub faults: u64,
    /// Sockets open now.
    pub sockets: u64,
    /// Received buffers held by somebody now.
    pub buffers_held: u64,
}
