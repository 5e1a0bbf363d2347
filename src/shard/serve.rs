//! Serves callers on other threads: runs their calls as tasks of the shard, and carries the pieces of
//! bodies across.
//!
//! Never: polls anything of the caller's. Its request body and its reading of the response happen on its
//! own thread; the pieces meet in bounded pipes.

use super::call::{self, LocalBody, copied};
use super::local::LocalShard;
use super::mailbox::Mailbox;
use super::pipe::{PipeReceiver, PipeSender, pipe};
use super::serve_lease::{RemoteLease, carry, remote_lease};
use super::upload::Source;
use super::upstream::UpstreamShared;
use crate::config::CallOptions;
use crate::driver::Driver;
use crate::error::Error;
use bytes::Bytes;
use futures_channel::oneshot;
use http_body::Frame;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// Pieces of a body that may wait between the shard and its reader, either way: at 16 KiB a piece
/// 256 KiB, enough to keep a fast link busy over a slow hand-over.
pub(crate) const PIPE_ROOM: usize = 16;

/// A body up to this long that has arrived with its head crosses together with it.
const INLINE_MAX: usize = 64 * 1024;

/// A call from another thread.
pub(crate) struct RemoteCall {
    pub(crate) upstream: Arc<UpstreamShared>,
    /// What the caller's handle says; the request's own word counts first.
    pub(crate) options: CallOptions,
    pub(crate) parts: http::request::Parts,
    pub(crate) source: Source,
    pub(crate) reply: oneshot::Sender<Result<http::Response<RemoteBody>, Error>>,
}

/// A call that no task has taken up yet. Dropped as it is, with a mailbox that was closed, it tells its
/// caller that nothing of it was sent.
pub(crate) struct Unbegun<D: Driver>(Option<(RemoteCall, Underway<D>)>);

impl<D: Driver> Unbegun<D> {
    pub(crate) fn new(call: RemoteCall, underway: Underway<D>) -> Unbegun<D> {
        Unbegun(Some((call, underway)))
    }

    pub(crate) fn begin(mut self, shard: &LocalShard<D>) {
        if let Some((remote, underway)) = self.0.take() {
            shard.spawn_serving(call(shard.clone(), remote, underway));
        }
    }
}

impl<D: Driver> Drop for Unbegun<D> {
    fn drop(&mut self) {
        if let Some((call, underway)) = self.0.take() {
            let error = underway.mailbox.refusal().at_upstream(&call.upstream.name);
            drop(underway);
            // A caller who has gone in the meantime does not mind.
            let _ = call.reply.send(Err(error));
        }
    }
}

/// A response's body, as it crosses to the caller.
pub(crate) enum RemoteBody {
    /// All of it.
    Whole(Bytes),
    /// What follows, and how long it is if that is known.
    Pieces(PipeReceiver<Result<Frame<Bytes>, Error>>, Option<u64>),
    /// There is none: the connection became a raw stream.
    Upgraded(RemoteLease),
}

/// Counts a call, on its shard and on its upstream, as long as it is under way: until just before its
/// caller has the end of the answer, so that an upstream is not in use any more for one who knows it.
pub(crate) struct Underway<D: Driver> {
    mailbox: Arc<Mailbox<D>>,
    upstream: Arc<UpstreamShared>,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Call,
    Lease,
}

impl<D: Driver> Underway<D> {
    /// Counts a call.
    pub(crate) fn new(mailbox: &Arc<Mailbox<D>>, upstream: &Arc<UpstreamShared>) -> Underway<D> {
        Underway::begin(mailbox, upstream, What::Call)
    }

    /// Counts a checkout, and the lease that comes of it.
    pub(crate) fn lease(mailbox: &Arc<Mailbox<D>>, upstream: &Arc<UpstreamShared>) -> Underway<D> {
        Underway::begin(mailbox, upstream, What::Lease)
    }

    fn begin(mailbox: &Arc<Mailbox<D>>, upstream: &Arc<UpstreamShared>, what: What) -> Underway<D> {
        mailbox.begin_call();
        let underway = Underway {
            mailbox: mailbox.clone(),
            upstream: upstream.clone(),
            what,
        };
        underway.count().fetch_add(1, Ordering::Relaxed);
        underway
    }

    fn count(&self) -> &AtomicUsize {
        let counts = self.upstream.outside(self.mailbox.index());
        match self.what {
            What::Call => &counts.calls,
            What::Lease => &counts.leases,
        }
    }
}

impl<D: Driver> Drop for Underway<D> {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
        // Last: whoever sees that nothing is under way finds nothing counted.
        self.mailbox.end_call();
    }
}

