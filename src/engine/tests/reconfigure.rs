//! New settings while the engine is in use.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::UpstreamConfig;
use crate::driver::sim::Sim;
use crate::error::{Error, ErrorKind, Phase};
use crate::shard::lease::Lease;
use std::future::Future;
use std::pin::pin;
use std::task::{Context as TaskContext, Poll, Waker};

impl Rig {
    /// Changes the settings of an upstream; returns when both shards have taken them.
    pub(super) fn reconfigure(
        &mut self,
        upstream: &str,
        change: impl FnOnce(&mut UpstreamConfig),
    ) -> Result<(), Error> {
        let upstream = self.upstream(upstream);
        let mut settings = (*upstream.settings()).clone();
        change(&mut settings);
        let answers = self.shared.reconfigure(&upstream, settings)?;
        self.settle();
        for mut taken in answers {
            assert_eq!(taken.try_recv(), Ok(Some(())), "a shard has not taken it");
        }
        Ok(())
    }

    /// A connection, held by a task of shard 0 that never looks at it.
    fn lease(&mut self, upstream: &str) -> Lease<Sim> {
        let local = self.shards[0].local().upstream(self.upstream(upstream));
        let deadline = self.clock.now() + SECOND;
        let mut checkout = pin!(local.checkout(crate::config::Class::Normal, deadline, false));
        let mut cx = TaskContext::from_waker(Waker::noop());
        assert!(checkout.as_mut().poll(&mut cx).is_pending());
        // The checkout itself is not work that keeps the shard awake.
        self.shards[0].turn(true).unwrap();
        self.settle();
        match checkout.as_mut().poll(&mut cx) {
            Poll::Ready(lease) => lease.expect("it is dialled"),
            Poll::Pending => panic!("no connection"),
        }
    }
}

/// What renews every connection.
fn renew(settings: &mut UpstreamConfig) {
    settings.user_timeout = Some(77 * SECOND);
}

fn read_error(lease: &mut Lease<Sim>) -> Option<ErrorKind> {
    let mut cx = TaskContext::from_waker(Waker::noop());
    match lease.poll_read(&mut cx) {
        Poll::Ready(Err(error)) => Some(error.kind()),
        Poll::Ready(Ok(_)) | Poll::Pending => None,
    }
}

