//! What the kernel receives into: a ring of provided buffers.
//!
//! Owns: the buffers, and in which order they are offered. Never: offers one that is on the ring already.

use crate::variant::Memory;
use io_uring::Submitter;
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// IOU_PBUF_RING_INC (6.12).
const INCREMENTAL: u16 = 2;
/// IORING_CQE_F_BUF_MORE: the buffer goes on being filled.
const BUF_MORE: u32 = 1 << 4;
const HUGE: usize = 2 << 20;

/// Bytes of one buffer, and how many there are, a power of two.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    len: usize,
    count: u16,
}

impl Sizes {
    /// For small responses; and for those that do not fit one buffer: fewer and larger, so that a response takes fewer
    /// receives, and all of them stay near the core.
    fn of(memory: Memory, response_len: usize) -> Sizes {
        let (len, count) = match response_len {
            0..=4096 => (4096, 1024),
            _ => (16 << 10, 256),
        };
        match memory {
            Memory::Pages | Memory::HugePages => Sizes { len, count },
            Memory::Few => Sizes {
                len,
                count: count / 16,
            },
            Memory::Fewer => Sizes {
                len,
                count: count / 4,
            },
            Memory::Incremental => Sizes {
                len: 64 << 10,
                count: 64,
            },
        }
    }
}

pub(crate) struct Provided {
    sizes: Sizes,
    flags: u16,
    mapping: NonNull<u8>,
    mapping_len: usize,
    first: usize,
    /// Where on the ring each buffer was offered last.
    position: Vec<u16>,
}

impl Provided {
    pub(crate) fn new(memory: Memory, response_len: usize) -> io::Result<Provided> {
        let sizes = Sizes::of(memory, response_len);
        let first = (usize::from(sizes.count) * size_of::<BufRingEntry>()).next_multiple_of(HUGE);
        let mapping_len = (first + usize::from(sizes.count) * sizes.len).next_multiple_of(HUGE);
        let mut provided = Provided {
            sizes,
            flags: match memory {
                Memory::Incremental => INCREMENTAL,
                Memory::Pages | Memory::HugePages | Memory::Few | Memory::Fewer => 0,
            },
            mapping: map(mapping_len, memory == Memory::HugePages)?,
            mapping_len,
            first,
            position: vec![0; usize::from(sizes.count)],
        };
        (0..sizes.count).for_each(|id| provided.offer(id));
        Ok(provided)
    }

    /// Bytes of one buffer.
    pub(crate) fn len(&self) -> usize {
        self.sizes.len
    }

    pub(crate) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.mapping.as_ptr() as u64;
        // SAFETY: the mapping is page-aligned, begins with the ring, and outlives the kernel's use of it.
        unsafe { submitter.register_buf_ring_with_flags(address, self.sizes.count, 0, self.flags) }
    }

    /// Takes back what a completion of `got` bytes brought, whose first buffer is `id`.
    pub(crate) fn take_back(&mut self, id: u16, got: usize, flags: u32) {
        if self.flags == INCREMENTAL {
            if flags & BUF_MORE == 0 {
                self.offer(id);
            }
            return;
        }
        let mask = self.sizes.count - 1;
        let begin = self.position[usize::from(id)];
        for nth in 0..got.div_ceil(self.sizes.len).max(1) as u16 {
            // In a bundle they follow one another as they were offered.
            let taken = match nth {
                0 => id,
                _ => self.entry(begin.wrapping_add(nth) & mask).bid(),
            };
            self.offer(taken);
        }
    }

    fn offer(&mut self, id: u16) {
        let mask = self.sizes.count - 1;
        // SAFETY: the tail lies in the first entry, aligned, and the kernel only reads it.
        let tail =
            unsafe { &*BufRingEntry::tail(self.mapping.as_ptr().cast()).cast::<AtomicU16>() };
        let at = tail.load(Ordering::Relaxed);
        let (len, address) = (self.sizes.len, self.address(id));
        let entry = self.entry(at & mask);
        entry.set_addr(address);
        entry.set_len(len as u32);
        entry.set_bid(id);
        tail.store(at.wrapping_add(1), Ordering::Release);
        self.position[usize::from(id)] = at & mask;
    }

    fn entry(&mut self, at: u16) -> &mut BufRingEntry {
        let ring = self.mapping.cast::<BufRingEntry>();
        // SAFETY: the masked index is within the ring, at the mapping's begin; the kernel only reads it.
        unsafe { ring.add(usize::from(at)).as_mut() }
    }

    fn address(&self, id: u16) -> u64 {
        let offset = self.first + usize::from(id) * self.sizes.len;
        self.mapping.as_ptr() as u64 + offset as u64
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours; whoever drops this knows that the kernel does not write there any more.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.mapping_len) };
    }
}

fn map(len: usize, huge: bool) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing of ours.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    if huge {
        // SAFETY: advice about the mapping that was just made.
        unsafe { libc::madvise(address, len, libc::MADV_HUGEPAGE) };
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}
