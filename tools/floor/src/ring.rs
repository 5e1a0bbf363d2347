//! The loop itself: wait, count, send again.
//!
//! Owns: the ring and the memory that it works on. Never: does anything that a client could leave out.

use crate::timing::Timing;
use crate::{Receive, Until};
use io_uring::types::{BufRingEntry, CancelBuilder, Fd, Timespec};
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, cqueue, opcode, squeue};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

/// Receive buffers for small responses.
const SMALL: Buffers = Buffers {
    len: 4096,
    count: 1024,
};

/// Those for responses that do not fit one of them: fewer and larger, so that a response takes fewer receives,
/// and all of them stay near the core.
const LARGE: Buffers = Buffers {
    len: 16 << 10,
    count: 256,
};

/// Bytes of one buffer, and how many there are for multishot receives, a power of two.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    len: usize,
    count: u16,
}

/// The most that there are of either kind.
const COUNT_MAX: usize = 1024;

/// The kind of an operation, above the index of its connection.
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// How many completions pass between two looks at the clock.
const CLOCK: u64 = 1024;

pub(crate) struct Loop {
    // The ring goes first: what it works on outlives it.
    ring: IoUring,
    work: Work,
    enters: u64,
}

/// The connections, and all memory that the kernel is told of.
struct Work {
    descriptors: Vec<RawFd>,
    request: Vec<u8>,
    provided: Provided,
    buffers: Buffers,
    /// One buffer for each connection, for single receives.
    own: Vec<u8>,
    /// Bytes still to come of each connection's response.
    missing: Vec<usize>,
    response_len: usize,
    receive: Receive,
}

/// A ring of provided buffers, and the buffers.
struct Provided {
    ring: Box<BufferRing>,
    memory: Vec<u8>,
    buffers: Buffers,
}

/// The kernel wants it page-aligned.
#[repr(C, align(4096))]
struct BufferRing([[u64; 2]; COUNT_MAX]);

impl Loop {
    pub(crate) fn new(
        descriptors: Vec<RawFd>,
        request: Vec<u8>,
        response_len: usize,
        receive: Receive,
    ) -> io::Result<Loop> {
        let ring = build(descriptors.len())?;
        let buffers = if response_len <= SMALL.len {
            SMALL
        } else {
            LARGE
        };
        let mut work = Work {
            request,
            provided: Provided::new(buffers),
            buffers,
            own: vec![0; buffers.len * descriptors.len()],
            missing: vec![response_len; descriptors.len()],
            descriptors,
            response_len,
            receive,
        };
        (0..buffers.count).for_each(|id| work.provided.offer(id));
        let address = work.provided.ring.0.as_ptr() as u64;
        let submitter = ring.submitter();
        // SAFETY: the box is page-aligned and outlives the ring.
        unsafe { submitter.register_buf_ring_with_flags(address, buffers.count, 0, 0) }?;
        Ok(Loop {
            ring,
            work,
            enters: 0,
        })
    }

    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Queues the first request of each connection. Once.
    pub(crate) fn begin(&mut self) {
        self.work.begin(&mut self.ring.submission());
    }

    /// Runs until done and returns the number of whole responses. What is in flight then goes on in the next run.
    pub(crate) fn run(
        &mut self,
        until: Until,
        begin: Instant,
        timing: &mut Timing<'_>,
    ) -> io::Result<u64> {
        let (mut requests, mut looked) = (0, 0);
        loop {
            self.enter()?;
            let (_, mut queue, completions) = self.ring.split();
            requests += self.work.reap(&mut queue, completions, timing)?;
            drop(queue);
            match until {
                Until::Requests(limit) if requests >= limit => return Ok(requests),
                Until::Elapsed(limit) if requests >= looked + CLOCK => {
                    looked = requests;
                    if begin.elapsed() >= limit {
                        return Ok(requests);
                    }
                }
                Until::Requests(_) | Until::Elapsed(_) => {}
            }
        }
    }

    /// Submits, runs deferred work, and waits for a completion.
    fn enter(&mut self) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        self.enters += 1;
        let (submitter, flags) = (self.ring.submitter(), EnterFlags::GETEVENTS.bits());
        // SAFETY: no extended argument; what the entries point to outlives the ring.
        match unsafe { submitter.enter::<libc::sigset_t>(queued, 1, flags, None) } {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                Some(_) | None => Err(error),
            },
        }
    }
}

impl Work {
    fn begin(&mut self, queue: &mut SubmissionQueue<'_>) {
        for index in 0..self.descriptors.len() {
            self.push_receive(queue, index);
            self.push_send(queue, index);
        }
    }

