//! Raw leases, from any thread and on the shard: exclusive byte streams over the same pool.

mod common;

use bytes::Bytes;
use common::client::{Client, NAME, Running, spawn, within};
use common::peer::{Conn, Peer};
use ringpool::{Error, ErrorKind, RequestSent};
use std::io::{Read, Write};
use std::time::Duration;

fn raw(peer: &Peer) -> Client {
    Client::with(&peer.raw(), |_| {})
}

/// The same steps on a lease from any thread and on one of the shard's: both have the same methods.
/// `$lease` comes from a checkout; the steps run as a task, beside the test's own thread.
macro_rules! on_a_lease {
    ($way:ident, $client:expr, |$lease:ident| $steps:block) => {
        match $way {
            Place::Anywhere => {
                let upstream = $client.upstream();
                spawn(async move {
                    #[allow(unused_mut)]
                    let mut $lease = upstream.checkout().await?;
                    let result: Result<_, Error> = Ok($steps);
                    result
                })
            }
            Place::OnShard => $client.on_shard(move |shard| async move {
                #[allow(unused_mut)]
                let mut $lease = shard.upstream(NAME)?.checkout().await?;
                let result: Result<_, Error> = Ok($steps);
                result
            }),
        }
    };
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Anywhere,
    OnShard,
}

const PLACES: [Place; 2] = [Place::Anywhere, Place::OnShard];

/// Reads so many bytes from a lease of either kind.
macro_rules! take {
    ($lease:ident, $n:expr) => {{
        let mut taken = Vec::new();
        while taken.len() < $n {
            let piece = $lease.read().await?.expect("the stream goes on");
            taken.extend_from_slice(&piece);
        }
        taken
    }};
}

/// A lease that was given back; tells whether it had been used before.
fn use_once(place: Place, client: &Client) -> Running<Result<bool, Error>> {
    on_a_lease!(place, client, |lease| {
        lease.write_all(b"ping\n").await?;
        lease.flush().await?;
        assert_eq!(take!(lease, 5), b"pong\n");
        let reused = lease.reused();
        lease.release();
        reused
    })
}

fn pong(conn: &mut Conn) {
    assert_eq!(conn.take(5), b"ping\n");
    conn.send("pong\n");
}

#[test]
fn a_released_connection_serves_the_next_lease() {
    for place in PLACES {
        for peer in [Peer::start(), Peer::at("[::1]:0"), Peer::unix()] {
            let client = raw(&peer);
            let first = use_once(place, &client);
            let mut conn = peer.accept();
            pong(&mut conn);
            assert!(!first.wait().unwrap());
            client.until("it idles", |s| s.upstreams[NAME].idle == 1);
            for _ in 0..3 {
                let next = use_once(place, &client);
                pong(&mut conn);
                assert!(next.wait().unwrap(), "{place:?}");
                client.until("it idles again", |s| s.upstreams[NAME].idle == 1);
            }
            assert_eq!((peer.accepted(), client.snapshot().hits), (1, 3));
        }
    }
}

#[test]
fn a_lease_that_is_dropped_or_discarded_closes_its_connection() {
    for place in PLACES {
        for discard in [false, true] {
            let peer = Peer::start();
            let client = raw(&peer);
            let task = on_a_lease!(place, client, |lease| {
                if discard {
                    lease.discard();
                }
            });
            assert_eq!(peer.accept().closed(), b"", "{place:?}");
            task.wait().unwrap();
            assert_eq!(client.until_empty().discarded, 1);
        }
    }
}

#[test]
fn a_server_may_speak_first() {
    for place in PLACES {
        let peer = Peer::start();
        let client = Client::with(&peer.raw(), |config| config.idle_min = 1);
        let mut conn = peer.accept();
        conn.send("220 ready\n");
        client.until("it is warm", |s| s.upstreams[NAME].idle == 1);
        let task = on_a_lease!(place, client, |lease| {
            assert!(!lease.reused());
            take!(lease, 10)
        });
        assert_eq!(task.wait().unwrap(), b"220 ready\n", "{place:?}");
        assert_eq!(client.snapshot().evicted_stray_bytes, 0);
    }
}

