//! What streams carry: long and short, in any pieces, read or not.

use super::{StreamCall, call, rig};
use crate::driver::sim::{Sim, Weather};
use crate::engine::tests::hub::{self, Hub};
use crate::engine::tests::rig::Rig;
use crate::engine::tests::web::endpoint;
use crate::engine::tests::{SECOND, config};
use crate::shard::local::LocalShard;
use crate::shard::stream_lease::StreamCheckout;
use bytes::Bytes;
use futures_channel::oneshot;

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
    let held = move |local: &LocalShard<Sim>| {
        let upstream = local.upstream(shared);
        local.spawn(async move {
            let deadline = upstream.shard.now() + 60 * SECOND;
            let checkout = StreamCheckout::new(&upstream, deadline);
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
    let submitted = rig.shared.submit(0, Box::new(held));
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