#[test]
fn new_limits_apply_to_handles_made_before() {
    let mut rig = Rig::new(config(1, |upstream| upstream.call_timeout = 9 * SECOND));
    rig.web.serve(1, 128);
    let local = rig.shards[0].local().upstream(rig.upstream("a"));
    let under_way = local.policy();
    let mut old = [rig.call(0, "a", "/never/x")];
    rig.settle();
    rig.reconfigure("a", |settings| settings.call_timeout = 2 * SECOND)
        .unwrap();
    assert_eq!(local.policy().call_timeout, 2 * SECOND);
    assert_eq!(under_way.call_timeout, 9 * SECOND);
    // On both shards, also on one that had not met the upstream yet.
    let start = rig.clock.now();
    let mut new = [rig.call(0, "a", "/never/y"), rig.call(1, "a", "/never/z")];
    rig.finish(&mut new);
    let took = rig.clock.now().since(start);
    assert!(took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
    for call in &mut new {
        let kind = call.error().map(|error| error.kind());
        assert_eq!(kind, Some(ErrorKind::Timeout(Phase::Head)));
    }
    assert!(!old[0].is_answered(), "it goes by what it began with");
    rig.finish(&mut old);
    rig.stop();
}

#[test]
fn all_mistakes_are_told_and_nothing_changes() {
    let mut policy = config(2, |_| {});
    policy.connections_max = 10;
    policy.upstreams.get_mut("b").unwrap().connections_reserved = 6;
    let mut rig = Rig::new(policy);
    let before = rig.upstream("a").settings();
    let refused = rig.reconfigure("a", |settings| {
        settings.url = "http://192.0.2.9".parse().unwrap();
        settings.tls.server_name = "other.test".into();
        settings.dials_max = 0;
        settings.connections_reserved = 5;
    });
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for part in [
        "url cannot",
        "tls.server_name cannot",
        "a.dials_max",
        "add up to, 11",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(rig.upstream("a").settings(), before);
    assert!(rig.reconfigure("a", |s| s.connections_reserved = 4).is_ok());
    rig.stop();
}

#[test]
fn warmth_begins_and_spreads_when_it_is_asked_for() {
    let mut rig = Rig::new(config(1, |_| {}));
    rig.web.serve(1, 128);
    rig.settle();
    assert_eq!(rig.upstream("a").homes.len(), 1);
    rig.reconfigure("a", |settings| settings.idle_min = 4)
        .unwrap();
    rig.pass(SECOND);
    assert_eq!(rig.web.open(), 4);
    for shard in 0..2 {
        assert_eq!(rig.figures(shard).upstreams["a"].census.idle, 2);
    }
    assert_eq!(rig.upstream("a").homes.len(), 2);
    rig.stop();
}

/// The simulator's seed 5763: nobody told those who wait for a permit already.
#[test]
fn room_that_new_settings_make_is_for_those_who_wait() {
    let mut policy = config(2, |_| {});
    policy.connections_max = 2;
    policy.upstreams.get_mut("b").unwrap().connections_reserved = 1;
    let mut rig = Rig::new(policy);
    rig.web.serve(1, 8);
    let mut calls = [rig.call(0, "a", "/hold/1"), rig.call(1, "a", "/hold/2")];
    rig.settle();
    assert_eq!(rig.web.open(), 1);
    rig.reconfigure("b", |settings| settings.connections_reserved = 0)
        .unwrap();
    assert_eq!(rig.web.open(), 2);
    rig.web.let_go();
    rig.finish(&mut calls);
    rig.stop();
}

/// Both shards hear of the new cap before the first descriptor is closed.
#[test]
fn no_more_idle_ones_go_than_a_lower_cap_needs() {
    let mut rig = Rig::new(config(1, |upstream| upstream.connections_max = 8));
    rig.web.serve(1, 8);
    let mut calls: Vec<Call> = (0..8)
        .map(|n| rig.call(n % 2, "a", &format!("/hold/{n}")))
        .collect();
    rig.pass(SECOND);
    rig.web.let_go();
    rig.finish(&mut calls);
    assert_eq!(rig.web.open(), 8);
    rig.reconfigure("a", |settings| settings.connections_max = 5)
        .unwrap();
    rig.pass(SECOND);
    assert_eq!(rig.web.open(), 5);
    rig.stop();
}

#[test]
fn no_dial_begins_while_more_is_open_than_a_new_cap_allows() {
    for seed in 0..10 {
        let mut rig = Rig::shuffled(config(1, |upstream| upstream.connections_max = 6), seed);
        rig.web.serve(1, 6);
        let mut calls: Vec<Call> = (0..24)
            .map(|n| rig.call(n % 2, "a", &format!("/hold/{n}")))
            .collect();
        rig.pass(SECOND);
        assert_eq!(rig.web.open(), 6);
        rig.reconfigure("a", |settings| settings.connections_max = 2)
            .unwrap();
        let upstream = rig.upstream("a");
        assert_eq!(upstream.permits.over(), 4);
        let mut rounds = 0;
        while calls.iter_mut().any(|call| !call.is_answered()) {
            rounds += 1;
            assert!(rounds < 1000, "seed {seed}: no progress");
            let before = upstream.permits.upstream().in_use();
            rig.web.let_go();
            rig.step();
            // A step has many events: what closes in it may make room for what is dialled in it.
            let after = upstream.permits.upstream().in_use();
            assert!(
                after <= before.max(2),
                "seed {seed}: from {before} to {after}"
            );
        }
        assert!(calls.iter_mut().all(|call| call.error().is_none()));
        rig.stop();
    }
}

#[test]
fn what_is_over_a_new_cap_goes() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.connections_max = 6;
        upstream.idle_min = 6;
    }));
    rig.web.serve(1, 6);
    rig.pass(SECOND);
    assert_eq!(rig.web.open(), 6);
    let mut held = [rig.call(0, "a", "/hold/x"), rig.call(1, "a", "/hold/y")];
    rig.settle();
    rig.reconfigure("a", |settings| {
        (settings.connections_max, settings.idle_min) = (1, 0);
    })
    .unwrap();
    assert_eq!(rig.web.open(), 2, "those in use");
    rig.web.let_go();
    rig.finish(&mut held);
    rig.settle();
    assert!(rig.web.open() <= 1);
    rig.stop();
}

