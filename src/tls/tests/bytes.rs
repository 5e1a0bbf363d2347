//! What happens to bytes once the handshake is over.

use super::*;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::crypto::cipher::{OutboundChunks, OutboundPlainMessage};
use rustls::time_provider::DefaultTimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuiteCommon, SupportedCipherSuite, Tls12CipherSuite, Tls13CipherSuite};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion};

const RECORD: usize = 16 * 1024;
const BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_mebibyte_goes_each_way() {
    for version in BOTH {
        let mut pair = Pair::connected(&[version]);
        let data = pattern(1 << 20);
        pair.say_to_server(&data);
        assert!(pair.at_server == data);
        let ciphertext = pair.said_by_server(&data);
        pair.client
            .receive(&ciphertext, &mut pair.at_client)
            .unwrap();
        assert!(pair.at_client == data);
    }
}

#[test]
fn records_may_be_cut_anywhere() {
    for version in BOTH {
        let mut pair = Pair::connected(&[version]);
        let mut cut = 0;
        loop {
            let mut records = pair.said_by_server(b"first");
            records.extend(pair.said_by_server(b"second"));
            if cut > records.len() {
                break;
            }
            let (head, tail) = records.split_at(cut);
            let mut plaintext = b"kept ".to_vec();
            pair.client.receive(head, &mut plaintext).unwrap();
            pair.client.receive(tail, &mut plaintext).unwrap();
            assert_eq!(plaintext, b"kept firstsecond", "cut at {cut}");
            cut += 1;
        }
        assert!(cut > 40);
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    for version in BOTH {
        let mut pair = Pair::fresh(&[version]);
        while pair.client.is_handshaking() || pair.client.wants_output() {
            let mut up = Vec::new();
            pair.client.output(&mut up);
            pair.give_server(&up);
            for byte in pair.take_from_server() {
                pair.client.receive(&[byte], &mut pair.at_client).unwrap();
            }
        }
        for byte in pair.said_by_server(&pattern(20_000)) {
            pair.client.receive(&[byte], &mut pair.at_client).unwrap();
        }
        assert!(pair.at_client == pattern(20_000));
    }
}

#[test]
fn what_was_sound_before_a_bad_record_is_delivered() {
    let mut pair = Pair::connected(&[&TLS13]);
    let mut records = pair.said_by_server(b"good");
    let bad = records.len();
    records.extend(pair.said_by_server(b"bad"));
    records[bad + 6] ^= 1;
    let error = pair
        .client
        .receive(&records, &mut pair.at_client)
        .unwrap_err();
    assert_eq!(error, TlsError::Protocol(rustls::Error::DecryptError));
    assert_eq!(pair.at_client, b"good");
    assert!(pair.client.wants_output(), "an alert");
}

#[test]
fn close_notify_ends_what_the_server_says() {
    for version in BOTH {
        let mut pair = Pair::connected(&[version]);
        let mut records = pair.said_by_server(b"last words");
        pair.server.send_close_notify();
        records.extend(pair.take_from_server());
        records.extend_from_slice(b"and then noise");
        assert!(!pair.client.peer_closed());
        pair.client.receive(&records, &mut pair.at_client).unwrap();
        assert!(pair.client.peer_closed());
        pair.client
            .receive(b"more noise", &mut pair.at_client)
            .unwrap();
        assert_eq!(pair.at_client, b"last words");
        // Our side is still open (RFC 8446, section 6.1).
        pair.say_to_server(b"thanks");
        assert_eq!(pair.at_server, b"thanks");
    }
}

#[test]
fn close_notify_is_sent_once_and_ends_our_side() {
    for version in BOTH {
        let mut pair = Pair::connected(&[version]);
        let mut bytes = Vec::new();
        pair.client.encrypt(b"bye", &mut bytes).unwrap();
        pair.client.close_notify(&mut bytes);
        let len = bytes.len();
        pair.client.close_notify(&mut bytes);
        let late = pair.client.encrypt(b"late", &mut bytes);
        assert_eq!(late, Err(TlsError::NotOpen));
        assert_eq!(bytes.len(), len);
        pair.give_server(&bytes);
        assert_eq!(pair.at_server, b"bye");
        assert!(pair.server.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn a_key_update_is_consumed_and_answered_before_the_next_data() {
    let mut pair = Pair::connected(&[&TLS13]);
    for round in 0..100 {
        pair.server.refresh_traffic_keys().unwrap();
        let update = pair.take_from_server();
        pair.client.receive(&update, &mut pair.at_client).unwrap();
        assert!(pair.at_client.is_empty());
        pair.say_to_server(b"x");
        let answer = pair.said_by_server(b"y");
        pair.client.receive(&answer, &mut pair.at_client).unwrap();
        assert_eq!(std::mem::take(&mut pair.at_client), b"y", "round {round}");
    }
    assert_eq!(pair.at_server.len(), 100);
}

#[test]
fn key_updates_without_end_are_refused() {
    let mut pair = Pair::connected(&[&TLS13]);
    let mut updates = Vec::new();
    for _ in 0..100 {
        pair.server.refresh_traffic_keys().unwrap();
        updates.extend(pair.take_from_server());
    }
    let error = pair
        .client
        .receive(&updates, &mut pair.at_client)
        .unwrap_err();
    assert_eq!(error, TlsError::Flood);
}

/// A NewSessionTicket (RFC 8446, section 4.6.1) whose ticket has 200 bytes.
fn ticket() -> Vec<u8> {
    let mut message = vec![4, 0, 0, 4 + 4 + 1 + 2 + 200 + 2];
    message.extend([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 200]);
    message.extend([7; 200]);
    message.extend([0, 0]);
    message
}

#[test]
fn tickets_are_consumed_silently_but_not_without_end() {
    let authority = Authority::new();
    let mut server = authority.server_with(&[&TLS13], (2000, 4000));
    server.enable_secret_extraction = true;
    let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
    let mut pair = Pair::new(&client, &server.into());
    pair.settle().unwrap();

    let suite = pair.server.negotiated_cipher_suite().unwrap();
    let (sent, secrets) = pair.server.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else {
        panic!("the suite that both like best");
    };
    let mut encrypter = suite.tls13().unwrap().aead_alg.encrypter(key, iv);
    let mut seq = 0;
    let mut record = |typ, payload: &[u8]| {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        seq += 1;
        encrypter.encrypt(message, seq - 1).unwrap().encode()
    };

    // AWS-LC wants to see every sequence number, from 0; the server has used up these.
    for _ in 0..sent {
        record(ContentType::ApplicationData, b"");
    }
    let mut plaintext = Vec::new();
    for _ in 0..5 {
        for _ in 0..200 {
            let ticket = record(ContentType::Handshake, &ticket());
            pair.client.receive(&ticket, &mut plaintext).unwrap();
        }
        let data = record(ContentType::ApplicationData, b"data");
        pair.client.receive(&data, &mut plaintext).unwrap();
    }
    assert_eq!(plaintext, b"data".repeat(5));
    let failure = (0..1000).find_map(|_| {
        let ticket = record(ContentType::Handshake, &ticket());
        pair.client.receive(&ticket, &mut plaintext).err()
    });
    assert_eq!(failure, Some(TlsError::Flood));
}

/// A provider whose keys wear out after `records` records.
fn worn(records: u64) -> CryptoProvider {
    let SupportedCipherSuite::Tls12(tls12) = cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    else {
        panic!("a suite of TLS 1.2");
    };
    let SupportedCipherSuite::Tls13(tls13) = cipher_suite::TLS13_AES_128_GCM_SHA256 else {
        panic!("a suite of TLS 1.3");
    };
    let tls12 = Tls12CipherSuite {
        common: CipherSuiteCommon {
            confidentiality_limit: records,
            ..tls12.common
        },
        ..*tls12
    };
    let tls13 = Tls13CipherSuite {
        common: CipherSuiteCommon {
            confidentiality_limit: records,
            ..tls13.common
        },
        ..*tls13
    };
    CryptoProvider {
        cipher_suites: vec![
            SupportedCipherSuite::Tls12(Box::leak(Box::new(tls12))),
            SupportedCipherSuite::Tls13(Box::leak(Box::new(tls13))),
        ],
        ..aws_lc_rs::default_provider()
    }
}

fn connected_with_worn_keys(version: &'static SupportedProtocolVersion) -> Pair {
    let authority = Authority::new();
    let store = TicketStore::with(worn(50), Arc::new(DefaultTimeProvider));
    let client = ClientTls::new(authority.identity(), &store).unwrap();
    let server = authority.server_with(&[version], (2000, 4000));
    let mut pair = Pair::new(&client, &server.into());
    pair.settle().unwrap();
    pair
}

#[test]
fn worn_out_keys_of_tls12_lose_no_byte_in_silence() {
    for len in [1, 100, RECORD] {
        let mut pair = connected_with_worn_keys(&TLS12);
        let mut accepted = 0;
        let error = loop {
            let mut bytes = Vec::new();
            let encrypted = pair.client.encrypt(&pattern(len), &mut bytes);
            pair.give_server(&bytes);
            match encrypted {
                Ok(()) => accepted += len,
                Err(error) => break error,
            }
            assert!(accepted <= 50 * len);
        };
        assert_eq!(error, TlsError::KeysExhausted);
        assert_eq!(pair.at_server.len(), accepted);
        let late = pair.client.encrypt(b"late", &mut Vec::new());
        assert_eq!(late, Err(TlsError::NotOpen));
    }
}

#[test]
fn worn_out_keys_of_tls13_are_changed() {
    let mut pair = connected_with_worn_keys(&TLS13);
    for _ in 0..500 {
        pair.say_to_server(&pattern(100));
    }
    assert_eq!(pair.at_server.len(), 500 * 100);
    pair.say_to_server(&pattern(200 * RECORD));
    assert_eq!(pair.at_server.len(), 500 * 100 + 200 * RECORD);
}
