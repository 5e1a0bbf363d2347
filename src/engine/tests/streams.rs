//! Calls over streams: many on one connection, and whatever a peer may do to them.

use super::hub::{self, Hub};
use super::rig::Rig;
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::UpstreamConfig;
use crate::driver::sim::{SimConnection, Weather};
use crate::error::{Error, ErrorKind, Phase, RequestSent};
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

#[test]
fn many_calls_share_one_connection_within_its_limit() {
    let (mut rig, hub) = rig(1, 10);
    let mut calls: Vec<StreamCall> = (0..25).map(|n| call(&rig, format!("hold/{n}"))).collect();
    rig.settle();
    assert_eq!(hub.asked().len(), 11, "ten at once, after the first");
    assert_eq!(hub.let_go(), 10);
    rig.settle();
    assert_eq!(hub.let_go(), 10, "each that is over makes room for another");
    rig.settle();
    assert_eq!(hub.let_go(), 5);
    rig.settle();
    for (n, call) in calls.iter_mut().enumerate() {
        assert_eq!(call.text(), format!("{n}@0"));
    }
    assert_eq!((hub.streams_peak(), hub.accepted()), (10, 1));
    assert!(hub.resets().is_empty());
    rig.stop();
}

#[test]
fn the_limit_may_fall_to_nothing_and_rise_again() {
    let (mut rig, hub) = rig(1, 4);
    let mut calls: Vec<StreamCall> = (0..4).map(|n| call(&rig, format!("hold/{n}"))).collect();
    rig.settle();
    hub.connection(0).send(hub::limit(0));
    rig.settle();
    let mut late: Vec<StreamCall> = (0..3).map(|n| call(&rig, format!("late{n}"))).collect();
    assert_eq!(hub.let_go(), 4, "those under way go on");
    rig.settle();
    for (n, call) in calls.iter_mut().enumerate() {
        assert_eq!(call.text(), format!("{n}@0"));
    }
    assert!(late.iter_mut().all(StreamCall::is_waiting));
    assert_eq!(hub.asked().len(), 5);
    hub.connection(0).send(hub::limit(2));
    rig.settle();
    for (n, call) in late.iter_mut().enumerate() {
        assert_eq!(call.text(), format!("late{n}@0"));
    }
    assert_eq!((hub.accepted(), hub.open()), (1, 1));
    rig.stop();
}

/// The limit falls while a grant is on its way to its holder, at every number of turns.
#[test]
fn a_limit_that_falls_is_kept_from_then_on() {
    for turns in 0..6 {
        let (mut rig, hub) = rig(1, 2);
        let mut calls = [call(&rig, "hold/x"), call(&rig, "hold/y")];
        for _ in 0..turns {
            rig.shards[0].turn(true).unwrap();
        }
        hub.connection(0).send(hub::limit(1));
        rig.settle();
        let asked = hub.let_go();
        assert!(asked == 1 || asked == 2);
        rig.settle();
        hub.let_go();
        rig.settle();
        assert_eq!([calls[0].text(), calls[1].text()], ["x@0", "y@0"]);
        rig.stop();
    }
}

/// What the peer will not serve is asked elsewhere, what it serves goes on, and then it is left.
#[test]
fn a_peer_that_goes_away_is_left_in_order() {
    let (mut rig, hub) = rig(4, 8);
    // Streams 2, 3 and 4 of the first connection; stream 1 was the greeting's call.
    let mut calls: Vec<StreamCall> = (0..3).map(|n| call(&rig, format!("hold/{n}"))).collect();
    rig.settle();
    hub.connection(0).send(hub::going_away(3));
    rig.settle();
    let mut later = call(&rig, "later");
    rig.settle();
    assert_eq!(
        later.text(),
        "later@1",
        "the first connection takes no more"
    );
    assert_eq!((hub.accepted(), hub.open()), (2, 2));
    hub.let_go();
    rig.settle();
    let answers: Vec<String> = calls.iter_mut().map(StreamCall::text).collect();
    assert_eq!(answers, ["0@0", "1@0", "2@1"]);
    assert_eq!(
        hub.open(),
        1,
        "the first connection was closed after its last stream"
    );
    rig.stop();
}