/// What a server said first is for the first who uses the connection, whether he reads it or not.
#[test]
fn a_greeting_that_nobody_read_reaches_nobody_else() {
    for place in PLACES {
        let peer = Peer::start();
        let client = Client::with(&peer.raw(), |config| {
            config.connections_max = 1;
            config.idle_min = 1;
        });
        let mut conn = peer.accept();
        conn.send("220 ready\n");
        client.until("it is warm", |s| s.upstreams[NAME].idle == 1);
        let unread = on_a_lease!(place, client, |lease| {
            lease.release();
        });
        unread.wait().unwrap();
        client.until("it idles", |s| s.upstreams[NAME].idle == 1);
        let second = use_once(place, &client);
        // Another connection, which has said nothing.
        let mut other = peer.accept();
        pong(&mut other);
        assert!(!second.wait().unwrap(), "{place:?}");
        assert_eq!(conn.closed(), b"");
    }
}

#[test]
fn bytes_between_two_uses_are_for_nobody() {
    let peer = Peer::start();
    let client = raw(&peer);
    let first = use_once(Place::Anywhere, &client);
    let mut conn = peer.accept();
    pong(&mut conn);
    first.wait().unwrap();
    client.until("it idles", |s| s.upstreams[NAME].idle == 1);
    conn.send("421 bye\n");
    assert_eq!(conn.closed(), b"");
    assert_eq!(client.until_empty().evicted_stray_bytes, 1);
}

#[test]
fn a_lease_released_with_bytes_unread_is_closed() {
    // The bytes may be at any place between kernel and reader when the release comes.
    for round in 0..20 {
        for place in PLACES {
            let peer = Peer::start();
            let client = raw(&peer);
            let task = on_a_lease!(place, client, |lease| {
                lease.write_all(b"ping\n").await?;
                assert_eq!(take!(lease, 5), b"pong\n");
                for _ in 0..=round {
                    lease.write_all(b".").await?;
                    lease.flush().await?;
                }
                lease.release();
            });
            let mut conn = peer.accept();
            assert_eq!(conn.take(5), b"ping\n");
            conn.send("pong\n");
            conn.take(1);
            // Fails where the connection is closed already.
            let _ = conn.try_send("unread\n");
            task.wait().unwrap();
            conn.closed();
            let snapshot = client.until_empty();
            assert_eq!(
                snapshot.evictions() + snapshot.discarded,
                1,
                "{place:?} {round}"
            );
        }
    }
}

/// What the caller's side has taken over from the shard, but the caller has not read.
#[test]
fn bytes_that_have_crossed_and_are_unread_close_the_connection_too() {
    for round in 0..50 {
        let peer = Peer::start();
        let client = raw(&peer);
        let upstream = client.upstream();
        let begin = spawn(async move { upstream.checkout().await });
        let mut conn = peer.accept();
        let mut lease = begin.wait().unwrap();
        conn.send("unread\n");
        // Each flush is a round trip to the shard, which has the bytes by then.
        let lease = within(async move {
            for _ in 0..5 {
                lease.write_all(b".").await.unwrap();
                lease.flush().await.unwrap();
            }
            lease
        });
        lease.release();
        conn.closed();
        assert_eq!(client.until_empty().evicted_stray_bytes, 0, "round {round}");
    }
}

