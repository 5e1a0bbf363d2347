//! What ends a driver's sleep from another thread.
//!
//! Owns: an eventfd, and the poll that the ring keeps armed on it; where rings can talk, a second descriptor of the
//! ring. Never: reads the eventfd. The poll is multishot and edge-triggered (5.13), so each write is a completion of its
//! own, and a signal costs the shard neither a read nor a new submission. The counter only grows; 2⁶⁴ signals fit.

use super::messages;
use super::token::{Kind, Token};
use crate::driver::Signal;
use io_uring::{opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Wake(Arc<Sleeper>);

/// One driver, as those see it who end its sleep.
#[derive(Debug)]
pub(super) struct Sleeper {
    descriptor: OwnedFd,
    /// Its ring, for other rings to send to. A descriptor of its own: its number is nobody else's as long as a
    /// message may be under way.
    pub(super) ring: Option<OwnedFd>,
}

impl Sleeper {
    /// By the eventfd: a system call.
    pub(super) fn wake(&self) {
        // A write of 1 can only block after 2⁶⁴ − 2 others, and only fail if interrupted.
        while rustix::io::write(&self.descriptor, &1u64.to_ne_bytes())
            == Err(rustix::io::Errno::INTR)
        {}
    }
}

#[cfg(test)]
impl Sleeper {
    /// Whether it was ever woken by the eventfd.
    pub(super) fn is_signalled(&self) -> bool {
        let mut poll = [rustix::event::PollFd::new(
            &self.descriptor,
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut poll, Some(&Default::default())).is_ok_and(|ready| ready > 0)
    }
}

impl Wake {
    /// `ring`: where others may send messages to.
    pub(super) fn new(ring: Option<BorrowedFd<'_>>) -> io::Result<Wake> {
        let ring = ring.map(|ring| ring.try_clone_to_owned()).transpose()?;
        Ok(Wake(Arc::new(Sleeper {
            descriptor: eventfd(0, EventfdFlags::CLOEXEC)?,
            ring,
        })))
    }

    #[cfg(test)]
    pub(super) fn sleeper(&self) -> &Sleeper {
        &self.0
    }

    /// The poll to arm. If signals came while none was armed, it completes at once.
    pub(super) fn poll(&self) -> squeue::Entry {
        let descriptor = self.0.descriptor.as_raw_fd();
        opcode::PollAdd::new(types::Fd(descriptor), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Token::internal(Kind::Wake).pack())
    }
}

impl Signal for Wake {
    fn signal(&self) {
        if !messages::put_off(&self.0) {
            self.0.wake();
        }
    }
}
