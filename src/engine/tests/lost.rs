//! A shard that fails by itself: whom that costs what, and what follows.

use super::rig::{Call, Rig};
use super::tasks::{Task, get};
use super::web::endpoint;
use super::{SECOND, config};
#[cfg(feature = "telemetry")]
use crate::audit::CloseCause;
use crate::config::{CallOptions, Config};
use crate::driver::sim::{Answers, Peer};
use crate::error::{ErrorKind, RequestSent};
use crate::protocol::http1::Head;
#[cfg(feature = "telemetry")]
use crate::shard::figures::UpstreamPart;
use crate::shard::forward;
use http::Method;
use std::cell::Cell;
use std::rc::Rc;

fn serving(config: Config) -> Rig {
    let rig = Rig::new(config);
    rig.web.serve(1, 128);
    rig
}

fn request(method: Method, path: &str) -> http::Request<()> {
    let request = http::Request::builder().method(method).uri(path).body(());
    request.expect("a request")
}

/// Whatever it was doing, after any number of turns: its own calls fail with a word on how far they
/// got, the other shard's do not, every permit comes back, and it serves again.
#[test]
fn it_costs_its_own_calls_and_nothing_else() {
    for turns in 0..24 {
        let mut rig = serving(config(1, |upstream| {
            upstream.connections_max = 4;
            upstream.idle_min = 1;
            upstream.shed.sojourn_target = None;
        }));
        let paths = ["/x", "/hold/x", "/never/x", "/bye/x"];
        let mut lost: Vec<Call> = (0..8).map(|n| rig.call(0, "a", paths[n % 4])).collect();
        let mut others = vec![rig.call(1, "a", "/y")];
        let _lease = rig.checkout(0, "a");
        for turn in 0..turns {
            rig.network.step();
            rig.shards[turn % 2].turn(true).unwrap();
        }
        rig.lose(0);
        rig.web.let_go();
        rig.finish(&mut others);
        rig.finish(&mut lost);
        assert!(others[0].body().starts_with("y@"), "after {turns} turns");
        for call in &mut lost {
            let Some(error) = call.error() else { continue };
            // What had not begun is served by the successor, and may run out of its own time.
            let kind = error.kind();
            let expected = matches!(kind, ErrorKind::Closed | ErrorKind::Timeout(_));
            assert!(expected, "after {turns} turns: {error}");
        }
        let mut again = [rig.call(0, "a", "/z")];
        rig.finish(&mut again);
        assert!(again[0].body().starts_with("z@"));
        rig.stop();
    }
}

#[test]
fn calls_learn_how_far_they_got() {
    let mut rig = serving(config(1, |upstream| upstream.connections_max = 2));
    let safe = CallOptions {
        idempotent: Some(true),
        ..CallOptions::default()
    };
    let mut vouched = request(Method::POST, "/never/x");
    vouched.extensions_mut().insert(safe);
    let mut sent = [
        rig.call_with(0, "a", request(Method::POST, "/never/x")),
        rig.call_with(0, "a", vouched),
    ];
    rig.settle();
    let mut waiting = rig.call_with(0, "a", request(Method::POST, "/y"));
    rig.settle();
    rig.lose(0);
    let told = |call: &mut Call| {
        let error = call.error().expect("it was lost");
        assert_eq!(error.kind(), ErrorKind::Closed);
        assert!(error.to_string().contains("shard 0 was lost"), "{error}");
        (error.request_sent(), error.is_retryable())
    };
    assert_eq!(told(&mut sent[0]), (RequestSent::Whole, false));
    assert_eq!(told(&mut sent[1]), (RequestSent::Whole, true));
    assert_eq!(told(&mut waiting), (RequestSent::No, true));
    rig.stop();
}

