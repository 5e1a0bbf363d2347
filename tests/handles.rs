//! Both ways in: handles for any thread and any runtime, and tasks on the shards' own threads; and
//! what is left when the engine goes.

mod common;

use common::answering::Answering;
use common::bounded::within;
use http_body_util::BodyExt;
use ringpool::config::UpstreamConfig;
use ringpool::on_shard::{self, Head};
use ringpool::{Body, Config, Engine, Error, ErrorKind, Lease, Phase, Trip, Upstream, block_on};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);

/// Some tests count the process's threads and descriptors: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn config(upstreams: &[(&str, &str, u32)]) -> Config {
    let mut config = Config {
        shards: 2,
        pin: false,
        ..Config::default()
    };
    for &(name, url, idle_min) in upstreams {
        let upstream = UpstreamConfig {
            idle_min,
            ..UpstreamConfig::at(url).expect("a URL")
        };
        config.upstreams.insert(name.into(), upstream);
    }
    config
}

fn start(upstreams: &[(&str, &str, u32)]) -> Engine {
    Engine::start(config(upstreams)).expect("the machine has io_uring")
}

async fn get(upstream: &Upstream, path: &str) -> Result<String, Error> {
    let request = http::Request::get(path)
        .body(Body::empty())
        .expect("a path");
    let response = upstream.call(request).await?;
    assert!(Trip::of(&response).is_some_and(|trip| trip.attempts == 1));
    let body = response.into_body().collect().await?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

#[test]
fn handles_cross_threads() {
    fn handle<T: Clone + Send + Sync + 'static>() {}
    fn shared<T: Send + Sync + 'static>() {}
    fn sent<T: Send + 'static>() {}
    fn future<F: Future + Send>(_: impl Fn() -> F) {}
    handle::<Upstream>();
    shared::<Engine>();
    sent::<Body>();
    sent::<Lease>();
    sent::<ringpool::OnEach<u32>>();
    // Never run: it is enough that it compiles.
    let _ = |engine: &Engine, upstream: &Upstream| {
        future(|| upstream.call(http::Request::new(Body::empty())));
        future(|| upstream.checkout());
        future(|| engine.call(http::Request::new(Body::empty())));
        future(|| engine.snapshot());
        future(|| engine.ready(LIMIT));
    };
}

/// Under tokio with many threads and with one, and under no runtime at all, all at once.
#[test]
fn the_same_call_needs_only_a_waker() {
    let _alone = alone();
    within(LIMIT, "calling from everywhere", || {
        let server = Answering::start();
        let engine = start(&[("a", &server.url(), 2)]);
        let upstream = engine.upstream("a").expect("it is configured");
        let runtimes: [fn(Upstream); 4] = [
            |upstream| tokio_many().block_on(hundred(&upstream, 0)),
            |upstream| tokio_one().block_on(hundred(&upstream, 1)),
            |upstream| block_on(hundred(&upstream, 2)),
            |upstream| block_on(hundred(&upstream, 3)),
        ];
        thread::scope(|scope| {
            for run in runtimes {
                let upstream = upstream.clone();
                scope.spawn(move || run(upstream));
            }
        });
        assert_eq!(server.count().requests, 400);
    });
}

async fn hundred(upstream: &Upstream, caller: usize) {
    for n in 0..100 {
        let path = format!("/{caller}/{n}");
        let body = get(upstream, &path).await.expect("it answers");
        assert!(body.ends_with(&path), "{body} is not for {path}");
    }
}

fn tokio_many() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).build().expect("a runtime")
}

fn tokio_one() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.build().expect("a runtime")
}

/// A future that was polled on one thread may go on, and end, on another.
#[test]
fn a_call_may_move_between_threads() {
    let _alone = alone();
    within(LIMIT, "a call on two threads", || {
        let server = Answering::start();
        let engine = start(&[("a", &server.url(), 0)]);
        let upstream = engine.upstream("a").expect("it is configured");
        for n in 0..20 {
            let (upstream, path) = (upstream.clone(), format!("/{n}"));
            let wanted = path.clone();
            let mut call = Box::pin(async move { get(&upstream, &path).await });
            let early = block_on(poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))));
            let body = match early {
                Poll::Ready(body) => body,
                Poll::Pending => {
                    let elsewhere = thread::spawn(move || block_on(call));
                    elsewhere.join().expect("no panic")
                }
            };
            assert!(body.expect("it answers").ends_with(&wanted));
        }
    });
}

