//! The sockets of a driver, and what is in flight on each.
//!
//! Owns: descriptors, the memory that operations in flight point to, the translation of completions
//! to events. Never: talks to the ring. Operations go out as entries and come back as completions.
//!
//! A slot takes a new tenant only after the old one was closed or detached, and that only after every
//! operation's final completion: so nothing that the kernel may touch is freed or moved before.

use super::buffers::{Buffers, GROUP, RingBuffer};
use super::token::{Kind, Token};
use super::vectored::Vectored;
use crate::driver::{Event, Received, Scope, SendBuffer};
use crate::slab::Key;
use arrayvec::ArrayVec;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode, squeue};
use socket2::{SockAddr, SockRef, Socket};
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

/// What one send is asked to take at most; the rest is left for the next one. The kernel refuses
/// lengths of 2³¹ and more with EINVAL.
const SEND_MAX: usize = 1 << 30;

/// How many lists of pieces are kept.
const SPARE_MAX: usize = 256;

/// One entry, or one for each operation where the kernel cannot cancel by descriptor.
pub(super) type CancelEntries = ArrayVec<squeue::Entry, 3>;

pub(super) struct Sockets {
    slots: Vec<Slot>,
    /// For the next sends of several pieces.
    #[expect(
        clippy::vec_box,
        reason = "the kernel reads them where they are, wherever the boxes go"
    )]
    spare: Vec<Box<Vectored>>,
    /// Whether the kernel cancels all operations on a descriptor at once (5.19).
    cancel_by_descriptor: bool,
    /// Operations without their final completion, over all sockets.
    in_flight: u64,
    open: u64,
    faults: u64,
    out_of_buffers: u64,
}

/// One slot and its tenant.
struct Slot {
    generation: u32,
    /// The operations in flight, of `CONNECT`, `RECEIVE`, `SEND`.
    in_flight: u8,
    /// Cancels asked for and not yet answered, and the entries that went out for them.
    cancels: u32,
    cancel_entries: u32,
    descriptor: Descriptor,
    /// Boxed, because the table may grow while the kernel reads it. Gone once connected.
    address: Option<Box<SockAddr>>,
    /// What the kernel sends from. Moving this leaves the bytes where they are, on the heap.
    sending: Option<SendBuffer>,
    /// How the kernel finds its pieces, where there are several.
    vectored: Option<Box<Vectored>>,
}

pub(super) enum Descriptor {
    Vacant,
    Open(OwnedFd),
    /// Given to the kernel to close.
    Closing(RawFd),
}

const CONNECT: u8 = 1;
const RECEIVE: u8 = 2;
const SEND: u8 = 4;

const VACANT: Slot = Slot {
    generation: 0,
    in_flight: 0,
    cancels: 0,
    cancel_entries: 0,
    descriptor: Descriptor::Vacant,
    address: None,
    sending: None,
    vectored: None,
};

/// A send never raises SIGPIPE, and goes on by itself until all is sent (5.19).
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

impl Sockets {
    pub(super) fn new(cancel_by_descriptor: bool) -> Sockets {
        Sockets {
            slots: Vec::new(),
            spare: Vec::new(),
            cancel_by_descriptor,
            in_flight: 0,
            open: 0,
            faults: 0,
            out_of_buffers: 0,
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn open(&self) -> u64 {
        self.open
    }

    pub(super) fn faults(&self) -> u64 {
        self.faults
    }

    pub(super) fn out_of_buffers(&self) -> u64 {
        self.out_of_buffers
    }

    pub(super) fn insert(&mut self, key: Key, socket: Socket, address: SockAddr) {
        let index = key.index() as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || VACANT);
        }
        let slot = &mut self.slots[index];
        assert!(slot.is_vacant() && slot.is_quiet(), "a slot has one tenant");
        *slot = Slot {
            generation: key.generation(),
            descriptor: Descriptor::Open(socket.into()),
            address: Some(Box::new(address)),
            ..VACANT
        };
        self.open += 1;
    }

    pub(super) fn connect(&mut self, key: Key) -> squeue::Entry {
        let (slot, descriptor) = self.begin(key, CONNECT);
        let address = slot.address.as_ref().expect("a socket connects once");
        opcode::Connect::new(descriptor, address.as_ptr().cast(), address.len())
            .build()
            .user_data(Token::new(Kind::Connect, key).pack())
    }

    #[inline]
    pub(super) fn receive(&mut self, key: Key) -> squeue::Entry {
        let (_, descriptor) = self.begin(key, RECEIVE);
        opcode::RecvMulti::new(descriptor, GROUP)
            .build()
            .user_data(Token::new(Kind::Receive, key).pack())
    }

