//! The production driver: io_uring.
//!
//! Owns: one ring, its provided buffers, its sockets; all on the thread that made it. Never: decides
//! anything, or frees memory that the kernel may still write to. The only `unsafe` code of the
//! project is in here.
//!
//! - [`ring`]: the queues and the system call; - [`buffers`]: what the kernel receives into;
//! - [`sockets`]: what is in flight, and completions as events; - [`token`]: the names of operations; - [`vectored`]: sends of several pieces;
//! - [`spin`] and [`pulse`]: before a sleep; - [`signal`]: the end of a sleep; - [`messages`]: from ring to ring; - [`probe`] and [`refusal`]: what the kernel can do, or why not.

mod buffers;
mod messages;
mod probe;
mod pulse;
mod refusal;
mod ring;
mod scarce;
mod signal;
mod sockets;
mod spin;
mod token;
mod vectored;

#[cfg(test)]
mod tests;

use crate::driver::socket::{self, SocketOptions};
use crate::driver::{Counters, Driver, Event, Scope, SendBuffer, Signal, Wait};
use crate::endpoint::Endpoint;
use crate::slab::Key;
use buffers::Buffers;
use io_uring::{opcode, types::CancelBuilder};
use messages::Messages;
use pulse::Pulse;
use ring::Ring;
use signal::Wake;
use sockets::Sockets;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use token::{Kind, Token};

pub use buffers::RingBuffer;
pub use probe::{Probe, probe};
pub use refusal::Refusal;

/// Sizes of a driver's queues and buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Submission queue entries, rounded up to a power of two. 1024: a turn of the loop seldom
    /// queues as many; if it does, the rest costs one system call more.
    pub entries: u32,
    /// Completion queue entries, rounded up to a power of two, at least `entries`. 4096: room for
    /// every buffer and a send for each of some thousand sockets within one turn. If more come,
    /// the kernel keeps them at a cost, and nothing is lost.
    pub completions: u32,
    /// Buffers to receive into, a power of two up to 32,768. 256: only sockets with unread bytes
    /// hold one, and the time between two turns fills no more.
    pub buffers: u16,
    /// Bytes in each. 16,384: a TLS record, and most responses, in one piece.
    pub buffer_size: u32,
    /// How long to look out for completions before a sleep. Zero: the core may be wanted by others.
    pub spin: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            entries: 1024,
            completions: 4096,
            buffers: 256,
            buffer_size: 16_384,
            spin: Duration::ZERO,
        }
    }
}

impl Settings {
    fn check(&self) -> Result<(), Refusal> {
        if self.entries == 0 || self.completions == 0 {
            return Err(Refusal::settings("a queue has at least one entry"));
        }
        if !self.buffers.is_power_of_two() || self.buffers > 1 << 15 {
            return Err(Refusal::settings("buffers is a power of two up to 32,768"));
        }
        if self.buffer_size == 0 || self.buffer_size > i32::MAX as u32 {
            return Err(Refusal::settings("buffer_size is between 1 and 2^31 - 1"));
        }
        Ok(())
    }
}

/// The production driver. Belongs to the thread that made it: not `Send`.
pub struct Uring {
    ring: Ring,
    // What the kernel may use as long as an operation is in flight. Leaked, unless it was seen that none is:
    // so it is whatever ends the driver, a panic while it drains among that.
    sockets: ManuallyDrop<Sockets>,
    buffers: ManuallyDrop<Rc<Buffers>>,
    wake: Arc<Wake>,
    /// Whether the poll on `wake` is armed.
    wake_armed: bool,
    pulse: Pulse,
    messages: Messages,
    completions: u64,
}

/// How many times one [`Driver::reap`] lets in completions that had found no room.
const OVERFLOW_PASSES: u32 = 64;

/// How long a dropped driver waits for its operations to end: this often, this long.
const TEARDOWN_PASSES: u32 = 50;
const TEARDOWN_WAIT: Duration = Duration::from_millis(10);

