//! Whom to believe: pinned keys, revocation lists, and how long a check counts.

use super::*;
use crate::tls::{CertificateProblem, PinnedKeys, Revocation};
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::UnixTime;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that stands until it is set, in seconds since 1970.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl TimeProvider for SetClock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn seconds(year: i32) -> u64 {
    date_time_ymd(year, 1, 1).unix_timestamp() as u64
}

fn store_at(year: i32) -> (Arc<SetClock>, TicketStore) {
    let clock = Arc::new(SetClock(seconds(year).into()));
    let store = TicketStore::with(aws_lc_rs::default_provider(), clock.clone());
    (clock, store)
}

fn problem(identity: Identity, store: &TicketStore, server: ServerConfig) -> CertificateProblem {
    let client = ClientTls::new(identity, store).unwrap();
    let mut pair = Pair::new(&client, &server.into());
    let failure = pair.settle().unwrap_err();
    failure.certificate_problem().expect("the certificate's")
}

/// The length of the handshake's trust, and whether it resumed.
fn connect(client: &ClientTls, server: &Arc<ServerConfig>) -> (Option<Duration>, bool) {
    let mut pair = Pair::new(client, server);
    pair.settle().unwrap();
    let handshake = pair.client.handshake().unwrap();
    (handshake.good_for, handshake.resumed)
}

#[test]
fn the_key_has_to_be_a_pinned_one() {
    let authority = Authority::new();
    let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let pinned = |keys: &[&KeyPair]| {
        let pem: String = keys.iter().map(|key| key.public_key_pem()).collect();
        let mut identity = authority.identity();
        identity.trust.pinned_keys = Some(PinnedKeys(pem.into_bytes().into()));
        identity
    };
    for version in [&TLS13, &TLS12] {
        let server = || authority.server_of(&own, &[version], (2000, 4000));
        for good in [pinned(&[&own]), pinned(&[&other, &own])] {
            let client = ClientTls::new(good, &TicketStore::new()).unwrap();
            let server = Arc::new(server());
            assert!(!connect(&client, &server).1);
            assert!(connect(&client, &server).1, "and is resumed");
        }
        let problem = problem(pinned(&[&other]), &TicketStore::new(), server());
        assert_eq!(problem, CertificateProblem::NotPinned);
    }
}

#[test]
fn a_pinned_key_replaces_no_other_check() {
    let (authority, stranger) = (Authority::new(), Authority::named("second"));
    let key = KeyPair::generate().unwrap();
    let mut identity = authority.identity();
    identity.trust.pinned_keys = Some(PinnedKeys(key.public_key_pem().into_bytes().into()));
    let server = stranger.server_of(&key, rustls::ALL_VERSIONS, (2000, 4000));
    let unknown = problem(identity.clone(), &TicketStore::new(), server);
    assert_eq!(unknown, CertificateProblem::UnknownIssuer);
    let server = authority.server_of(&key, rustls::ALL_VERSIONS, (2000, 2001));
    let expired = problem(identity, &TicketStore::new(), server);
    assert_eq!(expired, CertificateProblem::Expired);
}

/// The authority's list, good from 2020 to `until`, with these serial numbers in it.
pub(super) fn list(authority: &Authority, serials: &[u64], until: i32) -> Arc<[u8]> {
    list_of(authority, serials, (2020, until))
}