    #[inline]
    pub(super) fn send(&mut self, key: Key, buffer: SendBuffer) -> squeue::Entry {
        let spare = match buffer.is_in_pieces() {
            true => Some(self.spare.pop().unwrap_or_else(Vectored::new)),
            false => None,
        };
        let (slot, descriptor) = self.begin(key, SEND);
        slot.vectored = spare;
        let pieces = slot.sending.insert(buffer).pieces();
        let entry = match &mut slot.vectored {
            Some(vectored) => opcode::SendMsg::new(descriptor, vectored.name(pieces, SEND_MAX))
                .flags(SEND_FLAGS as u32)
                .build(),
            None => {
                let mut there = pieces.into_iter().filter(|piece| !piece.is_empty());
                let bytes = there.next().unwrap_or_default();
                let len = bytes.len().min(SEND_MAX) as u32;
                opcode::Send::new(descriptor, bytes.as_ptr(), len)
                    .flags(SEND_FLAGS)
                    .build()
            }
        };
        entry.user_data(Token::new(Kind::Send, key).pack())
    }

    pub(super) fn cancel(&mut self, key: Key, scope: Scope) -> CancelEntries {
        let by_descriptor = self.cancel_by_descriptor;
        let slot = self.open_slot(key);
        let mut targets: ArrayVec<CancelBuilder, 3> = ArrayVec::new();
        let operation = |kind| CancelBuilder::user_data(Token::new(kind, key).pack());
        match scope {
            Scope::Receive => targets.push(operation(Kind::Receive)),
            Scope::All if by_descriptor => targets.push(CancelBuilder::fd(slot.fd()).all()),
            Scope::All => {
                let kinds = [
                    (CONNECT, Kind::Connect),
                    (RECEIVE, Kind::Receive),
                    (SEND, Kind::Send),
                ];
                let in_flight = kinds.iter().filter(|(bit, _)| slot.in_flight & bit != 0);
                targets.extend(in_flight.map(|(_, kind)| operation(*kind)));
                if targets.is_empty() {
                    // Finds nothing, but its completion is the answer.
                    targets.push(operation(Kind::Receive));
                }
            }
        }
        slot.cancels += 1;
        slot.cancel_entries += targets.len() as u32;
        self.in_flight += targets.len() as u64;
        let token = Token::new(Kind::Cancel, key).pack();
        let entry = |target| opcode::AsyncCancel2::new(target).build().user_data(token);
        targets.into_iter().map(entry).collect()
    }

    /// Shuts the socket down, and gives its descriptor to the kernel to close.
    pub(super) fn close(&mut self, key: Key) -> squeue::Entry {
        let slot = self.open_slot(key);
        assert!(slot.is_quiet(), "closed with operations in flight");
        let socket = Socket::from(slot.take_open());
        // It fails where the peer or we were never connected, which is as good.
        let _ = socket.shutdown(Shutdown::Both);
        let raw = socket.into_raw_fd();
        slot.descriptor = Descriptor::Closing(raw);
        self.in_flight += 1;
        opcode::Close::new(Fd(raw))
            .build()
            .user_data(Token::new(Kind::Close, key).pack())
    }

    pub(super) fn detach(&mut self, key: Key) -> OwnedFd {
        let slot = self.open_slot(key);
        assert!(slot.is_quiet(), "detached with operations in flight");
        let descriptor = slot.take_open();
        *slot = VACANT;
        self.open -= 1;
        descriptor
    }

