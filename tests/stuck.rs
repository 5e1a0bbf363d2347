//! What nobody may get stuck on: bodies that never end, peers that do not read, heads larger than what
//! a connection may hold unread.

mod common;

use bytes::Bytes;
use common::body::Steps;
use common::bounded;
use common::certificates::Authority;
use common::client::{Answer, Client, NAME, WAYS, collect, get, request, spawn};
use common::peer::{OK, PATIENCE, Peer};
use common::tls_peer;
use http_body::Frame;
use http_body_util::BodyExt;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::{Body, Config, Engine, Error, ErrorKind, Lease};
use std::future::Future;
use std::io::{Read, Write};
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

/// A second upstream on the same shard.
const OTHER: &str = "other";

/// A client of two upstreams on one shard.
fn beside(first: UpstreamConfig, other: UpstreamConfig) -> Client {
    let mut config = Config {
        shards: 1,
        pin: false,
        ..Config::with_upstream(NAME, first)
    };
    config.upstreams.insert(OTHER.to_owned(), other);
    Client {
        engine: Engine::start(config).expect("the engine starts"),
    }
}

/// `GET /` to the other upstream.
fn get_other(client: &Client) -> common::client::Running<Result<Answer, Error>> {
    let other = client.engine.upstream(OTHER).unwrap();
    spawn(async move { collect(other.call(get("/")).await?).await })
}

/// The same test on a thread of its own: if a shard spins, not even the engine's drop ends.
fn although_a_shard_may_spin(test: impl FnOnce() + Send + 'static) {
    bounded::within(3 * PATIENCE, "the test", test);
}

/// A body that is always ready and never ends.
struct Endless(Bytes);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

#[test]
fn an_endless_body_ends_with_its_connection_and_leaves_the_shard_to_others() {
    although_a_shard_may_spin(|| {
        // One that is copied into its chunk, one that is not, and one of which nothing is sent.
        for size in [100, 16 * 1024, 0] {
            let (peer, other) = (Peer::start(), Peer::start());
            let at = |peer: &Peer| UpstreamConfig::at(&peer.http()).unwrap();
            let client = beside(at(&peer), at(&other));
            let call = client.on_shard(move |shard| async move {
                let body = Body::stream(Endless(vec![b'x'; size].into()));
                let upstream = shard.upstream(NAME)?;
                upstream.call(request("POST", "/", body)).await.map(drop)
            });
            let mut conn = peer.accept();
            conn.request_head();
            // Well into the body, if there is any.
            conn.take(1000 * size);
            let meanwhile = get_other(&client);
            let mut other_conn = other.accept();
            other_conn.answer(OK);
            assert_eq!(meanwhile.wait().unwrap().body, b"ok", "{size}");
            conn.reset();
            let error = call.wait().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Closed, "{size}: {error:?}");
            let afterwards = get_other(&client);
            other_conn.answer(OK);
            assert_eq!(afterwards.wait().unwrap().body, b"ok", "{size}");
            let last = client.until("the call is gone", |s| s.now.connections == 1);
            assert_eq!(last.upstreams[NAME].leased, 0, "{size}");
        }
    });
}

/// Bytes whose place in the stream shows.
fn pattern(len: usize) -> Vec<u8> {
    let word = |n: usize| (n as u32).wrapping_mul(2_654_435_761).to_le_bytes();
    (0..len.div_ceil(4)).flat_map(word).take(len).collect()
}

#[test]
fn a_large_body_over_tls_waits_for_its_reader_while_others_are_served() {
    const LARGE: usize = 8 << 20;
    for on_shard in [false, true] {
        let authority = Authority::new();
        let server = Arc::new(tls_peer::config(&authority.sign()));
        let (shaken, handshake) = channel();
        let (read_on, may_read) = channel::<()>();
        let may_read = Arc::new(Mutex::new(may_read));
        let large = tls_peer::Peer::tls(server.clone(), move |mut stream| {
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).unwrap();
            }
            shaken.send(()).unwrap();
            may_read.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            let head = tls_peer::read_head(&mut stream).unwrap();
            let mut body = vec![0; LARGE];
            stream.read_exact(&mut body).unwrap();
            let told = head.contains(&format!("content-length: {LARGE}\r\n"));
            let same = told && body == pattern(LARGE);
            let answer = if same { OK } else { "HTTP/1.1 400 \r\n\r\n" };
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let small = tls_peer::Peer::tls(server, |mut stream| {
            while tls_peer::read_head(&mut stream).is_some() {
                stream.write_all(OK.as_bytes()).unwrap();
            }
        });
        let at = |peer: &tls_peer::Peer| UpstreamConfig {
            tls: TlsConfig {
                roots: TrustRoots::Pem(authority.pem.clone()),
                ..TlsConfig::default()
            },
            ..UpstreamConfig::at(&peer.url("https")).unwrap()
        };
        let client = beside(at(&large), at(&small));
        let post = || request("POST", "/", Body::from(pattern(LARGE)));
        let call = match on_shard {
            true => client.on_shard(move |shard| async move {
                collect(shard.upstream(NAME)?.call(post()).await?).await
            }),
            false => {
                let upstream = client.upstream();
                spawn(async move { collect(upstream.call(post()).await?).await })
            }
        };
        handshake.recv_timeout(PATIENCE).unwrap();
        for _ in 0..3 {
            assert_eq!(get_other(&client).wait().unwrap().body, b"ok");
        }
        read_on.send(()).unwrap();
        let answer = call.wait().unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]));
    }
}

/// Polls a future once.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