/// The successor keeps warm what the lost one did, and goes on from its totals.
#[test]
fn its_successor_goes_on_where_it_was() {
    let mut rig = serving(config(1, |upstream| upstream.idle_min = 4));
    rig.settle();
    let mut calls = [rig.call(0, "a", "/x"), rig.call(0, "a", "/y")];
    rig.finish(&mut calls);
    let before = rig.figures(0);
    assert_eq!(before.upstreams["a"].census.idle, 2);
    rig.lose(0);
    rig.pass(SECOND);
    let after = rig.figures(0);
    assert_eq!(
        after.upstreams["a"].census.idle, 2,
        "its share of the floor"
    );
    assert_eq!(after.totals.hits, before.totals.hits);
    assert_eq!(after.totals.dials, before.totals.dials + 2);
    assert_eq!(
        after.totals.avoided_by_reuse,
        before.totals.avoided_by_reuse
    );
    let (part, was) = (&after.upstreams["a"], &before.upstreams["a"]);
    assert_eq!(part.counters.hits, was.counters.hits, "the upstream's too");
    assert_eq!(part.counters.dials, was.counters.dials + 2);
    #[cfg(feature = "telemetry")]
    {
        let requests = |part: &UpstreamPart| part.meters.requests().told();
        assert!(!requests(was).is_empty());
        assert_eq!(requests(part), requests(was));
        let lost = |part: &UpstreamPart| {
            let each = part.endpoints.values().map(|(_, at)| at.closed);
            let all = each.chain([part.meters.elsewhere.closed]);
            all.map(|closed| closed.of(CloseCause::Lost)).sum::<u64>()
        };
        assert_eq!((lost(was), lost(part)), (0, 2));
    }
    assert_eq!(rig.shared.mailboxes[0].losses(), 1);
    assert_eq!(rig.web.open(), 4);
    rig.stop();
}

/// What it starved for, nobody gives a connection up for any more; and its permits serve others.
#[test]
fn its_need_goes_with_it_and_its_permits_go_on() {
    let mut rig = serving(config(1, |upstream| {
        upstream.connections_max = 1;
        upstream.sharing.steal = false;
        upstream.call_timeout = 60 * SECOND;
    }));
    let _held = rig.call(0, "a", "/never/x");
    rig.settle();
    let mut starving = rig.call(1, "a", "/y");
    rig.settle();
    assert!(rig.upstream("a").connections.need());
    rig.lose(0);
    rig.settle();
    assert!(starving.body().starts_with("y@"), "the permit came free");
    let _held = rig.call(1, "a", "/never/x");
    rig.settle();
    let _starving = rig.call(0, "a", "/z");
    rig.settle();
    assert!(rig.upstream("a").connections.need());
    rig.lose(0);
    rig.settle();
    assert!(!rig.upstream("a").connections.need());
    rig.stop();
}