impl Uring {
    /// Makes a driver for this thread. Where the kernel has no memory for queues as long as asked for, it is tried some
    /// times more, for 21 ms in all, and then with shorter ones ([`Uring::entries`]).
    ///
    /// # Errors
    /// If io_uring is forbidden, or lacks what the driver needs, or resources ran out; the error
    /// names the cause and the remedy.
    pub fn new(settings: &Settings) -> Result<Uring, Refusal> {
        settings.check()?;
        scarce::patiently(settings, Uring::set_up)
    }

    fn set_up(settings: &Settings) -> Result<Uring, Refusal> {
        let probe = probe::once()?;
        if !probe.buffer_ring {
            return Err(Refusal::lacking("no provided-buffer rings"));
        }
        if !probe.receive_multishot {
            return Err(Refusal::lacking("no multishot receive"));
        }
        if !probe.wait_timeout {
            return Err(Refusal::lacking("no time-out on waits"));
        }
        let ring = Ring::new(settings, probe).map_err(Refusal::of)?;
        let buffers = Buffers::new(settings.buffers, settings.buffer_size).map_err(Refusal::of)?;
        let submitter = ring.io_uring().submitter();
        buffers.register(&submitter).map_err(Refusal::of)?;
        // SAFETY: the descriptor is the ring's, which is here.
        let descriptor = unsafe { BorrowedFd::borrow_raw(ring.io_uring().as_raw_fd()) };
        let wake = Wake::new(probe.ring_messages.then_some(descriptor)).map_err(Refusal::of)?;
        let mut driver = Uring {
            ring,
            sockets: ManuallyDrop::new(Sockets::new(probe.cancel_by_descriptor)),
            buffers: ManuallyDrop::new(buffers),
            wake: Arc::new(wake),
            wake_armed: false,
            pulse: Pulse::new(),
            messages: Messages::new(probe.ring_messages),
            completions: 0,
        };
        driver.arm_wake();
        Ok(driver)
    }

    /// How many submissions the ring holds, a power of two. Fewer than asked for if memory was short, or if so many are not
    /// allowed.
    pub fn entries(&self) -> u32 {
        self.ring.io_uring().params().sq_entries()
    }

    /// How often the kernel said that it lost completions (EBADR): it had no memory to keep those
    /// that found no room. [`Driver::enter`] has failed as often. Always zero on a sane machine.
    #[cfg(test)]
    pub fn losses(&self) -> u64 {
        self.ring.lost
    }

    fn arm_wake(&mut self) {
        self.wake_armed = true;
        // SAFETY: a poll points to no memory; its descriptor lives as long as the driver.
        unsafe { self.ring.push(self.wake.poll()) };
    }

    /// Appends what the completion queue holds.
    fn reap_once(&mut self, events: &mut Vec<Event<RingBuffer>>) {
        let (mut reaped, mut pulses, sleeps) = (0, 0, self.ring.sleeps);
        for completion in self.ring.completions() {
            reaped += 1;
            let Some(token) = Token::unpack(completion.user_data()) else {
                debug_assert!(false, "a completion without a token");
                continue;
            };
            match token.kind {
                Kind::Wake => self.wake_armed = io_uring::cqueue::more(completion.flags()),
                // The sleep is over, which is all that it says.
                Kind::Message | Kind::Teardown => {}
                Kind::Pulse => {
                    pulses += 1;
                    self.pulse.ended(completion.result(), sleeps);
                }
                Kind::Unsent => self.messages.failed(-completion.result()),
                Kind::Connect | Kind::Receive | Kind::Send | Kind::Cancel | Kind::Close => {
                    self.sockets
                        .complete(token, &completion, &self.buffers, events);
                }
            }
        }
        self.completions += reaped;
        self.ring.reaped(reaped > pulses);
    }

    /// Cancels everything and waits, but not for long. Returns whether all has ended.
    fn drain(&mut self) -> bool {
        let everything = opcode::AsyncCancel2::new(CancelBuilder::any())
            .build()
            .user_data(Token::internal(Kind::Teardown).pack());
        // SAFETY: a cancel points to no memory.
        unsafe { self.ring.push(everything) };
        let mut events = Vec::new();
        for _ in 0..TEARDOWN_PASSES {
            if self.ring.enter(Wait::EventOr(TEARDOWN_WAIT)).is_err() {
                return false;
            }
            self.reap_once(&mut events);
            events.clear();
            if self.sockets.in_flight() == 0 && !self.wake_armed && !self.ring.overflowed() {
                return true;
            }
        }
        false
    }
}

