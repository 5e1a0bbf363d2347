//! Readers that do not read: they slow their own peers down, nobody else, and what they hold is bounded.

mod common;

use common::conversation::{Kind, Talk, at_rest, config, in_time};
use common::scripted::Scripted;
use ringpool::on_shard::{Exchange, Head, Shard, Upstream};
use ringpool::{Config, Engine, Snapshot};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[global_allocator]
static WEIGHING: Weighing = Weighing;

/// Bytes of the heap in use, by everybody.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

struct Weighing;

// SAFETY: passes everything on to the system's allocator. Reallocations go through both.
unsafe impl GlobalAlloc for Weighing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(block, layout) };
    }
}

/// Tests that weigh the heap run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

/// Receive buffers that one connection may fill without being read.
const QUOTA: u64 = 8;
/// What may come beyond that before the pause takes effect: what two turns take in, each fewer than 64 pieces and
/// two times 33 of the last call.
const UNDER_WAY: u64 = 2 * (64 + 66);
/// All receive buffers, and those of them that nobody may keep: with fewer free, bytes move to the heap.
const BUFFERS: u64 = 256;
const BUFFERS_LOW: u64 = BUFFERS / 8;
const BUFFER: u64 = 16 * 1024;

const HUGE: &str = "/flood/1073741824/0";

/// One run: so many responses unread, and so many tasks with small requests beside them.
#[derive(Clone, Copy)]
struct Load {
    unread: usize,
    tasks: u64,
    /// For each task.
    requests: u64,
}

/// What was seen of a run.
struct Seen {
    /// How long the small requests took.
    took: Duration,
    /// What the shard's thread spent on them.
    cpu: Duration,
    /// The most receive buffers held at any look.
    held_max: u64,
    /// By how much the heap grew while the responses lay unread, at the most.
    grown: usize,
    after: Snapshot,
}

impl Seen {
    /// Takes over what was faster, and the worst of everything else.
    fn keep_best(&mut self, other: Seen) {
        self.took = self.took.min(other.took);
        self.cpu = self.cpu.min(other.cpu);
        self.held_max = self.held_max.max(other.held_max);
        self.grown = self.grown.max(other.grown);
        self.after = other.after;
    }
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    // SAFETY: all zeroes are a timespec, and the kernel fills it.
    let spent = unsafe {
        let mut spent: libc::timespec = std::mem::zeroed();
        assert_eq!(
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent),
            0
        );
        spent
    };
    Duration::new(spent.tv_sec as u64, spent.tv_nsec as u32)
}

fn settings(peer: &Scripted, load: Load) -> Config {
    let mut config = config(peer, false);
    let upstream = config.upstreams.get_mut("peer").expect("it is there");
    upstream.connections_max = load.unread as u32 + load.tasks as u32;
    upstream.dials_max = 64;
    config.receive_buffers = BUFFERS as u16;
    config.receive_buffers_per_connection = QUOTA as u16;
    config
}

/// Lets responses lie unread, runs the small requests beside them, reads some of one response, and drops them.
fn run(secure: bool, load: Load) -> Seen {
    let peer = Scripted::start(secure);
    let engine = Engine::start(settings(&peer, load)).expect("an engine");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let before = IN_USE.load(Ordering::Relaxed);
    runtime.block_on(in_time("the run", async {
        let task = move |shard: Shard| async move { beside_unread(&shard, load).await };
        let mut running = Box::pin(engine.spawn_on_each(task));
        let (mut held_max, mut grown) = (0, 0);
        let (took, cpu) = loop {
            let look = tokio::time::timeout(Duration::from_millis(2), &mut running).await;
            let now = engine.snapshot().await.expect("it runs").now;
            held_max = held_max.max(now.buffers_held);
            grown = grown.max(IN_USE.load(Ordering::Relaxed).saturating_sub(before));
            if let Ok(mut took) = look {
                break took.remove(0).expect("the task's panic was printed");
            }
        };
        Seen {
            took,
            cpu,
            held_max,
            grown,
            after: at_rest(&engine).await,
        }
    }))
}

