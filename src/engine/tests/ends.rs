//! Callers that go, tasks that panic, upstreams that are given up, shards that stop: at any moment.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::Class;
use crate::error::{Error, ErrorKind, RequestSent};

/// However far the call has come when its caller goes, the next one is served, and by a connection
/// that carries nothing of the first.
#[test]
fn a_caller_may_go_at_any_turn() {
    for cap in [1, 2] {
        for turns in 0..16 {
            let policy = config(1, |upstream| upstream.connections_max = cap);
            let mut rig = Rig::new(policy);
            rig.web.serve(1, cap as usize);
            let call = rig.call(0, "a", "/gone");
            for _ in 0..turns {
                rig.shards[0].turn(true).unwrap();
            }
            drop(call);
            let mut calls = [rig.call(0, "a", "/x"), rig.call(1, "a", "/y")];
            rig.finish(&mut calls);
            assert!(calls[0].body().starts_with("x@"), "after {turns} turns");
            assert!(calls[1].body().starts_with("y@"), "after {turns} turns");
            rig.stop();
        }
    }
}

/// Waiters whose callers go, at any turn: whom they were granted a connection passes it on.
#[test]
fn a_waiter_that_goes_passes_the_baton() {
    for turns in 0..16 {
        let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 1));
        rig.web.serve(1, 1);
        let mut first = rig.call(0, "a", "/hold/first");
        rig.settle();
        let gone = rig.call(0, "a", "/gone");
        let mut last = rig.call(0, "a", "/last");
        rig.settle();
        assert_eq!(rig.web.let_go(), 1);
        for _ in 0..turns {
            rig.shards[0].turn(true).unwrap();
        }
        drop(gone);
        rig.settle();
        assert_eq!(first.body(), "first@0");
        assert!(last.body().starts_with("last@"), "after {turns} turns");
        assert_eq!(rig.clock.now(), crate::time::Time::ZERO, "nobody waited");
        rig.stop();
    }
}

/// A checkout that nobody takes leaves its connection to others, unused as it is.
#[test]
fn a_lease_that_nobody_takes_goes_back() {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    for turns in 0..4 {
        let checkout = rig.checkout(0, "a");
        for _ in 0..turns {
            rig.shards[0].turn(true).unwrap();
        }
        drop(checkout);
        rig.settle();
        let figures = rig.figures(0);
        assert_eq!(figures.tasks, 0);
        assert_eq!(
            figures.upstreams["a"].census.leased, 0,
            "after {turns} turns"
        );
    }
    rig.stop();
}

/// Stopped in the middle of everything, after any number of turns: every caller learns it.
#[test]
fn stopping_ends_everything_whenever_it_comes() {
    for turns in 0..24 {
        let mut rig = Rig::new(config(3, |upstream| {
            upstream.connections_max = 2;
            upstream.idle_min = 1;
        }));
        rig.web.serve(1, 2);
        rig.web.serve(2, 2);
        rig.network.swallow(endpoint(3));
        rig.web.watch(3, 2);
        let mut calls = Vec::new();
        for n in 0..12 {
            let path = ["", "/hold", "/never", "/bye"][n % 4];
            let path = format!("{path}/{n}");
            let upstream = ["a", "b", "c"][n / 2 % 3];
            let call = rig.call(n % 2, upstream, &path);
            calls.push((path, call));
        }
        let mut leases = [rig.checkout(0, "a"), rig.checkout(1, "b")];
        for turn in 0..turns {
            rig.shards[turn % 2].turn(true).unwrap();
        }
        rig.stop();
        for (path, call) in &mut calls {
            assert!(call.is_answered(), "after {turns} turns");
            if let Some(error) = call.error() {
                assert_eq!(error.kind(), ErrorKind::Draining, "after {turns} turns");
                let unsent = error.request_sent() == RequestSent::No;
                assert!(!unsent || !rig.web.asked().contains(path), "{path}");
            }
        }
        for lease in &mut leases {
            // Either it was handed over, or its sender is gone.
            assert!(!matches!(lease.try_recv(), Ok(None)));
        }
        let mut late = rig.call(0, "a", "/late");
        let kind = late.error().map(Error::kind);
        assert_eq!(kind, Some(ErrorKind::Draining));
    }
}

/// Who waits for an answer, for a connection, or for the time of his next attempt.
#[test]
fn whom_the_stop_ends_is_told_how_far_the_call_had_got() {
    let mut rig = Rig::new(config(2, |upstream| {
        upstream.connections_max = 1;
        upstream.retry.backoff_min = SECOND * 10;
        upstream.retry.backoff_max = SECOND * 10;
    }));
    rig.web.serve(1, 1);
    rig.web.serve(2, 1);
    let mut asked = rig.call(0, "a", "/never/asked");
    let mut pausing = rig.call(0, "b", "/cut/9/x");
    rig.settle();
    let mut waiting = rig.call(0, "a", "/waiting");
    rig.settle();
    let mut queued = rig.call(0, "a", "/queued");
    rig.stop();
    let told = |call: &mut Call| {
        let error = call.error().expect("it was ended");
        assert_eq!(error.kind(), ErrorKind::Draining, "{error}");
        assert_eq!(error.history().len(), error.attempts() as usize);
        (error.request_sent(), error.attempts())
    };
    assert_eq!(told(&mut asked), (RequestSent::Whole, 1));
    assert_eq!(told(&mut pausing), (RequestSent::Whole, 1));
    assert_eq!(told(&mut waiting), (RequestSent::No, 0));
    assert_eq!(told(&mut queued), (RequestSent::No, 0));
}

