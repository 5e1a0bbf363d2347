//! Servers that are believed no longer, or never: pinned keys, revocation lists, and how long a check counts.

use super::*;
use ringpool::config::{Pem, RevocationConfig};

fn opened(engine: &Engine) -> u64 {
    run(engine.snapshot()).unwrap().connections_opened
}

#[test]
fn a_key_that_is_not_pinned_is_refused_by_name() {
    let authority = Authority::new();
    let (own, other) = (authority.sign(), authority.sign());
    for version in ["-tls1_2", "-tls1_3"] {
        let Some(server) = OpensslServer::start(&own, &["-www", version]) else {
            return;
        };
        let mut upstream = backend(&server.url("https"), &authority);
        upstream.tls.pinned_keys = Some(Pem::Pem(other.public_key_pem.clone()));
        let error = failure(upstream.clone());
        assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::NotPinned));
        assert!(error.to_string().contains("pinned"), "{error}");
        upstream.tls.pinned_keys = Some(Pem::Pem(own.public_key_pem.clone()));
        assert_eq!(told(&engine(1, upstream)).0, 200);
    }
}

#[test]
fn a_revoked_certificate_is_refused_by_name() {
    let authority = Authority::new();
    let certificate = authority.sign();
    let Some(nginx) = nginx(&certificate, "location / { return 200; }") else {
        return;
    };
    let listed = |list: String| {
        let mut upstream = backend(&nginx.url("https"), &authority);
        upstream.tls.revocation.lists = vec![Pem::Pem(list)];
        upstream
    };
    let error = failure(listed(authority.revoked(&[certificate.serial])));
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::Revoked));
    assert!(error.to_string().contains("revoked"), "{error}");
    let error = failure(listed(Authority::new().revoked(&[])));
    assert_eq!(error.kind(), ErrorKind::Tls(TlsFailure::RevocationUnknown));
    let good = listed(authority.revoked(&[certificate.serial + 1]));
    assert_eq!(told(&engine(1, good)).0, 200);
}

#[test]
fn pins_and_lists_that_change_reach_what_is_open() {
    let authority = Authority::new();
    let certificate = authority.sign();
    let Some(nginx) = nginx(&certificate, "location / { return 200; }") else {
        return;
    };
    let mut upstream = backend(&nginx.url("https"), &authority);
    upstream.drain_timeout = Duration::from_millis(20);
    upstream.breaker.enabled = false;
    let engine = engine(1, upstream.clone());
    assert_eq!(told(&engine).0, 200);
    let becomes = |upstream: &UpstreamConfig| {
        run(engine.reconfigure("backend", upstream.clone())).unwrap();
        until(&engine, "what was open is closed", |seen| {
            seen.now.sockets == 0
        });
        let upstream = engine.upstream("backend").unwrap();
        run(get(&upstream, "/"))
            .map(drop)
            .map_err(|error| error.kind())
    };
    let no_longer = |failure| Err(ErrorKind::Tls(failure));
    upstream.tls.pinned_keys = Some(Pem::Pem(certificate.public_key_pem.clone()));
    assert_eq!(becomes(&upstream), Ok(()));
    upstream.tls.pinned_keys = Some(Pem::Pem(authority.sign().public_key_pem));
    assert_eq!(becomes(&upstream), no_longer(TlsFailure::NotPinned));
    upstream.tls.pinned_keys = None;
    assert_eq!(becomes(&upstream), Ok(()));
    upstream.tls.revocation = RevocationConfig {
        lists: vec![Pem::Pem(authority.revoked(&[certificate.serial]))],
        ..RevocationConfig::default()
    };
    assert_eq!(becomes(&upstream), no_longer(TlsFailure::Revoked));
}

#[test]
fn what_was_checked_too_long_ago_is_replaced_and_checked_again() {
    let authority = Authority::new();
    let Some(nginx) = nginx(&authority.sign(), "location / { return 200; }") else {
        return;
    };
    let mut upstream = backend(&nginx.url("https"), &authority);
    upstream.tls.verified_max = Some(Duration::from_secs(1));
    upstream.idle_min = 2;
    let engine = engine(1, upstream);
    run(engine.ready(Duration::from_secs(5))).unwrap();
    assert_eq!(opened(&engine), 2);
    let seen = until(&engine, "both had their time", |seen| {
        seen.upstreams["backend"].evicted_trust >= 2 && seen.upstreams["backend"].idle == 2
    });
    // A successor may resume within that second; what came after it was checked anew.
    let seen = until(&engine, "somebody was checked anew", |now| {
        now.handshakes_full > seen.handshakes_full
    });
    assert_eq!(seen.dials_failed, 0);
    assert_eq!(told(&engine).0, 200);
}

#[test]
fn mistakes_in_what_to_trust_are_told_at_the_start() {
    let refusal = |change: &dyn Fn(&mut TlsConfig)| {
        let mut upstream = UpstreamConfig::at("https://backend.test").unwrap();
        change(&mut upstream.tls);
        let error = Engine::start(Config::with_upstream("backend", upstream)).err();
        let error = error.expect("it is a mistake");
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    };
    let text = refusal(&|tls| tls.verified_max = Some(Duration::from_millis(999)));
    assert!(text.contains("tls.verified_max"), "{text}");
    let text = refusal(&|tls| tls.ticket_lifetime_max = Duration::ZERO);
    assert!(text.contains("tls.ticket_lifetime_max"), "{text}");
    let text = refusal(&|tls| tls.pinned_keys = Some(Pem::Pem("nothing".into())));
    assert!(text.contains("pinned keys unusable"), "{text}");
    let text = refusal(&|tls| tls.revocation.lists = vec![Pem::PemFile("/no/such".into())]);
    assert!(text.contains("/no/such"), "{text}");
    let text = refusal(&|tls| tls.revocation.lists = vec![Pem::Pem("nothing".into())]);
    assert!(text.contains("revocation lists unusable"), "{text}");
}
