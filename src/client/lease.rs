//! A raw connection, from any thread.

use crate::error::Error;
use crate::shard::lease::OutsidePermit;
use crate::shard::pipe::Cut;
use crate::shard::serve_lease::{Command, RemoteLease};
use bytes::Bytes;
use futures_channel::oneshot;
use std::fmt;
use std::future::poll_fn;
use std::os::fd::OwnedFd;

/// An exclusive hold on one connection of an upstream: a byte stream in both directions.
///
/// The connection goes back to the pool by [`release`](Lease::release), which whoever knows that it is
/// clean calls: the last conversation is over, nothing more will come. A lease that is simply dropped
/// closes its connection.
pub struct Lease {
    remote: RemoteLease,
    /// Why reading failed: the same ever after.
    failure: Option<Error>,
}

impl Lease {
    pub(crate) fn new(remote: RemoteLease) -> Lease {
        Lease {
            remote,
            failure: None,
        }
    }

    /// Whether the connection had been used by somebody before.
    pub fn reused(&self) -> bool {
        self.remote.reused
    }

    /// The next bytes that the peer sent, as they came; `None` after it closed its side. Waits for as
    /// long as it takes; dropping the future loses nothing.
    ///
    /// # Errors
    /// If the connection failed, or the engine is stopping.
    pub async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let piece = poll_fn(|cx| self.remote.received.poll_next(cx)).await;
        match piece {
            None => Ok(None),
            Some(Ok(Ok(piece))) => Ok(Some(piece)),
            Some(Ok(Err(error))) => {
                self.failure = Some(error.duplicate());
                Err(error)
            }
            Some(Err(Cut)) => Err(self
                .failure
                .as_ref()
                .map_or_else(Error::draining, Error::duplicate)),
        }
    }

    /// Queues all of `bytes` for sending; waits only while much is queued already.
    ///
    /// # Errors
    /// If the engine is stopping. That the connection failed shows at the next
    /// [`read`](Lease::read) or [`flush`](Lease::flush).
    pub async fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.write(Bytes::copy_from_slice(bytes)).await
    }

    /// As [`write_all`](Lease::write_all), without a copy.
    ///
    /// # Errors
    /// As there.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.command(Command::Write(bytes)).await
    }

    /// Waits until the kernel has taken everything written.
    ///
    /// # Errors
    /// If the connection failed, or the engine is stopping.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let (reply, flushed) = oneshot::channel();
        self.command(Command::Flush(reply)).await?;
        flushed.await.map_err(|_| Error::draining())?
    }

    /// Gives the connection back for others to use, once everything written is sent. If the peer has
    /// closed it, or sent bytes that were not read, it is closed instead.
    pub fn release(self) {
        self.remote.outcome.release();
    }

    /// Closes the connection. The same as dropping the lease.
    pub fn discard(self) {
        drop(self);
    }

    /// Takes the socket out of the engine, for another runtime or another protocol.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where TLS is spoken, whose keys cannot leave.
    /// The connection is closed then.
    pub async fn detach(mut self) -> Result<Detached, Error> {
        let (reply, detached) = oneshot::channel();
        self.command(Command::Detach(reply)).await?;
        let detached = detached.await.map_err(|_| Error::draining())??;
        let mut received = Vec::new();
        // What had crossed to this side already comes first.
        while let Some(Ok(piece)) = poll_fn(|cx| self.remote.received.poll_next(cx)).await {
            received.extend_from_slice(&piece?);
        }
        received.extend_from_slice(&detached.received);
        Ok(Detached {
            socket: detached.socket,
            received: received.into(),
            guard: DetachedGuard::new(detached.permit),
        })
    }

    async fn command(&mut self, command: Command) -> Result<(), Error> {
        let commands = &mut self.remote.commands;
        poll_fn(|cx| commands.poll_room(cx))
            .await
            .map_err(|_| Error::draining())?;
        commands.send(command);
        Ok(())
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("reused", &self.reused())
            .finish_non_exhaustive()
    }
}

/// A socket that has left the engine.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detached {
    /// The connected stream socket; in blocking mode.
    pub socket: OwnedFd,
    /// What was received and not read yet: comes before whatever is read from the socket.
    pub received: Bytes,
    /// Keeps the connection counted against the caps. Drop it when the socket is closed.
    pub guard: DetachedGuard,
}

/// Counts a detached connection against the upstream's and the engine's caps, as long as it lives.
#[derive(Debug)]
pub struct DetachedGuard {
    _permit: OutsidePermit,
}

impl DetachedGuard {
    pub(crate) fn new(permit: OutsidePermit) -> DetachedGuard {
        DetachedGuard { _permit: permit }
    }
}
