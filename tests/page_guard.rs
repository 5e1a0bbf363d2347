//! Memory that was freed too early, made visible: every block of 1 KiB or more has pages of its own, and when it is
//! freed they lose all access and are not used again for long. Whoever touches it in user space dies; where the
//! kernel does, its operation ends with EFAULT, which the driver counts.
//!
//! What the driver receives into is a mapping of its own: freed too early it would be unmapped, with the same
//! EFAULT. What it sends from, and the addresses that it connects to, come from this allocator.

mod common;

use common::conversation::{
    Kind, Talk, at_rest, config, cut_anywhere, cut_on_shard, cut_stuck_sends_everywhere, in_time,
};
use common::scripted::Scripted;
use io_uring::{IoUring, opcode, types};
use ringpool::Engine;
use ringpool::on_shard::Shard;
use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{Future, poll_fn};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

#[global_allocator]
static PAGES: PagePerBlock = PagePerBlock;

/// From here on a block has pages of its own.
const OWN_PAGES: usize = 1024;
/// How many freed blocks are kept out of reach, and how much of the address space they may take.
const KEPT_MAX: usize = 20_000;
const KEPT_BYTES_MAX: usize = 4 << 30;

struct PagePerBlock;

/// Freed blocks, oldest first, in a ring.
struct Kept {
    blocks: [(usize, usize); KEPT_MAX],
    first: usize,
    count: usize,
    bytes: usize,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    blocks: [(0, 0); KEPT_MAX],
    first: 0,
    count: 0,
    bytes: 0,
});

// SAFETY: small blocks are the system's; each large one is a mapping of its own, at least as long as asked for and
// aligned to a page, and unmapped only after it was freed.
unsafe impl GlobalAlloc for PagePerBlock {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !has_own_pages(layout) {
            // SAFETY: passed on as it came.
            return unsafe { System.alloc(layout) };
        }
        map(
            std::ptr::null_mut(),
            pages(layout),
            libc::PROT_READ | libc::PROT_WRITE,
            0,
        )
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !has_own_pages(layout) {
            // SAFETY: passed on as it came.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as asked; fresh pages are zero.
        unsafe { self.alloc(layout) }
    }

    // Growing in place is not provided: every reallocation moves, and frees the old place.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !has_own_pages(layout) {
            // SAFETY: passed on as it came.
            return unsafe { System.dealloc(block, layout) };
        }
        let len = pages(layout);
        // Fresh pages without access in its place: the memory itself goes back at once.
        let fenced = map(
            block,
            len,
            libc::PROT_NONE,
            libc::MAP_FIXED | libc::MAP_NORESERVE,
        );
        if fenced.is_null() {
            std::process::abort();
        }
        KEPT.lock().unwrap().keep(block as usize, len);
    }
}

impl Kept {
    fn keep(&mut self, block: usize, len: usize) {
        while self.count == KEPT_MAX || self.count > 0 && self.bytes + len > KEPT_BYTES_MAX {
            let (oldest, len) = self.blocks[self.first];
            self.first = (self.first + 1) % KEPT_MAX;
            self.count -= 1;
            self.bytes -= len;
            // SAFETY: a mapping of ours that was freed long ago.
            unsafe { libc::munmap(oldest as *mut libc::c_void, len) };
        }
        self.blocks[(self.first + self.count) % KEPT_MAX] = (block, len);
        self.count += 1;
        self.bytes += len;
    }
}

fn has_own_pages(layout: Layout) -> bool {
    layout.size() >= OWN_PAGES && layout.align() <= 4096
}

fn pages(layout: Layout) -> usize {
    layout.size().next_multiple_of(4096)
}

/// Null if it cannot be had.
fn map(at: *mut u8, len: usize, protection: i32, flags: i32) -> *mut u8 {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: either at a place of the kernel's choice, or over a block that its owner has just given up.
    let address = unsafe { libc::mmap(at.cast(), len, protection, flags, -1, 0) };
    match address {
        libc::MAP_FAILED => std::ptr::null_mut(),
        address => address.cast(),
    }
}

/// Runs one operation that was given memory which is freed before the operation happens.
fn complete(ring: &mut IoUring, entry: &io_uring::squeue::Entry, trigger: impl FnOnce()) -> i32 {
    // SAFETY: it is not sound, on purpose: the kernel finds the memory gone, and says so.
    unsafe { ring.submission().push(entry).expect("room for one") };
    ring.submit().expect("submitted");
    trigger();
    ring.submit_and_wait(1).expect("completed");
    ring.completion().next().expect("a completion").result()
}

#[test]
fn the_detector_sees_a_receive_into_a_freed_block() {
    let mut ring = IoUring::new(4).expect("a ring");
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    for freed in [false, true] {
        let mut block = vec![0u8; 4096];
        let entry =
            opcode::Recv::new(types::Fd(ours.as_raw_fd()), block.as_mut_ptr(), 4096).build();
        let mut block = Some(block);
        let result = complete(&mut ring, &entry, || {
            block.take_if(|_| freed);
            theirs.write_all(b"too late").expect("written");
        });
        assert_eq!(result, if freed { -libc::EFAULT } else { 8 });
    }
}