#[test]
fn tasks_on_the_shards_call_exchange_and_lease() {
    let _alone = alone();
    within(LIMIT, "tasks on shards", || {
        let server = Answering::start();
        let raw = server.url().replace("http:", "tcp:");
        let engine = start(&[("a", &server.url(), 0), ("raw", &raw, 0)]);
        let results = block_on(engine.spawn_on_each(|shard| async move {
            let index = shard.index();
            on_this_shard(&shard).await.expect("all goes well");
            index
        }));
        let indices: Vec<usize> = results.into_iter().map(|r| r.expect("it ends")).collect();
        assert_eq!(indices, [0, 1]);
        assert_eq!(server.count().requests, 6);
        let snapshot = block_on(engine.snapshot()).expect("it runs");
        // The exchange's connection served the call; the lease's is the raw upstream's.
        assert_eq!((snapshot.hits, snapshot.misses), (2, 4));
        let raw = &snapshot.upstreams["raw"];
        assert_eq!(raw.idle, 2, "leases were released");
        assert_eq!((raw.permits, raw.homes, raw.given_up), (2, 1, 0));
        let depths: Vec<u64> = snapshot.by_shard.iter().map(|one| one.depth).collect();
        assert_eq!(depths, [0, 0], "nothing came from elsewhere");
        assert_eq!((snapshot.now.tasks, snapshot.now.buffers_held), (0, 0));
    });
}

async fn on_this_shard(shard: &on_shard::Shard) -> Result<(), Error> {
    let upstream = shard.upstream("a")?;
    let mut exchange = upstream.exchange(Head::get("/exchange")).await?;
    assert_eq!(exchange.status(), 200);
    let mut body = Vec::new();
    while let Some(chunk) = exchange.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    assert!(body.ends_with(b"/exchange") && !exchange.reused());

    let request = http::Request::get("/call")
        .body(Body::empty())
        .expect("a path");
    let response = upstream.call(request).await?;
    assert!(Trip::of(&response).is_some_and(|trip| trip.reused));
    let body = response.into_body().collect().await?.to_bytes();
    assert!(body.ends_with(b"/call"));

    let mut lease = shard.upstream("raw")?.checkout().await?;
    lease
        .write_all(b"GET /lease HTTP/1.1\r\nHost: h\r\n\r\n")
        .await?;
    let mut got = Vec::new();
    while !got.ends_with(b"h/lease") {
        let piece = lease.read().await?.expect("the answer comes first");
        got.extend_from_slice(&piece);
    }
    lease.release();
    Ok(())
}

#[test]
fn a_panic_on_a_shard_is_an_error_and_no_more() {
    let _alone = alone();
    within(LIMIT, "panicking", || {
        let server = Answering::start();
        let engine = start(&[("a", &server.url(), 0)]);
        let results = block_on(engine.spawn_on_each(|shard| async move {
            assert_eq!(shard.index(), 0, "on purpose: the task on shard 1 panics");
            "well"
        }));
        assert_eq!(results.len(), 2);
        assert_eq!(results[0].as_ref().ok(), Some(&"well"));
        let error = results[1].as_ref().expect_err("it panicked");
        assert_eq!(error.kind(), ErrorKind::Draining);
        let snapshot = block_on(engine.snapshot()).expect("it runs on");
        assert_eq!((snapshot.task_panics, snapshot.now.tasks), (1, 0));
        let again = block_on(engine.spawn_on_each(|shard| async move { shard.index() }));
        let indices: Vec<usize> = again.into_iter().flatten().collect();
        assert_eq!(indices, [0, 1]);
    });
}

/// Threads of engines, rings, eventfds and sockets of this process.
fn belongings() -> [usize; 2] {
    let names = std::fs::read_dir("/proc/self/task").expect("procfs");
    let threads = names.flatten().filter(|task| {
        let name = std::fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.starts_with("ringpool"))
    });
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let ours = descriptors.flatten().filter(|descriptor| {
        std::fs::read_link(descriptor.path()).is_ok_and(|target| {
            let target = target.to_string_lossy().into_owned();
            ["socket:", "anon_inode:"]
                .iter()
                .any(|kind| target.starts_with(kind))
        })
    });
    [threads.count(), ours.count()]
}

