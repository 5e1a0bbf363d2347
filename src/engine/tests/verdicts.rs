//! What the pool is told of how calls went: endpoints that fail are ejected, others are not.

use super::rig::{Call, Rig};
use super::{SECOND, config};
use crate::config::CallOptions;
use crate::error::ErrorKind;
use crate::protocol::http1::Head;
use crate::shard::forward;

/// So many failures in a row eject an endpoint, by default.
const FAILURES: usize = 5;

/// One attempt at a POST.
fn post(rig: &mut Rig, path: &str, timeout: Option<std::time::Duration>) -> Call {
    let options = CallOptions {
        timeout,
        ..CallOptions::default()
    };
    let request = http::Request::post(path).extension(options).body(());
    let mut calls = [rig.call_with(0, "a", request.expect("a path"))];
    rig.finish(&mut calls);
    let [call] = calls;
    call
}

fn serving() -> Rig {
    let rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 128);
    rig
}

/// Whether a call finds the upstream's only endpoint ejected.
fn is_ejected(rig: &mut Rig) -> bool {
    let mut call = post(rig, "/probe", None);
    match call.error() {
        None => false,
        Some(error) => {
            assert_eq!(error.kind(), ErrorKind::Breaker, "{error}");
            assert!(error.retry_after().is_some());
            true
        }
    }
}

#[test]
fn calls_that_fail_eject_their_endpoint() {
    // A connection closed, silence, and a word for failure.
    for path in ["/cut/9/x", "/never/x", "/503/x"] {
        let mut rig = Rig::new(config(1, |upstream| upstream.call_timeout = SECOND));
        rig.web.serve(1, 128);
        for _ in 0..FAILURES {
            post(&mut rig, path, None);
        }
        assert!(is_ejected(&mut rig), "{path}");
        assert_eq!(rig.web.asked().len(), FAILURES, "{path}");
        rig.stop();
    }
}

/// Callers with less time than the upstream's settings give an attempt: how long an answer would have
/// taken is not known.
#[test]
fn callers_without_patience_say_nothing() {
    for (limit, ejects) in [
        (None, false),
        (Some(SECOND), false),
        (Some(SECOND / 9), true),
    ] {
        let mut rig = Rig::new(config(1, |upstream| upstream.attempt.timeout_max = limit));
        rig.web.serve(1, 128);
        for _ in 0..2 * FAILURES {
            let mut call = post(&mut rig, "/never/x", Some(SECOND / 2));
            assert!(call.error().is_some());
        }
        assert_eq!(is_ejected(&mut rig), ejects, "{limit:?}");
        rig.stop();
    }
}

#[test]
fn a_call_counts_once_however_often_it_was_tried() {
    for (count, ejects) in [(FAILURES - 1, false), (FAILURES, true)] {
        let mut rig = serving();
        for n in 1..=count {
            let mut calls = [rig.call(0, "a", "/cut/99/x")];
            rig.finish(&mut calls);
            let attempts = calls[0].error().map(|error| error.attempts());
            // The first attempt of the last call is one too many.
            let expected = if n == FAILURES { 1 } else { 3 };
            assert_eq!(attempts, Some(expected), "call {n}");
        }
        assert_eq!(is_ejected(&mut rig), ejects, "after {count} calls");
        rig.stop();
    }
}

#[test]
fn a_call_that_goes_well_between_counts() {
    let mut rig = serving();
    for _ in 0..2 {
        for _ in 1..FAILURES {
            post(&mut rig, "/503/x", None);
        }
        assert!(!is_ejected(&mut rig));
    }
    rig.stop();
}

/// Who reads only heads, and who reads bodies that break off.
#[test]
fn a_good_head_counts_and_a_body_that_breaks_off_takes_it_back() {
    let mut rig = serving();
    let local = rig.shards[0].local().clone();
    let upstream = rig.upstream("a");
    let head_of = |path: &'static str| {
        let upstream = local.upstream(upstream.clone());
        local.spawn(async move {
            let head = Head::get(path);
            let exchange = forward::exchange(&upstream, &head, None).await;
            assert_eq!(exchange.expect("a head").head().status(), 200);
        });
    };
    for _ in 0..2 {
        for _ in 1..FAILURES {
            post(&mut rig, "/503/x", None);
        }
        head_of("/part/x");
        rig.settle();
        assert!(!is_ejected(&mut rig));
    }
    drop(local);
    for _ in 0..FAILURES {
        let mut call = post(&mut rig, "/part/x", None);
        let error = call.error().expect("it breaks off");
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    }
    assert!(is_ejected(&mut rig));
    rig.stop();
}

/// The peer let go of an idle connection when the request was on its way to it.
#[test]
fn a_stale_reuse_says_nothing() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.idle_min = 4 * FAILURES as u32
    }));
    rig.web.serve(1, 128);
    rig.pass(SECOND);
    let mut calls: Vec<Call> = Vec::new();
    // Used once each, all at the same time; then once more.
    for path in ["/hold/x", "/cut/99/x"] {
        let send = |_| rig.request(0, "a", http::Method::POST, path);
        calls = (0..FAILURES).map(send).collect();
        rig.settle();
        rig.web.let_go();
        rig.finish(&mut calls);
    }
    for call in &mut calls {
        let error = call.error().expect("a POST is not sent again");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.history()[0].reused);
    }
    assert!(!is_ejected(&mut rig));
    rig.stop();
}

#[test]
fn a_caller_who_goes_says_nothing() {
    let mut rig = serving();
    for _ in 0..2 * FAILURES {
        let call = rig.call(0, "a", "/never/x");
        rig.settle();
        drop(call);
        rig.settle();
    }
    assert!(!is_ejected(&mut rig));
    rig.stop();
}
