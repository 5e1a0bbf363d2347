//! Bytes to send.
//!
//! Owns: a block of one's own and somebody else's bytes within it, and how much of both has been sent. Never: copies.

use bytes::Bytes;

/// Bytes to send, owned by the driver while the kernel may read them. A block, and perhaps shared bytes somewhere in
/// it: a head, a body and what ends it leave as one send, and the body is not copied. It moves as a pointer does, and
/// is made to be used again.
#[derive(Debug, Default)]
pub struct SendBuffer(Box<Contents>);

#[derive(Debug, Default)]
struct Contents {
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
        let Contents { block, shared, .. } = &*self.0;
        block.len() + shared.len() - self.0.sent
    }

    /// Whether nothing is left to send.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes of its own there is room for without more memory, used or not.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.0.block.capacity()
    }

    /// Whether what is left is more than one piece.
    #[inline]
    pub fn is_in_pieces(&self) -> bool {
        let contents = &*self.0;
        let before_end = contents.shared_at + contents.shared.len();
        !contents.shared.is_empty()
            && (contents.sent < contents.shared_at || contents.block.len() > contents.shared_at)
            && contents.sent < before_end
    }

    /// What is left to send, in order; empty pieces among it.
    #[inline]
    pub fn pieces(&self) -> [&[u8]; PIECES_MAX] {
        let contents = &*self.0;
        let (front, back) = contents.block.split_at(contents.shared_at);
        let mut sent = contents.sent;
        [front, &contents.shared, back].map(|piece| {
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
        self.0.sent += n;
    }

    /// The block, to be appended to, before anything is sent. What is there already stays.
    #[inline]
    pub fn block(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.0.sent == 0, "appended to after a send");
        &mut self.0.block
    }

    /// Gives the last `n` bytes of the block up.
    ///
    /// # Panics
    /// If fewer have been appended behind what is shared.
    pub fn take_back(&mut self, n: usize) {
        let contents = &mut *self.0;
        let keep = contents.block.len().checked_sub(n);
        let keep = keep.filter(|keep| *keep >= contents.shared_at);
        let keep = keep.expect("taken back more than was appended");
        contents.block.truncate(keep);
    }

    /// Whether it may still take shared bytes.
    #[inline]
    pub fn takes_shared(&self) -> bool {
        self.0.shared.is_empty()
    }

    /// Puts somebody else's bytes behind what is there.
    ///
    /// # Panics
    /// If there are some already.
    pub fn share(&mut self, bytes: Bytes) {
        assert!(self.takes_shared(), "shared bytes once");
        debug_assert!(self.0.sent == 0, "appended to after a send");
        self.0.shared_at = self.0.block.len();
        self.0.shared = bytes;
    }

    /// Empties it, to be used again. Its block stays.
    #[inline]
    pub fn clear(&mut self) {
        let contents = &mut *self.0;
        contents.block.clear();
        if !contents.shared.is_empty() {
            contents.shared = Bytes::new();
        }
        (contents.shared_at, contents.sent) = (0, 0);
    }
}

impl From<Vec<u8>> for SendBuffer {
    fn from(block: Vec<u8>) -> SendBuffer {
        SendBuffer(Box::new(Contents {
            block,
            ..Contents::default()
        }))
    }
}

impl From<Bytes> for SendBuffer {
    fn from(shared: Bytes) -> SendBuffer {
        SendBuffer(Box::new(Contents {
            shared,
            ..Contents::default()
        }))
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
    fn what_is_cleared_keeps_its_block_alone() {
        let mut buffer = SendBuffer::from(b"head".to_vec());
        buffer.share(Bytes::from_static(b"shared"));
        buffer.block().extend_from_slice(b"end");
        buffer.advance(8);
        buffer.clear();
        assert!(buffer.is_empty() && buffer.takes_shared() && buffer.capacity() >= 7);
        buffer.block().extend_from_slice(b"next");
        buffer.share(Bytes::from_static(b" one"));
        assert_eq!(buffer.pieces().concat(), b"next one");
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