#[test]
fn an_idle_connection_whose_peer_goes_away_is_closed() {
    let (mut rig, hub) = rig(4, 8);
    hub.connection(0).send(hub::going_away(u32::MAX));
    rig.settle();
    assert_eq!(hub.open(), 0);
    let mut next = call(&rig, "next");
    rig.settle();
    assert_eq!(next.text(), "next@1");
    rig.stop();
}

#[test]
fn a_stream_that_is_reset_is_reset_alone() {
    let (mut rig, hub) = rig(1, 8);
    let mut other = call(&rig, "hold/other");
    let mut failed = call(&rig, "reset/x");
    rig.settle();
    let error = failed.error();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(error.request_sent(), RequestSent::Whole);
    assert_eq!((error.attempts(), error.is_retryable()), (1, false));
    assert!(error.endpoint().is_some() && error.upstream() == Some("a"));
    hub.let_go();
    rig.settle();
    assert_eq!(other.text(), "other@0");
    assert_eq!(hub.asked(), ["first", "hold/other", "reset/x"], "once each");
    assert_eq!(hub.accepted(), 1);
    rig.stop();
}

#[test]
fn a_refused_stream_is_tried_again_but_not_for_ever() {
    let (mut rig, hub) = rig(1, 8);
    let (mut once, mut always) = (call(&rig, "refuse-once/x"), call(&rig, "refuse/x"));
    rig.settle();
    assert_eq!(once.text(), "x@0");
    let error = always.error();
    assert_eq!(error.request_sent(), RequestSent::No);
    assert_eq!((error.attempts(), error.is_retryable()), (3, true));
    let refused = hub
        .asked()
        .iter()
        .filter(|asked| *asked == "refuse/x")
        .count();
    assert_eq!(refused, 3);
    rig.stop();
}

#[test]
fn garbage_fails_every_stream_of_its_connection() {
    let (mut rig, hub) = rig(1, 8);
    let mut calls = [call(&rig, "never/x"), call(&rig, "garbage/y")];
    rig.settle();
    for call in &mut calls {
        assert_eq!(call.error().kind(), ErrorKind::Protocol);
        assert_eq!(call.error().request_sent(), RequestSent::Whole);
    }
    assert_eq!(hub.open(), 0);
    let mut next = call(&rig, "next");
    rig.settle();
    assert_eq!(next.text(), "next@1");
    rig.stop();
}

/// What a peer may say where it makes no sense, with a stream open and with none.
#[test]
fn a_peer_out_of_order_is_left() {
    let unopened = hub::answer(9, b"x");
    let twice = [hub::part(2, b"x"), hub::answer(2, b""), hub::answer(2, b"")].concat();
    let rising = [hub::going_away(2), hub::going_away(3)].concat();
    for (said, idle) in [
        (&unopened, true),
        (&unopened, false),
        (&twice, false),
        (&rising, false),
    ] {
        let (mut rig, hub) = rig(1, 8);
        // Its request never ends: an answer that ends leaves the stream open.
        let call = (!idle).then(|| call(&rig, vec![b'x'; 200_000]));
        hub.connection(0).stall();
        rig.settle();
        hub.connection(0).send(said.clone());
        rig.settle();
        assert_eq!(hub.open(), 0, "{said:?}");
        drop(call);
        rig.stop();
    }
}

#[test]
fn a_connection_that_fails_fails_its_streams() {
    for harm in [SimConnection::reset, SimConnection::end] {
        let (mut rig, hub) = rig(1, 8);
        let mut calls = [call(&rig, "never/x"), call(&rig, "never/y")];
        rig.settle();
        harm(&hub.connection(0));
        rig.settle();
        for call in &mut calls {
            assert_eq!(call.error().kind(), ErrorKind::Closed);
            assert_eq!(call.error().request_sent(), RequestSent::Whole);
        }
        let mut next = call(&rig, "next");
        rig.settle();
        assert_eq!(next.text(), "next@1");
        assert_eq!(hub.asked(), ["first", "never/x", "never/y", "next"]);
        rig.stop();
    }
}

