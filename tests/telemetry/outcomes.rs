//! Outcomes, reasons and states that a happy call does not meet: each is counted where it belongs.

use crate::common::bounded::{engine, run, until};
use crate::common::peer::{OK, Peer, Reserved};
use ringpool::audit::CloseCause;
use ringpool::config::UpstreamConfig;
use ringpool::{Engine, ErrorKind, Phase};
use std::thread;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn get(engine: &Engine) -> Result<u16, ringpool::Error> {
    let upstream = engine.upstream("backend").unwrap();
    let request = http::Request::get("/").body(()).unwrap();
    let response = run(upstream.call(request))?;
    let status = response.status().as_u16();
    run(http_body_util::BodyExt::collect(response.into_body())).unwrap();
    Ok(status)
}

/// Answers one request on a connection of its own.
fn answer_one(engine: &Engine, peer: &Peer, answer: &str) -> crate::common::peer::Conn {
    thread::scope(|scope| {
        let call = scope.spawn(|| get(engine).unwrap());
        let mut conn = peer.accept();
        conn.request_head();
        conn.send(answer);
        call.join().unwrap();
        conn
    })
}

#[test]
fn who_waits_too_long_is_timed_out() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    (settings.connections_max, settings.wait_timeout) = (1, 30 * MS);
    settings.shed.sojourn_target = None;
    let engine = engine(1, settings);
    let upstream = engine.upstream("backend").unwrap();
    let lease = run(upstream.checkout()).unwrap();
    let error = run(upstream.checkout()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Wait));
    let told = run(engine.snapshot()).unwrap();
    let acquires = told.upstreams["backend"].acquires;
    assert_eq!((acquires.timed_out, acquires.created), (1, 1));
    assert_eq!(acquires.in_progress(), 0);
    drop(lease);
}

/// A server that cannot be connected to: its breaker says so, and callers are refused by it from then on.
#[test]
fn what_cannot_be_reached_is_unreachable_and_callers_find_the_breaker() {
    let reserved = Reserved::new();
    let address = reserved.address;
    let mut settings = UpstreamConfig::at(&format!("http://{address}")).unwrap();
    settings.retry.attempts_max = 1;
    settings.breaker.failures_max = 1;
    let engine = engine(1, settings);
    let mut refused = false;
    for _ in 0..100 {
        refused = get(&engine).unwrap_err().kind() == ErrorKind::Breaker;
        if refused {
            break;
        }
    }
    assert!(refused, "the breaker opens");
    let told = run(engine.snapshot()).unwrap();
    let upstream = &told.upstreams["backend"];
    assert_eq!(upstream.acquires.broken, 1);
    let breaker = &upstream.endpoints[&address.to_string()].breaker;
    assert_eq!((breaker.unreachable, breaker.closed), (1, 0));
}

#[test]
fn an_endpoint_that_fails_is_ejected_and_that_is_counted() {
    let peer = Peer::start();
    let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
    settings.retry.attempts_max = 1;
    settings.breaker.failures_max = 1;
    settings.breaker.ejected_share_max = 1.0;
    settings.breaker.ejection_min = Duration::from_secs(60);
    settings.breaker.ejection_max = Duration::from_secs(60);
    let engine = engine(1, settings);
    let _conn = answer_one(
        &engine,
        &peer,
        "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n",
    );
    let told = run(engine.snapshot()).unwrap();
    let at = &told.upstreams["backend"].endpoints[&peer.endpoint()];
    assert_eq!((at.ejections, at.breaker.ejected), (1, 1));
}

/// Each limit that ends a connection is the reason that is told, of its upstream and of its endpoint.
#[test]
fn why_connections_end_is_told_by_reason() {
    type Limit = fn(&mut UpstreamConfig);
    let limits: [(CloseCause, Limit); 3] = [
        (CloseCause::Uses, |settings| settings.uses_max = Some(1)),
        (CloseCause::IdleTimeout, |settings| {
            settings.idle_timeout = Some(20 * MS);
        }),
        (CloseCause::Age, |settings| settings.age_max = Some(40 * MS)),
    ];
    for (why, limit) in limits {
        let peer = Peer::start();
        let mut settings = UpstreamConfig::at(&peer.http()).unwrap();
        settings.idle_min = 0;
        limit(&mut settings);
        let engine = engine(1, settings);
        let conn = answer_one(&engine, &peer, OK);
        let told = until(&engine, why.name(), |told| told.now.sockets == 0);
        conn.closed();
        let upstream = &told.upstreams["backend"];
        assert_eq!(upstream.closed(why), 1, "{why:?}");
        let at = &upstream.endpoints[&peer.endpoint()];
        assert_eq!((at.closed.of(why), at.closed.total()), (1, 1), "{why:?}");
        assert_eq!(at.lifetime.count(), 1, "{why:?}");
    }
}

/// The budget is spent by retries, and what it has no room for is counted as well.
#[test]
fn retries_and_those_that_the_budget_refuses_are_counted() {
    let reserved = Reserved::new();
    let address = reserved.address;
    let mut settings = UpstreamConfig::at(&format!("http://{address}")).unwrap();
    settings.breaker.enabled = false;
    (settings.retry.attempts_max, settings.retry.budget_share) = (2, 0.0);
    settings.retry.budget_per_second = 0;
    (settings.dial_backoff_min, settings.dial_backoff_max) = (MS, MS);
    let engine = engine(1, settings);
    get(&engine).unwrap_err();
    let told = run(engine.snapshot()).unwrap();
    let upstream = &told.upstreams["backend"];
    assert_eq!((upstream.retries, upstream.retries_refused), (0, 1));
    assert!(upstream.retry_budget < 1.0);
}