#[test]
fn a_peer_that_has_ended_its_side_can_still_be_written_to() {
    for place in PLACES {
        let peer = Peer::start();
        let client = raw(&peer);
        let task = on_a_lease!(place, client, |lease| {
            assert_eq!(take!(lease, 4), b"last");
            assert!(lease.read().await?.is_none());
            assert!(lease.read().await?.is_none());
            lease.write_all(b"after the end").await?;
            lease.flush().await?;
            // Not for others: the peer says no more.
            lease.release();
        });
        let mut conn = peer.accept();
        conn.send("last");
        conn.fin();
        task.wait().unwrap();
        assert_eq!(conn.closed(), b"after the end", "{place:?}");
        client.until_empty();
    }
}

#[test]
fn a_reset_shows_at_the_next_read() {
    for place in PLACES {
        let peer = Peer::start();
        let client = raw(&peer);
        let task = on_a_lease!(place, client, |lease| {
            lease.write_all(b"ping\n").await?;
            lease
                .read()
                .await
                .map(|piece| piece.map(|piece| piece.len()))
        });
        let mut conn = peer.accept();
        conn.take(5);
        conn.reset();
        let error = task.wait().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{place:?}");
        assert_eq!(error.upstream(), Some(NAME), "{place:?}");
        assert_eq!(error.endpoint().unwrap().to_string(), peer.endpoint());
        client.until_empty();
    }
}

#[test]
fn a_flush_of_what_can_never_be_sent_fails() {
    for place in PLACES {
        let peer = Peer::with_receive_buffer(4096);
        let client = raw(&peer);
        let task = on_a_lease!(place, client, |lease| {
            lease.write(Bytes::from(vec![0; 32 << 20])).await?;
            lease.flush().await
        });
        let mut conn = peer.accept();
        conn.take(1);
        conn.reset();
        let error = task.wait().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{place:?}");
        client.until_empty();
    }
}

/// Bytes whose place in the stream shows.
fn pattern(len: usize) -> Bytes {
    let word = |n: usize| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes();
    (0..len.div_ceil(4))
        .flat_map(word)
        .take(len)
        .collect::<Vec<u8>>()
        .into()
}

#[test]
fn much_goes_both_ways_unchanged() {
    const MUCH: usize = 3 << 20;
    for place in PLACES {
        for peer in [Peer::start(), Peer::unix()] {
            let client = raw(&peer);
            let task = on_a_lease!(place, client, |lease| {
                for piece in pattern(MUCH).chunks(100_000) {
                    lease.write_all(piece).await?;
                }
                lease.flush().await?;
                let back = take!(lease, MUCH);
                lease.release();
                back
            });
            let mut conn = peer.accept();
            assert!(
                conn.take(MUCH) == pattern(MUCH),
                "{place:?}: what came differs"
            );
            conn.send(pattern(MUCH));
            let back = task.wait().unwrap();
            assert!(back == pattern(MUCH), "{place:?}: what came back differs");
            client.until("it idles", |s| s.upstreams[NAME].idle == 1);
        }
    }
}

#[test]
fn a_lease_that_nobody_reads_holds_its_peer_back() {
    const MOST: usize = 64 << 20;
    let peer = Peer::start();
    let client = raw(&peer);
    let upstream = client.upstream();
    let begin = spawn(async move { upstream.checkout().await });
    let mut conn = peer.accept();
    let mut lease = begin.wait().unwrap();
    let sent = conn.send_until_stalled(MOST, Duration::from_millis(300));
    assert!(sent < MOST / 2, "{sent} bytes were taken in unread");
    let snapshot = client.snapshot();
    assert!(snapshot.receive_pauses >= 1);
    // It goes on where it stopped.
    let read = spawn(async move {
        let mut read = 0;
        while read < sent + 5 {
            read += lease.read().await?.map_or(0, |piece| piece.len());
        }
        Ok::<_, Error>(read)
    });
    conn.send("after");
    assert_eq!(read.wait().unwrap(), sent + 5);
    client.until_empty();
}

