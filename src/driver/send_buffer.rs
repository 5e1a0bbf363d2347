//! Bytes to send.
//!
//! Owns: a block of one's own and somebody else's bytes within it, and how much of both has been sent. Never: copies.

use bytes::Bytes;

/// Bytes to send, owned by the driver while the kernel may read them. A block, and perhaps shared bytes somewhere in
/// it: a head, a body and what ends it leave as one send, and the body is not copied.
#[derive(Debug, Default)]
pub struct SendBuffer {
    block: Vec<u8>,
    shared: Bytes,
    /// How much of the block comes before the shared bytes.
    shared_at: usize,
    sent: usize,
}

/// How many pieces of memory there are at most.
pub const PIECES_MAX: usize = 3;

impl SendBuffer {
    /// Bytes left to send.
    #[inline]
    pub fn len(&self) -> usize {
        self.block.len() + self.shared.len() - self.sent
    }

    /// Whether nothing is left to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is memory of its own in it, used or not.
    #[inline]
    pub fn has_block(&self) -> bool {
        self.block.capacity() > 0
    }

    /// Whether what is left is more than one piece.
    #[inline]
    pub fn is_in_pieces(&self) -> bool {
        let before_end = self.shared_at + self.shared.len();
        !self.shared.is_empty()
            && (self.sent < self.shared_at || self.block.len() > self.shared_at)
            && self.sent < before_end
    }

    /// What is left to send, in order; empty pieces among it.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; PIECES_MAX] {
        let (front, back) = self.block.split_at(self.shared_at);
        let mut sent = self.sent;
        [front, &self.shared, back].map(|piece| {
            let of_this = sent.min(piece.len());
            sent -= of_this;
            &piece[of_this..]
        })
    }

    /// Marks `n` more bytes as sent.
    ///
    /// # Panics
    /// If fewer are left.
    #[inline]
    pub fn advance(&mut self, n: usize) {
        assert!(n <= self.len(), "more sent than there was");
        self.sent += n;
    }

    /// The block, to be appended to, before anything is sent. What is there already stays.
    #[inline]
    pub fn block(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.sent == 0, "appended to after a send");
        &mut self.block
    }

    /// Gives the last `n` bytes of the block up.
    ///
    /// # Panics
    /// If fewer have been appended behind what is shared.
    pub fn take_back(&mut self, n: usize) {
        let keep = self.block.len().checked_sub(n);
        let keep = keep.filter(|keep| *keep >= self.shared_at);
        self.block
            .truncate(keep.expect("taken back more than was appended"));
    }

    /// Whether it may still take shared bytes.
    #[inline]
    pub fn takes_shared(&self) -> bool {
        self.shared.is_empty()
    }

    /// Puts somebody else's bytes behind what is there.
    ///
    /// # Panics
    /// If there are some already.
    pub fn share(&mut self, bytes: Bytes) {
        assert!(self.takes_shared(), "shared bytes once");
        debug_assert!(self.sent == 0, "appended to after a send");
        self.shared_at = self.block.len();
        self.shared = bytes;
    }

    /// The block, empty, to be used again.
    #[inline]
    pub fn into_block(self) -> Vec<u8> {
        let mut block = self.block;
        block.clear();
        block
    }
}

impl From<Vec<u8>> for SendBuffer {
    fn from(block: Vec<u8>) -> SendBuffer {
        SendBuffer {
            block,
            ..SendBuffer::default()
        }
    }
}

impl From<Bytes> for SendBuffer {
    fn from(shared: Bytes) -> SendBuffer {
        SendBuffer {
            shared,
            ..SendBuffer::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_in_order_however_much_is_sent() {
        for sent in 0..=12 {
            let mut buffer = SendBuffer::from(b"head".to_vec());
            buffer.share(Bytes::from_static(b"shared"));
            buffer.block().extend_from_slice(b"end");
            buffer.take_back(1);
            buffer.advance(sent);
            assert_eq!(buffer.pieces().concat(), b"headshareden"[sent..]);
            assert_eq!(buffer.len(), 12 - sent);
            let there = buffer
                .pieces()
                .iter()
                .filter(|piece| !piece.is_empty())
                .count();
            assert_eq!(buffer.is_in_pieces(), there > 1, "{sent} sent");
        }
    }

    #[test]
    #[should_panic(expected = "more sent")]
    fn no_more_is_sent_than_there_is() {
        SendBuffer::from(Bytes::from_static(b"four")).advance(5);
    }

    #[test]
    #[should_panic(expected = "taken back more")]
    fn what_is_shared_is_not_taken_back() {
        let mut buffer = SendBuffer::from(b"head".to_vec());
        buffer.share(Bytes::from_static(b"shared"));
        buffer.take_back(1);
    }
}
