//! The loop itself: wait, count, send again.
//!
//! Owns: the ring and the memory that it works on. Never: does anything that a client could leave out.

use crate::Until;
use crate::memory::Provided;
use crate::registered::Registered;
use crate::timing::Timing;
use crate::variant::{Receive, Send, Variant, Wait};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, cqueue, opcode, squeue};
use std::hint::spin_loop;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

/// The kind of an operation, above the index of its connection.
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const TICK: u64 = 4 << 32;

/// IORING_RECVSEND_POLL_FIRST: waits for the socket to be readable before it is tried.
const POLL_FIRST: u16 = 1;

/// How many completions pass between two looks at the clock.
const CLOCK: u64 = 1024;

pub(crate) struct Loop {
    registered: Option<Registered>,
    // The ring goes first: what it works on outlives it.
    ring: IoUring,
    // Lost where it cannot be told that the kernel is through with it.
    work: ManuallyDrop<Work>,
    wait: Wait,
    enters: u64,
}

/// The connections, and all memory that the kernel is told of.
struct Work {
    descriptors: Vec<RawFd>,
    request: Vec<u8>,
    provided: Provided,
    /// One buffer for each connection, for single receives.
    own: Vec<u8>,
    /// Bytes still to come of each connection's response.
    missing: Vec<usize>,
    response_len: usize,
    variant: Variant,
    tick: Timespec,
    /// Sends handed over since the last look, whose completions are to be expected at once.
    sends: u32,
}

impl Loop {
    pub(crate) fn new(
        descriptors: Vec<RawFd>,
        request: Vec<u8>,
        response_len: usize,
        variant: Variant,
    ) -> io::Result<Loop> {
        let ring = build(descriptors.len())?;
        let provided = Provided::new(variant.memory, response_len)?;
        let work = ManuallyDrop::new(Work {
            request,
            own: vec![0; provided.len() * descriptors.len()],
            provided,
            missing: vec![response_len; descriptors.len()],
            descriptors,
            response_len,
            variant,
            tick: Timespec::new(),
            sends: 0,
        });
        let submitter = ring.submitter();
        work.provided.register(&submitter)?;
        if variant.fixed_files {
            submitter.register_files(&work.descriptors)?;
        }
        if variant.send == Send::ZeroCopyFixed {
            let request = libc::iovec {
                iov_base: work.request.as_ptr().cast_mut().cast(),
                iov_len: work.request.len(),
            };
            // SAFETY: the request is only read, and outlives the ring.
            unsafe { submitter.register_buffers(&[request]) }?;
        }
        let registered = match variant.registered_ring {
            true => Some(Registered::new(ring.as_raw_fd())?),
            false => None,
        };
        Ok(Loop {
            registered,
            ring,
            work,
            wait: variant.wait,
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

    /// Submits, runs deferred work, and waits as the variant says.
    fn enter(&mut self) -> io::Result<()> {
        let sends = std::mem::take(&mut self.work.sends);
        match self.wait {
            Wait::One | Wait::Tick(_) => self.call(1, None),
            Wait::BesideSends => self.call(1 + sends, None),
            Wait::TimeOut(micros) => {
                let limit = micros_of(micros);
                self.call(1, Some(&SubmitArgs::new().timespec(&limit)))
            }
            Wait::Many(many, micros) => {
                let limit = Timespec::new().sec(1);
                let limit = SubmitArgs::new().timespec(&limit).min_wait_usec(micros);
                self.call(many, Some(&limit))
            }
            Wait::Spin(times) => {
                if !self.ring.submission().is_empty() {
                    self.call(0, None)?;
                }
                for _ in 0..times {
                    if !self.ring.completion().is_empty() {
                        return Ok(());
                    }
                    if self.ring.submission().taskrun() {
                        return self.call(0, None);
                    }
                    spin_loop();
                }
                self.call(1, None)
            }
        }
    }

    fn call(&mut self, want: u32, limit: Option<&SubmitArgs<'_, '_>>) -> io::Result<()> {
        let queued = self.ring.submission().len() as u32;
        self.enters += 1;
        let mut flags = EnterFlags::GETEVENTS;
        flags.set(EnterFlags::EXT_ARG, limit.is_some());
        let entered = match (&self.registered, limit) {
            // SAFETY: no argument; what the entries point to outlives the ring.
            (Some(ring), None) => unsafe { ring.enter(queued, want, flags.bits()) },
            // SAFETY: EXT_ARG stands for the limit's type; what the entries point to outlives the ring.
            (_, limit) => unsafe {
                self.ring
                    .submitter()
                    .enter(queued, want, flags.bits(), limit)
            },
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME) => Ok(()),
                Some(_) | None => Err(error),
            },
        }
    }
}

impl Work {
    fn begin(&mut self, queue: &mut SubmissionQueue<'_>) {
        if let Wait::Tick(micros) = self.variant.wait {
            self.tick = micros_of(micros);
            self.push_tick(queue);
        }
        for index in 0..self.descriptors.len() {
            if self.variant.receive != Receive::SinglePolled {
                self.push_receive(queue, index);
            }
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
                self.check_send(completion.flags(), result)?;
                continue;
            }
            if completion.user_data() & TICK != 0 {
                self.push_tick(queue);
                continue;
            }
            if let Some(id) = cqueue::buffer_select(completion.flags()) {
                let got = result.max(0) as usize;
                self.provided.take_back(id, got, completion.flags());
            }
            if result <= 0 && result != -libc::ENOBUFS {
                return Err(failure(result, "the server closed a connection"));
            }
            let got = result.max(0) as usize;
            if got > self.missing[index] {
                return Err(failure(0, "a response is longer than it should be"));
            }
            self.missing[index] -= got;
            let is_whole = self.missing[index] == 0;
            let by_send = is_whole && self.variant.receive == Receive::SinglePolled;
            if !cqueue::more(completion.flags()) && !by_send {
                self.push_receive(queue, index);
            }
            if is_whole {
                self.missing[index] = self.response_len;
                timing.next(index);
                self.push_send(queue, index);
                whole += 1;
            }
        }
        Ok(whole)
    }

