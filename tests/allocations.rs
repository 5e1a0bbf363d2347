//! What a request costs in allocations, counted on the shard's own thread: none at all for the low-level exchange.

mod common;

use bytes::Bytes;
use common::conversation::{config, in_time};
use common::scripted::{Scripted, pattern};
use http_body_util::BodyExt;
use ringpool::on_shard::{Head, Shard, Upstream};
use ringpool::{Body, Config, Engine};
use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    /// Allocations of this thread, reallocations included.
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Whether the next allocation is to say where it came from.
    static TELL: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // Threads allocate while their locals are destroyed, too.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    if TELL.try_with(|tell| tell.replace(false)).unwrap_or(false) {
        let counted = counted();
        println!("allocated at:\n{}", Backtrace::force_capture());
        // What it took to tell does not count.
        COUNT.with(|count| count.set(counted));
    }
}

fn counted() -> u64 {
    COUNT.with(Cell::get)
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: passed on as it came.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: passed on as it came.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(block, layout) };
    }
}

const REQUESTS: u64 = 10_000;
/// Per task, before counting: until every list has the length that it needs, whatever comes together.
const WARM_UP: u64 = 200;
const LENGTH: usize = 100;

fn with_connections(peer: &Scripted, connections: u32) -> Config {
    let mut config = config(peer, false);
    let upstream = config.upstreams.get_mut("peer").expect("it is there");
    upstream.connections_max = connections;
    upstream.idle_min = connections;
    upstream.dials_max = connections;
    config
}

async fn exchange(upstream: &Upstream) {
    let mut exchange = upstream
        .exchange(Head::get("/whole/100/7"))
        .await
        .expect("answered");
    assert_eq!(exchange.status(), 200);
    let mut read = 0;
    while let Some(chunk) = exchange.chunk().await.expect("the body") {
        read += chunk.len();
    }
    assert_eq!(read, LENGTH);
}

async fn call(upstream: &Upstream) {
    let response = upstream.call(request()).await.expect("answered");
    let body = response.into_body().collect().await.expect("the body");
    assert_eq!(body.to_bytes(), pattern(7, LENGTH));
}

fn request() -> http::Request<Body> {
    let request = http::Request::get("/whole/100/7");
    request.body(Body::empty()).expect("a request")
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Where the tasks of a run meet, and what they found.
#[derive(Default)]
struct Meeting {
    warm: Cell<u64>,
    begun: Cell<u64>,
    done: Cell<u64>,
    allocations: Cell<u64>,
    /// Everybody is warm: the counted part begins.
    open: Cell<bool>,
}

/// Runs `request` from `tasks` tasks on one shard, `REQUESTS` times in all, and returns how many allocations the
/// shard made for them. If it `tells`, the first one is printed.
fn on_shard<R, F>(secure: bool, tells: bool, tasks: u64, request: R) -> u64
where
    R: Fn(Upstream) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let peer = Scripted::start(secure);
    let engine = Engine::start(with_connections(&peer, tasks as u32)).expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let run = move |shard: Shard| {
        let request = request.clone();
        async move {
            let upstream = shard.upstream("peer").expect("it is configured");
            let meeting = Rc::new(Meeting::default());
            for _ in 0..tasks {
                let (shard, upstream) = (shard.clone(), upstream.clone());
                let (request, meeting) = (request.clone(), meeting.clone());
                shard.clone().spawn(async move {
                    for _ in 0..WARM_UP {
                        request(upstream.clone()).await;
                    }
                    meeting.warm.set(meeting.warm.get() + 1);
                    while !meeting.open.get() {
                        shard.sleep(Duration::from_millis(1)).await;
                    }
                    for _ in 0..REQUESTS / tasks {
                        request(upstream.clone()).await;
                    }
                    meeting.done.set(meeting.done.get() + 1);
                    meeting.allocations.set(counted() - meeting.begun.get());
                    // The last one speaks for all.
                    TELL.set(TELL.get() && meeting.done.get() < tasks);
                });
            }
            while meeting.warm.get() < tasks {
                shard.sleep(Duration::from_millis(1)).await;
            }
            // More tasks than are counted, that ask, sleep and are ready all at once: every list has had a length
            // that the counted ones cannot surpass.
            let crowd = Rc::new(Cell::new(4 * tasks));
            for _ in 0..4 * tasks {
                let (shard, upstream) = (shard.clone(), upstream.clone());
                let (request, crowd) = (request.clone(), crowd.clone());
                shard.clone().spawn(async move {
                    for _ in 0..10 {
                        yield_once().await;
                        request(upstream.clone()).await;
                        shard.sleep(Duration::from_millis(1)).await;
                    }
                    crowd.set(crowd.get() - 1);
                });
            }
            while crowd.get() > 0 {
                shard.sleep(Duration::from_millis(1)).await;
            }
            meeting.begun.set(counted());
            TELL.set(tells);
            meeting.open.set(true);
            // One sleep, that allocates nothing either: a slot in the list and in the wheel are free.
            while meeting.done.get() < tasks {
                shard.sleep(Duration::from_millis(1)).await;
            }
            meeting.allocations.get()
        }
    };
    let allocations = runtime.block_on(async {
        in_time("the warm connections", async {
            engine.ready(Duration::from_secs(10)).await.expect("ready");
        })
        .await;
        let mut ended = in_time("the requests", engine.spawn_on_each(run)).await;
        ended.remove(0).expect("the task's panic was printed")
    });
    let snapshot = runtime.block_on(engine.snapshot()).expect("it runs");
    assert_eq!(
        snapshot.connections_opened, tasks,
        "not over warm connections"
    );
    assert_eq!(snapshot.task_panics, 0);
    allocations
}