#[test]
fn a_writer_is_held_back_by_a_peer_that_does_not_read() {
    for place in PLACES {
        let peer = Peer::with_receive_buffer(4096);
        let client = raw(&peer);
        let (written, count) = std::sync::mpsc::channel();
        let task = match place {
            Place::Anywhere => {
                let upstream = client.upstream();
                spawn(async move {
                    let mut lease = upstream.checkout().await?;
                    for _ in 0..1024 {
                        lease.write(Bytes::from(vec![0; 65_536])).await?;
                        written.send(()).unwrap();
                    }
                    lease.flush().await
                })
            }
            Place::OnShard => client.on_shard(move |shard| {
                let written = written.clone();
                async move {
                    let mut lease = shard.upstream(NAME)?.checkout().await?;
                    for _ in 0..1024 {
                        lease.write(Bytes::from(vec![0; 65_536])).await?;
                        written.send(()).unwrap();
                    }
                    lease.flush().await
                }
            }),
        };
        let mut conn = peer.accept();
        let mut pieces = 0;
        while count.recv_timeout(Duration::from_millis(300)).is_ok() {
            pieces += 1;
        }
        assert!(
            pieces < 512,
            "{place:?}: {pieces} pieces of 64 KiB were taken unread"
        );
        conn.take(1024 * 65_536);
        task.wait().unwrap();
    }
}

#[test]
fn a_detached_socket_works_on_and_stays_counted() {
    for place in PLACES {
        let peer = Peer::start();
        let client = Client::with(&peer.raw(), |config| {
            config.connections_max = 1;
            config.wait_timeout = Duration::from_millis(100);
        });
        let task = on_a_lease!(place, client, |lease| {
            lease.write_all(b"ping\n").await?;
            // The first byte only: the rest leaves with the socket.
            let first = lease.read().await?.unwrap();
            let detached = lease.detach().await?;
            let mut received = first.to_vec();
            received.extend_from_slice(&detached.received);
            (detached.socket, received, detached.guard)
        });
        let mut conn = peer.accept();
        pong(&mut conn);
        conn.send("more\n");
        let (socket, mut received, guard) = task.wait().unwrap();
        let mut stream = std::net::TcpStream::from(socket);
        while received.len() < 10 {
            let mut rest = [0; 16];
            let n = stream.read(&mut rest).unwrap();
            assert_ne!(n, 0, "the stream goes on");
            received.extend_from_slice(&rest[..n]);
        }
        assert_eq!(received, b"pong\nmore\n", "{place:?}");
        stream.write_all(b"still here").unwrap();
        assert_eq!(conn.take(10), b"still here");
        // The engine has let go of it, but for the permit.
        client.until_empty();
        let full = within(checkout_of(&client)).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::Timeout(ringpool::Phase::Wait));
        drop(stream);
        assert_eq!(conn.closed(), b"");
        let next = spawn(checkout_of(&client));
        drop(guard);
        next.wait().unwrap();
        assert_eq!(peer.accept().closed(), b"");
    }
}

fn checkout_of(client: &Client) -> impl Future<Output = Result<(), Error>> + Send + use<> {
    let upstream = client.upstream();
    async move { upstream.checkout().await.map(drop) }
}

#[test]
fn a_raw_upstream_cannot_be_called() {
    let peer = Peer::start();
    let client = raw(&peer);
    for way in common::client::WAYS {
        let error = client.get(way, "/").wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{way:?}");
        assert_eq!(error.upstream(), Some(NAME));
        assert_eq!(
            (error.attempts(), error.request_sent()),
            (0, RequestSent::No)
        );
    }
    assert_eq!(peer.accepted(), 0);
}

#[test]
fn a_connection_of_an_http_upstream_can_be_leased() {
    for place in PLACES {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let lease = use_once(place, &client);
        let mut conn = peer.accept();
        pong(&mut conn);
        lease.wait().unwrap();
        client.until("it idles", |s| s.upstreams[NAME].idle == 1);
        let call = client.get(common::client::Way::Anywhere, "/");
        conn.answer("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(call.wait().unwrap().trip.reused);
    }
}
