//! Calls that go well, on both shards, and what is counted of them.

use super::rig::{Call, Rig};
use super::tasks::{Task, call, echo};
use super::{SECOND, config};
use crate::client::body::Body;
use crate::config::Class;
use crate::error::Error;
use crate::time::Time;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

#[test]
fn each_call_gets_its_own_answer_on_both_shards() {
    // Each on its own: else the second shard's call would run on the first one's connection.
    let mut rig = Rig::new(config(1, |upstream| upstream.sharing.steal = false));
    rig.web.serve(1, 128);
    for round in 0..50 {
        for shard in 0..2 {
            let nonce = format!("{round}-{shard}");
            let mut calls = [rig.call(shard, "a", &format!("/{nonce}"))];
            rig.finish(&mut calls);
            // One connection for each shard; the first round opened them in the shards' order.
            assert_eq!(calls[0].body(), format!("{nonce}@{shard}"));
            assert_eq!(calls[0].reused(), round > 0);
        }
    }
    assert_eq!(rig.counts("a"), [98, 2, 2]);
    assert_eq!(rig.web.asked().len(), 100, "no request was sent twice");
    rig.stop();
}

#[test]
fn bursts_on_both_shards_are_answered_each_with_its_own() {
    for seed in 0..20 {
        let mut rig = Rig::shuffled(config(1, |_| {}), seed);
        rig.web.serve(1, 128);
        let mut calls: Vec<(String, Call)> = Vec::new();
        for n in 0..200 {
            let nonce = format!("n{n}");
            calls.push((nonce.clone(), rig.call(n % 2, "a", &format!("/{nonce}"))));
            if n % 7 == 0 {
                rig.step();
            }
        }
        let (nonces, mut calls): (Vec<String>, Vec<Call>) = calls.into_iter().unzip();
        rig.finish(&mut calls);
        for (nonce, call) in nonces.iter().zip(&mut calls) {
            let body = call.body();
            assert_eq!(body.split('@').next(), Some(&**nonce), "seed {seed}");
        }
        let [hits, misses, dials] = rig.counts("a");
        assert_eq!(hits + misses, 200);
        assert!(dials < 100, "seed {seed}: {dials} dials for 200 calls");
        assert_eq!(rig.web.asked().len(), 200);
        rig.stop();
    }
}

#[test]
fn warm_connections_are_up_on_both_shards_before_anyone_calls() {
    let mut rig = Rig::new(config(1, |upstream| upstream.idle_min = 5));
    rig.web.serve(1, 5);
    rig.settle();
    let warm: Vec<u32> = (0..2)
        .map(|shard| rig.figures(shard).upstreams["a"].census.idle)
        .collect();
    assert_eq!(warm.iter().sum::<u32>(), 5);
    assert!(warm.iter().all(|&idle| idle >= 2), "{warm:?}");
    let mut calls = [rig.call(0, "a", "/x"), rig.call(1, "a", "/y")];
    rig.finish(&mut calls);
    // Nobody waited, though nobody had used them before.
    assert!(!calls.iter_mut().any(Call::reused));
    assert_eq!(rig.counts("a"), [2, 0, 5]);
    rig.stop();
}

#[test]
fn the_same_script_takes_the_same_course() {
    let course = |seed| {
        let mut rig = Rig::shuffled(config(2, |upstream| upstream.connections_max = 3), seed);
        rig.web.serve(1, 3);
        rig.web.serve(2, 3);
        let mut calls = Vec::new();
        let mut course: Vec<(Time, String)> = Vec::new();
        for n in 0..60usize {
            let path = match n % 5 {
                0 => format!("/bye/{n}"),
                1 => format!("/stray/{n}"),
                2 => format!("/hold/{n}"),
                _ => format!("/{n}"),
            };
            calls.push(rig.call(n % 2, ["a", "b"][n / 2 % 2], &path));
            if n % 9 == 0 {
                rig.pass(SECOND / 100);
                rig.web.let_go();
            }
            let figures = [rig.figures(0), rig.figures(1)];
            for shard in figures {
                course.push((rig.clock.now(), format!("{:?}", shard.tally)));
                course.push((rig.clock.now(), format!("{:?}", shard.upstreams)));
            }
        }
        rig.pass(SECOND);
        rig.web.let_go();
        rig.finish(&mut calls);
        course.push((rig.clock.now(), format!("{:?}", rig.web.asked())));
        rig.stop();
        course
    };
    for seed in 0..4 {
        assert_eq!(course(seed), course(seed), "seed {seed}");
    }
}

/// What waits on a connection is the task that looked last, also where it has the place in memory of one that looked before
/// and has ended.
#[test]
fn a_lease_is_read_by_a_later_task_than_the_one_that_waited() {
    let mut rig = Rig::of(1, config(1, |_| {}));
    echo(&rig.network);
    for _ in 0..8 {
        let kept = Rc::new(RefCell::new(None));
        let keep = kept.clone();
        let looked = Task::new(&rig, 0, |upstream| async move {
            let deadline = upstream.shard.now() + SECOND;
            let lease = upstream.checkout(Class::Normal, deadline, false).await;
            let mut lease = lease.expect("there is a server");
            assert!(poll_fn(|cx| Poll::Ready(lease.poll_read(cx).is_pending())).await);
            keep.replace(Some(lease));
        });
        looked.settled(&mut rig);
        let read = Task::new(&rig, 0, |_| async move {
            let mut lease = kept.take().expect("it was kept");
            let request = Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n");
            lease.write(request).await.expect("there is room");
            let piece = lease.read().await.expect("it is open");
            lease.release();
            piece.is_some()
        });
        assert!(read.settled(&mut rig));
    }
    rig.stop();
}

/// Three bytes, of which it says that when it is asked first, and never again.
struct Fickle {
    asked: AtomicBool,
    left: Option<Bytes>,
}

impl HttpBody for Fickle {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(self.left.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.asked.swap(true, Ordering::Relaxed) {
            false => SizeHint::with_exact(3),
            true => SizeHint::default(),
        }
    }
}

/// Else what the head does not announce would be the next request on the same connection.
#[test]
fn a_body_is_framed_as_its_head_says() {
    let mut rig = Rig::of(1, config(1, |_| {}));
    echo(&rig.network);
    for reused in [false, true] {
        let body = Body::stream(Fickle {
            asked: AtomicBool::new(false),
            left: Some(Bytes::from_static(b"abc")),
        });
        let request = http::Request::put("/x").body(body).expect("a request");
        let done = Task::new(&rig, 0, |upstream| call(upstream, request));
        let whole = done.settled(&mut rig).expect("answered");
        assert_eq!((whole.text(), whole.trip.reused), ("abc", reused));
    }
    rig.stop();
}
