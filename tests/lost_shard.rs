//! A shard that panics, on real threads and with real rings: its own calls fail, and nothing else does. With
//! the feature `chaos`.

#![cfg(feature = "chaos")]

mod common;

use common::answering::Answering;
use common::bounded::{until, within};
use http_body_util::BodyExt;
use ringpool::config::UpstreamConfig;
use ringpool::on_shard::Head;
use ringpool::{Body, Config, Engine, Error, ErrorKind, Upstream, block_on};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// They count the process's threads and descriptors: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(server: &Answering, change: impl FnOnce(&mut Config)) -> Engine {
    let upstream = UpstreamConfig {
        idle_min: 4,
        ..UpstreamConfig::at(&server.url()).expect("a URL")
    };
    let mut config = Config {
        shards: 2,
        pin: false,
        ..Config::with_upstream("a", upstream)
    };
    change(&mut config);
    Engine::start(config).expect("the machine has io_uring")
}

async fn get(upstream: &Upstream, path: &str) -> Result<String, Error> {
    let request = http::Request::get(path)
        .body(Body::empty())
        .expect("a path");
    let response = upstream.call(request).await?;
    let body = response.into_body().collect().await?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// Sockets, rings and eventfds of this process.
fn descriptors() -> usize {
    let names = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let ours = names.flatten().filter(|descriptor| {
        let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        target.starts_with("socket:") || target.starts_with("anon_inode:")
    });
    ours.count()
}

/// Waits until shard 0 was lost so many times and is back, with so many idle connections over all.
fn lost(engine: &Engine, times: u64, idle: u64) {
    until(engine, "the shard is lost and back", |snapshot| {
        let state = snapshot.by_shard.iter().find(|state| state.shard == 0);
        state.is_some_and(|state| state.losses == times && state.down.is_none())
            && snapshot.upstreams["a"].idle == idle
    });
}

#[test]
fn its_calls_fail_and_everything_else_goes_on() {
    let _alone = alone();
    within(LIMIT, "losing a shard", || {
        let server = Answering::start();
        let engine = start(&server, |_| {});
        block_on(engine.ready(LIMIT)).expect("the server listens");
        server.wait("warm", |count| count.open == 4);
        let before = descriptors();
        let upstream = engine.upstream("a").expect("it is configured");
        let callers = 8;
        let calls: Vec<_> = (0..callers)
            .map(|n| {
                let upstream = upstream.clone();
                thread::spawn(move || block_on(get(&upstream, &format!("/never/{n}"))))
            })
            .collect();
        server.wait("asking", |count| count.requests == callers);
        engine.panic_shard(0);
        lost(&engine, 1, 2);
        block_on(async {
            for n in 0..20 {
                let path = format!("/again/{n}");
                let body = get(&upstream, &path).await.expect("it serves again");
                assert!(body.ends_with(&path));
            }
        });
        // The rest of the callers are cut by the end of the engine, so that all of them can be told.
        drop(engine);
        server.wait("closing", |count| count.open == 0);
        let mut kinds = [0, 0];
        for call in calls {
            let error = call.join().expect("no panic").expect_err("no answer came");
            match error.kind() {
                ErrorKind::Closed => {
                    assert!(error.to_string().contains("shard 0 was lost"), "{error}");
                    assert!(error.is_retryable(), "GET is idempotent");
                    kinds[0] += 1;
                }
                ErrorKind::Draining => kinds[1] += 1,
                kind => panic!("{kind:?}: {error}"),
            }
        }
        assert!(
            kinds[0] >= 1 && kinds[1] >= 1,
            "both shards are homes: {kinds:?}"
        );
        assert!(descriptors() <= before, "descriptors are left");
    });
}

#[test]
fn its_descriptors_and_permits_come_back_however_often() {
    let _alone = alone();
    within(LIMIT, "losing a shard again and again", || {
        let server = Answering::start();
        let engine = start(&server, |config| config.restarts_max = 5);
        block_on(engine.ready(LIMIT)).expect("the server listens");
        server.wait("warm", |count| count.open == 4);
        let before = descriptors();
        for times in 1..=5 {
            engine.panic_shard(0);

            lost(&engine, times, 4);
            server.wait("warm again, and no more", |count| count.open == 4);
            assert_eq!(descriptors(), before, "after {times} losses");
        }
        let snapshot = block_on(engine.snapshot()).expect("it runs");
        assert_eq!(snapshot.connections_opened, 4 + 5 * 2, "totals go on");
        // Once more is too often: it stays down, and the other shard does the work.
        engine.panic_shard(0);
        let snapshot = until(&engine, "the shard stays down", |snapshot| {
            snapshot.by_shard[0].down.is_some()
        });
        let why = snapshot.by_shard[0].down.as_deref().unwrap_or_default();
        assert!(why.contains("shard 0 stays down"), "{why}");
        assert_eq!((snapshot.by_shard[0].losses, snapshot.shards), (6, 1));
        let upstream = engine.upstream("a").expect("it is configured");
        block_on(async {
            for n in 0..20 {
                let path = format!("/{n}");
                let body = get(&upstream, &path).await.expect("the other one serves");
                assert!(body.ends_with(&path));
            }
        });
        let results = block_on(engine.spawn_on_each(|shard| async move { shard.index() }));
        let refused = results[0].as_ref().expect_err("it is down");
        assert_eq!(refused.kind(), ErrorKind::Refused);
        assert_eq!(results[1].as_ref().ok(), Some(&1));
        let report = block_on(engine.drain(Duration::ZERO));
        assert!(
            report.shards[0].fault.is_some() && !report.is_clean(),
            "{report}"
        );
        server.wait("closed", |count| count.open == 0);
    });
}

#[test]
fn tasks_are_made_anew_and_their_results_are_the_last_ones() {
    let _alone = alone();
    within(LIMIT, "losing a shard with tasks", || {
        let server = Answering::start();
        let engine = start(&server, |_| {});
        let made = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let counted = made.clone();
        let (read, reads) = std::sync::mpsc::channel();
        let going_on = engine.spawn_on_each(move |shard| {
            let (made, read) = (counted.clone(), read.clone());
            async move {
                let time = made[shard.index()].fetch_add(1, Ordering::SeqCst);
                let upstream = shard.upstream("a").expect("it is configured");
                let mut exchange = upstream
                    .exchange(Head::get("/x"))
                    .await
                    .expect("it answers");
                while exchange.chunk().await.expect("it is whole").is_some() {}
                read.send(()).expect("the test has the other end");
                if shard.index() == 0 && time == 0 {
                    std::future::pending::<()>().await;
                }
                time
            }
        });
        let once = Arc::new(AtomicUsize::new(0));
        let counted = once.clone();
        let over = block_on(engine.spawn_on_each(move |_| {
            let once = counted.clone();
            async move { once.fetch_add(1, Ordering::SeqCst) }
        }));
        assert!(over.iter().all(Result::is_ok));
        // Whichever shard carried them: what is under way on the one that is lost is lost.
        for _ in 0..2 {
            reads.recv().expect("both read an answer");
        }
        engine.panic_shard(0);
        let results: Vec<usize> = block_on(going_on).into_iter().flatten().collect();
        assert_eq!(
            results,
            [1, 0],
            "the second one on shard 0, the first one on shard 1"
        );
        assert_eq!(
            once.load(Ordering::SeqCst),
            2,
            "what had ended is not made again"
        );
    });
}

#[test]
fn an_engine_that_ends_waits_for_no_restart() {
    let _alone = alone();
    within(LIMIT, "stopping while a shard is lost", || {
        let server = Answering::start();
        for times in 0..6 {
            let engine = start(&server, |_| {});
            for _ in 0..times {
                engine.panic_shard(0);
            }
            match times % 2 {
                0 => drop(engine),
                _ => {
                    let report = block_on(engine.drain(LIMIT));
                    assert_eq!(report.shards.len(), 2, "{report}");
                }
            }
        }
        server.wait("closed", |count| count.open == 0);
    });
}
