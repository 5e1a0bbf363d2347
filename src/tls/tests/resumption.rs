//! Tickets: who may use them, and how often.

use super::trust::list;
use super::*;
use crate::tls::{Credentials, PinnedKeys, Revocation};
use rustls::version::{TLS12, TLS13};

fn is_resumed(client: &ClientTls, server: &Arc<ServerConfig>) -> bool {
    let mut pair = Pair::new(client, server);
    pair.settle().unwrap();
    pair.client.handshake().unwrap().resumed
}

#[test]
fn the_second_connection_resumes() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let server = Arc::new(authority.server_with(&[version], (2000, 4000)));
        let store = TicketStore::new();
        let client = ClientTls::new(authority.identity(), &store).unwrap();
        assert!(!is_resumed(&client, &server));
        for _ in 0..20 {
            // As another shard would: set up anew, from a clone of the store.
            let other = ClientTls::new(authority.identity(), &store.clone()).unwrap();
            assert!(is_resumed(&other, &server), "{version:?}");
        }
    }
}

#[test]
fn tickets_outlive_the_last_user_of_their_identity() {
    let authority = Authority::new();
    let server = Arc::new(authority.server());
    let store = TicketStore::new();
    let client = ClientTls::new(authority.identity(), &store).unwrap();
    assert!(!is_resumed(&client, &server));
    drop(client);
    let client = ClientTls::new(authority.identity(), &store).unwrap();
    assert!(is_resumed(&client, &server));
}

#[test]
fn a_ticket_is_used_once() {
    let authority = Authority::new();
    let mut server = authority.server_with(&[&TLS13], (2000, 4000));
    server.send_tls13_tickets = 3;
    let server = Arc::new(server);
    let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
    assert!(!is_resumed(&client, &server));
    // All five say hello before any of them gets new tickets.
    let mut pairs: Vec<Pair> = (0..5).map(|_| Pair::new(&client, &server)).collect();
    let resumed = pairs.iter_mut().filter_map(|pair| {
        pair.settle().unwrap();
        pair.client.handshake()
    });
    assert_eq!(resumed.filter(|handshake| handshake.resumed).count(), 3);
}

#[test]
fn a_tls12_session_is_used_by_many() {
    let authority = Authority::new();
    let server = Arc::new(authority.server_with(&[&TLS12], (2000, 4000)));
    let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
    assert!(!is_resumed(&client, &server));
    let mut pairs: Vec<Pair> = (0..5).map(|_| Pair::new(&client, &server)).collect();
    for pair in &mut pairs {
        pair.settle().unwrap();
        assert!(pair.client.handshake().unwrap().resumed);
    }
}

fn credentials() -> Credentials {
    let made = rcgen::generate_simple_self_signed(["client.test".to_string()]).unwrap();
    Credentials {
        chain: made.cert.pem().as_bytes().into(),
        key: made.signing_key.serialize_pem().as_bytes().into(),
    }
}

#[test]
fn a_forgotten_identity_has_no_ticket_left() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let server = Arc::new(authority.server_with(&[version], (2000, 4000)));
        let store = TicketStore::new();
        let first = ClientTls::new(authority.identity(), &store).unwrap();
        assert!(!is_resumed(&first, &server));
        assert!(is_resumed(&first, &server));
        store.forget(&first);
        assert!(!is_resumed(&first, &server));
        let again = ClientTls::new(authority.identity(), &store).unwrap();
        assert!(!again.is_same(&first) && !is_resumed(&again, &server));
    }
}

/// Identities that differ from the authority's in one thing alone, and in each. All are good for a server with this
/// key.
fn differing(authority: &Authority, key: &KeyPair) -> Vec<Identity> {
    let base = &authority.identity();
    let Roots::Pem(pem) = &base.trust.roots else {
        panic!("an authority's own");
    };
    let mut other_spelling = pem.to_vec();
    other_spelling.push(b'\n');
    // A field more has to have its place below.
    let Identity {
        server_name: _,
        alpn: _,
        trust:
            Trust {
                roots: _,
                pinned_keys: _,
                revocation: _,
                verified_max: _,
            },
        credentials: _,
        resumption: _,
        early_data: _,
        key_log: _,
    } = base;
    let change = |change: &dyn Fn(&mut Identity)| {
        let mut other = base.clone();
        change(&mut other);
        assert_ne!(*base, other);
        other
    };
    vec![
        change(&|other| other.server_name = "b.test".into()),
        change(&|other| other.alpn = Vec::new()),
        change(&|other| other.trust.roots = Roots::Pem(other_spelling.clone().into())),
        change(&|other| other.credentials = Some(credentials())),
        change(&|other| {
            let key = key.public_key_pem();
            other.trust.pinned_keys = Some(PinnedKeys(key.into_bytes().into()));
        }),
        change(&|other| {
            other.trust.revocation = Some(Revocation {
                lists: vec![list(authority, &[], 4000)],
                unknown_allowed: false,
                stale_allowed: false,
            });
        }),
        change(&|other| other.trust.verified_max = Some(DAY)),
        change(&|other| other.resumption = Some(DAY / 2)),
        change(&|other| other.resumption = None),
        change(&|other| other.early_data = true),
        change(&|other| other.key_log = true),
    ]
}

#[test]
fn identities_that_differ_in_anything_share_no_ticket() {
    let authority = Authority::new();
    let base = authority.identity();
    let key = KeyPair::generate().unwrap();
    let others = differing(&authority, &key);
    for version in [&TLS13, &TLS12] {
        let server = Arc::new(authority.server_of(&key, &[version], (2000, 4000)));
        for other in &others {
            let store = TicketStore::new();
            let first = ClientTls::new(base.clone(), &store).unwrap();
            let second = ClientTls::new(other.clone(), &store).unwrap();
            assert!(!is_resumed(&first, &server));
            assert!(!is_resumed(&second, &server), "{other:?}");
            assert!(is_resumed(&first, &server));
            assert_eq!(is_resumed(&second, &server), other.resumption.is_some());
        }
    }
}

#[test]
fn without_resumption_every_handshake_is_full() {
    let authority = Authority::new();
    let server = Arc::new(authority.server());
    let mut identity = authority.identity();
    identity.resumption = None;
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    for _ in 0..3 {
        assert!(!is_resumed(&client, &server));
    }
}

#[test]
fn a_server_that_forgot_gets_a_full_handshake() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
        let restarted = || Arc::new(authority.server_with(&[version], (2000, 4000)));
        assert!(!is_resumed(&client, &restarted()));
        let server = restarted();
        assert!(!is_resumed(&client, &server), "{version:?}");
        assert!(is_resumed(&client, &server), "{version:?}");
    }
}
