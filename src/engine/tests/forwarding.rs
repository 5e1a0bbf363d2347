//! Calls of tasks on a shard that is no home of their upstream: another shard runs them, and nobody can
//! tell but by the trip.

use super::rig::Rig;
use super::tasks::{Pieces, Task, Whole, call, echo, exchange, get};
use super::web::endpoint;
use super::{SECOND, config};
use crate::client::body::Body;
use crate::config::{CallOptions, Class};
use crate::error::{Error, ErrorKind, Phase, RequestSent};
use crate::protocol::http1::Head;
use crate::shard::call::Payload;
use crate::shard::forward;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Frame;
use std::future::{pending, poll_fn};

/// A rig, the home of `a`, and the other shard.
fn rig() -> (Rig, usize, usize) {
    with(|_| {})
}

fn with(change: impl Fn(&mut crate::config::UpstreamConfig)) -> (Rig, usize, usize) {
    let rig = Rig::new(config(1, change));
    let home = rig.upstream("a").homes.first();
    (rig, home, 1 - home)
}

#[test]
fn an_exchange_and_a_call_run_at_home() {
    let (mut rig, home, guest) = rig();
    rig.web.serve(1, 1);
    for n in 0..10 {
        let path = format!("/{n}");
        let done = Task::new(&rig, guest, |upstream| async move {
            if n % 2 == 0 {
                get(upstream, &path).await
            } else {
                let request = Request::get(path).body(Body::empty());
                call(upstream, request.expect("a request")).await
            }
        });
        let whole: Whole = done.settled(&mut rig).expect("answered");
        assert_eq!((whole.status, whole.text()), (200, &*format!("{n}@0")));
        assert_eq!(whole.trip.shard, home);
        assert_eq!(whole.trip.reused, n > 0);
        assert_eq!(whole.trip.attempts, 1);
        assert_eq!(whole.trip.endpoint, Some(endpoint(1)));
    }
    assert_eq!(rig.figures(guest).tally.forwarded, 10);
    assert_eq!(rig.counts("a"), [9, 1, 1], "as few as if home had called");
    rig.stop();
}

#[test]
fn home_calls_for_itself() {
    let (mut rig, home, _) = rig();
    rig.web.serve(1, 1);
    let done = Task::new(
        &rig,
        home,
        |upstream| async move { get(upstream, "/x").await },
    );
    let whole = done.settled(&mut rig).expect("answered");
    assert_eq!((whole.text(), whole.trip.shard), ("x@0", home));
    assert_eq!(rig.figures(home).tally.forwarded, 0);
    rig.stop();
}

#[test]
fn what_is_free_here_comes_first() {
    let (mut rig, _, guest) = rig();
    rig.web.serve(1, 1);
    let checkout = Task::new(&rig, guest, |upstream| async move {
        let deadline = upstream.shard.now() + SECOND;
        let lease = upstream.checkout(Class::Normal, deadline, false).await;
        lease.expect("there is a server").release();
    });
    checkout.settled(&mut rig);
    let done = Task::new(
        &rig,
        guest,
        |upstream| async move { get(upstream, "/x").await },
    );
    let whole = done.settled(&mut rig).expect("answered");
    assert_eq!((whole.text(), whole.trip.shard), ("x@0", guest));
    rig.stop();
}

#[test]
fn nothing_is_forwarded_where_shards_share_nothing() {
    let (mut rig, _, guest) = with(|upstream| upstream.sharing.steal = false);
    rig.web.serve(1, 1);
    let done = Task::new(
        &rig,
        guest,
        |upstream| async move { get(upstream, "/x").await },
    );
    assert_eq!(done.settled(&mut rig).expect("answered").trip.shard, guest);
    rig.stop();
}

