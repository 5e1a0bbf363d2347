//! Wake-ups from ring to ring (IORING_OP_MSG_RING, 5.18): what a shard wakes its siblings by, within a turn, goes
//! down with whatever else the turn has queued, instead of with a system call for each.
//!
//! Owns: the wake-ups of this thread's turn, from the driver's reap to its next enter. Never: keeps one when the turn is over,
//! or loses one: what the kernel refuses, or a driver that ends has not sent, goes by the eventfd.

use super::signal::Sleeper;
use super::token::{Kind, Token};
use io_uring::{opcode, squeue, types};
use std::cell::RefCell;
use std::os::fd::AsRawFd;
use std::sync::Arc;

thread_local! {
    /// `None` outside of a turn, and on threads without a ring.
    static OUTBOX: RefCell<Option<Vec<Arc<Sleeper>>>> = const { RefCell::new(None) };
}

/// What one driver sends.
pub(super) struct Messages {
    /// Whether the kernel has them.
    usable: bool,
    /// To whom the last ones went, until it is known that they have arrived.
    sent: Vec<Arc<Sleeper>>,
    /// The outbox between two turns, kept for its capacity.
    spare: Vec<Arc<Sleeper>>,
    /// How many there were.
    pub(super) count: u64,
}

impl Messages {
    pub(super) fn new(usable: bool) -> Messages {
        Messages {
            usable,
            sent: Vec::new(),
            spare: Vec::new(),
            count: 0,
        }
    }

    #[cfg(test)]
    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// A turn begins: wake-ups from this thread wait for its end.
    pub(super) fn begin_turn(&mut self) {
        if self.usable {
            let spare = &mut self.spare;
            OUTBOX.with_borrow_mut(|outbox| {
                outbox.get_or_insert_with(|| std::mem::take(spare));
            });
        }
    }

    /// The turn ends: what is to be sent. `all_gone`: the kernel has taken the entries of earlier turns. Those of
    /// this one are good until it has.
    pub(super) fn end_turn(&mut self, all_gone: bool) -> impl Iterator<Item = squeue::Entry> {
        if all_gone {
            // They have arrived by now, or were seen to fail.
            self.sent.clear();
        }
        let before = self.sent.len();
        if let Some(mut outbox) = OUTBOX.take() {
            self.sent.append(&mut outbox);
            self.spare = outbox;
        }
        let new = &self.sent[before..];
        self.count += new.len() as u64;
        new.iter().filter_map(|sleeper| entry(sleeper))
    }

    /// One of those sent last did not arrive, for this reason. Which one is not known.
    pub(super) fn failed(&mut self, errno: i32) {
        for sleeper in &self.sent {
            sleeper.wake();
        }
        // This kernel, or what guards it, does not let rings like these talk.
        if matches!(
            errno,
            libc::EINVAL | libc::EOPNOTSUPP | libc::EPERM | libc::EACCES
        ) {
            self.usable = false;
        }
    }
}

/// A driver that ends in the middle of its turn.
impl Drop for Messages {
    fn drop(&mut self) {
        let outbox = OUTBOX.try_with(RefCell::take).ok().flatten();
        for sleeper in outbox.into_iter().flatten() {
            sleeper.wake();
        }
    }
}

/// Puts a wake-up off to the end of the turn, if this thread is in one.
pub(super) fn put_off(sleeper: &Arc<Sleeper>) -> bool {
    // `try_with`: the thread's locals may be gone.
    let put_off = OUTBOX.try_with(|outbox| match outbox.borrow_mut().as_mut() {
        Some(outbox) if sleeper.ring.is_some() => {
            outbox.push(Arc::clone(sleeper));
            true
        }
        Some(_) | None => false,
    });
    put_off.unwrap_or(false)
}

fn entry(sleeper: &Sleeper) -> Option<squeue::Entry> {
    let ring = types::Fd(sleeper.ring.as_ref()?.as_raw_fd());
    let there = Token::internal(Kind::Message).pack();
    let message = opcode::MsgRingData::new(ring, 0, there, None).build();
    // Here only its failure is news.
    let message = message.flags(squeue::Flags::SKIP_SUCCESS);
    Some(message.user_data(Token::internal(Kind::Unsent).pack()))
}