#[test]
fn an_exchange_allocates_nothing() {
    for tasks in [1, 64] {
        let allocations = on_shard(false, true, tasks, |upstream| async move {
            exchange(&upstream).await;
        });
        println!("exchange, {tasks} tasks: {allocations} allocations in {REQUESTS}");
        assert_eq!(
            allocations, 0,
            "with {tasks} tasks, over {REQUESTS} exchanges"
        );
    }
}

/// Decrypted bytes live on the heap, and rustls has its own ways: not free, but bounded.
#[test]
fn an_exchange_with_a_shared_body_allocates_nothing() {
    // The peer looks whether it is the one that it knows by these numbers, and answers with the same.
    let body = Bytes::from(pattern(7, 65_536));
    let allocations = on_shard(false, true, 16, move |upstream| {
        let body = body.clone();
        async move {
            let head = Head::new("POST", "/whole/65536/7");
            let sent = upstream.exchange_shared(head, body).await;
            let mut exchange = sent.expect("a response");
            assert_eq!(exchange.status(), 200);
            while exchange.chunk().await.expect("the body").is_some() {}
        }
    });
    assert_eq!(allocations, 0, "over {REQUESTS} exchanges");
}

#[test]
fn an_exchange_over_tls_allocates_little() {
    let allocations = on_shard(true, false, 1, |upstream| async move {
        exchange(&upstream).await;
    });
    let each = allocations as f64 / REQUESTS as f64;
    println!("exchange over TLS: {each:.2} allocations each");
    assert!(each <= 20.0, "{each}");
}

#[test]
fn a_call_on_the_shard_allocates_little() {
    for tasks in [1, 64] {
        let allocations = on_shard(false, false, tasks, |upstream| async move {
            call(&upstream).await;
        });
        let each = allocations as f64 / REQUESTS as f64;
        println!("call on the shard, {tasks} tasks: {each:.2} allocations each");
        assert!(each <= 10.0, "{each} with {tasks} tasks");
    }
}

#[test]
fn a_call_from_anywhere_allocates_little() {
    let peer = Scripted::start(false);
    let engine = Engine::start(with_connections(&peer, 1)).expect("an engine");
    let upstream = engine.upstream("peer").expect("it is configured");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let (here, there) = runtime.block_on(in_time("the calls", async {
        let calls = async |count| {
            for _ in 0..count {
                let response = upstream.call(request()).await.expect("answered");
                let body = response.into_body().collect().await.expect("the body");
                assert_eq!(body.to_bytes(), pattern(7, LENGTH));
            }
        };
        let on_the_shard = async || {
            let mut counts = engine.spawn_on_each(|_| async { counted() }).await;
            counts.remove(0).expect("counted")
        };
        calls(WARM_UP).await;
        let (here, there) = (counted(), on_the_shard().await);
        calls(REQUESTS).await;
        (counted() - here, on_the_shard().await - there)
    }));
    // The pattern that the answer is compared with is the test's own allocation or two.
    let each = |count: u64| count as f64 / REQUESTS as f64;
    let (here, there) = (each(here), each(there));
    println!(
        "call from anywhere: {there:.2} allocations each on the shard, {here:.2} on the caller's thread"
    );
    assert!(there <= 2.0 && here <= 11.0, "{there} and {here}");
}