fn list_of(authority: &Authority, serials: &[u64], (from, until): (i32, i32)) -> Arc<[u8]> {
    let revoked = serials.iter().map(|&serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2020, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(from, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(&authority.0).unwrap();
    list.pem().unwrap().into_bytes().into()
}

#[test]
fn what_its_issuer_took_back_is_refused() {
    let (authority, stranger) = (Authority::new(), Authority::named("second"));
    let (_, store) = store_at(2025);
    let with = |lists: Vec<Arc<[u8]>>, allowed: bool| {
        let mut identity = authority.identity();
        identity.trust.revocation = Some(Revocation {
            lists,
            unknown_allowed: allowed,
            stale_allowed: allowed,
        });
        identity
    };
    let good = |identity: Identity| {
        let client = ClientTls::new(identity, &store).unwrap();
        connect(&client, &authority.server().into());
    };
    let refused = |identity| problem(identity, &store, authority.server());
    let (taken, others) = (
        list(&authority, &[SERIAL], 2030),
        list(&authority, &[SERIAL + 1], 2030),
    );
    good(with(vec![others.clone()], false));
    assert_eq!(
        refused(with(vec![taken.clone()], false)),
        CertificateProblem::Revoked
    );
    assert_eq!(
        refused(with(vec![taken], true)),
        CertificateProblem::Revoked
    );
    let unknown = list(&stranger, &[], 2030);
    let problem = CertificateProblem::RevocationUnknown;
    assert_eq!(refused(with(vec![unknown.clone()], false)), problem);
    good(with(vec![unknown.clone()], true));
    good(with(vec![unknown, others], false));
    let stale = list(&authority, &[], 2024);
    assert_eq!(refused(with(vec![stale.clone()], false)), problem);
    good(with(vec![stale], true));
}

#[test]
fn of_an_issuers_lists_the_newest_counts_in_whatever_order_they_come() {
    let authority = Authority::new();
    let (_, store) = store_at(2025);
    let with = |lists: &[&Arc<[u8]>]| {
        let mut identity = authority.identity();
        identity.trust.revocation = Some(Revocation {
            lists: lists.iter().map(|&list| list.clone()).collect(),
            unknown_allowed: false,
            stale_allowed: false,
        });
        identity
    };
    let stale = list_of(&authority, &[], (2020, 2022));
    let old = list_of(&authority, &[], (2023, 2030));
    let new = list_of(&authority, &[SERIAL], (2024, 2030));
    // One file that lists were appended to is like several files.
    let both = Arc::from([&old[..], &new[..]].concat());
    for lists in [&[&old, &new][..], &[&new, &old], &[&stale, &new], &[&both]] {
        let problem = problem(with(lists), &store, authority.server());
        assert_eq!(problem, CertificateProblem::Revoked);
    }
    let client = ClientTls::new(with(&[&stale, &old]), &store).unwrap();
    connect(&client, &authority.server().into());
}

#[test]
fn a_check_counts_until_the_certificate_ends() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let (clock, store) = store_at(2025);
        let server = Arc::new(authority.server_with(&[version], (2000, 2026)));
        let client = ClientTls::new(authority.identity(), &store).unwrap();
        let left = |clock: &SetClock| {
            let left = seconds(2026) - clock.0.load(Ordering::Relaxed);
            Some(Duration::from_secs(left))
        };
        assert_eq!(connect(&client, &server), (left(&clock), false));
        clock.0.fetch_add(3600, Ordering::Relaxed);
        assert_eq!(connect(&client, &server), (left(&clock), true));
        // A day before the end: tickets are older than they may be.
        clock.0.store(seconds(2026) - 3600, Ordering::Relaxed);
        assert_eq!(connect(&client, &server), (left(&clock), false));
        // At the end the server is asked for its certificate again, and has none that is good.
        clock.0.store(seconds(2026) + 1, Ordering::Relaxed);
        let mut pair = Pair::new(&client, &server);
        let failure = pair.settle().unwrap_err();
        assert_eq!(
            failure.certificate_problem(),
            Some(CertificateProblem::Expired)
        );
        assert_eq!(pair.client.handshake(), None);
    }
}

#[test]
fn a_session_of_an_expired_certificate_is_not_resumed_though_others_vouch_for_the_identity() {
    let authority = Authority::new();
    let (clock, store) = store_at(2025);
    let client = ClientTls::new(authority.identity(), &store).unwrap();
    let server = Arc::new(authority.server_with(&[&TLS13], (2000, 2026)));
    // It has said hello with a ticket when its certificate ends.
    connect(&client, &server);
    let mut pair = Pair::new(&client, &server);
    clock.0.store(seconds(2026) + 1, Ordering::Relaxed);
    let failure = pair.settle().unwrap_err();
    assert_eq!(
        failure.certificate_problem(),
        Some(CertificateProblem::Expired)
    );
}

