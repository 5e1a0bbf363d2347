//! What a simulated receive brings.
//!
//! Owns: the memory of received bytes, and its place in the counts of who holds how much.
//! Never: outlives its last holder.

use crate::driver::ReceivedBuffer;
use bytes::Bytes;
use std::cell::Cell;
use std::ops::{Deref, Range};
use std::rc::Rc;

/// Received bytes, counted until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct SimBuffer {
    memory: Rc<Held>,
    range: Range<usize>,
}

#[derive(Debug)]
struct Held {
    bytes: Bytes,
    /// The counts, of the driver and of the socket, in which this buffer is.
    holders: [Rc<Cell<u32>>; 2],
}

impl SimBuffer {
    /// Bytes that count in `holders` as long as somebody holds them.
    pub(super) fn new(bytes: Bytes, holders: [Rc<Cell<u32>>; 2]) -> SimBuffer {
        for holder in &holders {
            holder.set(holder.get() + 1);
        }
        SimBuffer {
            range: 0..bytes.len(),
            memory: Rc::new(Held { bytes, holders }),
        }
    }
}

impl Deref for SimBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory.bytes[self.range.clone()]
    }
}

impl ReceivedBuffer for SimBuffer {
    fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "advanced past the end");
        self.range.start += n;
    }

    fn truncate(&mut self, len: usize) {
        self.range.end = self.range.end.min(self.range.start + len);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for holder in &self.holders {
            holder.set(holder.get() - 1);
        }
    }
}