/// More than the pipes hold, both ways, and trailers behind it.
#[test]
fn bodies_cross_both_ways() {
    let (mut rig, home, guest) = rig();
    echo(&rig.network);
    for (pieces, length) in [(0, 0), (1, 5), (60, 3000), (3, 100_000)] {
        let bytes = Pieces::bytes(pieces, length);
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("17"));
        let frames: Vec<_> = bytes
            .iter()
            .map(|bytes| Frame::data(bytes.clone()))
            .chain([Frame::trailers(trailers)])
            .map(Ok)
            .collect();
        let done = Task::new(&rig, guest, |upstream| async move {
            let request = Request::put("/x").header("x-case", "1");
            let request = request.body(Pieces::body(frames)).expect("a request");
            call(upstream, request).await
        });
        let whole = done.settled(&mut rig).expect("answered");
        assert_eq!(whole.trip.shard, home);
        assert_eq!(whole.headers["x-echo"], "Yes");
        assert!(whole.body == bytes.concat(), "{pieces} × {length}");
        if pieces > 0 {
            assert_eq!(whole.trailers.expect("they came too")["x-sum"], "17");
        }
    }
    let body = Pieces::bytes(1, 200_000).concat();
    let sent = body.clone();
    let done = Task::new(&rig, guest, |upstream| async move {
        exchange(upstream, Head::put("/x"), Some(&sent)).await
    });
    let whole = done.settled(&mut rig).expect("answered");
    assert!(whole.body == body);
    assert_eq!(whole.trip.shard, home);
    rig.stop();
}

/// What goes wrong is the same, wherever it goes wrong.
#[test]
fn errors_are_those_of_a_call_that_stays() {
    let told = |shard: fn(usize) -> usize| {
        let (mut rig, home, _) = with(|upstream| upstream.retry.attempts_max = 1);
        echo(&rig.network);
        rig.web.watch(1, 9);
        let shard = shard(home);
        let mut told: Vec<(ErrorKind, RequestSent, u32, bool, String)> = Vec::new();
        let mut note = |error: Error| {
            told.push((
                error.kind(),
                error.request_sent(),
                error.attempts(),
                error.is_retryable(),
                error.to_string(),
            ));
        };
        // A head that is none; a body that fails; a body that is too short; a response that breaks off.
        let malformed = Task::new(&rig, shard, |upstream| async move {
            exchange(upstream, Head::get("/x y"), None).await
        });
        note(malformed.settled(&mut rig).expect_err("not a target"));
        let broken = Error::new(ErrorKind::Closed, "the caller's own");
        let bodies = [
            vec![Ok(Frame::data(Bytes::from_static(b"ab"))), Err(broken)],
            vec![],
        ];
        for frames in bodies {
            let is_empty = frames.is_empty();
            let done = Task::new(&rig, shard, |upstream| async move {
                let path = if is_empty { "/half/x" } else { "/x" };
                let request = Request::put(path).body(Pieces::body(frames));
                call(upstream, request.expect("a request")).await
            });
            note(done.settled(&mut rig).expect_err("it breaks off"));
        }
        let half = Task::new(&rig, shard, |upstream| async move {
            let head = Head::get("/half/x");
            let exchange = forward::exchange(&upstream, &head, None).await;
            let mut exchange = exchange.expect("a head");
            assert_eq!(exchange.content_length(), Some(6));
            let mut read = 0;
            let error = loop {
                match exchange.chunk().await {
                    Ok(chunk) => read += chunk.expect("this is no end").len(),
                    Err(error) => break error,
                }
            };
            let again = exchange.chunk().await.map(|chunk| chunk.is_some());
            let again = again.expect_err("there is no end after a failure");
            (read, error, again)
        });
        let (read, error, again) = half.settled(&mut rig);
        assert_eq!(read, 3);
        note(error);
        note(again);
        rig.network.refuse(endpoint(1));
        // Whatever idles goes first.
        rig.pass(SECOND);
        let refused = Task::new(
            &rig,
            shard,
            |upstream| async move { get(upstream, "/x").await },
        );
        note(refused.settled(&mut rig).expect_err("nobody listens"));
        let kinds: Vec<ErrorKind> = told.iter().map(|told| told.0).collect();
        (told, kinds, rig.figures(shard).tally.forwarded)
    };
    let (here, kinds, forwarded) = told(|home| home);
    assert_eq!(forwarded, 0);
    assert_eq!(
        kinds,
        [
            ErrorKind::Request,
            ErrorKind::RequestBody,
            ErrorKind::Protocol,
            ErrorKind::Protocol,
            ErrorKind::Closed,
            ErrorKind::Dial,
        ]
    );
    let (elsewhere, _, forwarded) = told(|home| 1 - home);
    assert!(forwarded >= 4, "{forwarded}");
    assert_eq!(here, elsewhere);
}

