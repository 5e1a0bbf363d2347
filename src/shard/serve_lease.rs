//! Serves leases of callers on other threads: the connection stays here, its bytes cross in bounded pipes.

use super::call::copied;
use super::lease::{Detached, Lease};
use super::local::LocalShard;
use super::pipe::{Cut, PipeReceiver, PipeSender, pipe};
use super::serve::{PIPE_ROOM, unless_gone};
use super::sharing::movable::Underway;
use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::Error;
use bytes::Bytes;
use futures_channel::oneshot;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

/// A checkout from another thread.
pub(crate) struct RemoteCheckout {
    /// What the caller's handle says.
    pub(crate) options: CallOptions,
    pub(crate) reply: oneshot::Sender<Result<RemoteLease, Error>>,
}

/// Checks a connection out and carries its bytes until the lease is over.
pub(crate) async fn checkout<D: Driver>(
    shard: LocalShard<D>,
    mut remote: RemoteCheckout,
    underway: Underway,
) {
    let upstream = shard.upstream_for_outside(underway.upstream(), remote.options);
    let patience = upstream.policy().call_timeout;
    let answer = {
        let checkout = pin!(async { upstream.lease()?.await });
        unless_gone(&mut remote.reply, checkout).await
    };
    match answer {
        None => {}
        Some(Err(error)) => {
            let _ = remote.reply.send(Err(error));
        }
        Some(Ok(lease)) => {
            let (handle, ends) = remote_lease(lease.reused());
            match remote.reply.send(Ok(handle)) {
                Ok(()) => carry(lease, ends, patience).await,
                // Never used: the next one may have it.
                Err(_) => lease.release(),
            }
        }
    }
    drop(underway);
}

/// The caller's end of a lease on another thread's connection.
pub(crate) struct RemoteLease {
    pub(crate) reused: bool,
    pub(crate) commands: PipeSender<Command>,
    pub(crate) received: PipeReceiver<Result<Bytes, Error>>,
    pub(crate) outcome: Arc<Outcome>,
}

/// What the caller asks of its lease, in order.
pub(crate) enum Command {
    Write(Bytes),
    /// Answer when everything before is with the kernel.
    Flush(oneshot::Sender<Result<(), Error>>),
    /// Give the socket away.
    Detach(oneshot::Sender<Result<Detached, Error>>),
}

/// What is to become of the connection when the caller lets go.
#[derive(Default)]
pub(crate) struct Outcome(AtomicU8);

impl Outcome {
    /// It is clean: others may use it.
    pub(crate) fn release(&self) {
        self.0.store(1, Ordering::Release);
    }

    fn is_release(&self) -> bool {
        self.0.load(Ordering::Acquire) == 1
    }
}

/// The shard's ends.
pub(super) struct LeaseEnds {
    commands: PipeReceiver<Command>,
    received: Option<PipeSender<Result<Bytes, Error>>>,
    outcome: Arc<Outcome>,
}

pub(super) fn remote_lease(reused: bool) -> (RemoteLease, LeaseEnds) {
    let (commands, commanded) = pipe(PIPE_ROOM);
    let (receiving, received) = pipe(PIPE_ROOM);
    let outcome = Arc::new(Outcome::default());
    let remote = RemoteLease {
        reused,
        commands,
        received,
        outcome: outcome.clone(),
    };
    (
        remote,
        LeaseEnds {
            commands: commanded,
            received: Some(receiving),
            outcome,
        },
    )
}

/// What happened next on a lease.
enum Next {
    Command(Command),
    LetGo,
    /// The caller has gone, and not everything can be sent.
    Abandoned,
    Carried,
}

/// Carries bytes and commands both ways until the caller lets go; what was written last then has
/// `patience` to get out.
pub(super) async fn carry<D: Driver>(mut lease: Lease<D>, mut ends: LeaseEnds, patience: Duration) {
    let mut held: Option<Bytes> = None;
    let mut bounded = false;
    loop {
        let next = poll_fn(|cx| {
            // Out first: a command may be the last one.
            if held.is_none() {
                if let Poll::Ready(command) = ends.commands.poll_next(cx) {
                    return Poll::Ready(match command {
                        Some(Ok(command)) => Next::Command(command),
                        Some(Err(Cut)) | None => Next::LetGo,
                    });
                }
            } else {
                // The peer does not read. A caller who lets go meanwhile must be noticed.
                if !bounded && ends.commands.poll_closed(cx).is_ready() {
                    if !ends.outcome.is_release() {
                        return Poll::Ready(Next::Abandoned);
                    }
                    lease.expect_within(patience);
                    bounded = true;
                }
                match lease.poll_room(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Next::Abandoned),
                    Poll::Ready(Ok(())) => {
                        if let Some(bytes) = held.take() {
                            // What cannot be sent shows at the next read.
                            let _ = lease.put(bytes);
                        }
                        return Poll::Ready(Next::Carried);
                    }
                }
            }
            match carry_in(&mut lease, &mut ends, cx) {
                Poll::Ready(()) => Poll::Ready(Next::Carried),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
        match next {
            Next::Carried => {}
            Next::Abandoned => return,
            Next::Command(Command::Write(bytes)) => held = Some(bytes),
            Next::Command(Command::Flush(mut reply)) => {
                if let Some(flushed) = unless_gone(&mut reply, pin!(lease.flush())).await {
                    let _ = reply.send(flushed);
                }
            }
            Next::Command(Command::Detach(mut reply)) => {
                if let Some(detached) = unless_gone(&mut reply, pin!(lease.detach())).await {
                    let _ = reply.send(detached);
                }
                return;
            }
            Next::LetGo => {
                // Bytes that the caller never read make the connection unfit for others.
                let unread = ends.received.as_ref().is_none_or(|pipe| !pipe.all_read());
                if !ends.outcome.is_release() || unread {
                    return;
                }
                if !bounded {
                    lease.expect_within(patience);
                }
                if lease.flush().await.is_ok() {
                    lease.release();
                }
                return;
            }
        }
    }
}

/// Moves received pieces to the caller while there is room. Ready whenever something moved.
fn carry_in<D: Driver>(
    lease: &mut Lease<D>,
    ends: &mut LeaseEnds,
    cx: &mut std::task::Context<'_>,
) -> Poll<()> {
    let Some(pipe) = &mut ends.received else {
        return Poll::Pending;
    };
    match pipe.poll_room(cx) {
        Poll::Pending => return Poll::Pending,
        // The caller does not read any more, but may still write.
        Poll::Ready(Err(_)) => return Poll::Pending,
        Poll::Ready(Ok(())) => {}
    }
    match lease.poll_read(cx) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Ok(Some(piece))) => {
            pipe.send(Ok(copied(&piece)));
            Poll::Ready(())
        }
        Poll::Ready(Ok(None)) => {
            if let Some(pipe) = ends.received.take() {
                pipe.finish();
            }
            Poll::Ready(())
        }
        Poll::Ready(Err(error)) => {
            pipe.send(Err(error));
            ends.received = None;
            Poll::Ready(())
        }
    }
}
