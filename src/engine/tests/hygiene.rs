//! Connections that go bad between their grant and their holder's first look: nobody uses one.
//!
//! What is granted after the tasks of a turn have run is looked at in the next turn, and the driver's
//! events are reaped between the two. A [`Bell`] makes news arrive just then.

use super::rig::{Call, Rig};
use super::web::endpoint;
use super::{SECOND, config};
use crate::config::{Class, Config};
use crate::driver::sim::{Answers, Network, Peer, SimConnection};
use crate::protocol::http1::Head;
use crate::shard::forward;
use crate::shard::receiving::PIECES_MAX;
use bytes::Bytes;
use futures_channel::oneshot;
use http::Method;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// An answer that nobody has asked for.
const STRAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";

type Harm = fn(&SimConnection);

const HARMS: [Harm; 3] = [|c| c.send(STRAY), SimConnection::end, SimConnection::reset];

/// The server at `b`: whatever it receives makes it harm the first connection to `a`.
struct Bell(Network, Harm);

impl Peer for Bell {
    fn received(&mut self, _: &[u8], _: &mut Answers) {
        (self.1)(&self.0.connection(&endpoint(1), 0));
    }
}

/// A lease on the bell, held by a task; sending on this rings it.
struct Rope(oneshot::Sender<()>);

impl Rope {
    /// Call it when the first connection to `a` is there: news on an older connection than the bell's
    /// arrives one hop after the bell rang, not with it.
    fn tie(rig: &mut Rig, harm: Harm) -> Rope {
        let network = rig.network.clone();
        rig.network
            .listen(endpoint(2), move || Box::new(Bell(network.clone(), harm)));
        let local = rig.shards[0].local().clone();
        let bell = local.upstream(rig.upstream("b"));
        let (rope, pulled) = oneshot::channel();
        local.spawn(async move {
            let deadline = bell.shard.now() + SECOND;
            let lease = bell.checkout(Class::Normal, deadline, false).await;
            let mut lease = lease.expect("the bell listens");
            pulled.await.expect("the test pulls");
            let written = lease.write(Bytes::from_static(b"!")).await;
            written.expect("the bell is there");
            pending::<()>().await;
        });
        rig.settle();
        Rope(rope)
    }

    /// Turns the shard once. While its tasks run, news of the bell's lies in the driver, so that grants
    /// wait for a look at it; with that look the bell rings, and the harm comes with the next one.
    fn pull(self, rig: &mut Rig) {
        rig.network.connection(&endpoint(2), 0).send("?");
        assert!(rig.network.step(), "news that grants wait for");
        self.0.send(()).expect("the task waits for it");
        rig.shards[0].turn(true).unwrap();
    }
}

fn two(connections_max: u32) -> Config {
    config(2, |upstream| upstream.connections_max = connections_max)
}

#[test]
fn a_checkout_that_had_to_wait_for_news_never_uses_what_went_bad_after_its_grant() {
    for harm in HARMS {
        for method in [Method::GET, Method::POST] {
            let mut rig = Rig::new(two(128));
            rig.web.serve(1, 128);
            rig.web.watch(2, 1);
            let mut calls = [rig.call(0, "a", "/first")];
            rig.finish(&mut calls);
            let rope = Rope::tie(&mut rig, harm);
            let mut calls = [rig.request(0, "a", method, "/second")];
            rope.pull(&mut rig);
            rig.finish(&mut calls);
            assert_eq!(calls[0].body(), "second@1");
            assert_eq!(calls[0].attempts(), 1);
            assert!(!calls[0].reused());
            assert_eq!(rig.web.asked(), ["/first", "/second"]);
            let hits = rig.counts("a")[0];
            assert_eq!(hits, 1, "the first connection was granted before the harm");
            rig.stop();
        }
    }
}

