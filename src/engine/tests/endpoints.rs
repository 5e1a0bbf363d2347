//! Several endpoints, by address and by name.

use super::names::Names;
use super::rig::Rig;
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::Config;
use crate::error::ErrorKind;
use std::sync::Arc;

/// Upstream `a`, whose servers are at `endpoints`.
fn at(endpoints: &[&str]) -> Config {
    config(1, |upstream| {
        upstream.endpoints = endpoints.iter().map(|at| at.parse().unwrap()).collect();
    })
}

#[test]
fn calls_go_on_where_one_endpoint_refuses() {
    let mut rig = Rig::new(at(&["192.0.2.1:80", "192.0.2.2:80"]));
    rig.network.refuse(endpoint(1));
    rig.web.watch(1, 0);
    rig.web.serve(2, 128);
    let mut calls: Vec<_> = (0..40).map(|n| rig.call(n % 2, "a", "/x")).collect();
    rig.finish(&mut calls);
    for call in &mut calls {
        assert!(call.body().starts_with("x@"));
        assert_eq!(call.attempts(), 1);
    }
    assert!(rig.network.connections_accepted(&endpoint(2)) > 0);
    rig.stop();
}

#[test]
fn where_all_refuse_the_last_one_tried_is_told() {
    let mut rig = Rig::new(at(&["192.0.2.1:80", "192.0.2.2:80"]));
    for host in [1, 2] {
        rig.network.refuse(endpoint(host));
        rig.web.watch(host, 0);
    }
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    let error = calls[0].error().expect("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Dial);
    let told = error.endpoint().cloned();
    assert!(told == Some(endpoint(1)) || told == Some(endpoint(2)));
    rig.stop();
}

/// One dial has one time limit, however many endpoints it tries.
#[test]
fn endpoints_share_the_time_limit_of_their_dial() {
    let mut policy = at(&["192.0.2.1:80", "192.0.2.2:80"]);
    let upstream = policy.upstreams.get_mut("a").unwrap();
    (upstream.dial_timeout, upstream.wait_timeout) = (SECOND, 20 * SECOND);
    let mut rig = Rig::new(policy);
    for host in [1, 2] {
        rig.network.swallow(endpoint(host));
        rig.web.watch(host, 128);
    }
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    let took = rig.clock.now().since(crate::time::Time::ZERO);
    assert!(took >= SECOND && took < SECOND + SECOND / 10, "{took:?}");
    rig.stop();
}

#[test]
fn a_name_that_hangs_holds_nobody_up_who_can_go_elsewhere() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(at(&["a.test:80", "b.test:80"]), names.clone());
    rig.web.serve(2, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    assert_eq!(names.asked(), ["a.test:80", "b.test:80"]);
    names.answer_one("b.test", Some(&[2]));
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "x@0");
    assert_eq!(rig.clock.now(), crate::time::Time::ZERO);
    rig.stop();
}

#[test]
fn where_no_name_comes_to_anything_the_dial_fails() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(at(&["a.test:80", "b.test:80"]), names.clone());
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer_one("a.test", None);
    rig.settle();
    assert!(!calls[0].is_answered(), "the other one may have an address");
    names.answer_one("b.test", Some(&[]));
    rig.finish(&mut calls);
    let error = calls[0].error().expect("there is no address");
    assert_eq!(error.kind(), ErrorKind::Resolve);
    assert!(
        error.to_string().contains("b.test has no address"),
        "{error}"
    );
    rig.stop();
}

#[test]
fn a_name_that_fails_keeps_its_old_addresses() {
    let names = Arc::new(Names::default());
    let mut policy = at(&["a.test:80"]);
    policy.upstreams.get_mut("a").unwrap().uses_max = Some(1);
    let mut rig = Rig::resolving(policy, names.clone());
    rig.web.serve(1, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer_one("a.test", Some(&[1]));
    rig.finish(&mut calls);
    rig.pass(31 * SECOND);
    let mut calls = [rig.call(0, "a", "/y")];
    rig.settle();
    assert_eq!(names.asked().len(), 2, "it is not trusted any more");
    names.answer_one("a.test", None);
    rig.finish(&mut calls);
    assert_eq!(calls[0].body(), "y@1");
    rig.stop();
}

/// Dials go to what a name comes to now.
#[test]
fn a_name_that_moves_is_followed() {
    let names = Arc::new(Names::default());
    let mut policy = at(&["a.test:80"]);
    policy.upstreams.get_mut("a").unwrap().uses_max = Some(1);
    let mut rig = Rig::resolving(policy, names.clone());
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    for (host, path) in [(1, "/x"), (2, "/y"), (1, "/z")] {
        let mut calls = [rig.call(0, "a", path)];
        rig.settle();
        names.answer_one("a.test", Some(&[host]));
        rig.finish(&mut calls);
        assert!(calls[0].body().starts_with(&path[1..]));
        rig.pass(31 * SECOND);
    }
    let accepted = [1, 2].map(|host| rig.network.connections_accepted(&endpoint(host)));
    assert_eq!(accepted, [2, 1]);
    rig.stop();
}

#[test]
fn connections_to_an_address_that_has_left_drain() {
    let names = Arc::new(Names::default());
    let mut rig = Rig::resolving(at(&["a.test:80"]), names.clone());
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    let mut held = [rig.call(0, "a", "/hold/x"), rig.call(0, "a", "/y")];
    rig.settle();
    names.answer_one("a.test", Some(&[1]));
    rig.settle();
    rig.pass(31 * SECOND);
    let before = rig.network.open_connections(&endpoint(1));
    assert!(before > 0);
    // Something to dial for.
    let mut more: Vec<_> = (0..8).map(|_| rig.call(0, "a", "/hold/z")).collect();
    rig.settle();
    names.answer_one("a.test", Some(&[2]));
    rig.settle();
    while rig.web.let_go() > 0 {
        rig.settle();
    }
    rig.finish(&mut held);
    rig.finish(&mut more);
    rig.pass(31 * SECOND);
    assert_eq!(rig.network.open_connections(&endpoint(1)), 0);
    rig.stop();
}