/// A task on it that holds a lease is dropped; one of its own panics is still its own affair.
#[test]
fn its_tasks_go_and_their_leases_with_them() {
    let mut rig = serving(config(1, |_| {}));
    // What it calls stays there.
    let home = rig.upstream("a").homes.first();
    let dropped = Rc::new(Cell::new(false));
    struct Noted(Rc<Cell<bool>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let local = rig.shards[home].local().clone();
    let (upstream, noted) = (local.upstream(rig.upstream("a")), Noted(dropped.clone()));
    local.spawn(async move {
        let _noted = noted;
        let mut exchange = forward::exchange(&upstream, &Head::get("/x"), None)
            .await
            .unwrap();
        while exchange.chunk().await.unwrap().is_some() {}
        std::future::pending::<()>().await;
    });
    drop(local);
    rig.settle();
    assert_eq!(rig.web.open(), 1);
    rig.lose(home);
    assert!(dropped.get());
    assert_eq!(rig.web.open(), 0);
    rig.stop();
}

/// What ran elsewhere for a task of the lost shard ends with it if it is under way; what has ended leaves its
/// connection to the shard that it ran on, which was not lost.
#[test]
fn what_ran_elsewhere_for_its_tasks_is_given_up_there() {
    let mut rig = serving(config(1, |_| {}));
    let home = rig.upstream("a").homes.first();
    let guest = 1 - home;
    let ended = Task::new(
        &rig,
        guest,
        |upstream| async move { get(upstream, "/x").await },
    );
    assert_eq!(ended.settled(&mut rig).expect("answered").trip.shard, home);
    // One is under way, and one waits for the connection.
    let tasks: Vec<_> = ["/never/x", "/never/y"]
        .into_iter()
        .map(|path| {
            Task::new(&rig, guest, move |upstream| async move {
                get(upstream, path).await
            })
        })
        .collect();
    rig.settle();
    assert_eq!(rig.shared.mailboxes[home].depth(), 2);
    rig.lose(guest);
    rig.settle();
    assert_eq!(rig.shared.mailboxes[home].depth(), 0);
    let figures = rig.figures(home);
    let census = &figures.upstreams["a"].census;
    assert_eq!((census.leased, census.waiters, figures.tasks), (0, 0, 0));
    drop(tasks);
    let mut again = [rig.call(home, "a", "/y")];
    rig.finish(&mut again);
    assert_eq!(rig.web.open(), 1);
    rig.lose(guest);
    rig.settle();
    assert_eq!(rig.web.open(), 1, "the home keeps it");
    rig.stop();
}

/// Sends so many bytes of a body that is to have twice as many.
struct Half(usize);

impl Peer for Half {
    fn received(&mut self, _: &[u8], out: &mut Answers) {
        let length = self.0 * 2;
        out.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        out.send(vec![b'a'; self.0]);
    }
}

/// A response of which the reader on another shard has had a part: he is told by what he does not get the rest,
/// whether he waits for it or is behind.
#[test]
fn a_body_that_is_cut_is_told_by_what() {
    for length in [100, 2_000_000] {
        let mut rig = Rig::new(config(1, |_| {}));
        rig.network
            .listen(endpoint(1), move || Box::new(Half(length)));
        let home = rig.upstream("a").homes.first();
        let mut read = Task::new(&rig, 1 - home, |upstream| async move {
            let head = Head::get("/x");
            let mut exchange = forward::exchange(&upstream, &head, None).await?;
            assert!(exchange.chunk().await?.is_some());
            // The shard that sends it is lost meanwhile.
            upstream.shard.sleep(SECOND).await;
            while exchange.chunk().await?.is_some() {}
            Ok::<(), crate::Error>(())
        });
        rig.settle();
        assert!(read.told().is_none());
        rig.lose(home);
        rig.pass(2 * SECOND);
        let told = read.told().expect("it has ended");
        let error = told.expect_err("that is not all of it");
        assert_eq!(error.kind(), ErrorKind::Closed, "{length}: {error}");
        let text = error.to_string();
        assert!(text.contains("was lost by a defect"), "{length}: {text}");
        rig.stop();
    }
}

/// Calls go elsewhere while it is lost, and wait for it where there is nobody else.
#[test]
fn others_stand_in_while_it_is_gone() {
    let mut rig = serving(config(1, |_| {}));
    let upstream = rig.upstream("a");
    let home = upstream.homes.first();
    let fault = crate::shard::lost::lost(home, "a test");
    rig.shared.mailboxes[home].lose(&fault);
    assert_eq!(rig.shared.shard_for(&upstream), 1 - home);
    let mut waits = rig.call(home, "a", "/x");
    assert!(!waits.is_answered());
    rig.shared.mailboxes[home].reopen();
    assert_eq!(rig.shared.shard_for(&upstream), home);
    rig.settle();
    assert!(waits.body().starts_with("x@"));
    rig.shared.mailboxes[home].stay_down(fault);
    assert_eq!(rig.shared.shard_for(&upstream), 1 - home);
    let mut refused = rig.call(home, "a", "/x");
    assert_eq!(refused.error().map(|e| e.kind()), Some(ErrorKind::Closed));
}