/// An answer that is whole is one, though its connection fails in the same breath.
#[test]
fn a_whole_answer_outlives_its_connection() {
    let (mut rig, hub) = rig(1, 8);
    let mut calls = [call(&rig, "hold/x"), call(&rig, "part/y")];
    rig.settle();
    hub.let_go();
    hub.connection(0).reset();
    rig.settle();
    assert_eq!(calls[0].text(), "x@0");
    assert_eq!(calls[1].error().kind(), ErrorKind::Closed);
    rig.stop();
}

/// However far a call has come when its caller goes, its slot is free again and nobody else suffers.
#[test]
fn a_caller_may_go_at_any_turn() {
    for turns in 0..12 {
        let (mut rig, hub) = rig(1, 2);
        let mut other = call(&rig, "hold/other");
        let gone = call(&rig, "hold/gone");
        for _ in 0..turns {
            rig.step();
        }
        drop(gone);
        let mut next = call(&rig, "next");
        rig.settle();
        assert_eq!(next.text(), "next@0", "after {turns} steps");
        hub.let_go();
        rig.settle();
        assert_eq!(other.text(), "other@0");
        assert_eq!((hub.accepted(), hub.open()), (1, 1));
        let asked = hub.asked().contains(&"hold/gone".to_owned());
        let reset = usize::from(asked);
        assert_eq!(hub.resets().len(), reset, "after {turns} steps");
        rig.stop();
    }
}

#[test]
fn each_stream_has_its_deadline() {
    let (mut rig, hub) = rig(1, 8);
    let mut long = call(&rig, "hold/long");
    let mut short = call_within(&rig, "never/short", SECOND);
    let mut cut = call_within(&rig, "part/cut", 2 * SECOND);
    rig.pass(Duration::from_millis(1500));
    let timeout = ErrorKind::Timeout(Phase::Head);
    assert_eq!(short.error().kind(), timeout);
    assert!(cut.is_waiting());
    rig.pass(SECOND);
    assert_eq!(cut.error().kind(), ErrorKind::Timeout(Phase::Body));
    assert_eq!(hub.resets(), [(0, 3, 1), (0, 4, 1)]);
    hub.let_go();
    rig.settle();
    assert_eq!(long.text(), "long@0");
    rig.stop();
}

/// On a connection that nobody uses, too.
#[test]
fn pings_are_answered_and_limits_heard_at_any_time() {
    let (mut rig, hub) = rig(1, 1);
    hub.connection(0)
        .send([hub::frame(0, hub::PING, b"12345678"), hub::limit(3)].concat());
    rig.settle();
    assert_eq!(hub.pongs(), 1);
    let calls: Vec<StreamCall> = (0..3).map(|n| call(&rig, format!("hold/{n}"))).collect();
    rig.settle();
    assert_eq!(hub.streams_peak(), 3);
    hub.connection(0)
        .send(hub::frame(0, hub::PING, b"abcdefgh"));
    rig.settle();
    assert_eq!((hub.pongs(), hub.open()), (2, 1));
    drop(calls);
    rig.stop();
}

/// A peer that asks and does not read what it is answered.
#[test]
fn a_flood_of_pings_ends_the_connection() {
    let (mut rig, hub) = rig(1, 8);
    hub.connection(0).stall();
    for _ in 0..20_000 {
        hub.connection(0)
            .send(hub::frame(0, hub::PING, b"12345678"));
        rig.settle();
        if hub.open() == 0 {
            rig.stop();
            return;
        }
    }
    panic!("answers pile up without end");
}

#[test]
fn long_requests_and_answers_go_in_frames_beside_others() {
    let (mut rig, hub) = rig(1, 8);
    rig.network.set_weather(endpoint(1), Weather::default());
    let long = |byte: u8| Bytes::from([b"echo", &vec![byte; 300_000][..]].concat());
    let mut calls = [call(&rig, long(b'x')), call(&rig, long(b'y'))];
    let mut short = call(&rig, "short");
    rig.settle();
    assert_eq!(short.text(), "short@0");
    assert_eq!(calls[0].result().unwrap().as_ref().unwrap(), &long(b'x'));
    assert_eq!(calls[1].result().unwrap().as_ref().unwrap(), &long(b'y'));
    assert!(hub.resets().is_empty());
    rig.stop();
}