    /// Whether there is nothing to receive.
    pub(super) fn is_silent(&self, key: Key) -> bool {
        let slot = self.slots.get(key.index() as usize);
        let slot = slot.filter(|slot| slot.generation == key.generation());
        let Some(Descriptor::Open(descriptor)) = slot.map(|slot| &slot.descriptor) else {
            return false;
        };
        let (mut byte, flags) = ([MaybeUninit::uninit()], libc::MSG_PEEK | libc::MSG_DONTWAIT);
        let found = SockRef::from(descriptor).recv_with_flags(&mut byte, flags);
        found.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Translates a socket's completion to the event that it is, if its socket is still there.
    #[inline]
    pub(super) fn complete(
        &mut self,
        token: Token,
        completion: &cqueue::Entry,
        buffers: &Rc<Buffers>,
        events: &mut Vec<Event<RingBuffer>>,
    ) {
        let key = token.key;
        let result = completion.result();
        let more = cqueue::more(completion.flags());
        // Taken before anything else: even a stale completion's buffer has to go back.
        let buffer = cqueue::buffer_select(completion.flags())
            .map(|id| buffers.lend(id, result.max(0) as u32, key));
        if result == -libc::EFAULT {
            self.faults += 1;
        }
        let Some(slot) = self.slots.get_mut(key.index() as usize) else {
            return;
        };
        if slot.generation != key.generation() || slot.is_vacant() {
            return;
        }
        if !more {
            self.in_flight -= 1;
        }
        match token.kind {
            Kind::Receive => {
                if !more {
                    slot.in_flight &= !RECEIVE;
                }
                let outcome = received(result, buffer);
                if matches!(outcome, Received::NoBuffers) {
                    self.out_of_buffers += 1;
                }
                events.push(Event::Received {
                    key,
                    outcome,
                    more,
                    nonempty: cqueue::sock_nonempty(completion.flags()),
                });
            }
            Kind::Send => {
                slot.in_flight &= !SEND;
                let mut buffer = slot
                    .sending
                    .take()
                    .expect("a send in flight has its buffer");
                if let Some(vectored) = slot.vectored.take()
                    && self.spare.len() < SPARE_MAX
                {
                    self.spare.push(vectored);
                }
                let result = sent(result);
                buffer.advance(*result.as_ref().unwrap_or(&0));
                events.push(Event::Sent {
                    key,
                    buffer,
                    result,
                });
            }
            Kind::Connect => {
                slot.in_flight &= !CONNECT;
                slot.address = None;
                let result = check(result).map(drop);
                events.push(Event::Connected { key, result });
            }
            Kind::Cancel => {
                // ENOENT and EALREADY are normal: the target ended before, or ends by itself.
                slot.cancel_entries -= 1;
                if slot.cancel_entries == 0 {
                    let cancels = std::mem::take(&mut slot.cancels);
                    events.extend((0..cancels).map(|_| Event::Cancelled { key }));
                }
            }
            Kind::Close => {
                slot.finish_close(result);
                *slot = VACANT;
                self.open -= 1;
                events.push(Event::Closed { key });
            }
            Kind::Wake | Kind::Teardown | Kind::Message | Kind::Unsent | Kind::Pulse => {
                unreachable!("the driver keeps its own")
            }
        }
    }

    #[cfg(test)]
    pub(super) fn descriptor(&mut self, key: Key) -> &Descriptor {
        &self.open_slot(key).descriptor
    }

    fn begin(&mut self, key: Key, operation: u8) -> (&mut Slot, Fd) {
        self.in_flight += 1;
        let slot = self.open_slot(key);
        assert!(
            slot.in_flight & operation == 0,
            "one operation of a kind at a time"
        );
        slot.in_flight |= operation;
        let descriptor = slot.fd();
        (slot, descriptor)
    }

    fn open_slot(&mut self, key: Key) -> &mut Slot {
        let slot = self.slots.get_mut(key.index() as usize);
        match slot {
            Some(slot) if slot.generation == key.generation() => slot,
            Some(_) | None => panic!("no socket is named {key:?}"),
        }
    }
}

impl Slot {
    fn is_vacant(&self) -> bool {
        matches!(self.descriptor, Descriptor::Vacant)
    }

    fn is_quiet(&self) -> bool {
        self.in_flight == 0 && self.cancel_entries == 0
    }

    fn fd(&self) -> Fd {
        match &self.descriptor {
            Descriptor::Open(descriptor) => Fd(descriptor.as_raw_fd()),
            Descriptor::Closing(_) | Descriptor::Vacant => panic!("the socket is closed"),
        }
    }

    fn take_open(&mut self) -> OwnedFd {
        match std::mem::replace(&mut self.descriptor, Descriptor::Vacant) {
            Descriptor::Open(descriptor) => descriptor,
            Descriptor::Closing(_) | Descriptor::Vacant => panic!("the socket is closed"),
        }
    }

    /// Closes the descriptor the usual way if the ring has not: it was cancelled, or the kernel could
    /// not even begin. After EBADF there is nothing to close, after EINTR and EIO (close(2)) it is
    /// closed, and the number may be somebody else's by now.
    fn finish_close(&mut self, result: i32) {
        let Descriptor::Closing(raw) = self.descriptor else {
            unreachable!("a close completes on a socket that is closing");
        };
        match -result {
            0 | libc::EINTR | libc::EIO => {}
            libc::EBADF => debug_assert!(false, "a socket was closed behind our back"),
            // SAFETY: the number came from an `OwnedFd`, which gave it up to be closed, and the
            // kernel says that it did not close it.
            _ => drop(unsafe { OwnedFd::from_raw_fd(raw) }),
        }
    }
}

fn check(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn sent(result: i32) -> io::Result<usize> {
    match -result {
        // Interrupted before the first byte: nothing was sent, and nothing is wrong.
        libc::EINTR | libc::EAGAIN => Ok(0),
        _ => check(result),
    }
}

#[inline]
fn received(result: i32, buffer: Option<RingBuffer>) -> Received<RingBuffer> {
    match (result, buffer) {
        (1.., Some(buffer)) => Received::Data(buffer),
        (1.., None) => Received::Failed(io::Error::other("the kernel named no buffer")),
        // A buffer picked for nothing goes back here.
        (0, _) => Received::End,
        (..0, _) => match -result {
            libc::ENOBUFS => Received::NoBuffers,
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => Received::Stopped,
            errno => Received::Failed(io::Error::from_raw_os_error(errno)),
        },
    }
}
