//! How handshakes end, well and badly.

use super::*;
use crate::tls::CertificateProblem;
use crate::tls::session::Handshake;
use rustls::AlertDescription;
use rustls::version::{TLS12, TLS13};

#[test]
fn a_full_handshake_tells_what_was_agreed() {
    for (version, name) in [(&TLS13, "TLS 1.3"), (&TLS12, "TLS 1.2")] {
        let mut pair = Pair::fresh(&[version]);
        assert!(pair.client.is_handshaking());
        assert!(pair.client.wants_output());
        assert_eq!(pair.client.handshake(), None);
        pair.settle().unwrap();
        let handshake = pair.client.handshake().unwrap();
        assert_eq!(handshake.version, name);
        assert!(!handshake.resumed);
        assert!(handshake.suite.starts_with("TLS"), "{}", handshake.suite);
        assert_eq!(handshake.alpn, None, "the server picked none");
    }
}

#[test]
fn the_server_picks_a_protocol() {
    let authority = Authority::new();
    let mut server = authority.server();
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut identity = authority.identity();
    identity.alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    let mut pair = Pair::new(&client, &server.into());
    pair.settle().unwrap();
    let Some(Handshake { alpn, .. }) = pair.client.handshake() else {
        panic!("it has ended");
    };
    assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));
}

#[test]
fn a_fatal_alert_is_named() {
    let authority = Authority::new();
    let mut server = authority.server();
    server.alpn_protocols = vec![b"other".to_vec()];
    let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
    let mut pair = Pair::new(&client, &server.into());
    let alert = TlsError::Alert(AlertDescription::NoApplicationProtocol);
    assert_eq!(pair.settle(), Err(alert.clone()));
    let again = pair.client.receive(b"", &mut pair.at_client);
    assert_eq!(again, Err(alert), "it fails ever after");
}

#[test]
fn an_address_can_be_the_name() {
    let authority = Authority::new();
    let mut identity = authority.identity();
    identity.server_name = "192.0.2.1".into();
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    Pair::new(&client, &authority.server().into())
        .settle()
        .unwrap();
}

/// How a client that trusts `trusted` and asks for `name` fails.
fn refusal(trusted: &Authority, name: &str, server: ServerConfig) -> CertificateProblem {
    let mut identity = trusted.identity();
    identity.server_name = name.into();
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    let mut pair = Pair::new(&client, &server.into());
    let error = pair.settle().unwrap_err();
    assert_eq!(pair.client.handshake(), None);
    let mut alert = Vec::new();
    pair.client.output(&mut alert);
    assert!(!alert.is_empty(), "the server is told");
    let unsent = pair.client.encrypt(b"secret", &mut Vec::new());
    assert_eq!(unsent, Err(error.clone()));
    error
        .certificate_problem()
        .expect("a certificate's problem")
}

#[test]
fn a_certificate_problem_is_told_apart() {
    let ours = Authority::new();
    let theirs = Authority::named("second");
    for version in [&TLS13, &TLS12] {
        let server = |authority: &Authority, years| authority.server_with(&[version], years);
        assert_eq!(
            refusal(&ours, "a.test", server(&theirs, (2000, 4000))),
            CertificateProblem::UnknownIssuer
        );
        assert_eq!(
            refusal(&ours, "a.test", server(&Authority::new(), (2000, 4000))),
            CertificateProblem::Other,
            "another key under our authority's name"
        );
        assert_eq!(
            refusal(&ours, "c.test", server(&ours, (2000, 4000))),
            CertificateProblem::WrongName
        );
        assert_eq!(
            refusal(&ours, "192.0.2.2", server(&ours, (2000, 4000))),
            CertificateProblem::WrongName
        );
        assert_eq!(
            refusal(&ours, "a.test", server(&ours, (2000, 2001))),
            CertificateProblem::Expired
        );
        assert_eq!(
            refusal(&ours, "a.test", server(&ours, (3999, 4000))),
            CertificateProblem::NotYetValid
        );
    }
}

#[test]
fn mozillas_roots_do_not_vouch_for_a_private_authority() {
    let authority = Authority::new();
    let mut identity = authority.identity();
    identity.trust.roots = Roots::WebPki;
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    let error = Pair::new(&client, &authority.server().into())
        .settle()
        .unwrap_err();
    assert_eq!(
        error.certificate_problem(),
        Some(CertificateProblem::UnknownIssuer)
    );
}

#[test]
fn a_server_in_plain_text_is_recognized() {
    let greetings: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"220 mail.test ready\r\n",
        b"\x16\x00\x00\x00\x0a8.0.0",
        &[0; 64],
    ];
    for greeting in greetings {
        for size in [1, 2, 3, greeting.len()] {
            let mut client = Pair::fresh(&[&TLS13]).client;
            let mut plaintext = Vec::new();
            let error = greeting
                .chunks(size)
                .find_map(|piece| client.receive(piece, &mut plaintext).err());
            assert!(matches!(error, Some(TlsError::NotTls(_))), "{error:?}");
            assert!(plaintext.is_empty());
        }
    }
}

#[test]
fn bad_tls_is_not_plain_text() {
    let bad: [&[u8]; 3] = [
        b"\x16\x03\x03\xff\xff",
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
        b"\x17\x03\x03\x00\x01x",
    ];
    for bytes in bad {
        let mut client = Pair::fresh(&[&TLS13]).client;
        let error = client.receive(bytes, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, TlsError::Protocol(_)), "{error:?}");
    }
}

#[test]
fn a_handshake_cut_short_stays_open() {
    for version in [&TLS13, &TLS12] {
        let mut pair = Pair::fresh(&[version]);
        let mut hello = Vec::new();
        pair.client.output(&mut hello);
        pair.give_server(&hello);
        let flight = pair.take_from_server();
        pair.client
            .receive(&flight[..flight.len() - 1], &mut pair.at_client)
            .unwrap();
        assert!(pair.client.is_handshaking());
        assert_eq!(pair.client.handshake(), None);
        assert!(!pair.client.peer_closed());
    }
}

#[test]
fn a_good_bye_during_the_handshake_is_no_close() {
    // Nobody has proved to be the server yet, so nothing it says is a proper end.
    let mut pair = Pair::fresh(&[&TLS13]);
    let mut hello = Vec::new();
    pair.client.output(&mut hello);
    let close_notify = b"\x15\x03\x03\x00\x02\x01\x00";
    let _ = pair.client.receive(close_notify, &mut pair.at_client);
    assert!(!pair.client.peer_closed());
    assert_eq!(pair.client.handshake(), None);
}

#[test]
fn nothing_is_encrypted_before_the_handshake_ends() {
    let mut pair = Pair::fresh(&[&TLS13]);
    let mut out = Vec::new();
    let early = pair.client.encrypt(b"early", &mut out);
    assert_eq!(early, Err(TlsError::NotOpen));
    assert!(out.is_empty());
    pair.settle().unwrap();
    assert!(pair.at_server.is_empty());
}
