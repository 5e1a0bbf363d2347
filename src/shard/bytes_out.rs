//! What a connection still has to send.
//!
//! Owns: blocks of bytes in order, with what is shared within them. Never: sends; the shard hands one block at a time to
//! the driver, so that two sends can never cross.

use crate::driver::SendBuffer;
use bytes::Bytes;
use std::collections::VecDeque;

/// Bodies shorter than this are copied behind what is waiting already: one send less is worth more
/// than a copy of a page.
const COPY_BELOW: usize = 4096;

/// With more than this waiting to be sent, writers wait: enough to keep the socket's buffer full.
const ROOM: usize = 64 * 1024;

/// A block has room for this much at least, which most heads need no more than.
const BLOCK_MIN: usize = 1024;

/// A block grows to about this much before the next one is begun.
const BLOCK_FULL: usize = 16 * 1024;

/// Bytes on their way out.
pub(crate) struct Outbound {
    /// What is being filled, if anything is; behind everything in `queue`.
    open: Option<SendBuffer>,
    queue: VecDeque<SendBuffer>,
    /// What is still to be encrypted, behind everything else: large bodies, a piece at a time.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    /// Bytes in `open` and `queue`, and in the send under way.
    pending: usize,
    /// Bytes handed to the driver since the connection was leased; ever, where it has streams.
    pub(crate) handed: u64,
    /// Sending has failed, for good.
    pub(crate) failed: Option<std::io::ErrorKind>,
}

impl Outbound {
    pub(crate) fn new() -> Outbound {
        Outbound {
            open: None,
            queue: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            pending: 0,
            handed: 0,
            failed: None,
        }
    }

    /// Bytes not yet taken by the kernel.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Where the next byte will be, counted as [`handed`](Outbound::handed) is.
    pub(crate) fn position(&self) -> u64 {
        let waiting = self.queue.iter().chain(&self.open);
        self.handed + waiting.map(SendBuffer::len).sum::<usize>() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending == 0 && self.held.is_empty()
    }

    /// Whether a writer may add more before what is there has gone.
    pub(crate) fn has_room(&self) -> bool {
        self.pending + self.held_bytes < ROOM
    }

    /// Whether something waits to be encrypted.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Keeps bytes until there is room to encrypt them.
    pub(crate) fn hold(&mut self, bytes: Bytes) {
        self.held_bytes += bytes.len();
        self.held.push_back(bytes);
    }

    /// The next bytes to encrypt, if there is room for them.
    pub(crate) fn take_held(&mut self) -> Option<Bytes> {
        if self.pending >= ROOM {
            return None;
        }
        let front = self.held.front_mut()?;
        let piece = front.split_to(front.len().min(BLOCK_FULL));
        if front.is_empty() {
            self.held.pop_front();
        }
        self.held_bytes -= piece.len();
        Some(piece)
    }

    /// Lets `fill` append to the open block, which is taken from `blocks` if there is none.
    pub(crate) fn append<R>(
        &mut self,
        blocks: &mut Vec<SendBuffer>,
        fill: impl FnOnce(&mut Vec<u8>) -> R,
    ) -> R {
        let block = self.open(blocks).block();
        if block.capacity() == 0 {
            block.reserve(BLOCK_MIN);
        }
        let before = block.len();
        let result = fill(block);
        let after = block.len();
        debug_assert!(after >= before, "only ever appended to");
        self.pending += after - before;
        if after >= BLOCK_FULL {
            self.close();
        }
        result
    }

    #[inline]
    fn open(&mut self, blocks: &mut Vec<SendBuffer>) -> &mut SendBuffer {
        self.open
            .get_or_insert_with(|| blocks.pop().unwrap_or_default())
    }

    /// Takes the last `n` appended bytes back.
    pub(crate) fn take_back(&mut self, n: usize) {
        match &mut self.open {
            Some(open) => open.take_back(n),
            None => assert!(n == 0, "taken back more than was appended"),
        }
        self.pending -= n;
    }

