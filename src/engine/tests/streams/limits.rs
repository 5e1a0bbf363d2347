//! How many streams there may be, and where: limits that change, peers that go away.

use super::{StreamCall, call, rig};
use crate::engine::tests::hub;
use crate::engine::tests::rig::Rig;
use crate::engine::tests::{SECOND, config};
use crate::error::ErrorKind;

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

/// A slot comes free and is granted, and in the same breath the peer allows it no more.
#[test]
fn a_granted_slot_may_be_none_when_its_holder_looks() {
    let (mut rig, hub) = rig(1, 1);
    let mut calls = [call(&rig, "hold/x"), call(&rig, "y")];
    rig.settle();
    hub.connection(0)
        .send([hub::answer(2, b"x"), hub::limit(0)].concat());
    rig.settle();
    assert_eq!(calls[0].text(), "x");
    assert!(calls[1].is_waiting());
    assert_eq!(hub.asked(), ["first", "hold/x"]);
    hub.connection(0).send(hub::limit(1));
    rig.settle();
    assert_eq!(calls[1].text(), "y@0");
    rig.stop();
}

/// The same, where the peer goes away: whoever was granted the slot is served elsewhere.
#[test]
fn a_granted_slot_may_be_gone_when_its_holder_looks() {
    for farewell in [hub::going_away(2), vec![0xff; 7]] {
        let (mut rig, hub) = rig(1, 1);
        let mut calls = [call(&rig, "hold/x"), call(&rig, "y")];
        rig.settle();
        hub.connection(0)
            .send([hub::answer(2, b"x"), farewell].concat());
        rig.pass(SECOND);
        assert_eq!([calls[0].text(), calls[1].text()], ["x", "y@1"]);
        assert_eq!(hub.asked(), ["first", "hold/x", "y"]);
        assert_eq!((hub.accepted(), hub.open()), (2, 1));
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
    // The pool may first wait for what is in use to come back.
    rig.pass(SECOND);
    assert_ne!(
        later.text(),
        "later@0",
        "the first connection takes no more"
    );
    hub.let_go();
    rig.settle();
    let answers: Vec<String> = calls.iter_mut().map(StreamCall::text).collect();
    assert_eq!(answers[..2], ["0@0", "1@0"]);
    assert_ne!(answers[2], "2@0");
    let open = hub.accepted() - 1;
    assert_eq!(hub.open(), open, "it was closed after its last stream");
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
