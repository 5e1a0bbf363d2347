//! Dials that fail, and what their waiters get.

use super::rig::Rig;
use super::web::endpoint;
use super::{SECOND, config};
use crate::error::{ErrorKind, Phase};

#[test]
fn refused_dials_fail_their_waiters_one_by_one() {
    let mut rig = Rig::new(config(1, |upstream| upstream.retry.attempts_max = 1));
    rig.network.refuse(endpoint(1));
    rig.web.watch(1, 0);
    let mut calls: Vec<_> = (0..6).map(|n| rig.call(n % 2, "a", "/x")).collect();
    rig.finish(&mut calls);
    for call in &mut calls {
        let error = call.error().expect("nobody listens");
        assert!(matches!(error.kind(), ErrorKind::Dial | ErrorKind::Breaker));
        assert_eq!(error.upstream(), Some("a"));
        let failed = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source());
        let told = failed.filter_map(|e| e.downcast_ref::<crate::Error>()?.endpoint());
        assert_eq!(told.last(), Some(&endpoint(1)), "who refused is told");
        assert!(error.is_retryable());
    }
    // After the first failure the next ones pause: 10, 20 ms, each shortened by half at most.
    assert!(rig.clock.now().since(crate::time::Time::ZERO) > SECOND / 100);
    rig.stop();
}

#[test]
fn an_upstream_that_comes_back_is_found_within_the_longest_pause() {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.network.refuse(endpoint(1));
    for _ in 0..10 {
        let mut calls = [rig.call(0, "a", "/x")];
        rig.finish(&mut calls);
        assert!(calls[0].error().is_some());
    }
    let mut calls = [rig.call(0, "a", "/refused")];
    rig.finish(&mut calls);
    let error = calls[0].error().expect("its breaker is open");
    assert_eq!(error.kind(), ErrorKind::Breaker);
    assert!(error.retry_after().is_some_and(|after| after <= SECOND / 2));
    // Dials on trial go on in the background.
    rig.web.serve(1, 128);
    rig.pass(SECOND / 2 + SECOND / 100);
    let mut calls = [rig.call(0, "a", "/y")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "y@0");
    assert!(calls[0].trip().wait.is_zero(), "it was connected before");
    rig.stop();
}

#[test]
fn a_dial_into_a_black_hole_ends_by_its_limit() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.dial_timeout = SECOND;
        upstream.wait_timeout = 20 * SECOND;
    }));
    rig.network.swallow(endpoint(1));
    rig.web.watch(1, 128);
    let mut calls = [rig.call(1, "a", "/x")];
    rig.pass(SECOND / 2);
    assert!(!calls[0].is_answered());
    assert_eq!(rig.web.open(), 1);
    rig.finish(&mut calls);
    let error = calls[0].error().expect("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Dial));
    let took = rig.clock.now().since(crate::time::Time::ZERO);
    assert!(took >= SECOND && took < SECOND + SECOND / 10, "{took:?}");
    rig.settle();
    assert_eq!(rig.web.open(), 0);
    assert_eq!(rig.upstream("a").connections.in_use(), 0);
    rig.stop();
}

/// The wait ends before the dial does: the waiter learns it then, and the dial goes on.
#[test]
fn a_wait_may_end_before_the_dial() {
    let mut rig = Rig::new(config(1, |upstream| upstream.wait_timeout = SECOND));
    rig.network.swallow(endpoint(1));
    rig.web.watch(1, 128);
    let mut calls = [rig.call(0, "a", "/x"), rig.call(0, "a", "/y")];
    rig.finish(&mut calls);
    for call in &mut calls {
        let kind = call.error().map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::Timeout(Phase::Wait)));
    }
    let took = rig.clock.now().since(crate::time::Time::ZERO);
    assert!(took >= SECOND && took < SECOND + SECOND / 10, "{took:?}");
    assert!(rig.web.open() > 0);
    rig.pass(10 * SECOND);
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

#[test]
fn silence_after_the_request_is_one_timeout() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.connections_max = 1;
        upstream.call_timeout = 2 * SECOND;
    }));
    rig.web.serve(1, 1);
    let mut calls = [rig.call(0, "a", "/never/x")];
    rig.finish(&mut calls);
    let error = calls[0].error().expect("the peer is silent");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head));
    assert_eq!(error.attempts(), 1);
    assert_eq!(error.request_sent(), crate::RequestSent::Whole);
    rig.settle();
    assert_eq!(rig.web.open(), 0, "its connection is of no use any more");
    assert_eq!(rig.upstream("a").connections.in_use(), 0);
    assert_eq!(rig.web.asked(), ["/never/x"], "sent once");
    let mut calls = [rig.call(1, "a", "/y")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "y@1");
    rig.stop();
}