    fn push_receive(&mut self, queue: &mut SubmissionQueue<'_>, index: usize) {
        let descriptor = self.descriptor(index);
        let entry = match self.variant.receive {
            Receive::Multishot => opcode::RecvMulti::new(descriptor, 0).build(),
            Receive::Bundle => opcode::RecvMultiBundle::new(descriptor, 0).build(),
            Receive::Single | Receive::SinglePolled => {
                let polled = self.variant.receive == Receive::SinglePolled;
                let len = self.provided.len();
                let own = self.own[index * len..].as_mut_ptr();
                opcode::Recv::new(descriptor, own, len as u32)
                    .ioprio(if polled { POLL_FIRST } else { 0 })
                    .build()
            }
        };
        self.push(queue, entry, RECEIVE | index as u64);
    }

    fn push_send(&mut self, queue: &mut SubmissionQueue<'_>, index: usize) {
        let descriptor = self.descriptor(index);
        let (whole, token) = (&self.request[..], SEND | index as u64);
        let send = |part: &[u8]| {
            opcode::Send::new(descriptor, part.as_ptr(), part.len() as u32)
                .flags(FLAGS)
                .build()
        };
        let zero_copy = || opcode::SendZc::new(descriptor, whole.as_ptr(), whole.len() as u32);
        let entry = match self.variant.send {
            Send::Copied => send(whole),
            Send::Quiet => send(whole).flags(squeue::Flags::SKIP_SUCCESS),
            Send::InTwo => {
                let (first, second) = whole.split_at(whole.len().min(SPLIT));
                let first = send(first).flags(squeue::Flags::IO_LINK);
                self.push(queue, first, token);
                self.sends += 1;
                send(second)
            }
            Send::ZeroCopy => zero_copy().flags(FLAGS).build(),
            Send::ZeroCopyFixed => zero_copy().flags(FLAGS).buf_index(Some(0)).build(),
        };
        self.sends += 1;
        self.push(queue, entry, token);
        if self.variant.receive == Receive::SinglePolled {
            self.push_receive(queue, index);
        }
    }

    fn push_tick(&self, queue: &mut SubmissionQueue<'_>) {
        let entry = opcode::Timeout::new(&self.tick).build();
        push(queue, &entry.user_data(TICK));
    }

    fn push(&self, queue: &mut SubmissionQueue<'_>, entry: squeue::Entry, token: u64) {
        let entry = match self.variant.fixed_files {
            true => entry.flags(squeue::Flags::FIXED_FILE),
            false => entry,
        };
        push(queue, &entry.user_data(token));
    }

    /// What stands for a connection: its descriptor, or its index among those that are registered.
    fn descriptor(&self, index: usize) -> Fd {
        match self.variant.fixed_files {
            true => Fd(index as RawFd),
            false => Fd(self.descriptors[index]),
        }
    }

    fn check_send(&self, flags: u32, result: i32) -> io::Result<()> {
        let all = self.request.len();
        let is_whole = match self.variant.send {
            Send::Copied | Send::Quiet => result == all as i32,
            Send::InTwo => result > 0 && [SPLIT, all - SPLIT.min(all)].contains(&(result as usize)),
            Send::ZeroCopy | Send::ZeroCopyFixed => cqueue::notif(flags) || result == all as i32,
        };
        match is_whole {
            true => Ok(()),
            false => Err(failure(result, "a send came back short")),
        }
    }
}

const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Where a request is cut that goes in two.
const SPLIT: usize = 16;

fn push(queue: &mut SubmissionQueue<'_>, entry: &squeue::Entry) {
    // SAFETY: entries point to the request, the time of a tick and to buffers, which outlive the ring.
    let pushed = unsafe { queue.push(entry) };
    pushed.expect("the queue has room for three operations of each connection");
}

fn micros_of(micros: u32) -> Timespec {
    Timespec::from(std::time::Duration::from_micros(micros.into()))
}

impl Drop for Loop {
    /// Ends what is in flight before its memory goes.
    fn drop(&mut self) {
        let work = &self.work;
        for descriptor in &work.descriptors {
            // SAFETY: shutting a socket down touches no memory; the caller still owns it.
            unsafe { libc::shutdown(*descriptor, libc::SHUT_RDWR) };
        }
        let limit = Timespec::new().sec(1);
        let submitter = self.ring.submitter();
        let drained = submitter.register_sync_cancel(Some(limit), CancelBuilder::any());
        let ended = match drained {
            Ok(()) => true,
            Err(error) => error.raw_os_error() == Some(libc::ENOENT),
        };
        // Else better lost than written to when it is somebody else's.
        if ended {
            // SAFETY: nothing is in flight, and it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.work) };
        }
    }
}

/// The flags of the production driver, or fewer where the kernel knows fewer.
fn build(connections: usize) -> io::Result<IoUring> {
    let entries = (3 * connections + 1).next_power_of_two().max(8) as u32;
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
