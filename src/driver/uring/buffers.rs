//! The memory that the kernel receives into: one ring of provided buffers for a whole driver.
//!
//! Owns: the buffers, the ring that offers them (IORING_REGISTER_PBUF_RING, 5.19), and the count of
//! who holds which. Never: offers a buffer that somebody still holds, or frees the memory while a
//! handle or the driver lives. An idle socket takes no buffer: the kernel picks one when bytes come.

use crate::driver::ReceivedBuffer;
use crate::slab::Key;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The only buffer group of a driver.
pub(super) const GROUP: u16 = 0;

/// Received bytes, in place, where the kernel put them.
///
/// Not `Send`. A clone is another view of the same bytes and costs no atomic operation. When the
/// last view is dropped the buffer is offered to the kernel again. Views may outlive the driver.
pub struct RingBuffer {
    buffers: Rc<Buffers>,
    start: NonNull<u8>,
    len: u32,
    id: u16,
}

impl Deref for RingBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start..start + len` lies within buffer `id`, whose memory `buffers` keeps mapped,
        // and which the kernel has filled and does not write again before the last view is dropped.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl ReceivedBuffer for RingBuffer {
    #[inline]
    fn advance(&mut self, n: usize) {
        assert!(
            n <= self.len as usize,
            "advanced past the end of a received buffer"
        );
        // SAFETY: `n` is at most `len`, so the result is within the buffer or one past its end.
        self.start = unsafe { self.start.add(n) };
        self.len -= n as u32;
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        if len < self.len as usize {
            self.len = len as u32;
        }
    }
}

impl Clone for RingBuffer {
    fn clone(&self) -> RingBuffer {
        let views = &self.buffers.loans[self.id as usize].views;
        // As many views as would wrap the count cannot fit in memory.
        views.set(views.get() + 1);
        RingBuffer {
            buffers: Rc::clone(&self.buffers),
            start: self.start,
            len: self.len,
            id: self.id,
        }
    }
}

impl Drop for RingBuffer {
    #[inline]
    fn drop(&mut self) {
        let views = &self.buffers.loans[self.id as usize].views;
        views.set(views.get() - 1);
        if views.get() == 0 {
            self.buffers.take_back(self.id);
        }
    }
}

impl fmt::Debug for RingBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RingBuffer({} bytes of buffer {})", self.len, self.id)
    }
}

/// All buffers of a driver.
pub(super) struct Buffers {
    mapping: NonNull<u8>,
    mapping_len: usize,
    /// Where the first buffer begins; the ring's entries come before it.
    first: NonNull<u8>,
    count: u16,
    size: u32,
    /// Our copy of the ring's tail. It runs freely; the kernel masks it.
    tail: Cell<u16>,
    loans: Box<[Loan]>,
    held: Cell<u32>,
    held_by: RefCell<Vec<Held>>,
}

/// Who holds a buffer.
struct Loan {
    views: Cell<u32>,
    owner: Cell<Key>,
}

/// How many buffers came for a slot's present tenant and are still held.
#[derive(Clone, Copy, Default)]
struct Held {
    generation: u32,
    count: u32,
}

impl Buffers {
    /// Maps `count` (a power of two up to 2¹⁵) buffers of `size` bytes. Pages that are never
    /// received into never cost memory.
    pub(super) fn new(count: u16, size: u32) -> io::Result<Rc<Buffers>> {
        assert!(count.is_power_of_two() && count <= 1 << 15 && size > 0);
        // The ring has to begin on a page boundary, as a mapping does; the buffers need not.
        let ring_len = (count as usize * size_of::<BufRingEntry>()).next_multiple_of(4096);
        let mapping_len = ring_len + count as usize * size as usize;
        let mapping = map(mapping_len)?;
        let loan = || Loan {
            views: Cell::new(0),
            owner: Cell::new(Key::from_parts(0, 0)),
        };
        let buffers = Buffers {
            mapping,
            mapping_len,
            // SAFETY: `ring_len` is less than the length of the mapping.
            first: unsafe { mapping.add(ring_len) },
            count,
            size,
            tail: Cell::new(0),
            loans: (0..count).map(|_| loan()).collect(),
            held: Cell::new(0),
            held_by: RefCell::new(Vec::new()),
        };
        (0..count).for_each(|id| buffers.offer(id));
        Ok(Rc::new(buffers))
    }

    /// Makes the ring known to the kernel. The memory must then outlive that ring's operations.
    pub(super) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.mapping.as_ptr() as u64;
        // SAFETY: the mapping begins with `count` initialized entries, on a page boundary, and the
        // driver keeps it mapped until all operations of its ring have ended.
        unsafe { submitter.register_buf_ring_with_flags(address, self.count, GROUP, 0) }
    }

    /// Starts to count for a slot's new tenant. What a former tenant received may still be held; it
    /// counts for nobody but [`held`](Buffers::held).
    pub(super) fn begin(&self, owner: Key) {
        let mut held_by = self.held_by.borrow_mut();
        let index = owner.index() as usize;
        if held_by.len() <= index {
            held_by.resize(index + 1, Held::default());
        }
        held_by[index] = Held {
            generation: owner.generation(),
            count: 0,
        };
    }

    /// The first `len` bytes of buffer `id`, which the kernel has just filled for `owner`.
    #[inline]
    pub(super) fn lend(self: &Rc<Buffers>, id: u16, len: u32, owner: Key) -> RingBuffer {
        let loan = &self.loans[id as usize];
        assert!(
            loan.views.get() == 0,
            "the kernel filled a buffer that is held"
        );
        assert!(len <= self.size, "the kernel filled more than a buffer");
        loan.views.set(1);
        loan.owner.set(owner);
        self.held.set(self.held.get() + 1);
        if let Some(held) = self.held_by.borrow_mut().get_mut(owner.index() as usize)
            && held.generation == owner.generation()
        {
            held.count += 1;
        }
        RingBuffer {
            buffers: Rc::clone(self),
            start: self.start_of(id),
            len,
            id,
        }
    }

    pub(super) fn held_by(&self, owner: Key) -> u32 {
        match self.held_by.borrow().get(owner.index() as usize) {
            Some(held) if held.generation == owner.generation() => held.count,
            Some(_) | None => 0,
        }
    }

    pub(super) fn held(&self) -> u32 {
        self.held.get()
    }

    pub(super) fn free(&self) -> u32 {
        u32::from(self.count) - self.held.get()
    }

    fn start_of(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < self.count);
        // SAFETY: the mapping holds `count` buffers of `size` bytes from `first` on.
        unsafe { self.first.add(id as usize * self.size as usize) }
    }

    #[inline]
    fn take_back(&self, id: u16) {
        let owner = self.loans[id as usize].owner.get();
        self.held.set(self.held.get() - 1);
        if let Some(held) = self.held_by.borrow_mut().get_mut(owner.index() as usize)
            && held.generation == owner.generation()
        {
            held.count -= 1;
        }
        self.offer(id);
    }

    /// Puts buffer `id` on the ring. It is not on it: a ring as large as the number of buffers never
    /// runs over.
    fn offer(&self, id: u16) {
        let tail = self.tail.get();
        let ring = self.mapping.cast::<BufRingEntry>();
        // SAFETY: the entry is within the ring and, being past the tail, ours to write. The setters
        // leave the field alone that is the ring's tail in the first entry.
        let entry = unsafe { ring.add((tail & (self.count - 1)) as usize).as_mut() };
        entry.set_addr(self.start_of(id).as_ptr() as u64);
        entry.set_len(self.size);
        entry.set_bid(id);
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail is an aligned u16 in the first entry, which the kernel reads with acquire
        // ordering and never writes. Release publishes the entry before it.
        unsafe {
            let shared = BufRingEntry::tail(ring.as_ptr()).cast::<AtomicU16>();
            (*shared).store(self.tail.get(), Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nobody is left: views hold an `Rc` of this, and the driver
        // keeps its own until no operation can write here (or for ever, if it cannot tell).
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}

fn map(len: usize) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32, generation: u32) -> Key {
        Key::from_parts(index, generation)
    }

    #[test]
    fn a_buffer_comes_back_with_its_last_view_only() {
        let buffers = Buffers::new(4, 64).unwrap();
        buffers.begin(key(2, 1));
        let whole = buffers.lend(3, 10, key(2, 1));
        let mut part = whole.clone();
        part.advance(4);
        part.truncate(3);
        part.truncate(100);
        assert_eq!((whole.len(), part.len()), (10, 3));
        drop(whole);
        assert_eq!((buffers.held_by(key(2, 1)), buffers.free()), (1, 3));
        drop(part);
        assert_eq!((buffers.held_by(key(2, 1)), buffers.free()), (0, 4));
    }

    #[test]
    fn a_new_tenant_is_not_charged_for_the_old_ones_buffers() {
        let buffers = Buffers::new(4, 64).unwrap();
        buffers.begin(key(0, 1));
        let old = buffers.lend(0, 1, key(0, 1));
        buffers.begin(key(0, 2));
        let new = buffers.lend(1, 1, key(0, 2));
        assert_eq!(
            (buffers.held_by(key(0, 1)), buffers.held_by(key(0, 2))),
            (0, 1)
        );
        drop(old);
        assert_eq!((buffers.held_by(key(0, 2)), buffers.held()), (1, 1));
        drop(new);
        assert_eq!((buffers.held_by(key(0, 2)), buffers.held()), (0, 0));
    }

    #[test]
    #[should_panic(expected = "advanced past the end")]
    fn advancing_past_the_end_panics() {
        let buffers = Buffers::new(1, 64).unwrap();
        buffers.lend(0, 3, key(0, 1)).advance(4);
    }

    #[test]
    fn the_tail_counts_every_offer() {
        let buffers = Buffers::new(2, 64).unwrap();
        for turn in 0..u16::MAX {
            assert_eq!(buffers.tail.get(), turn.wrapping_add(2));
            drop(buffers.lend(turn & 1, 1, key(0, 1)));
        }
    }
}
