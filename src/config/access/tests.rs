//! What the rules say, together.

use super::*;

/// Whether a host, and what it resolves to, may be connected to.
fn judged(access: &AccessConfig, host: &str, at: &str) -> Result<(), Denied> {
    let at: SocketAddr = at.parse().expect(at);
    access.judge_host(host, at.port())?;
    access.judge_address(host, at)
}

#[test]
fn without_rules_everything_may() {
    let open = AccessConfig::default();
    assert!(open.is_open());
    assert!(judged(&open, "a.test", "169.254.169.254:80").is_ok());
    assert!(open.judge_path(Path::new("/run/../x")).is_ok());
}

#[test]
fn what_is_allowed_is_all_that_is() {
    let only = AccessConfig::of(
        &["*.internal:443", "10.1.0.0/16", "unix:/run/app"],
        &[],
        true,
    );
    assert!(judged(&only, "users.internal", "203.0.113.7:443").is_ok());
    assert!(judged(&only, "10.1.2.3", "10.1.2.3:80").is_ok());
    assert!(
        judged(&only, "other.test", "10.1.2.3:80").is_ok(),
        "by its address"
    );
    assert!(only.judge_path(Path::new("/run/app/a.sock")).is_ok());
    for (host, at) in [
        ("users.internal", "203.0.113.7:80"),
        ("internal", "203.0.113.7:443"),
        ("other.test", "203.0.113.7:443"),
        ("10.2.0.1", "10.2.0.1:443"),
    ] {
        assert!(
            matches!(judged(&only, host, at), Err(Denied::NotAllowed(_))),
            "{host}"
        );
    }
    assert!(only.judge_path(Path::new("/run/other.sock")).is_err());
    assert!(
        only.judge_path(Path::new("/run/app/../other.sock"))
            .is_err()
    );
}

#[test]
fn of_a_name_that_can_never_be_allowed_it_is_known_at_once() {
    let names = AccessConfig::of(&["a.test"], &[], true);
    assert!(names.judge_host("b.test", 80).is_err());
    let networks = AccessConfig::of(&["192.0.2.0/24:443"], &[], true);
    assert!(
        networks.judge_host("b.test", 443).is_ok(),
        "its addresses decide"
    );
    assert!(networks.judge_host("b.test", 80).is_err());
}

#[test]
fn what_is_denied_stays_so_whatever_is_allowed() {
    let access = AccessConfig::of(&["*"], &["bad.test", "10.0.0.0/8:1-1023"], true);
    assert!(judged(&access, "good.test", "198.51.100.1:80").is_ok());
    assert!(judged(&access, "bad.test", "198.51.100.1:80").is_err());
    assert!(
        judged(&access, "good.test", "10.0.0.1:80").is_err(),
        "it was rebound"
    );
    assert!(judged(&access, "good.test", "10.0.0.1:8080").is_ok());
    for hidden in [
        "[::ffff:10.0.0.1]:80",
        "[64:ff9b::a00:1]:80",
        "[2002:a00:1::]:80",
    ] {
        assert!(judged(&access, "good.test", hidden).is_err(), "{hidden}");
    }
}

#[test]
fn special_addresses_are_refused_unless_their_network_is_named() {
    let public = AccessConfig::of(&["*", "10.1.0.0/16"], &[], false);
    assert!(judged(&public, "a.test", "1.1.1.1:80").is_ok());
    assert!(judged(&public, "a.test", "10.1.0.1:80").is_ok());
    for at in [
        "127.0.0.1:80",
        "169.254.169.254:80",
        "10.2.0.1:80",
        "[::1]:80",
        "[64:ff9b::7f00:1]:80",
    ] {
        assert!(
            matches!(judged(&public, "a.test", at), Err(Denied::Special(_))),
            "{at}"
        );
    }
    let strict = AccessConfig::of(&[], &[], false);
    assert!(!strict.is_open() && judged(&strict, "a.test", "1.1.1.1:80").is_ok());
    assert!(judged(&strict, "127.0.0.1", "127.0.0.1:80").is_err());
}

#[test]
fn all_endpoints_of_an_upstream_are_judged() {
    let access = AccessConfig::of(&[], &["10.0.0.0/8", "unix:/run/secret"], true);
    let mut settings = UpstreamConfig::at("http://a.test").expect("a URL");
    assert!(access.judge_upstream(&settings).is_empty());
    let endpoints = ["10.0.0.1:80", "192.0.2.1:80", "unix:/run/secret/a.sock"];
    settings.endpoints = endpoints.map(|text| text.parse().expect(text)).to_vec();
    let denied: Vec<String> = access
        .judge_upstream(&settings)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        denied,
        [
            "10.0.0.1:80 is refused by 10.0.0.0/8 in access.deny",
            "unix:/run/secret/a.sock is refused by unix:/run/secret in access.deny",
        ]
    );
}