    /// Looks at what is there, and returns how many responses came to their end.
    fn reap(
        &mut self,
        queue: &mut SubmissionQueue<'_>,
        completions: CompletionQueue<'_>,
        timing: &mut Timing<'_>,
    ) -> io::Result<u64> {
        let mut whole = 0;
        for completion in completions {
            let result = completion.result();
            let index = completion.user_data() as u32 as usize;
            if completion.user_data() & SEND != 0 {
                if usize::try_from(result) != Ok(self.request.len()) {
                    return Err(failure(result, "a send came back short"));
                }
                continue;
            }
            if let Some(id) = cqueue::buffer_select(completion.flags()) {
                self.provided.offer(id);
            }
            if result <= 0 && result != -libc::ENOBUFS {
                return Err(failure(result, "the server closed a connection"));
            }
            let got = result.max(0) as usize;
            if got > self.missing[index] {
                return Err(failure(0, "a response is longer than it should be"));
            }
            self.missing[index] -= got;
            if !cqueue::more(completion.flags()) {
                self.push_receive(queue, index);
            }
            if self.missing[index] == 0 {
                self.missing[index] = self.response_len;
                timing.next(index);
                self.push_send(queue, index);
                whole += 1;
            }
        }
        Ok(whole)
    }

    fn push_receive(&mut self, queue: &mut SubmissionQueue<'_>, index: usize) {
        let descriptor = Fd(self.descriptors[index]);
        let entry = match self.receive {
            Receive::Multishot => opcode::RecvMulti::new(descriptor, 0).build(),
            Receive::Single => {
                let len = self.buffers.len;
                let own = self.own[index * len..].as_mut_ptr();
                opcode::Recv::new(descriptor, own, len as u32).build()
            }
        };
        push(queue, &entry.user_data(RECEIVE | index as u64));
    }

    fn push_send(&self, queue: &mut SubmissionQueue<'_>, index: usize) {
        let descriptor = Fd(self.descriptors[index]);
        let entry = opcode::Send::new(descriptor, self.request.as_ptr(), self.request.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        push(queue, &entry.user_data(SEND | index as u64));
    }
}

fn push(queue: &mut SubmissionQueue<'_>, entry: &squeue::Entry) {
    // SAFETY: entries point to the request and to buffers, which outlive the ring.
    let pushed = unsafe { queue.push(entry) };
    pushed.expect("the queue has room for two operations of each connection");
}

impl Provided {
    fn new(buffers: Buffers) -> Provided {
        Provided {
            ring: Box::new(BufferRing([[0; 2]; COUNT_MAX])),
            memory: vec![0; buffers.len * buffers.count as usize],
            buffers,
        }
    }

    fn offer(&mut self, id: u16) {
        let Buffers { len, count } = self.buffers;
        let address = self.memory[id as usize * len..].as_mut_ptr();
        let ring = self.ring.0.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the masked tail is an index of the ring; the entry past the tail is ours; the tail
        // lies in the first entry, and the kernel only reads it.
        unsafe {
            let tail = BufRingEntry::tail(ring).cast::<AtomicU16>();
            let at = (*tail).load(Ordering::Relaxed);
            let entry = &mut *ring.add((at & (count - 1)) as usize);
            entry.set_addr(address as u64);
            entry.set_len(len as u32);
            entry.set_bid(id);
            (*tail).store(at.wrapping_add(1), Ordering::Release);
        }
    }
}

impl Drop for Loop {
    /// Ends what is in flight before its memory goes.
    fn drop(&mut self) {
        let work = &mut self.work;
        for descriptor in &work.descriptors {
            // SAFETY: shutting a socket down touches no memory; the caller still owns it.
            unsafe { libc::shutdown(*descriptor, libc::SHUT_RDWR) };
        }
        let limit = Timespec::new().sec(1);
        let submitter = self.ring.submitter();
        let drained = submitter.register_sync_cancel(Some(limit), CancelBuilder::any());
        if drained.is_err_and(|error| error.raw_os_error() != Some(libc::ENOENT)) {
            // Better lost than written to when it is somebody else's.
            std::mem::forget(std::mem::take(&mut work.own));
            std::mem::forget(std::mem::take(&mut work.request));
            let empty = Provided::new(SMALL);
            std::mem::forget(std::mem::replace(&mut work.provided, empty));
        }
    }
}

/// The flags of the production driver, or fewer where the kernel knows fewer.
fn build(connections: usize) -> io::Result<IoUring> {
    let entries = (2 * connections).next_power_of_two().max(8) as u32;
    let mut full = IoUring::builder();
    full.setup_clamp()
        .setup_cqsize(4 * entries)
        .setup_submit_all()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag();
    let best = full.clone().setup_no_sqarray().build(entries);
    best.or_else(|_| full.build(entries))
}

fn failure(result: i32, complaint: &str) -> io::Error {
    match result {
        ..0 => io::Error::from_raw_os_error(-result),
        0.. => io::Error::new(io::ErrorKind::InvalidData, complaint),
    }
}
