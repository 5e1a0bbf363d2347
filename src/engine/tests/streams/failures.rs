//! Streams that end before their time, by their peer, their caller, a deadline or their connection.

use super::{call, call_within, rig, rig_with};
use crate::driver::sim::SimConnection;
use crate::engine::tests::SECOND;
use crate::engine::tests::hub;
use crate::error::{ErrorKind, Phase, RequestSent};
use std::time::Duration;

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
    rig.pass(SECOND);
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
fn streams_share_their_upstreams_retry_budget() {
    let (mut rig, hub) = rig_with(8, |upstream| {
        upstream.retry.budget_share = 0.0;
        upstream.retry.budget_per_second = 0;
    });
    let mut refused = call(&rig, "refuse/x");
    rig.pass(SECOND);
    let error = refused.error();
    assert_eq!((error.attempts(), error.history().len()), (1, 1));
    assert!(error.to_string().contains("budget"), "{error}");
    assert_eq!(hub.asked().last().map(String::as_str), Some("refuse/x"));
    rig.stop();
}

/// A caller with less time than the upstream gives: how long the peer would have taken is not known.
#[test]
fn callers_of_streams_without_patience_say_nothing() {
    for (time, ejects) in [(SECOND, false), (2 * SECOND, true)] {
        let (mut rig, _hub) = rig_with(64, |upstream| upstream.call_timeout = 2 * SECOND);
        let mut calls: Vec<_> = (0..10)
            .map(|n| call_within(&rig, format!("never/{n}"), time))
            .collect();
        rig.pass(3 * SECOND);
        let mut late = call(&rig, "late");
        rig.settle();
        assert!(calls.iter_mut().all(|call| call.error().attempts() == 1));
        let refused =
            matches!(late.result(), Some(Err(error)) if error.kind() == ErrorKind::Breaker);
        assert_eq!(refused, ejects, "after {time:?}");
        rig.stop();
    }
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
