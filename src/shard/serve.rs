//! Serves callers on other threads: runs their calls as tasks of the shard, and carries the pieces of
//! bodies across.
//!
//! Never: polls anything of the caller's. Its request body and its reading of the response happen on its
//! own thread; the pieces meet in bounded pipes.

use super::call::{self, Extent, LocalBody, copied};
use super::entrance::Entrance;
use super::local::LocalShard;
use super::pipe::{PipeReceiver, PipeSender, pipe};
use super::serve_lease::{RemoteLease, carry, remote_lease};
use super::sharing::movable::{Movable, Reply, Request, Underway};
use super::sharing::moving::{Granted, Moved, Moving};
use super::sharing::taking::Taken;
use crate::driver::Driver;
use crate::error::Error;
use crate::protocol::http1::MethodKind;
use crate::trace;
use bytes::Bytes;
use futures_channel::oneshot;
use http_body::Frame;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

/// Pieces of a body that may wait between the shard and its reader, either way: at 16 KiB a piece
/// 256 KiB, enough to keep a fast link busy over a slow hand-over.
pub(crate) const PIPE_ROOM: usize = 16;

/// A body up to this long that has arrived with its head crosses together with it.
const INLINE_MAX: usize = 64 * 1024;

/// A response's head as it was received: among the extensions of a response whose request came in bytes.
#[derive(Clone)]
pub(crate) struct RawHead {
    pub(crate) head: Bytes,
    pub(crate) content_length: Option<u64>,
}

/// A response's body, as it crosses to the caller.
pub(crate) enum RemoteBody {
    /// All of it.
    Whole(Bytes),
    /// What follows, how long it is if that is known, and where it comes from.
    Pieces(
        PipeReceiver<Result<Frame<Bytes>, Error>>,
        Option<u64>,
        Arc<Entrance>,
    ),
    /// There is none: the connection became a raw stream.
    Upgraded(RemoteLease),
}

/// Takes up a call from another thread.
pub(super) fn begin<D: Driver>(shard: &LocalShard<D>, call: Box<Movable>) {
    spawn(shard, call, None);
}

/// Takes up a call of a sibling, for which a connection is free here.
pub(super) fn take_over<D: Driver>(shard: &LocalShard<D>, taken: Taken) {
    let (call, granted) = Granted::split(shard, taken);
    spawn(shard, call, Some(granted));
}

/// Its task is large, and there is one for each call: it takes over the place of one that has ended. It runs within a
/// span of the caller's.
fn spawn<D: Driver>(shard: &LocalShard<D>, mut call: Box<Movable>, granted: Option<Granted<D>>) {
    let caller = std::mem::take(&mut call.within);
    let span = trace::request(caller, || {
        let method = MethodKind::of(call.request.method());
        (&call.caller.upstream().name, method.name())
    });
    let task = trace::within(span, serve(shard.clone(), call, granted));
    shard.spawn_serving(shard.serving.keep(task));
}

/// Runs a call to its end, unless the caller goes before, or a sibling runs it.
async fn serve<D: Driver>(
    shard: LocalShard<D>,
    mut call: Box<Movable>,
    granted: Option<Granted<D>>,
) {
    let upstream = shard.upstream(call.caller.upstream().clone()).for_outside();
    let upstream = upstream.with_options(call.options);
    if let Err(error) = call::check_http(&upstream) {
        return call.caller.fail(error);
    }
    let terms = match call.terms(&upstream) {
        Ok(terms) => terms,
        Err(error) => return call.caller.fail(error),
    };
    let patience = terms.wait_until(terms.begun);
    let moving = Moving::new(&upstream, terms.class, patience, call, granted);
    let (call, first) = match moving.await {
        Moved::Stayed(call, first) => (*call, first),
        Moved::Gone => return,
    };
    upstream.begin_call();
    let (mut reply, underway) = call.caller.begin();
    let running = async {
        match call.request {
            Request::Http(parts, source) => {
                call::run(&upstream, *parts, source, &terms, Some(first)).await
            }
            Request::Encoded(request) => {
                call::run_encoded(&upstream, &request, &terms, Some(first)).await
            }
        }
    };
    let answer = unless_gone(reply.sender(), running).await;
    let (parts, body) = match answer {
        None => return,
        Some(Err(error)) => {
            drop(underway);
            // A caller who has gone in the meantime does not mind.
            let _ = reply.send(Err(error));
            return;
        }
        Some(Ok(response)) => response.into_parts(),
    };
    // What is rare is on the heap, so that every call's task is smaller.
    if body.is_upgraded() {
        return Box::pin(give_upgraded(parts, body, reply, underway)).await;
    }
    give_body(parts, body, reply, underway).await;
}

/// Hands the head over, with the whole body if it is there already; else pumps the rest.
async fn give_body<D: Driver>(
    parts: http::response::Parts,
    mut body: LocalBody<D>,
    reply: Reply,
    underway: Underway,
) {
    let length = body.content_length();
    let ready = poll_fn(|cx| Poll::Ready(body.read_ready(cx, INLINE_MAX))).await;
    let (first, extent) = ready;
    let first = Bytes::from(first);
    // Whether the caller is there to take it.
    let answer = |body| {
        let response = http::Response::from_parts(parts, body);
        reply.send(Ok(response)).is_ok()
    };
    let (trailers, extent) = match extent {
        Extent::Whole => match body.take_trailers() {
            // As a rule: nothing is made for what is to follow.
            None => {
                // Not after the reply: who has the whole answer may count on the call being over.
                drop(underway);
                answer(RemoteBody::Whole(first));
                return;
            }
            trailers => (trailers, Extent::Whole),
        },
        other => (None, other),
    };
    let (mut sender, receiver) = pipe(PIPE_ROOM);
    let pieces = RemoteBody::Pieces(receiver, length, underway.entrance().clone());
    if !first.is_empty() {
        sender.send(Ok(Frame::data(first)));
    }
    match extent {
        Extent::Whole => {
            drop(underway);
            if let Some(trailers) = trailers {
                sender.send_last(Ok(Frame::trailers(trailers)));
            }
            answer(pieces);
        }
        Extent::Broken(error) => {
            drop(underway);
            // The head is good, and so is what came before this: as if it had come later.
            sender.send_last(Err(error));
            answer(pieces);
        }
        Extent::Part => {
            if answer(pieces) {
                Box::pin(pump(body, sender, underway)).await;
            }
        }
    }
}

/// Carries a body across until its end, or until nobody reads it any more.
async fn pump<D: Driver>(
    mut body: LocalBody<D>,
    mut pipe: PipeSender<Result<Frame<Bytes>, Error>>,
    underway: Underway,
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
    reply: Reply,
    underway: Underway,
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
