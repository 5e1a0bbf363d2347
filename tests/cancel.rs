//! Every future dropped at every await point, and nothing comes of it: no leak, no connection reused that is not
//! clean, no buffer freed before its last completion.

mod common;

use common::conversation::{
    Kind, Places, config, cut_anywhere, cut_on_shard, cut_stuck_sends_everywhere, descriptors,
    in_time, leaving_nothing,
};
use ringpool::config::UpstreamConfig;
use ringpool::on_shard::Head;
use ringpool::{Config, Engine, block_on};
use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Tests that count descriptors run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough for several receive buffers, sends and chunks.
const LENGTH: usize = 60_000;

#[derive(Clone, Copy, Debug)]
enum From {
    Shard,
    Anywhere,
}

fn cut(secure: bool, kind: Kind, from: From) {
    let _alone = alone();
    for fresh in [true, false] {
        let what = format!("{kind:?} from {from:?}, TLS {secure}, fresh {fresh}");
        let (places, _) = leaving_nothing(
            secure,
            |peer| config(peer, kind.is_raw()),
            async |engine, peer| match from {
                From::Shard => {
                    in_time(&what, cut_on_shard(engine, peer, kind, LENGTH, fresh)).await
                }
                From::Anywhere => {
                    in_time(&what, cut_anywhere(engine, peer, kind, LENGTH, fresh)).await
                }
            },
        );
        println!("{what}: {places:?}");
        check(&what, places, secure && fresh);
    }
}

/// A matrix that found few places has not tested what it says.
fn check(what: &str, places: Places, handshake: bool) {
    // At least one for most of the head and the seven pieces of the body.
    assert!(places.pendings >= 6, "{what}: {places:?}");
    // The answer is nine steps; the handshake several.
    let steps = if handshake { 12 } else { 9 };
    assert!(places.stalls >= steps, "{what}: {places:?}");
}

macro_rules! matrix {
    ($($name:ident: $kind:ident, $from:ident, $secure:expr;)+) => {$(
        #[test]
        fn $name() {
            cut($secure, Kind::$kind, From::$from);
        }
    )+};
}

matrix! {
    an_exchange_on_the_shard: Exchange, Shard, false;
    an_exchange_on_the_shard_over_tls: Exchange, Shard, true;
    a_call_on_the_shard: Call, Shard, false;
    a_call_on_the_shard_over_tls: Call, Shard, true;
    a_lease_on_the_shard: Lease, Shard, false;
    a_lease_on_the_shard_over_tls: Lease, Shard, true;
    a_detached_lease_on_the_shard: Detach, Shard, false;
    a_call_from_anywhere: Call, Anywhere, false;
    a_call_from_anywhere_over_tls: Call, Anywhere, true;
    a_lease_from_anywhere: Lease, Anywhere, false;
    a_lease_from_anywhere_over_tls: Lease, Anywhere, true;
    a_detached_lease_from_anywhere: Detach, Anywhere, false;
}

fn stuck(secure: bool, kind: Kind) {
    let _alone = alone();
    let what = format!("stuck sends of a {kind:?}, TLS {secure}");
    leaving_nothing(
        secure,
        |peer| config(peer, kind.is_raw()),
        async |engine, peer| in_time(&what, cut_stuck_sends_everywhere(engine, peer, kind)).await,
    );
}

#[test]
fn uploads_that_the_peer_does_not_read() {
    stuck(false, Kind::Call);
    stuck(true, Kind::Call);
}

#[test]
fn writes_on_a_lease_that_the_peer_does_not_read() {
    stuck(false, Kind::Lease);
    stuck(true, Kind::Lease);
}

/// A listener whose queue is full swallows SYNs: the connect stays in flight.
#[test]
fn a_connect_that_nobody_answers() {
    let _alone = alone();
    let before = descriptors();
    {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).expect("a port of our own");
        listener.listen(0).expect("it listens");
        let address = listener.local_addr().expect("it is bound");
        let address = address.as_socket().expect("an internet address");
        let mut queued = Vec::new();
        while let Ok(one) = TcpStream::connect_timeout(&address, Duration::from_millis(50)) {
            queued.push(one);
            assert!(queued.len() < 100, "the queue never fills");
        }
        let upstream = UpstreamConfig::at(&format!("http://{address}")).expect("a URL");
        let engine = Engine::start(Config {
            shards: 1,
            pin: false,
            ..Config::with_upstream("peer", upstream)
        })
        .expect("an engine");
        let dropped = engine.spawn_on_each(|shard| async move {
            let upstream = shard.upstream("peer").expect("it is configured");
            let mut exchange = Box::pin(upstream.exchange(Head::get("/")));
            // Until the dial has surely begun.
            let mut pause = pin!(shard.sleep(Duration::from_millis(5)));
            poll_fn(|cx| {
                assert!(exchange.as_mut().poll(cx).is_pending(), "nobody answers");
                pause.as_mut().poll(cx)
            })
            .await;
        });
        assert!(block_on(dropped).iter().all(Result::is_ok));
        let now = block_on(engine.snapshot()).expect("it runs").now;
        assert_eq!((now.waiters, now.connections, now.sockets), (0, 1, 1));
        // Cancels the connect, and closes what it was for.
        engine.stop();
    }
    assert_eq!(descriptors(), before, "descriptors were leaked");
}