#[test]
fn a_check_counts_for_as_long_as_it_may() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let (clock, store) = store_at(2025);
        let server = Arc::new(authority.server_with(&[version], (2000, 4000)));
        let mut identity = authority.identity();
        identity.trust.verified_max = Some(Duration::from_secs(100));
        let client = ClientTls::new(identity, &store).unwrap();
        let left = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(connect(&client, &server), (left(100), false));
        for passed in 1..=7 {
            clock.0.fetch_add(10, Ordering::Relaxed);
            // However often it is resumed: the check is that of the first.
            assert_eq!(connect(&client, &server), (left(100 - 10 * passed), true));
        }
        // In the last quarter of its time nothing goes back to it any more: what did would all end together.
        clock.0.fetch_add(10, Ordering::Relaxed);
        assert_eq!(connect(&client, &server), (left(100), false));
        clock.0.fetch_add(10, Ordering::Relaxed);
        assert_eq!(connect(&client, &server), (left(90), true));
    }
}

/// A client whose checks count for 100 seconds, two servers that it may reach, and the time.
fn short_trust() -> (Arc<SetClock>, ClientTls, [Arc<ServerConfig>; 2]) {
    let authority = Authority::new();
    let (clock, store) = store_at(2025);
    let mut identity = authority.identity();
    identity.trust.verified_max = Some(Duration::from_secs(100));
    let client = ClientTls::new(identity, &store).unwrap();
    let server = || Arc::new(authority.server_with(&[&TLS13], (2000, 4000)));
    (clock, client, [server(), server()])
}

#[test]
fn a_ticket_that_comes_late_counts_for_no_longer_than_its_session() {
    let (clock, client, [first, second]) = short_trust();
    let mut late = Pair::new(&client, &first);
    let mut exchange = || {
        let mut up = Vec::new();
        late.client.output(&mut up);
        late.give_server(&up);
        late.take_from_server()
    };
    let flight = exchange();
    late.client.receive(&flight, &mut Vec::new()).unwrap();
    let mut up = Vec::new();
    late.client.output(&mut up);
    late.give_server(&up);
    let tickets = late.take_from_server();
    assert!(!tickets.is_empty());
    clock.0.fetch_add(150, Ordering::Relaxed);
    assert!(!connect(&client, &second).1);
    late.client.receive(&tickets, &mut Vec::new()).unwrap();
    assert!(!connect(&client, &first).1, "its check is too long ago");
}

#[test]
fn a_handshake_that_outlasts_the_check_it_goes_back_to_is_good_for_nothing_more() {
    let (clock, client, [first, second]) = short_trust();
    connect(&client, &first);
    clock.0.fetch_add(70, Ordering::Relaxed);
    let mut pairs = [0, 1].map(|_| Pair::new(&client, &first));
    clock.0.fetch_add(30, Ordering::Relaxed);
    let good_for = |pair: &mut Pair| {
        pair.settle().unwrap();
        let handshake = pair.client.handshake().unwrap();
        assert!(handshake.resumed);
        handshake.good_for
    };
    let [alone, beside] = &mut pairs;
    assert_eq!(good_for(alone), Some(Duration::ZERO), "and does not fail");
    // What another server has proven meanwhile is not this one's.
    assert_eq!(
        connect(&client, &second),
        (Some(Duration::from_secs(100)), false)
    );
    assert_eq!(good_for(beside), Some(Duration::ZERO));
}

#[test]
fn a_ticket_is_kept_for_as_long_as_it_may() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let (clock, store) = store_at(2025);
        let server = Arc::new(authority.server_with(&[version], (2000, 4000)));
        let mut identity = authority.identity();
        identity.resumption = Some(Duration::from_secs(60));
        let client = ClientTls::new(identity, &store).unwrap();
        assert!(!connect(&client, &server).1);
        clock.0.fetch_add(59, Ordering::Relaxed);
        assert!(connect(&client, &server).1);
        clock.0.fetch_add(60, Ordering::Relaxed);
        assert!(!connect(&client, &server).1);
    }
}