async fn beside_unread(shard: &Shard, load: Load) -> (Duration, Duration) {
    let upstream = shard.upstream("peer").expect("it is configured");
    let mut unread = Vec::new();
    for _ in 0..load.unread {
        unread.push(upstream.exchange(Head::get(HUGE)).await.expect("a head"));
    }
    let (begun, spent) = (shard.time(), thread_cpu());
    small_requests(shard, &upstream, load).await;
    let took = (shard.time() - begun, thread_cpu() - spent);
    if let Some(one) = unread.first_mut() {
        read_some(one).await;
    }
    took
}

async fn small_requests(shard: &Shard, upstream: &Upstream, load: Load) {
    let left = Rc::new(Cell::new(load.tasks));
    for task in 0..load.tasks {
        let (upstream, left) = (upstream.clone(), left.clone());
        shard.spawn(async move {
            for request in 0..load.requests {
                // No round of the script's: the peer never stops for it.
                let talk = Talk {
                    kind: Kind::Exchange,
                    length: 300,
                    nonce: 1 + task * load.requests + request,
                    closes: false,
                };
                talk.on_shard(&upstream).await.expect("answered");
            }
            left.set(left.get() - 1);
        });
    }
    while left.get() > 0 {
        shard.sleep(Duration::from_millis(1)).await;
    }
}

/// Far more than was received before the pause, so that receiving has to go on.
async fn read_some(exchange: &mut Exchange) {
    let mut read = 0;
    while read < 8 << 20 {
        let chunk = exchange.chunk().await.expect("the body");
        let chunk = chunk.expect("more of it");
        assert!(
            chunk.iter().all(|&byte| byte == b'x'),
            "another one's bytes"
        );
        read += chunk.len();
    }
}

fn one_unread(secure: bool) {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let load = Load {
        unread: 0,
        tasks: 63,
        requests: 100,
    };
    let beside = Load { unread: 1, ..load };
    let (mut without, mut with) = (run(secure, load), run(secure, beside));
    // In turn, and the best of each, for others use the machine as well. A figure to be read, not a test.
    for _ in 0..2 {
        let (again_without, again_with) = (run(secure, load), run(secure, beside));
        without.keep_best(again_without);
        with.keep_best(again_with);
    }
    let requests = (load.tasks * load.requests) as f64;
    let rate = |seen: &Seen| requests / seen.took.as_secs_f64();
    let cost = |seen: &Seen| seen.cpu.as_secs_f64() * 1e6 / requests;
    println!(
        "TLS {secure}: beside one unread response {:.0} requests/s, {:.1} us of the shard's CPU each; \
         without {:.0}, {:.1}; ratios {:.2} and {:.2}",
        rate(&with),
        cost(&with),
        rate(&without),
        cost(&without),
        rate(&with) / rate(&without),
        cost(&with) / cost(&without)
    );
    assert_eq!(without.after.receive_pauses, 0);
    assert!(with.after.receive_pauses >= 1, "nobody was held back");
    // The unread one keeps to its quota; each of the others holds a head and may be looking at the
    // piece behind it.
    let most = QUOTA + 1 + 2 * load.tasks;
    assert!(with.held_max <= most, "{} buffers held", with.held_max);
    assert!(with.after.discarded >= 1, "the unread one was not closed");
}

#[test]
fn one_response_that_nobody_reads() {
    one_unread(false);
}

#[test]
fn one_response_over_tls_that_nobody_reads() {
    one_unread(true);
}

fn many_unread(secure: bool) {
    let _alone = ALONE.lock().unwrap_or_else(|poison| poison.into_inner());
    let load = Load {
        unread: 300,
        tasks: 16,
        requests: 50,
    };
    let seen = run(secure, load);
    assert!(
        seen.held_max <= BUFFERS - BUFFERS_LOW,
        "{} buffers held",
        seen.held_max
    );
    assert!(
        seen.after.receive_pauses >= 300,
        "{}",
        seen.after.receive_pauses
    );
    // The peer's own threads and connections are within this, too.
    let most = (QUOTA + UNDER_WAY) * BUFFER;
    let each = seen.grown / load.unread;
    println!(
        "TLS {secure}: {} KiB of heap for each of {} unread responses, {} pauses, out of buffers {} times",
        each / 1024,
        load.unread,
        seen.after.receive_pauses,
        seen.after.driver.out_of_buffers
    );
    assert!(each as u64 <= most, "{each} bytes for each unread response");
}

#[test]
fn more_unread_responses_than_buffers() {
    many_unread(false);
}

#[test]
fn more_unread_responses_over_tls_than_buffers() {
    many_unread(true);
}