    /// Appends somebody else's bytes, without copying where they are many.
    pub(crate) fn append_shared(&mut self, blocks: &mut Vec<SendBuffer>, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            self.append(blocks, |block| block.extend_from_slice(&bytes));
            return;
        }
        if !self.open(blocks).takes_shared() {
            self.close();
        }
        self.pending += bytes.len();
        self.open(blocks).share(bytes);
    }

    /// The next block to send, if any.
    pub(crate) fn next(&mut self) -> Option<SendBuffer> {
        if let Some(buffer) = self.queue.pop_front() {
            return Some(buffer);
        }
        self.open.take_if(|open| !open.is_empty())
    }

    /// The kernel took `n` bytes.
    pub(crate) fn sent(&mut self, n: usize) {
        self.pending -= n;
    }

    /// Nothing more will be sent: drops what is waiting.
    pub(crate) fn abandon(&mut self, blocks: &mut Vec<SendBuffer>, why: std::io::ErrorKind) {
        self.failed.get_or_insert(why);
        self.queue.clear();
        self.held.clear();
        self.held_bytes = 0;
        if let Some(open) = self.open.take() {
            recycle(blocks, open);
        }
        self.pending = 0;
    }

    /// A connection at rest holds no block.
    #[inline]
    pub(crate) fn rest(&mut self, blocks: &mut Vec<SendBuffer>) {
        debug_assert!(
            self.is_empty(),
            "at rest with {} bytes to send",
            self.pending
        );
        // Seldom: what was filled last went to the driver.
        if let Some(open) = self.open.take() {
            recycle(blocks, open);
        }
    }

    fn close(&mut self) {
        self.queue
            .extend(self.open.take_if(|open| !open.is_empty()));
    }
}

/// Keeps a block for the next one who needs one, unless there are plenty or it has grown large.
pub(crate) fn recycle(blocks: &mut Vec<SendBuffer>, mut block: SendBuffer) {
    const BLOCKS_MAX: usize = 256;
    if block.capacity() <= 2 * BLOCK_FULL && blocks.len() < BLOCKS_MAX {
        block.clear();
        blocks.push(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_over_copies_and_shared_bytes() {
        let (mut out, mut blocks) = (Outbound::new(), Vec::new());
        out.append(&mut blocks, |block| block.extend_from_slice(b"head"));
        out.append_shared(&mut blocks, Bytes::from_static(b"small"));
        out.append_shared(&mut blocks, Bytes::from(vec![b'x'; 5000]));
        out.append_shared(&mut blocks, Bytes::from_static(b"tail"));
        out.append_shared(&mut blocks, Bytes::from(vec![b'y'; 6000]));
        assert_eq!(out.pending(), 4 + 5 + 5000 + 4 + 6000);
        let mut sent = Vec::new();
        while let Some(buffer) = out.next() {
            sent.push(buffer.pieces().map(<[u8]>::len));
            out.sent(buffer.len());
        }
        assert_eq!(sent, [[9, 5000, 4], [0, 6000, 0]]);
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_held_comes_in_pieces_while_there_is_room() {
        let (mut out, mut blocks) = (Outbound::new(), Vec::new());
        out.hold(Bytes::from(vec![b'x'; 1 << 20]));
        assert!(!out.has_room() && !out.is_empty());
        let mut taken = 0;
        while let Some(piece) = out.take_held() {
            taken += piece.len();
            out.append(&mut blocks, |block| block.extend_from_slice(&piece));
        }
        assert_eq!(taken, ROOM);
        while let Some(buffer) = out.next() {
            out.sent(buffer.len());
        }
        assert!(out.has_held() && out.take_held().is_some());
        out.abandon(&mut blocks, std::io::ErrorKind::BrokenPipe);
        assert!(out.is_empty() && out.take_held().is_none());
    }

    #[test]
    fn blocks_are_reused_but_not_hoarded() {
        let mut blocks = Vec::new();
        recycle(&mut blocks, Vec::with_capacity(100).into());
        recycle(&mut blocks, Vec::with_capacity(1 << 20).into());
        assert_eq!(blocks.len(), 1);
    }

    #[test]
    fn what_was_appended_can_be_taken_back() {
        let (mut out, mut blocks) = (Outbound::new(), Vec::new());
        out.append(&mut blocks, |block| block.extend_from_slice(b"abc"));
        out.take_back(2);
        assert_eq!(out.next().unwrap().pieces().concat(), b"a");
        out.sent(1);
        out.take_back(0);
        assert!(out.is_empty());
    }
}
