//! Checkout and release of an idle connection: on the shard, through deadpool and through bb8.
//!
//! Ours: the public way, with all that an engine counts. Its connections are real, to a listener in this process, and
//! watched: one that the peer closes is not granted. The loop of the shard turns once in 128 pairs, since the
//! others' does: tokio makes a task yield after 128 steps.
//! Theirs: each as its documentation begins, on a current-thread runtime, with as many connections. What they pool
//! costs nothing to make and nothing to check.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use ringpool::config::UpstreamConfig;
use ringpool::{Config, Engine, block_on};
use std::convert::Infallible;
use std::future::poll_fn;
use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How many connections idle.
const CONNECTIONS: [u32; 2] = [1, 64];

/// As many as tokio's budget lets a task take before it yields.
const PAIRS_A_TURN: u64 = 128;

type Group<'a> = BenchmarkGroup<'a, WallTime>;

criterion_main!(checkout);
criterion_group!(checkout, checkout_and_release);

fn checkout_and_release(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checkout and release");
    for connections in CONNECTIONS {
        through_ringpool(&mut group, connections);
        through_deadpool(&mut group, connections);
        through_bb8(&mut group, connections);
    }
    group.finish();
}

fn through_ringpool(group: &mut Group<'_>, connections: u32) {
    let peer = Listener::start(connections);
    let engine = warm_engine(&peer, connections);
    let before = block_on(engine.snapshot()).expect("it runs").hits;
    let mut pairs_made = 0;
    group.bench_function(BenchmarkId::new("ringpool", connections), |bencher| {
        bencher.iter_custom(|pairs| {
            pairs_made += pairs;
            on_the_shard(&engine, pairs)
        });
    });
    // Each found a connection idle, and was counted.
    let after = block_on(engine.snapshot()).expect("it runs").hits;
    assert_eq!(after - before, pairs_made);
    drop(engine);
    peer.end();
}

fn through_deadpool(group: &mut Group<'_>, connections: u32) {
    let runtime = current_thread();
    let pool: deadpool::managed::Pool<Nothing> = deadpool::managed::Pool::builder(Nothing)
        .max_size(connections as usize)
        .build()
        .expect("a pool");
    // It has no floor to keep warm: as many are taken at once.
    runtime.block_on(async {
        let mut held = Vec::new();
        for _ in 0..connections {
            held.push(pool.get().await.expect("a connection"));
        }
    });
    group.bench_function(BenchmarkId::new("deadpool", connections), |bencher| {
        let pair = async || drop(black_box(pool.get().await.expect("a connection")));
        bencher.iter_custom(|pairs| runtime.block_on(timed(pairs, &pair)));
    });
}

fn through_bb8(group: &mut Group<'_>, connections: u32) {
    let runtime = current_thread();
    let pool = bb8::Pool::builder()
        .max_size(connections)
        .min_idle(connections)
        .build(Nothing);
    let pool = runtime.block_on(pool).expect("a pool");
    group.bench_function(BenchmarkId::new("bb8", connections), |bencher| {
        let pair = async || drop(black_box(pool.get().await.expect("a connection")));
        bencher.iter_custom(|pairs| runtime.block_on(timed(pairs, &pair)));
    });
}

/// How long so many pairs take on the engine's one shard.
fn on_the_shard(engine: &Engine, pairs: u64) -> Duration {
    let task = move |shard: ringpool::on_shard::Shard| async move {
        let upstream = shard.upstream("peer").expect("it is configured");
        let begun = Instant::now();
        for pair in 1..=pairs {
            let lease = upstream.checkout().await.expect("a connection");
            black_box(&lease);
            lease.release();
            if pair % PAIRS_A_TURN == 0 {
                yield_once().await;
            }
        }
        begun.elapsed()
    };
    let mut ended = block_on(engine.spawn_on_each(task));
    ended.remove(0).expect("the shard is up")
}

/// How long so many pairs take.
async fn timed(pairs: u64, pair: &impl AsyncFn()) -> Duration {
    let begun = Instant::now();
    for _ in 0..pairs {
        pair().await;
    }
    begun.elapsed()
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

fn current_thread() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// An engine of one shard whose connections to `peer` are up.
fn warm_engine(peer: &Listener, connections: u32) -> Engine {
    let url = format!("tcp://{}", peer.address);
    let upstream = UpstreamConfig {
        connections_max: connections,
        idle_min: connections,
        ..UpstreamConfig::at(&url).expect("a URL")
    };
    let config = Config {
        shards: 1,
        ..Config::with_upstream("peer", upstream)
    };
    let engine = Engine::start(config).expect("the machine has io_uring");
    block_on(engine.ready(Duration::from_secs(10))).expect("the connections are up");
    engine
}

/// Accepts so many connections, and keeps them.
struct Listener {
    address: std::net::SocketAddr,
    accepted: JoinHandle<Vec<TcpStream>>,
}

impl Listener {
    fn start(connections: u32) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let accept = move |_| listener.accept().expect("accepted").0;
        Listener {
            address,
            accepted: thread::spawn(move || (0..connections).map(accept).collect()),
        }
    }

    fn end(self) {
        drop(self.accepted.join());
    }
}

/// Makes connections that are nothing, and are always good.
struct Nothing;

impl deadpool::managed::Manager for Nothing {
    type Type = ();
    type Error = Infallible;

    async fn create(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn recycle(
        &self,
        (): &mut (),
        _: &deadpool::managed::Metrics,
    ) -> deadpool::managed::RecycleResult<Infallible> {
        Ok(())
    }
}

impl bb8::ManageConnection for Nothing {
    type Connection = ();
    type Error = Infallible;

    async fn connect(&self) -> Result<(), Infallible> {
        Ok(())
    }

    async fn is_valid(&self, (): &mut ()) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, (): &mut ()) -> bool {
        false
    }
}
