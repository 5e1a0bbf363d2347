//! Sends of several pieces of memory as one.
//!
//! Owns: what the kernel reads to find the pieces. Never: the pieces.

use crate::driver::PIECES_MAX;
use libc::{iovec, msghdr};

/// A message header and its list of pieces, at one place for as long as the kernel may read them: older kernels look
/// again when a send goes on.
pub(super) struct Vectored {
    header: msghdr,
    list: [iovec; PIECES_MAX],
}

impl Vectored {
    pub(super) fn new() -> Box<Vectored> {
        // SAFETY: all zeroes is a valid header, without an address and without pieces, and a list of nothing.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    /// Names `pieces`, as far as they go to `limit` bytes in all, and leaves out what is empty.
    #[inline]
    pub(super) fn name(&mut self, pieces: [&[u8]; PIECES_MAX], limit: usize) -> *const msghdr {
        let (mut named, mut left) = (0, limit);
        for piece in pieces {
            let len = piece.len().min(left);
            if len == 0 {
                continue;
            }
            self.list[named] = iovec {
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len: len,
            };
            named += 1;
            left -= len;
        }
        self.header.msg_iov = self.list.as_mut_ptr();
        self.header.msg_iovlen = named as _;
        &raw const self.header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pieces: [&[u8]; PIECES_MAX], limit: usize) -> Vec<usize> {
        let mut vectored = Vectored::new();
        vectored.name(pieces, limit);
        #[allow(clippy::unnecessary_cast, reason = "an int with musl")]
        let count = vectored.header.msg_iovlen as usize;
        vectored.list[..count]
            .iter()
            .map(|piece| piece.iov_len)
            .collect()
    }

    #[test]
    fn what_is_empty_or_beyond_the_limit_is_left_out() {
        assert_eq!(named([b"head", b"", b"end"], 100), [4, 3]);
        assert_eq!(named([b"head", b"shared", b"end"], 11), [4, 6, 1]);
        assert_eq!(named([b"head", b"shared", b"end"], 10), [4, 6]);
        assert_eq!(named([b"head", b"shared", b"end"], 5), [4, 1]);
    }
}
