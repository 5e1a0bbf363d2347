//! Serves callers on other threads: runs their calls as tasks of the shard, and carries the pieces of
//! bodies across.
//!
//! Never: polls anything of the caller's. Its request body and its reading of the response happen on its
//! own thread; the pieces meet in bounded pipes.

use super::answer::{RemoteBody, RemoteResponse};
use super::call::{self, Extent, LocalBody, copied};
use super::local::LocalShard;
use super::pipe::{PipeSender, pipe};
use super::serve_lease::{carry, remote_lease};
use super::sharing::movable::{Movable, Reply, Request};
use super::sharing::moving::{Granted, Moved, Moving};
use super::sharing::taking::Taken;
use super::upload::Source;
use crate::driver::Driver;
use crate::error::Error;
use crate::protocol::http1::MethodKind;
use crate::trace;
use bytes::Bytes;
use futures_channel::oneshot;
use http_body::Frame;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

/// Pieces of a body that may wait between the shard and its reader, either way: at 16 KiB a piece
/// 256 KiB, enough to keep a fast link busy over a slow hand-over.
pub(crate) const PIPE_ROOM: usize = 16;

/// A body up to this long that has arrived with its head crosses together with it.
const INLINE_MAX: usize = 64 * 1024;

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
    shard.spawn_call(|| trace::within(span, || serve(shard.clone(), call, granted)));
}

/// Runs a call to its end, unless the caller goes before, or a sibling runs it.
async fn serve<D: Driver>(
    shard: LocalShard<D>,
    mut call: Box<Movable>,
    granted: Option<Granted<D>>,
) {
    let upstream = shard.upstream_for_outside(call.caller.upstream(), call.options);
    if let Err(error) = call::check_http(&upstream) {
        return call.caller.fail(error);
    }
    let terms = match call.terms(&upstream) {
        Ok(terms) => terms,
        Err(error) => return call.caller.fail(error),
    };
    let patience = terms.wait_until(terms.begun);
    let moving = Moving::new(&upstream, terms.class, patience, call, granted);
    let (mut call, mut first) = match moving.await {
        Moved::Stayed(call, first) => (call, Some(first)),
        Moved::Gone => return,
    };
    upstream.begin_call();
    let mut reply = call.caller.begin();
    let answer = {
        let running = pin!(async {
            match &mut call.request {
                Request::Http(parts, source) => {
                    let source = std::mem::replace(source, Source::Empty);
                    call::run(&upstream, parts, source, &terms, &mut first).await
                }
                Request::Encoded(request) => {
                    call::run_encoded(&upstream, request, &terms, &mut first).await
                }
            }
        });
        unless_gone(reply.sender(), running).await
    };
    let body = match answer {
        None => return,
        Some(Err(error)) => {
            reply.over();
            // A caller who has gone in the meantime does not mind.
            reply.send(Err(error));
            return;
        }
        Some(Ok(body)) => body,
    };
    // What is rare is on the heap, so that every call's task is smaller.
    if body.is_upgraded() {
        return Box::pin(give_upgraded(body, call, reply)).await;
    }
    give_body(body, call, reply).await;
}

/// Hands the head over, with the whole body if it is there already; else pumps the rest. The call goes back with it.
async fn give_body<D: Driver>(mut body: LocalBody<D>, call: Box<Movable>, mut reply: Reply) {
    let (length, trip) = (body.content_length(), body.trip());
    let (bytes, head, extent) = poll_fn(|cx| Poll::Ready(body.read_ready(cx, INLINE_MAX))).await;
    let (trailers, extent) = match extent {
        Extent::Whole => match body.take_trailers() {
            // As a rule: nothing is made for what is to follow.
            None => {
                // Not after the reply: who has the whole answer may count on the call being over.
                reply.over();
                let response = RemoteResponse::new(bytes.into(), head, length, trip, None);
                reply.send(Ok(response.to(call)));
                return;
            }
            trailers => (trailers, Extent::Whole),
        },
        other => (None, other),
    };
    let mut bytes = Bytes::from(bytes);
    let first = bytes.split_off(head);
    let (mut sender, receiver) = pipe(PIPE_ROOM);
    let pieces = RemoteBody::Pieces(receiver, length, reply.entrance().clone());
    if !first.is_empty() {
        sender.send(Ok(Frame::data(first)));
    }
    let response = RemoteResponse::new(bytes, head, length, trip, Some(pieces)).to(call);
    match extent {
        Extent::Whole => {
            reply.over();
            if let Some(trailers) = trailers {
                sender.send_last(Ok(Frame::trailers(trailers)));
            }
            reply.send(Ok(response));
        }
        Extent::Broken(error) => {
            reply.over();
            // The head is good, and so is what came before this: as if it had come later.
            sender.send_last(Err(error));
            reply.send(Ok(response));
        }
        Extent::Part => {
            // Whether the caller is there to take it.
            if reply.send(Ok(response)) {
                Box::pin(pump(body, sender, reply)).await;
            }
        }
    }
}

/// Carries a body across until its end, or until nobody reads it any more.
async fn pump<D: Driver>(
    mut body: LocalBody<D>,
    mut pipe: PipeSender<Result<Frame<Bytes>, Error>>,
    mut reply: Reply,
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
                reply.over();
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
                reply.over();
                pipe.finish();
                return;
            }
            Some(Err(error)) => {
                reply.over();
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

async fn give_upgraded<D: Driver>(body: LocalBody<D>, call: Box<Movable>, mut reply: Reply) {
    let (patience, length, trip) = (body.timeout(), body.content_length(), body.trip());
    let (bytes, head) = body.copy_head();
    let response = |rest| RemoteResponse::new(bytes.into(), head, length, trip, rest).to(call);
    let Some(lease) = body.into_upgraded() else {
        reply.send(Ok(response(None)));
        return;
    };
    let (remote, ends) = remote_lease(true);
    if reply.send(Ok(response(Some(RemoteBody::Upgraded(remote))))) {
        carry(lease, ends, patience).await;
    }
}

/// Runs `future` to its end, unless whoever waits for `reply` goes before. By a task's own waker, which stays the same:
/// it is left there once. Pinned by the caller: a future that is handed on is kept, and copied, at each place on its way.
pub(super) fn unless_gone<T, F: Future>(
    reply: &mut oneshot::Sender<T>,
    mut future: Pin<&mut F>,
) -> impl Future<Output = Option<F::Output>> {
    let mut waits = false;
    poll_fn(move |cx| {
        let gone = match std::mem::replace(&mut waits, true) {
            false => reply.poll_canceled(cx).is_ready(),
            true => reply.is_canceled(),
        };
        if gone {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::sim::Sim;
    use crate::shard::answer::Answered;

    /// Each call's task is one, and a future that is kept twice on its way to where it is awaited takes room for both.
    #[test]
    fn a_calls_task_is_small() {
        fn size_of_future<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
            size_of::<F>()
        }
        let size = size_of_future(serve::<Sim>);
        assert!(size <= 1280, "{size} bytes");
        let size = size_of::<Answered>();
        assert_eq!(
            size,
            size_of::<usize>(),
            "an answer moves as a pointer does"
        );
    }
}
