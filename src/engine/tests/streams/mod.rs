//! Calls over streams: many on one connection, and whatever a peer may do to them.

mod failures;
mod limits;
mod traffic;

use super::hub::Hub;
use super::rig::Rig;
use super::{SECOND, config};
use crate::config::UpstreamConfig;
use crate::error::Error;
use bytes::Bytes;
use futures_channel::oneshot;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// A call over a stream, from a task on shard 0. Dropping it drops the call's future.
struct StreamCall {
    answer: oneshot::Receiver<Result<Bytes, Error>>,
    given: Option<Result<Bytes, Error>>,
    _gone: oneshot::Sender<()>,
}

fn call(rig: &Rig, payload: impl Into<Bytes>) -> StreamCall {
    call_within(rig, payload, 30 * SECOND)
}

fn call_within(rig: &Rig, payload: impl Into<Bytes>, time: Duration) -> StreamCall {
    let (shared, payload) = (rig.upstream("a"), payload.into());
    let (reply, answer) = oneshot::channel();
    let (gone, mut is_gone) = oneshot::channel();
    let submitted = rig.shared.submit(
        0,
        Box::new(move |local| {
            let upstream = local.upstream(shared);
            local.spawn(async move {
                let deadline = upstream.shard.now() + time;
                let mut call = pin!(upstream.stream_call(payload, deadline));
                let answered = poll_fn(|cx| {
                    if pin!(&mut is_gone).poll(cx).is_ready() {
                        return Poll::Ready(None);
                    }
                    call.as_mut().poll(cx).map(Some)
                });
                if let Some(result) = answered.await {
                    // A caller who has gone does not want it any more.
                    let _ = reply.send(result);
                }
            });
        }),
    );
    submitted.expect("the mailbox has room");
    StreamCall {
        answer,
        given: None,
        _gone: gone,
    }
}

impl StreamCall {
    fn result(&mut self) -> Option<&Result<Bytes, Error>> {
        if self.given.is_none() {
            self.given = self
                .answer
                .try_recv()
                .expect("the task ends with an answer");
        }
        self.given.as_ref()
    }

    #[track_caller]
    fn text(&mut self) -> String {
        match self.result() {
            Some(Ok(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[track_caller]
    fn error(&mut self) -> &Error {
        match self.result() {
            Some(Err(error)) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    fn is_waiting(&mut self) -> bool {
        self.result().is_none()
    }
}

/// One upstream, `a`, of up to `connections`, whose servers begin with a limit of `streams`.
fn rig(connections: u32, streams: u32) -> (Rig, Hub) {
    rig_with(streams, |upstream| upstream.connections_max = connections)
}

fn rig_with(streams: u32, change: impl Fn(&mut UpstreamConfig)) -> (Rig, Hub) {
    let config = config(1, |upstream| {
        upstream.url = "mux://192.0.2.1:80".parse().expect("a URL");
        change(upstream);
    });
    let mut rig = Rig::new(config);
    let hub = Hub::serve(&rig.network, Some(streams));
    rig.web.watch(1, 128);
    // The greeting has arrived before anything else happens.
    let mut first = call(&rig, "first");
    rig.settle();
    assert_eq!(first.text(), "first@0");
    (rig, hub)
}
