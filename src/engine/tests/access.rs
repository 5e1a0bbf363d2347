//! Where an engine may connect to: known at once, or when a name is resolved.

use super::names::Names;
use super::rig::Rig;
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::{AccessConfig, Config};
use crate::error::ErrorKind;
use std::sync::Arc;

fn named(access: AccessConfig) -> Config {
    let config = config(1, |upstream| {
        upstream.url = "http://name.test".parse().expect("a URL");
        upstream.resolve_ttl = SECOND;
    });
    Config { access, ..config }
}

#[test]
fn a_name_leads_only_where_its_addresses_may() {
    let names = Arc::new(Names::default());
    let config = named(AccessConfig::of(&[], &["192.0.2.2"], true));
    let mut rig = Rig::resolving(config, names.clone());
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer_one("name.test", Some(&[2]));
    rig.finish(&mut calls);
    let error = calls[0].error().expect("it leads where it may not");
    assert_eq!(error.kind(), ErrorKind::Forbidden);
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "a: name.test: 192.0.2.2:80 is refused by 192.0.2.2 in access.deny"
    );

    rig.pass(2 * SECOND);
    let mut calls = [rig.call(0, "a", "/x")];
    rig.settle();
    names.answer_one("name.test", Some(&[2, 1]));
    rig.finish(&mut calls);
    assert!(calls[0].body().starts_with("x@"), "the others may do");
    assert_eq!(rig.network.connections_accepted(&endpoint(2)), 0);
    rig.stop();
}

/// What was known of the name stays: its new addresses are none (DNS rebinding).
#[test]
fn a_name_that_is_bound_anew_does_not_lead_where_it_may_not() {
    let names = Arc::new(Names::default());
    let mut config = named(AccessConfig::of(&[], &["192.0.2.2"], true));
    let upstream = config.upstreams.get_mut("a").expect("a");
    upstream.uses_max = Some(1);
    let mut rig = Rig::resolving(config, names.clone());
    rig.web.serve(1, 128);
    rig.web.serve(2, 128);
    for hosts in [[1], [2]] {
        let mut calls = [rig.call(0, "a", "/x")];
        rig.settle();
        names.answer_one("name.test", Some(&hosts));
        rig.finish(&mut calls);
        assert!(calls[0].body().starts_with("x@"));
        rig.pass(2 * SECOND);
    }
    assert_eq!(rig.network.connections_accepted(&endpoint(1)), 2);
    assert_eq!(rig.network.connections_accepted(&endpoint(2)), 0);
    assert_eq!(names.asked().len(), 2);
    rig.stop();
}

#[test]
fn an_absolute_url_is_refused_at_once() {
    let mut rig = Rig::new(Config {
        access: AccessConfig::of(&["192.0.2.1", "good.test"], &[], false),
        ..Config::default()
    });
    rig.web.serve(1, 128);
    let mut calls = [rig.call_url("http://192.0.2.1", "/x").expect("it may")];
    rig.finish(&mut calls);
    assert!(calls[0].body().starts_with("x@"));
    for url in [
        "http://192.0.2.2",
        "http://[::ffff:192.0.2.2]",
        "http://127.0.0.1",
        "http://bad.test",
        "http://169.254.169.254",
        "http://[fd00:ec2::254]",
    ] {
        let error = rig.call_url(url, "/x").err();
        let kind = error.map(|error| error.kind());
        // The only network there is has an address: any other name may resolve to it.
        let expected = (url != "http://bad.test").then_some(ErrorKind::Forbidden);
        assert_eq!(kind, expected, "{url}");
    }
    rig.stop();
}

#[test]
fn an_upstream_is_where_it_may_be() {
    let forbidden = Config {
        access: AccessConfig::of(&[], &["192.0.2.0/24"], true),
        ..config(2, |_| {})
    };
    let mistakes = forbidden
        .validate()
        .expect_err("both are denied")
        .to_string();
    for name in ["a", "b"] {
        let mistake = format!("upstreams.{name}.url may not be connected to: 192.0.2.");
        assert!(mistakes.contains(&mistake), "{mistakes}");
    }

    let mut rig = Rig::new(Config {
        access: AccessConfig::of(&["192.0.2.1"], &[], true),
        ..config(1, |_| {})
    });
    let change = |settings: &mut crate::config::UpstreamConfig| {
        settings.endpoints = vec!["192.0.2.9:80".parse().expect("an address")];
    };
    let error = rig.reconfigure("a", change).expect_err("it is not allowed");
    assert_eq!(error.kind(), ErrorKind::Config);
    rig.stop();
}