#[test]
fn a_waiter_never_uses_what_went_bad_after_its_release_to_it() {
    for harm in HARMS {
        for method in [Method::GET, Method::POST] {
            let mut rig = Rig::new(two(1));
            rig.web.serve(1, 1);
            rig.web.watch(2, 1);
            let mut calls = [rig.call(0, "a", "/hold/x")];
            rig.settle();
            let rope = Rope::tie(&mut rig, harm);
            let mut second = [rig.request(0, "a", method, "/y")];
            rig.settle();
            assert_eq!(rig.web.let_go(), 1);
            // The driver makes an event of the answer; the rest comes after that.
            rig.shards[0].turn(true).unwrap();
            rope.pull(&mut rig);
            assert!(calls[0].is_answered(), "and its connection was released");
            rig.finish(&mut second);
            assert_eq!(calls.each_mut().map(Call::body), ["x@0"]);
            assert_eq!(second[0].body(), "y@1");
            assert_eq!(second[0].attempts(), 1);
            assert_eq!(rig.web.asked(), ["/hold/x", "/y"]);
            rig.stop();
        }
    }
}

/// Of an HTTP server nothing is expected before the first request, at the first lease either.
#[test]
fn a_grant_given_up_unused_does_not_bring_unread_bytes_back() {
    let mut rig = Rig::new(config(2, |upstream| {
        upstream.idle_min = if upstream.url.host() == Some("192.0.2.1") {
            2
        } else {
            0
        };
    }));
    rig.web.serve(1, 128);
    rig.web.watch(2, 1);
    rig.settle();
    let warm = rig.network.connection(&endpoint(1), 0);
    let rope = Rope::tie(&mut rig, HARMS[0]);
    let local = rig.shards[0].local().clone();
    let upstream = local.upstream(rig.upstream("a"));
    let (go, mut gone) = oneshot::channel::<()>();
    local.spawn(async move {
        let deadline = upstream.shard.now() + SECOND;
        let mut checkout = pin!(upstream.checkout(Class::Normal, deadline, false));
        poll_fn(|cx| {
            if gone.try_recv().is_ok_and(|gone| gone.is_none()) {
                assert!(checkout.as_mut().poll(cx).is_pending(), "it is deferred");
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    });
    rope.pull(&mut rig);
    assert!(warm.is_open());
    drop(go);
    rig.settle();
    assert_eq!(rig.figures(0).task_panics, 0);
    assert!(!warm.is_open(), "its bytes would be the next one's answer");
    let mut calls = [rig.call(0, "a", "/x")];
    rig.finish(&mut calls);
    assert_eq!(calls[0].body().split('@').next(), Some("x"));
    assert_eq!(calls[0].attempts(), 1);
    drop(local);
    rig.stop();
}

/// Whoever reads slowly has its receive paused; what the peer sends behind the answer stays in the kernel then,
/// and nobody is told of it. It must not be taken for the next answer.
#[test]
fn what_came_behind_an_answer_while_receiving_was_paused_is_not_the_next_ones() {
    let mut rig = Rig::of(1, two(128));
    rig.web.serve(1, 128);
    let local = rig.shards[0].local().clone();
    let upstream = local.upstream(rig.upstream("a"));
    let (go, going) = oneshot::channel::<()>();
    let (tell, mut told) = oneshot::channel();
    local.spawn(async move {
        let head = Head::get("/hold/first");
        let first = forward::exchange(&upstream, &head, None).await;
        let mut first = first.expect("a head");
        going.await.expect("the test says so");
        while first.chunk().await.expect("a body").is_some() {}
        drop(first);
        let second = forward::exchange(&upstream, &Head::get("/second"), None).await;
        let mut second = second.expect("a head");
        let piece = second.chunk().await.expect("a body").expect("of one piece");
        let _ = tell.send((second.reused(), piece.to_bytes()));
    });
    rig.settle();
    let connection = rig.network.connection(&endpoint(1), 0);
    connection.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {PIECES_MAX}\r\n\r\n"
    ));
    rig.settle();
    for _ in 0..PIECES_MAX {
        connection.send("x");
        rig.settle();
    }
    assert_eq!(rig.figures(0).tally.pauses, 1);
    connection.send(STRAY);
    rig.settle();
    assert!(connection.is_open(), "nobody knows yet");
    go.send(()).expect("the task waits for it");
    rig.settle();
    let (reused, answer) = told.try_recv().unwrap().expect("it is answered");
    assert_eq!(answer, "second@1");
    assert!(!reused && !connection.is_open());
    drop(local);
    rig.stop();
}