/// Runs a call to its end, unless the caller goes before.
async fn call<D: Driver>(shard: LocalShard<D>, mut remote: RemoteCall, underway: Underway<D>) {
    let upstream = shard.upstream(remote.upstream).for_outside();
    let upstream = upstream.with_options(remote.options);
    let answer = unless_gone(
        &mut remote.reply,
        call::call(&upstream, remote.parts, remote.source),
    )
    .await;
    let (parts, body) = match answer {
        None => return,
        Some(Err(error)) => {
            drop(underway);
            // A caller who has gone in the meantime does not mind.
            let _ = remote.reply.send(Err(error));
            return;
        }
        Some(Ok(response)) => response.into_parts(),
    };
    if body.is_upgraded() {
        give_upgraded(parts, body, remote.reply, underway).await;
        return;
    }
    give_body(parts, body, remote.reply, underway).await;
}

/// Hands the head over, with the whole body if it is there already; else pumps the rest.
async fn give_body<D: Driver>(
    parts: http::response::Parts,
    mut body: LocalBody<D>,
    reply: oneshot::Sender<Result<http::Response<RemoteBody>, Error>>,
    underway: Underway<D>,
) {
    let length = body.content_length();
    let ready = poll_fn(|cx| Poll::Ready(body.read_ready(cx, INLINE_MAX))).await;
    let (first, done) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            drop(underway);
            let _ = reply.send(Err(error));
            return;
        }
    };
    // Not after the reply: who has the whole answer may count on the call being over.
    let underway = (!done).then_some(underway);
    let first = Bytes::from(first);
    let trailers = done.then(|| body.take_trailers()).flatten();
    if done && trailers.is_none() {
        let _ = reply.send(Ok(http::Response::from_parts(
            parts,
            RemoteBody::Whole(first),
        )));
        return;
    }
    let (mut sender, receiver) = pipe(PIPE_ROOM);
    if !first.is_empty() {
        sender.send(Ok(Frame::data(first)));
    }
    if let Some(trailers) = trailers {
        sender.send(Ok(Frame::trailers(trailers)));
    }
    let sender = if done {
        sender.finish();
        None
    } else {
        Some(sender)
    };
    let response = http::Response::from_parts(parts, RemoteBody::Pieces(receiver, length));
    if let (Ok(()), Some(sender)) = (reply.send(Ok(response)), sender) {
        pump(body, sender, underway).await;
    }
}

/// Carries a body across until its end, or until nobody reads it any more.
async fn pump<D: Driver>(
    mut body: LocalBody<D>,
    mut pipe: PipeSender<Result<Frame<Bytes>, Error>>,
    underway: Option<Underway<D>>,
) {
    loop {
        // Room first: what was read from the connection has a place to go.
        let room = poll_fn(|cx| match body.is_interrupted() {
            true => Poll::Ready(None),
            false => pipe.poll_room(cx).map(Some),
        });
        match room.await {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            None => {
                drop(underway);
                return last_word(body, pipe);
            }
        }
        let piece = poll_fn(|cx| {
            if pipe.poll_gone(cx).is_ready() {
                return Poll::Ready(None);
            }
            body.poll_piece(cx).map(Some)
        })
        .await;
        match piece {
            None => return,
            Some(Ok(Some(piece))) => pipe.send(Ok(Frame::data(copied(&piece)))),
            Some(Ok(None)) => {
                if let Some(trailers) = body.take_trailers() {
                    if poll_fn(|cx| pipe.poll_room(cx)).await.is_err() {
                        return;
                    }
                    pipe.send(Ok(Frame::trailers(trailers)));
                }
                drop(underway);
                pipe.finish();
                return;
            }
            Some(Err(error)) => {
                drop(underway);
                pipe.send(Err(error));
                return;
            }
        }
    }
}

/// The shard stops: tells a reader who is behind how far it came.
fn last_word<D: Driver>(mut body: LocalBody<D>, pipe: PipeSender<Result<Frame<Bytes>, Error>>) {
    match (body.interrupt(), body.take_trailers()) {
        (Some(error), _) => pipe.send_last(Err(error)),
        (None, Some(trailers)) => pipe.send_last(Ok(Frame::trailers(trailers))),
        (None, None) => pipe.finish(),
    }
}

async fn give_upgraded<D: Driver>(
    parts: http::response::Parts,
    body: LocalBody<D>,
    reply: oneshot::Sender<Result<http::Response<RemoteBody>, Error>>,
    underway: Underway<D>,
) {
    let patience = body.timeout();
    let Some(lease) = body.into_upgraded() else {
        let _ = reply.send(Ok(http::Response::from_parts(
            parts,
            RemoteBody::Whole(Bytes::new()),
        )));
        return;
    };
    let (remote, ends) = remote_lease(true);
    if reply
        .send(Ok(http::Response::from_parts(
            parts,
            RemoteBody::Upgraded(remote),
        )))
        .is_ok()
    {
        carry(lease, ends, patience).await;
    }
    drop(underway);
}

/// Runs `future` to its end, unless whoever waits for `reply` goes before.
pub(super) async fn unless_gone<T, F: Future>(
    reply: &mut oneshot::Sender<T>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if reply.poll_canceled(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}