/// The deadline runs from where the call began, and options cross with it.
#[test]
fn a_deadline_holds_across() {
    let (mut rig, _, guest) = with(|upstream| upstream.call_timeout = SECOND * 5);
    rig.web.serve(1, 9);
    let within = |rig: &Rig, timeout: Option<u32>| {
        Task::new(rig, guest, |upstream| async move {
            let options = CallOptions {
                timeout: timeout.map(|seconds| SECOND * seconds),
                ..CallOptions::default()
            };
            let begun = upstream.shard.now();
            let upstream = upstream.with_options(options);
            let answer = get(upstream.clone(), "/never/x").await;
            let error = answer.expect_err("nothing comes");
            (error.kind(), upstream.shard.now().since(begun))
        })
    };
    let (mut all, mut less) = (within(&rig, None), within(&rig, Some(2)));
    rig.pass(SECOND * 6);
    for (task, seconds) in [(&mut all, 5), (&mut less, 2)] {
        let (kind, took) = task.told().expect("it has ended");
        assert_eq!(kind, ErrorKind::Timeout(Phase::Head));
        assert!(took >= SECOND * seconds && took < SECOND * seconds + SECOND / 10);
    }
    rig.stop();
}

/// Dropped after so many rounds, wherever the call has got to by then.
#[test]
fn a_call_may_be_dropped_at_any_point() {
    for rounds in 0..40 {
        let (mut rig, _, guest) = rig();
        echo(&rig.network);
        rig.web.watch(1, 9);
        let frames = Pieces::bytes(40, 500).into_iter().map(Frame::data).map(Ok);
        let frames: Vec<_> = frames.collect();
        let gone = Task::new(&rig, guest, |upstream| async move {
            let request = Request::put("/x").body(Pieces::body(frames));
            call(upstream, request.expect("a request")).await
        });
        let low = Task::new(&rig, guest, |upstream| async move {
            exchange(upstream, Head::put("/x"), Some(&[b'a'; 5000])).await
        });
        for _ in 0..rounds {
            rig.step();
        }
        drop((gone, low));
        rig.settle();
        let depths = rig.shared.mailboxes.iter().map(|mailbox| mailbox.depth());
        assert_eq!(depths.sum::<usize>(), 0, "after {rounds} rounds");
        let next = Task::new(&rig, guest, |upstream| async move {
            exchange(upstream, Head::put("/x"), Some(b"next")).await
        });
        assert_eq!(next.settled(&mut rig).expect("answered").text(), "next");
        rig.stop();
    }
}

