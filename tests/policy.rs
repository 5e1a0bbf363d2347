//! What the policy makes of connections: how they end, that warm ones are there, how many there may
//! be, and who waits.

mod common;

use common::client::{Client, NAME, WAYS, Way, within};
use common::idle::{idle, next_is_fresh};
use common::peer::{OK, Peer};
use ringpool::config::UpstreamConfig;
use ringpool::{ErrorKind, Phase, RequestSent, Snapshot};
use std::time::Duration;

/// What the engine counts it as.
type Counted = fn(&Snapshot) -> u64;

#[test]
fn connections_end_by_policy() {
    type Policy = fn(&mut UpstreamConfig);
    let table: [(&str, Policy, Counted); 2] = [
        (
            "idle_timeout",
            |config| config.idle_timeout = Some(Duration::from_millis(150)),
            |snapshot| snapshot.upstreams[NAME].evicted_idle,
        ),
        (
            "age_max",
            |config| config.age_max = Some(Duration::from_millis(150)),
            |snapshot| snapshot.upstreams[NAME].evicted_age,
        ),
    ];
    for (what, policy, counted) in table {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), policy);
        let conn = idle(&peer, &client, Way::Anywhere);
        assert_eq!(conn.closed(), b"", "{what}");
        let snapshot = client.snapshot();
        assert_eq!(
            (snapshot.evicted_by_policy, counted(&snapshot)),
            (1, 1),
            "{what}"
        );
        next_is_fresh(&peer, &client, Way::Anywhere, what);
    }
}

#[test]
fn a_connection_ends_after_its_last_use() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| config.uses_max = Some(2));
        let mut conn = idle(&peer, &client, way);
        let call = client.get(way, "/second");
        conn.answer(OK);
        assert!(call.wait().unwrap().trip.reused);
        assert_eq!(conn.closed(), b"");
        next_is_fresh(&peer, &client, way, "uses_max");
    }
}

#[test]
fn warm_connections_are_there_before_anyone_asks_and_come_back() {
    let peer = Peer::start();
    let client = Client::with(&peer.http(), |config| config.idle_min = 2);
    let (first, _second) = (peer.accept(), peer.accept());
    client.until("two warm connections", |s| s.upstreams[NAME].idle == 2);
    first.fin();
    let mut third = peer.accept();
    client.until("two warm connections again", |s| {
        s.evicted_peer_closed == 1 && s.upstreams[NAME].idle == 2
    });
    // The one that came back last is used first; it was warm, but nobody's before.
    let call = client.get(Way::Anywhere, "/x");
    third.answer(OK);
    let trip = call.wait().unwrap().trip;
    assert_eq!((trip.attempts, trip.reused), (1, false));
    assert_eq!((client.snapshot().hits, peer.accepted()), (1, 3));
}

#[test]
fn ready_waits_for_every_warm_connection() {
    let peer = Peer::start();
    let client = Client::with(&peer.http(), |config| config.idle_min = 3);
    let engine = client.engine;
    within(async move {
        engine.ready(Duration::from_secs(10)).await.unwrap();
        assert_eq!(engine.snapshot().await.unwrap().upstreams[NAME].idle, 3);
    });
    let _warm = [peer.accept(), peer.accept(), peer.accept()];
}

#[test]
fn the_cap_on_connections_is_strict() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| config.connections_max = 2);
        let calls: Vec<_> = (0..6).map(|_| client.get(way, "/x")).collect();
        let mut conns = [peer.accept(), peer.accept()];
        // All six are there: with one still to come, and a connection to be opened, there are four as well.
        let snapshot = client.until("four waiters beside two calls", |s| {
            s.now.waiters == 4 && s.upstreams[NAME].leased == 2
        });
        assert_eq!(snapshot.now.sockets, 2, "{way:?}");
        for waiters in [2, 0] {
            for conn in &mut conns {
                conn.answer(OK);
            }
            // Else one that is answered twice in a row could serve three, and the other one alone.
            client.until("each serves another call", |s| {
                s.now.waiters == waiters && s.upstreams[NAME].leased == 2
            });
        }
        for conn in &mut conns {
            conn.answer(OK);
        }
        for call in calls {
            assert_eq!(call.wait().unwrap().trip.attempts, 1, "{way:?}");
        }
        assert_eq!(peer.accepted(), 2, "{way:?}");
    }
}

#[test]
fn waiters_are_served_in_their_order() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| config.connections_max = 1);
        let mut calls = Vec::new();
        for n in 0..5 {
            calls.push(client.get(way, &format!("/{n}")));
            client.until("the call waits or is under way", |s| {
                s.now.waiters + s.upstreams.get(NAME).map_or(0, |u| u.leased) == n + 1
            });
        }
        let mut conn = peer.accept();
        for n in 0..5 {
            let line = format!("GET /{n} HTTP/1.1");
            assert_eq!(conn.answer(OK).line(), line, "{way:?}");
        }
        for call in calls {
            call.wait().unwrap();
        }
    }
}

#[test]
fn a_full_queue_sheds_and_a_long_wait_times_out() {
    for way in WAYS {
        let peer = Peer::start();
        let client = Client::with(&peer.http(), |config| {
            config.connections_max = 1;
            config.waiters_max = 1;
            config.wait_timeout = Duration::from_millis(500);
        });
        let first = client.get(way, "/first");
        let mut conn = peer.accept();
        conn.request();
        let late = client.get(way, "/late");
        client.until("one waiter", |s| s.now.waiters == 1);
        let shed = client.get(way, "/shed").wait().unwrap_err();
        assert_eq!(shed.kind(), ErrorKind::Shed, "{way:?}");
        let late = late.wait().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Timeout(Phase::Wait), "{way:?}");
        for error in [shed, late] {
            assert_eq!(error.upstream(), Some(NAME));
            assert_eq!(
                (error.attempts(), error.request_sent()),
                (0, RequestSent::No)
            );
            assert!(error.is_retryable(), "{error}");
        }
        conn.send(OK);
        first.wait().unwrap();
        let snapshot = client.snapshot();
        assert_eq!((snapshot.refused, snapshot.wait_timeouts), (1, 1));
    }
}