/// Writes to a peer that does not read, until nothing more goes. The last write stays undone.
fn write_until_stuck(client: &Client, lease: &mut Lease) {
    const MOST: usize = 64 << 20;
    let piece = Bytes::from(vec![0; 64 * 1024]);
    for _ in 0..MOST / piece.len() {
        let mut write = Box::pin(lease.write(piece.clone()));
        // Each snapshot is a turn of the shard: so many without room, and there will be none.
        let mut turns = 0;
        while poll_once(write.as_mut()).map(Result::unwrap).is_pending() {
            turns += 1;
            if turns == 100 {
                return;
            }
            client.snapshot();
        }
    }
    panic!("{MOST} bytes were taken though nobody reads");
}

#[test]
fn a_lease_that_is_let_go_while_its_peer_does_not_read_is_closed() {
    for release in [false, true] {
        // Over a Unix socket the kernel takes no more in later on; over TCP its buffers may yet grow.
        let peer = Peer::unix();
        {
            let client = Client::with(&peer.raw(), |config| {
                config.user_timeout = None;
                if release {
                    // What was written has that long to leave; a drop needs no such help.
                    config.call_timeout = Duration::from_millis(200);
                }
            });
            let upstream = client.upstream();
            let checkout = spawn(async move { upstream.checkout().await });
            let conn = peer.accept();
            let mut lease = checkout.wait().unwrap();
            write_until_stuck(&client, &mut lease);
            let before = client.snapshot();
            assert_eq!((before.now.connections, before.now.tasks), (1, 1));
            match release {
                true => lease.release(),
                false => drop(lease),
            }
            let after = client.until_empty();
            assert_eq!(after.evictions() + after.discarded, 1, "{release}");
            // Only now.
            conn.closed();
        }
    }
}

/// A response whose head is about as long as `bytes`, and has few enough fields.
fn long_head(bytes: usize) -> String {
    let fields: String = (0..bytes / 1024)
        .map(|n| format!("x-{n:02}: {}\r\n", "v".repeat(1024 - 8)))
        .collect();
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: 2\r\n\r\nok")
}

/// A client whose connections hold 32 KiB unread.
fn of_small_quota(peer: &Peer) -> Client {
    let upstream = UpstreamConfig::at(&peer.http()).unwrap();
    let config = Config {
        shards: 1,
        pin: false,
        receive_buffers_per_connection: 2,
        receive_buffer_size: 16 * 1024,
        ..Config::with_upstream(NAME, upstream)
    };
    Client {
        engine: Engine::start(config).expect("the engine starts"),
    }
}

#[test]
fn a_head_larger_than_the_unread_quota_is_received_up_to_its_limit() {
    for way in WAYS {
        let peer = Peer::start();
        let client = of_small_quota(&peer);
        let mut conn = None;
        for kilobytes in [50, 60] {
            let call = client.get(way, "/");
            let conn = conn.get_or_insert_with(|| peer.accept());
            conn.answer(long_head(kilobytes << 10));
            assert_eq!(call.wait().unwrap().body, b"ok", "{way:?}, {kilobytes} KiB");
        }
        let call = client.get(way, "/");
        let mut conn = conn.unwrap();
        conn.request();
        // The engine may close before it has everything.
        let _ = conn.try_send(long_head(66 << 10));
        let error = call.wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{way:?}: {error:?}");
        conn.closed();
        client.until_empty();
    }
}

#[test]
fn a_long_head_may_come_in_small_pieces() {
    for size in [1, 7] {
        let peer = Peer::start();
        let client = of_small_quota(&peer);
        for way in WAYS {
            let call = client.get(way, "/");
            let mut conn = peer.accept();
            conn.request();
            for piece in long_head(60 << 10).as_bytes().chunks(size) {
                conn.send(piece);
            }
            assert_eq!(call.wait().unwrap().body, b"ok", "{way:?}, {size} bytes");
            conn.fin();
            conn.closed();
            client.until("it is gone", |s| s.now.connections == 0);
        }
    }
}

/// The response's body up to its first piece, what `then` does, and the error that follows.
async fn error_after_first_piece<B>(
    response: http::Response<B>,
    then: impl FnOnce(),
) -> (Bytes, Option<ErrorKind>)
where
    B: http_body::Body<Data = Bytes, Error = Error> + Unpin,
{
    let mut body = response.into_body();
    let first = body.frame().await.expect("a piece").expect("no error");
    then();
    let next = body.frame().await.expect("no end");
    let data = first.into_data().expect("data");
    (data, next.err().map(|error| error.kind()))
}

#[test]
fn a_request_body_that_fails_after_an_early_response_ends_the_response() {
    for on_shard in [false, true] {
        let peer = Peer::start();
        let client = Client::new(&peer);
        let steps = || {
            let (steps, open) = Steps::chunked().data("abc").gate();
            let fail = || drop(open);
            (request("POST", "/", Body::stream(steps.fail())), fail)
        };
        let call = match on_shard {
            true => client.on_shard(move |shard| async move {
                let (request, fail) = steps();
                let response = shard.upstream(NAME)?.call(request).await?;
                Ok::<_, Error>(error_after_first_piece(response, fail).await)
            }),
            false => {
                let upstream = client.upstream();
                spawn(async move {
                    let (request, fail) = steps();
                    let response = upstream.call(request).await?;
                    Ok(error_after_first_piece(response, fail).await)
                })
            }
        };
        let mut conn = peer.accept();
        conn.request_head();
        conn.take("3\r\nabc\r\n".len());
        conn.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        let (data, error) = call.wait().unwrap();
        assert_eq!(data, "hello", "on the shard: {on_shard}");
        assert_eq!(
            error,
            Some(ErrorKind::RequestBody),
            "on the shard: {on_shard}"
        );
        conn.closed();
        client.until_empty();
    }
}