impl Driver for Uring {
    type Buffer = RingBuffer;

    fn open(&mut self, key: Key, endpoint: &Endpoint, options: &SocketOptions) -> io::Result<()> {
        let (socket, address) = socket::stream(endpoint, options)?;
        self.sockets.insert(key, socket, address);
        self.buffers.begin(key);
        Ok(())
    }

    fn connect(&mut self, key: Key) {
        // SAFETY: the table keeps the address, boxed, until the completion.
        unsafe { self.ring.push(self.sockets.connect(key)) };
    }

    fn receive(&mut self, key: Key) {
        // SAFETY: the kernel picks from `buffers`, which outlive the ring or are leaked.
        unsafe { self.ring.push(self.sockets.receive(key)) };
    }

    fn send(&mut self, key: Key, buffer: SendBuffer) {
        // SAFETY: the table keeps the buffer, and the list of its pieces, until the completion.
        unsafe { self.ring.push(self.sockets.send(key, buffer)) };
    }

    fn cancel(&mut self, key: Key, scope: Scope) {
        for entry in self.sockets.cancel(key, scope) {
            // SAFETY: a cancel points to no memory.
            unsafe { self.ring.push(entry) };
        }
    }

    fn close(&mut self, key: Key) {
        // SAFETY: a close points to no memory, and the table has given the descriptor up for it.
        unsafe { self.ring.push(self.sockets.close(key)) };
    }

    fn detach(&mut self, key: Key) -> io::Result<OwnedFd> {
        Ok(self.sockets.detach(key))
    }

    #[inline]
    fn pending(&self) -> bool {
        self.ring.pending()
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let all_gone = self.ring.is_handed_over();
        for message in self.messages.end_turn(all_gone) {
            // SAFETY: a message points to no memory, and `messages` keeps the descriptor until it is handed over.
            unsafe { self.ring.push(message) };
        }
        if wait != Wait::No
            && let Some(pulse) = self.pulse.arm(self.ring.sleeps)
        {
            // SAFETY: a pulse points to static memory alone.
            unsafe { self.ring.push(pulse) };
        }
        self.ring.enter(wait)
    }

    fn reap(&mut self, events: &mut Vec<Event<RingBuffer>>) {
        self.messages.begin_turn();
        self.reap_once(events);
        for _ in 0..OVERFLOW_PASSES {
            // An error will meet the next `enter`, which can tell it.
            if !self.ring.overflowed() || self.ring.flush_overflow().is_err() {
                break;
            }
            self.reap_once(events);
        }
        if !self.wake_armed {
            self.arm_wake();
        }
    }

    fn is_silent(&self, key: Key) -> bool {
        self.sockets.is_silent(key)
    }

    fn buffers_held(&self, key: Key) -> u32 {
        self.buffers.held_by(key)
    }

    fn buffers_free(&self) -> u32 {
        self.buffers.free()
    }

    fn signal(&self) -> Arc<dyn Signal> {
        Arc::clone(&self.wake) as Arc<dyn Signal>
    }

    fn counters(&self) -> Counters {
        let (enters, enters_extra) = self.ring.calls();
        Counters {
            enters,
            enters_extra,
            submissions: self.ring.submissions,
            completions: self.completions,
            messages: self.messages.count,
            out_of_buffers: self.sockets.out_of_buffers(),
            faults: self.sockets.faults(),
            sockets: self.sockets.open(),
            buffers_held: u64::from(self.buffers.held()),
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Better to lose memory and descriptors than to have the kernel write to what is somebody else's
        // by then.
        if self.drain() {
            // SAFETY: no operation is in flight, and neither is used again.
            unsafe {
                ManuallyDrop::drop(&mut self.sockets);
                ManuallyDrop::drop(&mut self.buffers);
            }
        }
    }
}
