//! Calls that are tried again, and what is told of the attempts.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::{CallOptions, UpstreamConfig};
use crate::error::{ErrorKind, Phase, RequestSent};
use crate::protocol::http1::Head;
use crate::shard::forward;
use crate::time::Time;
use http::Method;
use std::cell::RefCell;
use std::rc::Rc;

fn serving(change: impl Fn(&mut UpstreamConfig)) -> Rig {
    let rig = Rig::new(config(1, change));
    rig.web.serve(1, 128);
    rig
}

/// A request that says something for itself.
fn saying(method: Method, path: &str, options: CallOptions) -> http::Request<()> {
    let mut request = http::Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request.extensions_mut().insert(options);
    request
}

fn one(rig: &mut Rig, call: Call) -> Call {
    let mut calls = [call];
    rig.finish(&mut calls);
    let [call] = calls;
    call
}

fn get(rig: &mut Rig, path: &str) -> Call {
    let call = rig.call(0, "a", path);
    one(rig, call)
}

fn send(rig: &mut Rig, method: Method, path: &str, options: CallOptions) -> Call {
    let call = rig.call_with(0, "a", saying(method, path, options));
    one(rig, call)
}

const SAFE: CallOptions = CallOptions {
    timeout: None,
    class: None,
    attempts_max: None,
    idempotent: Some(true),
};

#[test]
fn a_call_that_met_a_close_is_tried_again_up_to_three_times() {
    let mut rig = serving(|_| {});
    let mut call = get(&mut rig, "/cut/2/x");
    assert_eq!((call.body().as_str(), call.attempts()), ("x@2", 3));
    let failed = &call.trip().failed;
    assert_eq!(failed.len(), 2);
    for attempt in failed {
        assert_eq!(attempt.failure, ErrorKind::Closed);
        assert_eq!(attempt.endpoint, Some(endpoint(1)));
        assert!(!attempt.reused);
    }
    assert!(failed[1].begun >= failed[0].begun + failed[0].took);
    assert!(
        rig.clock.now() > Time::ZERO,
        "a new connection that is closed is no reason to hurry"
    );
    let mut call = get(&mut rig, "/cut/3/y");
    let error = call.error().expect("three attempts are all");
    assert_eq!(
        (error.kind(), error.attempts(), error.is_retryable()),
        (ErrorKind::Closed, 3, true)
    );
    assert_eq!(error.history().len(), 3, "the last one included");
    rig.stop();
}

#[test]
fn after_a_stale_reuse_the_next_attempt_is_fresh_and_at_once() {
    let mut rig = serving(|_| {});
    // Two connections idle.
    let mut calls = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/hold/y")];
    rig.settle();
    while rig.web.let_go() > 0 {
        rig.settle();
    }
    assert!(calls.iter_mut().all(Call::is_answered));
    let idle = rig.web.open();
    let mut call = get(&mut rig, "/cut/1/z");
    assert_eq!(call.attempts(), 2);
    assert!(call.trip().failed[0].reused && !call.reused());
    assert_eq!(rig.web.open(), idle, "one closed, one more dialled");
    assert_eq!(rig.clock.now(), Time::ZERO, "nobody waited");
    rig.stop();
}

#[test]
fn what_is_not_idempotent_is_sent_once_unless_its_caller_vouches_for_it() {
    let mut rig = serving(|_| {});
    let mut call = send(&mut rig, Method::POST, "/cut/1/x", CallOptions::default());
    let error = call.error().expect("nobody vouched for it");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Closed, 1));
    assert_eq!(error.request_sent(), RequestSent::Whole);
    assert!(!error.is_retryable());
    let mut call = send(&mut rig, Method::POST, "/cut/1/y", SAFE);
    assert_eq!(call.attempts(), 2);
    assert!(call.body().starts_with("y@"));
    let unsafe_get = CallOptions {
        idempotent: Some(false),
        ..SAFE
    };
    let mut call = send(&mut rig, Method::GET, "/cut/1/z", unsafe_get);
    assert_eq!(call.error().map(|error| error.attempts()), Some(1));
    assert_eq!(
        rig.web.asked(),
        ["/cut/1/x", "/cut/1/y", "/cut/1/y", "/cut/1/z"]
    );
    rig.stop();
}

#[test]
fn a_call_may_have_a_number_of_attempts_of_its_own() {
    for (attempts_max, attempts) in [(0, 1), (1, 1), (2, 2), (4, 4)] {
        let mut rig = serving(|upstream| upstream.breaker.enabled = false);
        let options = CallOptions {
            attempts_max: Some(attempts_max),
            ..CallOptions::default()
        };
        let mut call = send(&mut rig, Method::GET, "/cut/9/x", options);
        assert_eq!(call.error().map(|error| error.attempts()), Some(attempts));
        assert_eq!(rig.web.asked().len(), attempts as usize);
        rig.stop();
    }
}

#[test]
fn an_exchange_goes_by_its_handles_options() {
    let mut rig = serving(|_| {});
    let local = rig.shards[0].local().clone();
    let upstream = local.upstream(rig.upstream("a")).with_options(SAFE);
    let told = Rc::new(RefCell::new(None));
    let telling = told.clone();
    local.spawn(async move {
        let head = Head::new("POST", "/cut/1/x");
        let exchange = forward::exchange(&upstream, &head, None).await;
        let trip = exchange.expect("it was sent again").trip();
        telling.replace(Some((trip.attempts, trip.failed.len())));
    });
    rig.pass(SECOND);
    assert_eq!(told.take(), Some((2, 1)));
    drop(local);
    rig.stop();
}