#[test]
fn a_call_on_a_replaced_connection_is_cut_off_when_its_time_is_over() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.drain_timeout = 3 * SECOND;
        upstream.call_timeout = 20 * SECOND;
    }));
    rig.web.serve(1, 128);
    let mut old = [rig.request(0, "a", http::Method::POST, "/hold/x")];
    rig.settle();
    rig.reconfigure("a", renew).unwrap();
    let start = rig.clock.now();
    let mut new = [rig.request(1, "a", http::Method::POST, "/hold/y")];
    rig.finish(&mut old);
    let took = rig.clock.now().since(start);
    assert!(
        took >= 3 * SECOND && took < 3 * SECOND + SECOND / 10,
        "{took:?}"
    );
    let error = old[0].error().expect("it was cut off");
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("drain_timeout"), "{error}");
    assert!(!error.is_retryable(), "a POST that was sent");
    rig.pass(SECOND);
    assert!(!new[0].is_answered(), "made under the new settings");
    rig.web.let_go();
    rig.finish(&mut new);
    assert_eq!(new[0].body(), "y@1");
    rig.stop();
}

#[test]
fn what_was_being_dialled_then_serves_who_waits_for_it_and_nobody_later() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.drain_timeout = 3 * SECOND;
        upstream.dial_timeout = 10 * SECOND;
        upstream.call_timeout = 20 * SECOND;
    }));
    rig.web.serve(1, 128);
    rig.network.partition(endpoint(1), true);
    let mut first = [rig.request(0, "a", http::Method::GET, "/x")];
    rig.settle();
    rig.reconfigure("a", renew).unwrap();
    rig.network.partition(endpoint(1), false);
    rig.finish(&mut first);
    assert!(first[0].error().is_none());
    let mut later = [rig.request(1, "a", http::Method::POST, "/hold/y")];
    rig.pass(4 * SECOND);
    assert!(!later[0].is_answered(), "it is not cut off");
    rig.web.let_go();
    rig.finish(&mut later);
    assert_eq!(later[0].body(), "y@1");
    rig.stop();
}

#[test]
fn a_holder_who_does_not_look_keeps_no_descriptor_past_the_bound() {
    for unread in [false, true] {
        let mut rig = Rig::new(config(1, |upstream| {
            upstream.drain_timeout = 3 * SECOND;
            upstream.url = "tcp://192.0.2.1:80".parse().unwrap();
        }));
        rig.web.serve(1, 128);
        let mut lease = rig.lease("a");
        if unread {
            lease.put("GET /x HTTP/1.1\r\n\r\n".into()).unwrap();
            rig.shards[0].turn(true).unwrap();
            rig.settle();
        }
        rig.reconfigure("a", renew).unwrap();
        rig.pass(2 * SECOND);
        assert_eq!(rig.web.open(), 1);
        rig.pass(2 * SECOND);
        assert_eq!(rig.web.open(), 0);
        assert_eq!(rig.upstream("a").connections.in_use(), 0);
        assert_eq!(rig.figures(0).connections, 1, "the slot is the holder's");
        if unread {
            assert_eq!(read_error(&mut lease), None, "what has come counts");
        }
        assert_eq!(read_error(&mut lease), Some(ErrorKind::Closed));
        lease.release();
        rig.settle();
        let figures = rig.figures(0);
        assert_eq!((figures.connections, figures.timers), (0, 0));
        rig.stop();
    }
}

/// Let go at every step of being cut: before the cancel has ended, before the close has.
#[test]
fn a_holder_may_let_go_at_any_moment_of_being_cut() {
    for turns in 0..6 {
        let mut rig = Rig::new(config(1, |upstream| upstream.drain_timeout = SECOND));
        rig.web.serve(1, 128);
        let mut lease = rig.lease("a");
        lease.put("GET /never/x HTTP/1.1\r\n\r\n".into()).unwrap();
        rig.reconfigure("a", renew).unwrap();
        rig.clock.advance(2 * SECOND);
        for _ in 0..turns {
            rig.shards[0].turn(true).unwrap();
        }
        drop(lease);
        rig.shards[0].turn(true).unwrap();
        rig.settle();
        assert_eq!(rig.web.open(), 0, "after {turns} turns");
        assert_eq!(rig.figures(0).connections, 0, "after {turns} turns");
        rig.stop();
    }
}