#[test]
fn a_panic_ends_its_task_alone() {
    let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 1));
    rig.web.serve(1, 1);
    let local = rig.shards[0].local().clone();
    let upstream = local.upstream(rig.upstream("a"));
    local.spawn(async move {
        let deadline = upstream.shard.now() + SECOND;
        let lease = upstream.checkout(Class::Normal, deadline, false).await;
        assert!(
            lease.is_err(),
            "on purpose: this panics with a lease in hand"
        );
    });
    rig.settle();
    let figures = rig.figures(0);
    assert_eq!((figures.task_panics, figures.tasks), (1, 0));
    assert_eq!(rig.web.open(), 0, "its lease was discarded");
    for shard in 0..2 {
        let mut calls = [rig.call(shard, "a", "/x")];
        rig.finish(&mut calls);
        assert!(calls[0].body().starts_with("x@"));
    }
    drop(local);
    rig.stop();
}

#[test]
fn an_upstream_made_on_the_fly_is_given_up_when_idle_and_not_in_use() {
    let mut policy = config(0, |_| {});
    policy.upstreams_max = 1;
    policy.defaults.idle_timeout = None;
    let mut rig = Rig::new(policy);
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    let mut first = rig.call_url("http://192.0.2.1", "/hold/x").unwrap();
    rig.settle();
    let refused = rig.call_url("http://192.0.2.2", "/y").err();
    let kind = refused.map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Refused), "the only one is in use");
    rig.web.let_go();
    rig.settle();
    assert_eq!(first.body(), "x@0");
    assert_eq!(rig.network.open_connections(&endpoint(1)), 1);
    let mut second = rig.call_url("http://192.0.2.2", "/y").unwrap();
    rig.settle();
    assert_eq!(second.body(), "y@0");
    assert_eq!(rig.network.open_connections(&endpoint(1)), 0);
    for shard in 0..2 {
        let known: Vec<String> = rig
            .figures(shard)
            .upstreams
            .keys()
            .map(ToString::to_string)
            .collect();
        assert!(
            known.iter().all(|name| name.contains("192.0.2.2")),
            "{known:?}"
        );
    }
    rig.stop();
}

/// The guard that keeps it in use is gone, but a connection is still at work: it closes at its
/// release, and only then the upstream is gone.
#[test]
fn an_upstream_given_up_in_use_goes_with_its_last_connection() {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 128);
    let upstream = rig.upstream("a");
    let mut calls: Vec<Call> = ["/hold/x", "/hold/y"]
        .map(|path| rig.call(0, "a", path))
        .into();
    rig.settle();
    let forget = crate::shard::mailbox::Control::Forget(upstream.id);
    rig.shared.mailboxes[0].control(forget);
    rig.settle();
    let figures = rig.figures(0);
    assert!(figures.connections > 0 && figures.totals.dials > 0);
    assert!(figures.upstreams.is_empty(), "it is told in totals alone");
    let held = rig.web.let_go();
    rig.settle();
    let answered = calls
        .iter_mut()
        .filter_map(|call| call.is_answered().then_some(()));
    assert_eq!(answered.count(), 2);
    assert_eq!(calls[0].body(), "x@0");
    assert!(held >= 1);
    let figures = rig.figures(0);
    assert!(figures.upstreams.is_empty(), "nothing is left of it");
    assert_eq!((figures.connections, figures.timers), (0, 0));
    rig.stop();
}

#[test]
fn an_upstream_that_cannot_be_made_costs_nobody_his_place() {
    let mut policy = config(0, |_| {});
    policy.upstreams_max = 1;
    policy.defaults.idle_timeout = None;
    policy.defaults.tls.roots = crate::config::TrustRoots::PemFile("/no/such/file".into());
    let mut rig = Rig::new(policy);
    rig.web.serve(1, 128);
    let mut first = rig.call_url("http://192.0.2.1", "/x").unwrap();
    rig.settle();
    assert_eq!(first.body(), "x@0");
    let url = "http://192.0.2.1".parse().unwrap();
    let id = |rig: &Rig| rig.shared.by_url(&url, |_| ()).unwrap().0.id;
    let before = id(&rig);
    let refused = rig.call_url("https://192.0.2.2", "/y").err();
    let kind = refused.map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Config), "its roots cannot be read");
    let long = format!("https://{}.example", "x".repeat(64));
    let refused = rig.call_url(&long, "/z").err();
    let kind = refused.map(|error| error.kind());
    assert_eq!(kind, Some(ErrorKind::Request), "a label has 63 letters");
    rig.settle();
    assert_eq!(rig.network.open_connections(&endpoint(1)), 1);
    assert!(id(&rig) == before, "it was forgotten");
    rig.stop();
}