#[test]
fn dropping_the_engine_ends_calls_and_leaves_nothing() {
    let _alone = alone();
    within(LIMIT, "dropping an engine in use", || {
        let server = Answering::start();
        let before = belongings();
        let engine = start(&[("a", &server.url(), 4)]);
        block_on(engine.ready(LIMIT)).expect("the server listens");
        assert!(belongings() > before);
        let upstream = engine.upstream("a").expect("it is configured");
        let lease = block_on(upstream.checkout()).expect("one is warm");
        let forever = engine.spawn_on_each(|_| std::future::pending::<()>());
        let callers = 8;
        let calls: Vec<_> = (0..callers)
            .map(|n| {
                let upstream = upstream.clone();
                thread::spawn(move || block_on(get(&upstream, &format!("/never/{n}"))))
            })
            .collect();
        server.wait("asking", |count| count.requests == callers);
        drop(engine);
        // Its threads and connections are gone when the drop returns, whoever still holds a handle.
        server.wait("closing", |count| count.open == 0);
        // A thread that was joined may be in procfs for another moment.
        while belongings() != before {
            thread::yield_now();
        }
        for call in calls {
            let error = call.join().expect("no panic").expect_err("no answer came");
            assert_eq!(error.kind(), ErrorKind::Draining);
            assert_eq!(error.upstream(), Some("a"));
        }
        let error = block_on(get(&upstream, "/late")).expect_err("it has stopped");
        assert_eq!(error.kind(), ErrorKind::Draining);
        let error = block_on(upstream.checkout()).expect_err("it has stopped");
        assert_eq!(error.kind(), ErrorKind::Draining);
        for result in block_on(forever) {
            let error = result.expect_err("it was cut short");
            assert_eq!(error.kind(), ErrorKind::Draining);
        }
        let mut lease = lease;
        assert!(block_on(lease.read()).is_err(), "its connection is gone");
    });
}

#[test]
fn ready_tells_what_is_missing() {
    let _alone = alone();
    within(LIMIT, "getting ready", || {
        let server = Answering::start();
        // Bound and never listening.
        let closed = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let closed = closed.expect("a socket");
        let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        closed.bind(&any.into()).expect("a free port");
        let address = closed.local_addr().expect("it is bound").as_socket();
        let dead = format!("http://{}", address.expect("it is IPv4"));
        let engine = start(&[("alive", &server.url(), 3), ("dead", &dead, 2)]);
        let error = block_on(engine.ready(Duration::from_millis(100))).expect_err("one is dead");
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Ready));
        let text = error.to_string();
        for part in [
            "dead has 0 of 1 warm on shard 0",
            "on shard 1",
            "cannot connect",
        ] {
            assert!(text.contains(part), "{part:?} is not in: {text}");
        }
        assert!(!text.contains("alive"), "{text}");

        let engine = start(&[("alive", &server.url(), 3)]);
        block_on(engine.ready(LIMIT)).expect("it listens");
        let snapshot = block_on(engine.snapshot()).expect("it runs");
        assert_eq!(snapshot.upstreams["alive"].idle, 3);
    });
}

#[test]
fn two_engines_share_nothing() {
    let _alone = alone();
    within(LIMIT, "two engines", || {
        let server = Answering::start();
        let one = start(&[("a", &server.url(), 0)]);
        let two = start(&[("a", &server.url(), 0)]);
        let upstreams = [&one, &two].map(|engine| engine.upstream("a").expect("it is configured"));
        let together = Arc::new(Barrier::new(2));
        thread::scope(|scope| {
            for (n, upstream) in upstreams.iter().enumerate() {
                let together = together.clone();
                scope.spawn(move || {
                    together.wait();
                    block_on(hundred(upstream, n));
                });
            }
        });
        assert_eq!(server.count().accepted, 2, "one connection each");
        drop(one);
        server.wait("closing", |count| count.open == 1);
        block_on(hundred(&upstreams[1], 1));
        let snapshot = block_on(two.snapshot()).expect("it runs on");
        assert_eq!((snapshot.hits, snapshot.misses), (199, 1));
    });
}

/// The caller's future is dropped after one poll, again and again: nothing piles up.
#[test]
fn a_call_that_is_dropped_ends_on_its_shard() {
    let _alone = alone();
    within(LIMIT, "dropping calls", || {
        let server = Answering::start();
        let engine = start(&[("a", &server.url(), 0)]);
        let upstream = engine.upstream("a").expect("it is configured");
        block_on(async {
            for n in 0..100 {
                let path = format!("/never/{n}");
                let mut call = pin!(get(&upstream, &path));
                poll_fn(|cx| {
                    assert!(call.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            get(&upstream, "/x").await.expect("it answers");
        });
        loop {
            let snapshot = block_on(engine.snapshot()).expect("it runs");
            if snapshot.now.tasks == 0 && snapshot.upstreams["a"].leased == 0 {
                assert_eq!(snapshot.now.waiters, 0);
                return;
            }
            thread::yield_now();
        }
    });
}
