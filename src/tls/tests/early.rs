//! What is sent along with a handshake: taken, refused, and too much.

use super::*;
use rustls::version::{TLS12, TLS13};
use std::io::Read;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n";

/// A client that may send early, and has a ticket of a server that takes so much.
fn resuming(max: u32) -> (ClientTls, ServerConfig) {
    let authority = Authority::new();
    let mut server = authority.server_with(&[&TLS13], (2000, 4000));
    server.max_early_data_size = max;
    let mut identity = authority.identity();
    identity.early_data = true;
    let client = ClientTls::new(identity, &TicketStore::new()).unwrap();
    let mut pair = Pair::new(&client, &Arc::new(server.clone()));
    assert_eq!(pair.client.early_room(), 0, "no ticket yet");
    pair.settle().unwrap();
    (client, server)
}

/// Sends a request along with the ClientHello; what the server has read of it before its own flight.
fn send_early(pair: &mut Pair) -> Vec<u8> {
    let mut up = Vec::new();
    assert!(pair.client.encrypt_early(REQUEST, &mut up));
    let mut up = &up[..];
    while !up.is_empty() {
        pair.server.read_tls(&mut up).unwrap();
        pair.server.process_new_packets().unwrap();
    }
    let mut early = Vec::new();
    if let Some(mut data) = pair.server.early_data() {
        data.read_to_end(&mut early).unwrap();
    }
    early
}

#[test]
fn a_request_goes_along_with_the_handshake() {
    let (client, server) = resuming(1000);
    let mut pair = Pair::new(&client, &server.into());
    assert_eq!(pair.client.early_room(), 1000);
    assert_eq!(send_early(&mut pair), REQUEST);
    assert_eq!(pair.client.early_taken(), None);
    pair.settle().unwrap();
    assert_eq!(pair.client.early_taken(), Some(true));
    assert!(pair.client.handshake().unwrap().resumed);
    pair.say_to_server(b"more");
    assert_eq!(pair.at_server, b"more", "and it did not come twice");
}

#[test]
fn what_a_server_does_not_take_comes_after_the_handshake_before_all_else() {
    let (client, mut server) = resuming(1000);
    server.max_early_data_size = 0;
    let mut pair = Pair::new(&client, &server.into());
    assert_eq!(send_early(&mut pair), b"");
    pair.settle().unwrap();
    assert_eq!(pair.client.early_taken(), Some(false));
    pair.say_to_server(b"more");
    assert_eq!(pair.at_server, [REQUEST, b"more"].concat());
}

#[test]
fn a_server_that_forgot_its_tickets_gets_it_after_a_full_handshake() {
    let (client, _) = resuming(1000);
    let authority = Authority::new();
    // Not trusted: what was sent early does not get to see a stranger's handshake through.
    let stranger = authority.server_with(&[&TLS13], (2000, 4000));
    let mut pair = Pair::new(&client, &stranger.into());
    assert_eq!(send_early(&mut pair), b"");
    assert!(pair.settle().is_err());
    assert_eq!(pair.at_server, b"");
}

#[test]
fn what_there_is_no_room_for_is_not_sent_early() {
    let (client, server) = resuming(REQUEST.len() as u32 - 1);
    let mut pair = Pair::new(&client, &server.into());
    let mut up = Vec::new();
    assert!(!pair.client.encrypt_early(REQUEST, &mut up));
    assert!(up.is_empty());
    pair.settle().unwrap();
    assert_eq!(pair.client.early_taken(), None);
}

#[test]
fn without_leave_nothing_is_sent_early() {
    let authority = Authority::new();
    for version in [&TLS13, &TLS12] {
        let mut server = authority.server_with(&[version], (2000, 4000));
        server.max_early_data_size = 1000;
        let server = Arc::new(server);
        let client = ClientTls::new(authority.identity(), &TicketStore::new()).unwrap();
        Pair::new(&client, &server).settle().unwrap();
        let mut pair = Pair::new(&client, &server);
        assert_eq!(pair.client.early_room(), 0);
        pair.settle().unwrap();
        assert!(pair.client.handshake().unwrap().resumed);
    }
}
