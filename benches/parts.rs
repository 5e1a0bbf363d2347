//! What requests pass through, part by part: the slab, the timer wheel, the pool, HTTP/1.1's heads, the mailbox, and what
//! is counted on the way.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ringpool::Latencies;
use ringpool::bench::{
    Exchange, Head, HeadStep, IdlePool, Limits, Mailbox, RequestBody, RequestFacts, Slab, Tail,
    Time, Wheel, record,
};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

criterion_main!(parts);
criterion_group!(parts, slab, wheel, pool, http1, mailbox, metrics);

/// A value of a connection's size, more or less, would measure the copying of it: here it is a word.
fn slab(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("slab");
    let mut slab: Slab<u64> = Slab::new();
    let keys: Vec<_> = (0..1024).map(|n| slab.insert(n)).collect();
    group.bench_function("insert and remove", |bencher| {
        bencher.iter(|| {
            let key = slab.insert(black_box(7));
            slab.remove(key)
        });
    });
    let mut at = 0;
    group.bench_function("get", |bencher| {
        bencher.iter(|| {
            at = (at + 389) % keys.len();
            slab.get(keys[at]).copied()
        });
    });
    group.finish();
}

/// Beside ten thousand timers, as many as an engine with that many idle connections may have.
fn wheel(criterion: &mut Criterion) {
    const OTHERS: u64 = 10_000;
    let mut group = criterion.benchmark_group("timer wheel");
    let filled = || {
        let mut wheel = Wheel::new(Time::ZERO);
        for n in 0..OTHERS {
            // 5 ms apart: a minute's worth.
            wheel.insert(Time::from_nanos((n + 1) * 5_000_000), n);
        }
        wheel
    };
    let mut wheel = filled();
    group.bench_function("insert and remove", |bencher| {
        bencher.iter(|| {
            let timer = wheel.insert(black_box(Time::from_nanos(30_000_000_000)), 7);
            wheel.remove(timer)
        });
    });
    group.throughput(Throughput::Elements(OTHERS));
    let mut fired = Vec::new();
    group.bench_function("expire, a tick at a time", |bencher| {
        bencher.iter_batched_ref(
            filled,
            |wheel| {
                while let Some(next) = wheel.next() {
                    wheel.expire(next, &mut fired);
                    fired.clear();
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The policy alone, counters and averages and all: part of `checkout`.
fn pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pool");
    for connections in [1, 64] {
        let mut pool = IdlePool::new(connections);
        group.bench_function(
            format!("checkout and release, {connections} idle"),
            |bencher| {
                bencher.iter(|| pool.checkout_and_release());
            },
        );
    }
    group.finish();
}

fn http1(criterion: &mut Criterion) {
    /// What a small service answers.
    const SMALL: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\n";
    /// What comes from behind a few proxies.
    const LARGE: &[u8] = b"HTTP/1.1 200 OK\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
        Content-Type: application/json; charset=utf-8\r\n\
        Content-Length: 4096\r\n\
        Connection: keep-alive\r\n\
        Server: nginx\r\n\
        Vary: Accept-Encoding, Origin\r\n\
        Cache-Control: private, max-age=0, must-revalidate\r\n\
        ETag: W/\"1000-2f3a5c7e9b1d4068ace0bdf13579\"\r\n\
        X-Request-Id: 0f8fad5b-d9cb-469f-a165-70867728950e\r\n\
        X-Frame-Options: SAMEORIGIN\r\n\
        X-Content-Type-Options: nosniff\r\n\
        Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
        Set-Cookie: session=38afes7a8; Path=/; HttpOnly; Secure; SameSite=Lax\r\n\
        Via: 1.1 edge, 1.1 inner\r\n\r\n";
    let facts = RequestFacts::of(&Head::get("/"), RequestBody::None);
    let limits = Limits::default();
    let mut group = criterion.benchmark_group("HTTP/1.1 head");
    for (name, head) in [("2 fields", SMALL), ("14 fields", LARGE)] {
        group.throughput(Throughput::Bytes(head.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut exchange = Exchange::new(facts, &limits);
                exchange.request_sent();
                let step = exchange.head(black_box(head)).expect("a good head");
                assert!(matches!(step, HeadStep::Final { status: 200, .. }));
            });
        });
    }
    group.finish();
}

fn mailbox(criterion: &mut Criterion) {
    const ROOM: usize = 1024;
    let mut group = criterion.benchmark_group("mailbox");
    let mailbox = Mailbox::new(ROOM);
    group.bench_function("hand over, one thread", |bencher| {
        bencher.iter(|| {
            assert!(mailbox.submit(black_box(7)));
            assert!(mailbox.take());
        });
    });
    group.bench_function("hand over, two threads", |bencher| {
        bencher.iter_custom(|count| between_threads(&mailbox, count));
    });
    group.finish();
}

/// How long it takes until so many pieces of work, which one thread submits as fast as there is room, have been taken by
/// another.
fn between_threads(mailbox: &Mailbox, count: u64) -> Duration {
    let begins = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !begins.load(Ordering::Acquire) {
                thread::yield_now();
            }
            for n in 0..count {
                while !mailbox.submit(n) {
                    thread::yield_now();
                }
            }
        });
        let begun = Instant::now();
        begins.store(true, Ordering::Release);
        for _ in 0..count {
            while !mailbox.take() {
                std::hint::spin_loop();
            }
        }
        begun.elapsed()
    })
}

fn metrics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    // From 0.1 ms to 100 ms, in no order.
    let latencies: Vec<Duration> = (0..1024u64)
        .map(|n| Duration::from_nanos(100_000 + (n * 389) % 1024 * 97_561))
        .collect();
    let mut next = latencies.iter().cycle();
    let mut all = Latencies::default();
    group.bench_function("Latencies", |bencher| {
        bencher.iter(|| record(&mut all, *next.next().expect("there is a next")));
    });
    let mut tail = Tail::default();
    let mut now = Time::ZERO;
    group.bench_function("an upstream's recent latencies", |bencher| {
        bencher.iter(|| {
            // A thousand in a second, so that halves take turns.
            now = now + Duration::from_millis(1);
            tail.record(now, *next.next().expect("there is a next"));
        });
    });
    group.bench_function("a percentile of them", |bencher| {
        bencher.iter(|| black_box(&tail).percentile(0.99));
    });
    group.finish();
}
