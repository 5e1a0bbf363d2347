//! What nobody may get stuck on: bodies that never end, peers that do not read, heads larger than what
//! a connection may hold unread.

mod common;

use bytes::Bytes;
use common::body::Steps;
use common::bounded;
use common::certificates::Authority;
use common::client::{Answer, Client, NAME, WAYS, collect, get, request, spawn};
use common::peer::{PATIENCE, Peer};
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

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

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
