//! A connection at rest, and whether the next request comes on it.

use super::client::{Client, Way};
use super::peer::{Conn, OK, Peer};

/// A connection that has served one request and idles now.
pub fn idle(peer: &Peer, client: &Client, way: Way) -> Conn {
    let call = client.get(way, "/first");
    let mut conn = peer.accept();
    conn.answer(OK);
    assert_eq!(call.wait().unwrap().body, b"ok");
    conn
}

/// The next request comes on a connection of its own, at the first attempt.
pub fn next_is_fresh(peer: &Peer, client: &Client, way: Way, what: &str) -> Conn {
    let call = client.get(way, "/next");
    let mut fresh = peer.accept();
    assert_eq!(fresh.answer(OK).line(), "GET /next HTTP/1.1", "{what}");
    let answer = call.wait().unwrap();
    assert_eq!(
        (answer.trip.attempts, answer.trip.reused),
        (1, false),
        "{what}, {way:?}"
    );
    fresh
}
