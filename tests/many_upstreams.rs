//! Upstreams by the ten thousand, made on the fly: each is answered right, and none leaves anything.

mod common;

use common::answering::Answering;
use common::bounded::within;
use common::peer::Reserved;
use http_body_util::BodyExt;
use ringpool::config::RetryConfig;
use ringpool::{Body, Config, Engine, Error, ErrorKind, Snapshot, block_on};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A build without optimizations takes a quarter: enough to go round the registry several times.
const UPSTREAMS: usize = if cfg!(debug_assertions) {
    2_500
} else {
    10_000
};
const REQUESTS_EACH: usize = 10;
const UPSTREAMS_MAX: usize = 256;
const CONNECTIONS_MAX: u32 = 512;
const CALLERS: usize = 32;
const LIMIT: Duration = Duration::from_secs(120);

/// Bytes allocated and not freed, by the whole process.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is handed on to the system's allocator as it came; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// The process has one count of live bytes: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

/// Tables grow by doubling, and keep what a busy moment made them: that many bytes more are no leak.
/// One of 60 bytes for each of 10,000 upstreams would be more.
const TABLES: isize = 512 * 1024;
/// What the server's threads and the test's own free only a moment after they are done.
const THREADS: isize = 32 * 1024;

/// Waits until there are at most `slack` live bytes more than `baseline`.
#[track_caller]
fn comes_back_to(baseline: isize, slack: isize, when: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    while live() > baseline + slack {
        let more = live() - baseline;
        assert!(
            Instant::now() < end,
            "{more} bytes more than before, {when}"
        );
        thread::yield_now();
    }
}

fn engine(upstreams_max: usize) -> Engine {
    let config = Config {
        shards: 2,
        pin: false,
        upstreams_max,
        connections_max: CONNECTIONS_MAX,
        ..Config::default()
    };
    Engine::start(config).expect("the machine has io_uring")
}

/// The `nth` upstream: an address of its own in 127.0.0.0/8.
fn host(nth: usize, port: u16) -> String {
    let [_, a, b, c] = (nth as u32 + 0x01_01).to_be_bytes();
    format!("127.{a}.{b}.{c}:{port}")
}

async fn get(engine: &Engine, host: &str, path: &str) -> Result<String, Error> {
    let request = http::Request::get(format!("http://{host}{path}"))
        .body(Body::empty())
        .expect("a URL");
    let body = engine.call(request).await?.into_body().collect().await?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// Calls upstreams `from..to`, `REQUESTS_EACH` times each, from many threads.
fn call_all(engine: &Engine, from: usize, to: usize, port: u16) {
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            scope.spawn(move || {
                for nth in (from + caller..to).step_by(CALLERS) {
                    let host = host(nth, port);
                    for request in 0..REQUESTS_EACH {
                        let path = format!("/{nth}/{request}");
                        let body = block_on(get(engine, &host, &path)).expect("it answers");
                        assert_eq!(body, format!("{host}{path}"));
                    }
                }
            });
        }
    });
}

/// Waits until no call, dial or close is under way.
fn quiesce(engine: &Engine) -> Snapshot {
    loop {
        let snapshot = block_on(engine.snapshot()).expect("it runs");
        let idle: u64 = snapshot.upstreams.values().map(|of| of.idle).sum();
        let now = &snapshot.now;
        if now.tasks == 0 && now.waiters == 0 && now.connections == idle {
            return snapshot;
        }
        thread::yield_now();
    }
}

#[test]
fn ten_thousand_upstreams_are_answered_and_leave_nothing() {
    let _alone = alone();
    within(LIMIT, "calling every upstream", || {
        let server = Answering::start();
        let port = server.port();
        // What a first engine leaves is the process's: tables made once.
        drop(engine(UPSTREAMS_MAX));
        let before = live();
        let engine = engine(UPSTREAMS_MAX);
        // Once round the registry, so that every table has its size.
        let first = 4 * UPSTREAMS_MAX;
        call_all(&engine, 0, first, port);
        let sockets = quiesce(&engine).now.sockets;
        server.wait("closing", |count| count.open as u64 == sockets);
        let settled = live();
        call_all(&engine, first, UPSTREAMS, port);
        let requests = UPSTREAMS * REQUESTS_EACH;
        let after = quiesce(&engine);
        assert!(after.upstreams.len() <= UPSTREAMS_MAX);
        assert_eq!(after.now.buffers_held, 0);
        assert_eq!((after.hits + after.misses) as usize, requests);
        let sockets = after.now.sockets;
        // The copy of the figures is memory, too.
        drop(after);
        server.wait("closing", |count| count.open as u64 == sockets);
        comes_back_to(settled, TABLES, "while the engine lives");
        let count = server.count();
        assert_eq!(count.requests, requests, "each was sent once");
        assert!(count.open_peak <= CONNECTIONS_MAX as usize);
        assert!(
            count.accepted < 2 * UPSTREAMS,
            "{count:?}: connections are reused"
        );

        drop(engine);
        server.wait("closing", |count| count.open == 0);
        comes_back_to(before, THREADS, "after the engine");
    });
}

#[test]
fn unreachable_upstreams_fail_one_by_one_and_leave_nothing() {
    let _alone = alone();
    within(LIMIT, "calling in vain", || {
        // At every address that the names come to.
        let reserved = Reserved::on([0, 0, 0, 0]);
        let port = reserved.address.port();
        let engine = engine(UPSTREAMS_MAX);
        let call = |from: usize, to: usize| {
            thread::scope(|scope| {
                for caller in 0..CALLERS {
                    let engine = &engine;
                    scope.spawn(move || {
                        for nth in (from + caller..to).step_by(CALLERS) {
                            let host = host(nth, port);
                            let error = block_on(get(engine, &host, "/")).expect_err("no server");
                            assert_eq!(error.kind(), ErrorKind::Dial, "{error}");
                            assert_eq!(error.upstream(), Some(&*format!("http://{host}")));
                        }
                    });
                }
            });
        };
        call(0, UPSTREAMS / 2);
        quiesce(&engine);
        let settled = live();
        call(UPSTREAMS / 2, UPSTREAMS);
        let after = quiesce(&engine);
        assert!(after.upstreams.len() <= UPSTREAMS_MAX);
        let attempts = RetryConfig::default().attempts_max as usize;
        assert_eq!(after.dials_failed as usize, UPSTREAMS * attempts);
        assert_eq!((after.now.connections, after.now.sockets), (0, 0));
        // The copy of the figures is memory, too.
        drop(after);
        comes_back_to(settled, TABLES, "while the engine lives");
    });
}

/// With room for one upstream: who has an answer may call the next one at once.
#[test]
fn an_answered_call_is_not_in_use_any_more() {
    let _alone = alone();
    within(LIMIT, "calling in turns", || {
        let server = Answering::start();
        let engine = engine(1);
        for nth in 0..500 {
            let host = host(nth % 2, server.port());
            let body = block_on(get(&engine, &host, "/x")).expect("the other one is not in use");
            assert_eq!(body, format!("{host}/x"));
        }
    });
}
