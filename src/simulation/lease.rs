//! A raw connection from outside, polled by hand.

use super::polled::{Alarm, Polled};
use crate::error::Error;
use crate::shard::pipe::Cut;
use crate::shard::serve_lease::{Command, RemoteLease};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::task::Poll;

/// A checkout from outside. Dropping it gives it up.
pub struct Checkout {
    alarm: Alarm,
    lease: Polled<Result<RemoteLease, Error>>,
    result: Option<Result<RemoteLease, Error>>,
}

impl Checkout {
    pub(super) fn new(
        future: impl Future<Output = Result<RemoteLease, Error>> + 'static,
    ) -> Checkout {
        let mut checkout = Checkout {
            alarm: Alarm::new(),
            lease: Polled::new(future),
            result: None,
        };
        checkout.result = checkout.advance();
        checkout
    }

    /// The lease, or why there is none, once.
    pub fn poll(&mut self) -> Option<Result<RawLease, Error>> {
        let result = self.result.take().or_else(|| self.advance())?;
        Some(result.map(RawLease::new))
    }

    fn advance(&mut self) -> Option<Result<RemoteLease, Error>> {
        match self.alarm.take() {
            true => self.lease.poll(&self.alarm),
            false => None,
        }
    }
}

impl fmt::Debug for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkout")
    }
}

/// An exclusive hold on a connection. Dropping it closes the connection.
pub struct RawLease {
    alarm: Alarm,
    remote: RemoteLease,
    /// Written, and waiting for room on the way to the shard.
    unwritten: VecDeque<Bytes>,
}

impl RawLease {
    fn new(remote: RemoteLease) -> RawLease {
        RawLease {
            alarm: Alarm::new(),
            remote,
            unwritten: VecDeque::new(),
        }
    }

    /// Whether the connection had been used by somebody before.
    pub fn reused(&self) -> bool {
        self.remote.reused
    }

    /// Queues bytes. Those that find no room on the way to the shard follow at the next
    /// [`poll_read`](RawLease::poll_read).
    pub fn write(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unwritten.push_back(bytes);
        }
        self.carry();
    }

    /// The next bytes that the peer sent, `None` inside after it closed its side.
    pub fn poll_read(&mut self) -> Option<Result<Option<Bytes>, Error>> {
        self.carry();
        if !self.alarm.take() {
            return None;
        }
        let mut cx = self.alarm.context();
        let piece = match self.remote.received.poll_next(&mut cx) {
            Poll::Pending => return None,
            Poll::Ready(piece) => piece,
        };
        // There may be more where that came from.
        self.alarm.ring();
        Some(match piece {
            None => Ok(None),
            Some(Ok(piece)) => piece.map(Some),
            Some(Err(Cut)) => Err(Error::draining()),
        })
    }

    /// Gives the connection back, once everything written is sent; closes it if some of that has not
    /// even begun its way to the shard.
    pub fn release(mut self) {
        self.carry();
        if self.unwritten.is_empty() {
            self.remote.outcome.release();
        }
    }

    /// Closes the connection.
    pub fn discard(self) {
        drop(self);
    }

    fn carry(&mut self) {
        let mut cx = self.alarm.context();
        while !self.unwritten.is_empty() {
            match self.remote.commands.poll_room(&mut cx) {
                Poll::Pending => return,
                // Reading tells why.
                Poll::Ready(Err(_)) => return,
                Poll::Ready(Ok(())) => {
                    if let Some(bytes) = self.unwritten.pop_front() {
                        self.remote.commands.send(Command::Write(bytes));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for RawLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLease")
            .field("reused", &self.reused())
            .field("unwritten", &self.unwritten.len())
            .finish_non_exhaustive()
    }
}