/// Settings are replaced once more while its socket is being closed.
#[test]
fn a_connection_is_cut_off_once() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.drain_timeout = SECOND;
        upstream.url = "tcp://192.0.2.1:80".parse().unwrap();
    }));
    rig.web.serve(1, 128);
    let mut lease = rig.lease("a");
    rig.reconfigure("a", renew).unwrap();
    rig.clock.advance(2 * SECOND);
    rig.shards[0].turn(true).unwrap();
    assert_eq!(rig.web.open(), 1, "it is being cancelled");
    let again = |settings: &mut UpstreamConfig| settings.user_timeout = Some(78 * SECOND);
    rig.reconfigure("a", again).unwrap();
    rig.pass(2 * SECOND);
    assert_eq!(rig.figures(0).tally.evicted_by_policy, 1);
    assert_eq!(read_error(&mut lease), Some(ErrorKind::Closed));
    drop(lease);
    rig.settle();
    assert_eq!(rig.figures(0).connections, 0);
    rig.stop();
}

#[test]
fn what_idles_is_renewed_within_the_bound() {
    let mut rig = Rig::new(config(1, |upstream| upstream.drain_timeout = 3 * SECOND));
    rig.web.serve(1, 128);
    let mut calls: Vec<Call> = (0..8).map(|n| rig.call(n % 2, "a", "/x")).collect();
    rig.finish(&mut calls);
    let before = rig.web.open();
    assert!(before > 0);
    // What a connection was made with has not changed: nothing happens to it.
    rig.reconfigure("a", |settings| settings.call_timeout = SECOND)
        .unwrap();
    rig.pass(4 * SECOND);
    assert_eq!(rig.web.open(), before);
    rig.reconfigure("a", renew).unwrap();
    rig.pass(3 * SECOND + SECOND / 100);
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

#[test]
fn endpoints_may_be_replaced_while_calls_run() {
    let mut rig = Rig::new(config(1, |upstream| {
        upstream.drain_timeout = 3 * SECOND;
        upstream.endpoints = vec!["192.0.2.1:80".parse().unwrap()];
    }));
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    let post = |rig: &Rig, path: &str| rig.request(0, "a", http::Method::POST, path);
    let mut old = [post(&rig, "/hold/x")];
    rig.settle();
    rig.reconfigure("a", |settings| {
        settings.endpoints = vec!["192.0.2.2:80".parse().unwrap()];
    })
    .unwrap();
    let mut new = [post(&rig, "/hold/y")];
    rig.finish(&mut old);
    assert_eq!(
        old[0].error().map(Error::kind),
        Some(ErrorKind::Closed),
        "cut off when its time was over"
    );
    assert_eq!(rig.network.open_connections(&endpoint(1)), 0);
    rig.pass(5 * SECOND);
    assert_eq!(rig.web.let_go(), 2);
    rig.finish(&mut new);
    assert_eq!(new[0].body(), "y@0");
    assert_eq!(rig.network.connections_accepted(&endpoint(2)), 1);
    rig.stop();
}

/// It would be nobody's otherwise: kept for no one, and counted against the cap.
#[test]
fn what_was_being_dialled_for_a_reserve_goes_with_the_reserve() {
    let mut rig = Rig::of(
        1,
        config(1, |upstream| {
            upstream.connections_max = 3;
            upstream.critical_reserved = 2;
        }),
    );
    rig.web.serve(1, 3);
    rig.shards[0].turn(true).unwrap();
    let changed = rig.reconfigure("a", |upstream| {
        upstream.connections_max = 2;
        upstream.critical_reserved = 0;
    });
    changed.expect("valid");
    assert_eq!(rig.counts("a")[2], 2, "dialled before that");
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    assert!(calls[0].body().starts_with("x@"));
    rig.stop();
}