#[test]
fn an_empty_budget_says_so() {
    let mut rig = serving(|upstream| {
        upstream.retry.budget_share = 0.5;
        upstream.retry.budget_per_second = 0;
    });
    let mut call = get(&mut rig, "/cut/1/x");
    let error = call.error().expect("one call has half a retry");
    assert_eq!((error.attempts(), error.history().len()), (1, 1));
    assert!(error.to_string().contains("retry budget"), "{error}");
    let mut call = get(&mut rig, "/cut/1/y");
    assert_eq!(call.attempts(), 2, "two calls have one");
    let mut call = get(&mut rig, "/cut/1/z");
    assert!(call.error().is_some(), "it is spent");
    rig.stop();
}

#[test]
fn dials_that_fail_are_attempts_too() {
    let mut rig = Rig::new(config(1, |upstream| upstream.breaker.enabled = false));
    rig.network.refuse(endpoint(1));
    // Nothing was sent: even a POST may be tried again.
    let mut call = send(&mut rig, Method::POST, "/x", CallOptions::default());
    let error = call.error().expect("nobody listens");
    assert_eq!((error.kind(), error.attempts()), (ErrorKind::Dial, 3));
    assert_eq!(error.request_sent(), RequestSent::No);
    for attempt in error.history() {
        assert_eq!(attempt.failure, ErrorKind::Dial);
        assert_eq!(attempt.endpoint, Some(endpoint(1)));
    }
    let call = rig.request(0, "a", Method::POST, "/y");
    rig.web.serve(1, 128);
    let mut call = one(&mut rig, call);
    assert_eq!(call.body(), "y@0");
    rig.stop();
}

/// Pauses of up to a second, and a deadline of three.
#[test]
fn no_pause_goes_past_the_deadline() {
    let mut rig = serving(|upstream| {
        upstream.breaker.enabled = false;
        upstream.call_timeout = 3 * SECOND;
        upstream.retry.attempts_max = 100;
        upstream.retry.backoff_min = SECOND;
        upstream.retry.backoff_max = SECOND;
    });
    let mut call = get(&mut rig, "/cut/1000/x");
    let error = call.error().expect("its time is over");
    assert_eq!(error.kind(), ErrorKind::Closed, "the last one's own");
    assert!(error.attempts() > 1 && error.attempts() < 100);
    assert_eq!(error.history().len(), error.attempts() as usize);
    assert!(rig.clock.now().since(Time::ZERO) < 3 * SECOND);
    rig.stop();
}

#[test]
fn one_deadline_holds_for_all_attempts() {
    let mut rig = serving(|upstream| {
        upstream.breaker.enabled = false;
        upstream.attempt.timeout_max = Some(SECOND);
    });
    let options = CallOptions {
        timeout: Some(5 * SECOND / 2),
        attempts_max: Some(9),
        ..CallOptions::default()
    };
    let mut call = send(&mut rig, Method::GET, "/never/x", options);
    let error = call.error().expect("the peer is silent");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head));
    assert_eq!(error.attempts(), 3);
    let took = rig.clock.now().since(Time::ZERO);
    assert!(took >= 5 * SECOND / 2 && took < 5 * SECOND / 2 + SECOND / 100);
    for attempt in &error.history()[..2] {
        assert!(attempt.took >= SECOND && attempt.took < SECOND + SECOND / 100);
    }
    assert!(error.to_string().contains("2.5"), "{error}");
    rig.stop();
}

/// However long that is: an attempt is cut off by what was asked for, and by nothing else.
#[test]
fn without_a_limit_of_its_own_an_attempt_has_its_calls_time() {
    let mut rig = serving(|upstream| upstream.call_timeout = 120 * SECOND);
    let mut call = rig.call(0, "a", "/hold/x");
    rig.pass(119 * SECOND);
    assert!(!call.is_answered());
    rig.web.let_go();
    let mut call = one(&mut rig, call);
    assert_eq!((call.body().as_str(), call.attempts()), ("x@0", 1));
    rig.stop();
}

#[test]
fn an_attempt_has_a_multiple_of_what_others_took() {
    let mut rig = serving(|upstream| upstream.attempt.timeout_min = Some(SECOND / 10));
    let mut call = send(
        &mut rig,
        Method::GET,
        "/stuck/1/early",
        CallOptions {
            timeout: Some(SECOND),
            ..CallOptions::default()
        },
    );
    assert_eq!(call.error().map(|error| error.attempts()), Some(1));
    for n in 0..200 {
        get(&mut rig, &format!("/{n}"));
    }
    let begun = rig.clock.now();
    let mut call = get(&mut rig, "/stuck/1/x");
    assert!(call.body().starts_with("x@"));
    assert_eq!(call.attempts(), 2);
    let failure = call.trip().failed[0].failure;
    assert_eq!(failure, ErrorKind::Timeout(Phase::Head));
    let took = rig.clock.now().since(begun);
    assert!(took >= SECOND / 10 && took < SECOND / 5, "{took:?}");
    // What may have had an effect is cut off as well, and not sent again.
    let mut call = send(&mut rig, Method::POST, "/stuck/1/y", CallOptions::default());
    let error = call.error().expect("it may have had an effect");
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Head));
    rig.stop();
}

/// The pause is a sleep on the shard: a caller who goes leaves nothing behind.
#[test]
fn a_caller_may_go_during_the_pause() {
    let mut rig = serving(|upstream| {
        upstream.retry.backoff_min = SECOND;
    });
    let call = rig.call(0, "a", "/cut/1/x");
    rig.settle();
    assert_eq!(rig.web.asked().len(), 1);
    drop(call);
    rig.settle();
    let figures = rig.figures(0);
    assert_eq!((figures.tasks, figures.connections), (0, 0));
    rig.pass(2 * SECOND);
    assert_eq!(rig.web.asked().len(), 1);
    rig.stop();
}