/// A response that is not read to its end is given up, and its connection with it.
#[test]
fn a_response_may_be_dropped_half_read() {
    let (mut rig, _, guest) = rig();
    echo(&rig.network);
    rig.web.watch(1, 9);
    let done = Task::new(&rig, guest, |upstream| async move {
        let body = vec![b'a'; 500_000];
        let head = Head::put("/x");
        let body = Payload::Borrowed(&body);
        let exchange = forward::exchange(&upstream, &head, Some(&body)).await;
        let mut exchange = exchange.expect("a head");
        let chunk = exchange.chunk().await.expect("a chunk");
        chunk.is_some()
    });
    assert!(done.settled(&mut rig));
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

/// A slow reader holds the server back, not the shard's memory.
#[test]
fn who_does_not_read_holds_the_peer_back() {
    let (mut rig, _, guest) = rig();
    echo(&rig.network);
    let held = Task::new(&rig, guest, |upstream| async move {
        let body = vec![b'a'; 8_000_000];
        let head = Head::put("/x");
        let body = Payload::Borrowed(&body);
        let exchange = forward::exchange(&upstream, &head, Some(&body)).await;
        let _exchange = exchange.expect("a head");
        pending::<()>().await;
    });
    rig.settle();
    let pauses: u64 = (0..2).map(|shard| rig.figures(shard).tally.pauses).sum();
    assert!(pauses > 0);
    drop(held);
    rig.settle();
    rig.stop();
}

/// What may become a raw stream stays on the shard whose task will read it.
#[test]
fn an_upgrade_stays() {
    let (mut rig, _, guest) = rig();
    rig.web.serve(1, 9);
    let done = Task::new(&rig, guest, |upstream| async move {
        let head = Head::get("/x").header("upgrade", "raw");
        let whole = exchange(upstream.clone(), head, None).await;
        let request = Request::get("/y").header("upgrade", "raw");
        let request = request.body(Body::empty()).expect("a request");
        let other = call(upstream, request).await;
        [whole, other].map(|whole| whole.expect("answered").trip.shard)
    });
    assert_eq!(done.settled(&mut rig), [guest; 2]);
    assert_eq!(rig.figures(guest).tally.forwarded, 0);
    rig.stop();
}

/// The engine stops while calls are at another shard's.
#[test]
fn the_stop_ends_forwarded_calls() {
    for rounds in 0..10 {
        let (mut rig, _, guest) = rig();
        rig.web.serve(1, 9);
        let _waiting = Task::new(&rig, guest, |upstream| async move {
            get(upstream, "/never/x").await.map(drop)
        });
        for _ in 0..rounds {
            rig.step();
        }
        rig.stop();
    }
}

/// Where a call has to wait because all its shard may open is in use, it is on offer; a sibling takes it,
/// or it begins here after all, with the same body.
#[test]
fn a_call_that_waits_is_on_offer() {
    for freed in 0..2 {
        let (mut rig, home, guest) = with(|upstream| {
            upstream.connections_max = 2;
            upstream.sharing.give_up = false;
        });
        echo(&rig.network);
        let hold = |rig: &Rig, shard| {
            Task::new(rig, shard, |upstream| async move {
                let deadline = upstream.shard.now() + SECOND;
                let lease = upstream.checkout(Class::Normal, deadline, false).await;
                let lease = lease.expect("there is a server");
                upstream.shard.sleep(SECOND).await;
                lease.release();
            })
        };
        // One on either shard; the one that is freed first serves.
        let mut held: Vec<_> = [home, guest].map(|shard| Some(hold(&rig, shard))).into();
        rig.settle();
        let mut waiting: Vec<_> = (0..2)
            .map(|n| {
                Task::new(&rig, home, move |upstream| async move {
                    if n == 0 {
                        return exchange(upstream, Head::put("/x"), Some(b"whole")).await;
                    }
                    let frames = ["in ", "pieces"].map(|text| Ok(Frame::data(text.into())));
                    let request = Request::put("/x").body(Pieces::body(frames));
                    call(upstream, request.expect("a request")).await
                })
            })
            .collect();
        rig.settle();
        assert!(waiting.iter_mut().all(|task| task.told().is_none()));
        let offers = rig.figures(home).tally.offers;
        assert!(offers >= 2, "{offers}");
        // Given up by its holder, the connection closes: another one is dialled on its shard, or idles.
        drop(held[freed].take());
        rig.pass(SECOND * 3);
        for (task, text) in waiting.iter_mut().zip(["whole", "in pieces"]) {
            let whole = task.told().expect("it has ended").expect("answered");
            assert_eq!(whole.text(), text);
        }
        drop(held);
        rig.stop();
    }
}

/// A body's pieces arrive while the response's head is still awaited, and after it.
#[test]
fn a_response_may_come_before_the_request_is_sent() {
    let (mut rig, _, guest) = rig();
    echo(&rig.network);
    let done = Task::new(&rig, guest, |upstream| async move {
        let frames = Pieces::bytes(30, 2000).into_iter().map(Frame::data).map(Ok);
        let frames: Vec<_> = frames.collect();
        let request = Request::put("/half/x").body(Pieces::body(frames));
        let (parts, body) = request.expect("a request").into_parts();
        let response = forward::call(&upstream, parts, body.into_source()).await?;
        let mut body = response.into_body();
        let mut read = 0;
        while let Some(piece) = poll_fn(|cx| body.poll_piece(cx)).await? {
            read += piece.len();
        }
        Ok::<usize, Error>(read)
    });
    let error = done.settled(&mut rig).expect_err("it breaks off");
    assert_eq!(error.kind(), ErrorKind::Protocol);
    rig.stop();
}