/// Whatever pieces the frames come in.
#[test]
fn frames_may_come_in_pieces() {
    let config = config(1, |upstream| {
        upstream.url = "mux://192.0.2.1:80".parse().expect("a URL");
    });
    let mut rig = Rig::new(config);
    let hub = Hub::serve(&rig.network, Some(16));
    let weather = Weather {
        piece_max: 3,
        ..Weather::default()
    };
    rig.network.set_weather(endpoint(1), weather);
    rig.web.watch(1, 128);
    let mut calls: Vec<StreamCall> = (0..16).map(|n| call(&rig, format!("echo{n}"))).collect();
    rig.settle();
    for (n, call) in calls.iter_mut().enumerate() {
        assert_eq!(call.text(), format!("echo{n}"));
    }
    assert!(hub.streams_peak() <= 16);
    rig.stop();
}

/// An answer that comes before the request has gone: the rest of it is called off.
#[test]
fn an_early_answer_is_one() {
    let (mut rig, hub) = rig(1, 8);
    let mut early = call(&rig, [b"early/x", &vec![b' '; 300_000][..]].concat());
    rig.settle();
    assert!(early.text().starts_with("x"), "{}", early.text());
    assert!(hub.resets().len() <= 1);
    let mut next = call(&rig, "next");
    rig.settle();
    assert_eq!((next.text(), hub.accepted()), ("next@0".to_owned(), 1));
    rig.stop();
}

/// More than may be unread, for one who does not read: the peer is made to wait, and goes on afterwards.
#[test]
fn one_who_does_not_read_stops_the_connection_until_the_stream_is_over() {
    let (mut rig, hub) = rig(1, 8);
    let shared = rig.upstream("a");
    let (go, wait) = oneshot::channel::<()>();
    let (reply, mut read) = oneshot::channel();
    let held = move |local: &crate::shard::local::LocalShard<crate::driver::sim::Sim>| {
        let upstream = local.upstream(shared);
        local.spawn(async move {
            let deadline = upstream.shard.now() + 60 * SECOND;
            let checkout = crate::shard::stream_lease::StreamCheckout::new(&upstream, deadline);
            let mut lease = checkout.expect("it has streams").await.expect("a stream");
            lease
                .write(Bytes::from_static(b"never/held"), true)
                .await
                .expect("written");
            wait.await.expect("the test says when");
            let first = lease.read().await.expect("something was read");
            let _ = reply.send(first.map(|piece| piece.len()));
        });
    };
    let submitted = rig.shared.submit(0, Box::new(move |local| held(local)));
    submitted.expect("the mailbox has room");
    rig.settle();
    for _ in 0..2_000 {
        hub.connection(0).send(hub::part(2, &[b'x'; 4_000]));
    }
    rig.settle();
    assert!(rig.figures(0).tally.pauses > 0);
    let mut other = call(&rig, "other");
    rig.settle();
    assert!(
        other.is_waiting(),
        "streams without windows wait for each other"
    );
    go.send(()).expect("the task waits");
    rig.settle();
    assert!(read.try_recv().expect("the task ended").flatten().is_some());
    assert_eq!(
        other.text(),
        "other@0",
        "the rest of a stream that is over goes nowhere"
    );
    assert_eq!(hub.resets(), [(0, 2, 1)]);
    rig.stop();
}

#[test]
fn what_has_no_streams_gives_none_and_what_has_them_gives_nothing_else() {
    let (mut rig, _hub) = rig(1, 8);
    let mut http = rig.call(0, "a", "/x");
    let mut lease = rig.checkout(0, "a");
    rig.settle();
    assert_eq!(
        http.error().expect("refused").kind(),
        ErrorKind::Unsupported
    );
    let leased = lease.try_recv().expect("an answer").expect("an answer");
    assert_eq!(
        leased.err().expect("refused").kind(),
        ErrorKind::Unsupported
    );
    rig.stop();
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 1);
    let mut stream = call(&rig, "x");
    rig.settle();
    assert_eq!(stream.error().kind(), ErrorKind::Unsupported);
    rig.stop();
}
