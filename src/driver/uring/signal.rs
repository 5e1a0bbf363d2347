//! What ends a driver's sleep from another thread.
//!
//! Owns: an eventfd, and the poll that the ring keeps armed on it. Never: reads it. The poll is
//! multishot and edge-triggered (5.13), so each write is a completion of its own, and a signal costs
//! the shard neither a read nor a new submission. The counter only grows; 2⁶⁴ signals fit.

use super::token::{Kind, Token};
use crate::driver::Signal;
use io_uring::{opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

#[derive(Debug)]
pub(super) struct Wake {
    descriptor: OwnedFd,
}

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        Ok(Wake {
            descriptor: eventfd(0, EventfdFlags::CLOEXEC)?,
        })
    }

    /// The poll to arm. If signals came while none was armed, it completes at once.
    pub(super) fn poll(&self) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.descriptor.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Token::internal(Kind::Wake).pack())
    }
}

impl Signal for Wake {
    fn signal(&self) {
        // A write of 1 can only block after 2⁶⁴ − 2 others, and only fail if interrupted.
        while rustix::io::write(&self.descriptor, &1u64.to_ne_bytes())
            == Err(rustix::io::Errno::INTR)
        {}
    }
}