#[test]
fn the_detector_sees_a_receive_into_a_block_that_grew() {
    let mut ring = IoUring::new(4).expect("a ring");
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let mut block = vec![0u8; 2048];
    let entry = opcode::Recv::new(types::Fd(ours.as_raw_fd()), block.as_mut_ptr(), 2048).build();
    let result = complete(&mut ring, &entry, || {
        block.reserve_exact(1);
        theirs.write_all(b"too late").expect("written");
    });
    assert_eq!(result, -libc::EFAULT);
}

#[test]
fn the_detector_sees_a_send_from_a_freed_block() {
    let mut ring = IoUring::new(4).expect("a ring");
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let block = vec![b'x'; 4096];
    let entry = opcode::Send::new(types::Fd(ours.as_raw_fd()), block.as_ptr(), 4096).build();
    drop(block);
    assert_eq!(complete(&mut ring, &entry, || ()), -libc::EFAULT);
}

/// As the driver's receive buffers would be if they were freed too early.
#[test]
fn the_detector_sees_a_receive_into_an_unmapped_buffer() {
    let mut ring = IoUring::new(4).expect("a ring");
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let block = map(
        std::ptr::null_mut(),
        4096,
        libc::PROT_READ | libc::PROT_WRITE,
        0,
    );
    let entry = opcode::Recv::new(types::Fd(ours.as_raw_fd()), block, 4096).build();
    let result = complete(&mut ring, &entry, || {
        // SAFETY: a mapping of ours, not used again. Without access, as others may map meanwhile.
        map(block, 4096, libc::PROT_NONE, libc::MAP_FIXED);
        theirs.write_all(b"too late").expect("written");
    });
    assert_eq!(result, -libc::EFAULT);
    // SAFETY: as above.
    unsafe { libc::munmap(block.cast(), 4096) };
}

#[test]
fn futures_dropped_everywhere() {
    for secure in [false, true] {
        let peer = Scripted::start(secure);
        for kind in [Kind::Exchange, Kind::Call, Kind::Lease] {
            let engine = Engine::start(config(&peer, kind.is_raw())).expect("an engine");
            let what = format!("{kind:?}, TLS {secure}");
            run(in_time(&what, async {
                for fresh in [true, false] {
                    cut_on_shard(&engine, &peer, kind, 60_000, fresh).await;
                    if kind != Kind::Exchange {
                        cut_anywhere(&engine, &peer, kind, 60_000, fresh).await;
                    }
                }
                if kind != Kind::Exchange {
                    cut_stuck_sends_everywhere(&engine, &peer, kind).await;
                }
                // Asserts that no completion met freed memory.
                at_rest(&engine).await;
            }));
        }
    }
}

/// Many connections at once with large bodies both ways, every third one given up half-way.
#[test]
fn load_with_large_bodies() {
    for secure in [false, true] {
        let peer = Scripted::start(secure);
        let mut config = config(&peer, false);
        let upstream = config.upstreams.get_mut("peer").expect("it is there");
        upstream.connections_max = 16;
        let engine = Engine::start(config).expect("an engine");
        let task = |shard: Shard| async move {
            let upstream = shard.upstream("peer").expect("it is configured");
            for worker in 0..16 {
                let (shard, upstream) = (shard.clone(), upstream.clone());
                shard.clone().spawn(async move {
                    for turn in 0..12 {
                        // No round of the script's: the peer never stops for it.
                        let talk = Talk {
                            kind: Kind::Call,
                            length: 400_000,
                            nonce: 1_000 * (worker + 1) + turn,
                            closes: false,
                        };
                        let given_up = turn % 3 == 1;
                        give_up_after(&talk, &upstream, &shard, given_up).await;
                    }
                });
            }
        };
        run(in_time("load", async {
            for ended in engine.spawn_on_each(task).await {
                ended.expect("the tasks were spawned");
            }
            let rest = at_rest(&engine).await;
            assert!(rest.discarded > 0, "none was given up half-way");
            assert!(rest.hits + rest.misses >= 16 * 12);
        }));
    }
}

/// Holds a conversation, or the first two milliseconds of it.
async fn give_up_after(
    talk: &Talk,
    upstream: &ringpool::on_shard::Upstream,
    shard: &Shard,
    given_up: bool,
) {
    let mut talking = Box::pin(talk.on_shard(upstream));
    let mut patience = pin!(shard.sleep(Duration::from_millis(2)));
    poll_fn(|cx| {
        if given_up && patience.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        talking
            .as_mut()
            .poll(cx)
            .map(|result| result.expect("answered"))
    })
    .await;
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}
