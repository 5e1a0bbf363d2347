//! The two queues shared with the kernel, and the one system call.
//!
//! Owns: the ring, what does not fit in its submission queue, the counting of calls. Never: looks at
//! what an operation is.
//!
//! Every call names its flags: `IoUring::submit` would leave GETEVENTS out whenever the flag of
//! deferred work is down, and a DEFER_TASKRUN ring polled that way can stall.

use super::Settings;
use super::probe::Probe;
use super::spin::Spin;
use crate::driver::Wait;
use io_uring::{EnterFlags, IoUring, cqueue, squeue, types};
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

/// How many further calls one [`Ring::enter`] makes while deferred work is left: a pass runs about
/// 20 items of it. What is left even then keeps [`Ring::deferred`] up.
const EXTRA_PASSES: u32 = 8;

/// With so many completions to reap no further call is made. A pass lets one multishot receive fill 33
/// buffers: pass after pass, a peer that floods would fill them all before anybody could stop it.
const UNREAPED_MAX: usize = 64;

pub(super) struct Ring {
    ring: IoUring,
    /// What the kernel would not take yet, oldest first. Bounded by what the callers may have in
    /// flight: a few operations for each socket.
    backlog: VecDeque<squeue::Entry>,
    /// Whether the kernel tells of deferred work in shared memory (TASKRUN_FLAG).
    tells_of_work: bool,
    /// The flag that tells of it is up and tells nothing: call after call found nothing to do. The kernel raises it after
    /// it has put work on its list; if that work has been done in between, it stays up until there is some again.
    stale: bool,
    /// Calls made because of that where nothing of this may change.
    stale_calls: Cell<u64>,
    /// One of them was told that a completion was lost.
    stale_loss: Cell<bool>,
    /// Whether a sleep can be kept out of the accounts of waiting for disks (6.15).
    no_iowait: bool,
    /// What comes before a sleep.
    spin: Spin,
    /// Calls that could only sleep: nothing was to be handed over, nothing was there.
    pub(super) sleeps: u64,
    pub(super) enters: u64,
    pub(super) enters_extra: u64,
    pub(super) submissions: u64,
    pub(super) lost: u64,
}

impl Ring {
    /// Sets a ring up with every flag that `probe` found accepted. It belongs to this thread.
    pub(super) fn new(settings: &Settings, probe: &Probe) -> io::Result<Ring> {
        let Settings {
            entries,
            completions,
            spin,
            ..
        } = *settings;
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(completions.max(entries));
        if probe.submit_all {
            builder.setup_submit_all();
        }
        if probe.single_issuer {
            builder.setup_single_issuer();
        }
        if probe.defer_taskrun {
            builder.setup_defer_taskrun();
        }
        if probe.coop_taskrun {
            builder.setup_coop_taskrun();
        }
        if probe.taskrun_flag {
            builder.setup_taskrun_flag();
        }
        if probe.no_sqarray {
            builder.setup_no_sqarray();
        }
        let ring = builder.build(entries)?;
        Ok(Ring {
            backlog: VecDeque::new(),
            tells_of_work: probe.taskrun_flag,
            no_iowait: ring.params().is_feature_no_iowait(),
            ring,
            stale: false,
            stale_calls: Cell::new(0),
            stale_loss: Cell::new(false),
            spin: Spin::new(spin),
            sleeps: 0,
            enters: 0,
            enters_extra: 0,
            submissions: 0,
            lost: 0,
        })
    }

    pub(super) fn io_uring(&self) -> &IoUring {
        &self.ring
    }

    /// Whether anything waits in the completion queue, or to be put there. No system call, unless the kernel's flag is
    /// known to tell nothing.
    #[inline]
    pub(super) fn pending(&self) -> bool {
        if self.stale {
            return self.pending_by_call();
        }
        pending(&self.ring)
    }

    /// The same, where the flag cannot be trusted: what there is to do is done first.
    #[cold]
    fn pending_by_call(&self) -> bool {
        self.stale_calls.set(self.stale_calls.get() + 1);
        let flags = EnterFlags::GETEVENTS.bits();
        // SAFETY: nothing is handed over, and there is no argument.
        let result = unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(0, 0, flags, None)
        };
        if result.is_err_and(|error| error.raw_os_error() == Some(libc::EBADR)) {
            self.stale_loss.set(true);
        }
        self.overflowed() || !self.is_reaped()
    }

    /// Calls made in all, and those of them for deferred work.
    pub(super) fn calls(&self) -> (u64, u64) {
        let stale = self.stale_calls.get();
        (self.enters + stale, self.enters_extra + stale)
    }

    /// Whether completions wait that found no room.
    pub(super) fn overflowed(&self) -> bool {
        self.flags().1
    }

    /// The completions that are there.
    #[inline]
    pub(super) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.ring.completion()
    }

    /// Queues `entry`. Makes a system call only if the submission queue is full.
    ///
    /// # Safety
    /// What `entry` points to stays valid until its final completion.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise is the one that is asked for.
        if !self.backlog.is_empty() || unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.push_slowly(entry);
        }
    }

    #[cold]
    fn push_slowly(&mut self, entry: squeue::Entry) {
        self.backlog.push_back(entry);
        self.flush_backlog();
    }

    /// Moves the backlog to the submission queue, and that to the kernel when it is full. Ends when
    /// the kernel takes no more for now.
    fn flush_backlog(&mut self) {
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever queued the entry promised that what it points to stays valid.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                self.backlog.pop_front();
                continue;
            }
            // Errors are left to `enter`, which meets them again and has somebody to tell.
            if !matches!(self.call(0, EnterFlags::empty(), None), Ok(taken) if taken > 0) {
                return;
            }
        }
    }

    /// Hands over what is queued, runs deferred work, sleeps as `wait` says unless completions are
    /// there already.
    ///
    /// # Errors
    /// Those that no retry cures. EBADR among them: the kernel had no memory to keep a completion
    /// that found no room, so an operation will never end.
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.flush_backlog();
        // Said once by the kernel, perhaps to a call that had nobody to tell.
        if self.lost > 0 || self.stale_loss.get() {
            return Err(io::Error::from_raw_os_error(libc::EBADR));
        }
        let mut wait = wait;
        let mut sleeps = wait != Wait::No && self.backlog.is_empty() && self.is_reaped();
        if sleeps && self.tells_of_work && !self.stale && self.spin.is_wanted() {
            wait = self.look_out(wait)?;
            sleeps = wait != Wait::No;
        }
        self.sleeps += u64::from(sleeps && self.is_handed_over());
        if sleeps || !self.is_handed_over() || !self.tells_of_work || self.has_work() {
            tolerate(self.call_and_wait(if sleeps { wait } else { Wait::No }))?;
        }
        self.run_deferred()
    }

    /// Has the kernel do what it has put off, as far as it tells of any.
    fn run_deferred(&mut self) -> io::Result<()> {
        let before = self.unreaped();
        for _ in 0..EXTRA_PASSES {
            if !self.tells_of_work || !self.flags().0 {
                self.stale = false;
                return Ok(());
            }
            let unreaped = self.unreaped();
            self.stale &= unreaped == before;
            if self.stale || unreaped >= UNREAPED_MAX {
                return Ok(());
            }
            self.enters_extra += 1;
            tolerate(self.call_and_wait(Wait::No))?;
        }
        self.stale = self.flags().0 && self.unreaped() == before;
        Ok(())
    }

    /// Hands over what is queued and looks out for what comes, instead of a sleep. What is left to wait for: nothing
    /// if something came, to be reaped or fetched, or if it took as long as the sleep was to.
    fn look_out(&mut self, wait: Wait) -> io::Result<Wait> {
        if !self.is_handed_over() {
            tolerate(self.call_and_wait(Wait::No))?;
        }
        let at_most = match wait {
            Wait::No => Duration::ZERO,
            Wait::Event => Duration::MAX,
            Wait::EventOr(limit) => limit,
        };
        let ring = &self.ring;
        let took = self.spin.look_out(at_most, || pending(ring));
        Ok(match (took, wait) {
            (None, _) => Wait::No,
            (Some(took), Wait::EventOr(limit)) if took >= limit => Wait::No,
            (Some(took), Wait::EventOr(limit)) => Wait::EventOr(limit - took),
            (Some(_), wait) => wait,
        })
    }

    /// The completions that were there are reaped: whether `any` of them was waited for.
    #[inline]
    pub(super) fn reaped(&mut self, any: bool) {
        self.spin.reaped(any);
    }

    /// Lets completions in that found no room.
    pub(super) fn flush_overflow(&mut self) -> io::Result<()> {
        tolerate(self.call(0, EnterFlags::GETEVENTS, None))
    }

    fn call_and_wait(&mut self, wait: Wait) -> io::Result<usize> {
        let mut flags = EnterFlags::GETEVENTS;
        if wait != Wait::No && self.no_iowait {
            flags |= EnterFlags::NO_IOWAIT;
        }
        match wait {
            Wait::No => self.call(0, flags, None),
            Wait::Event => self.call(1, flags, None),
            Wait::EventOr(limit) => {
                let limit = types::Timespec::from(limit);
                let limit = types::SubmitArgs::new().timespec(&limit);
                self.call(1, flags | EnterFlags::EXT_ARG, Some(&limit))
            }
        }
    }

    fn call(
        &mut self,
        want: u32,
        flags: EnterFlags,
        limit: Option<&types::SubmitArgs<'_, '_>>,
    ) -> io::Result<usize> {
        self.enters += 1;
        let queued = self.ring.submission().len() as u32;
        // SAFETY: `flags` has EXT_ARG exactly if there is a `limit`, whose type is the one that
        // EXT_ARG stands for. The entries are valid: `push` asks for it.
        let result = unsafe {
            self.ring
                .submitter()
                .enter(queued, want, flags.bits(), limit)
        };
        match &result {
            Ok(taken) => self.submissions += *taken as u64,
            Err(error) if error.raw_os_error() == Some(libc::EBADR) => self.lost += 1,
            Err(_) => {}
        }
        result
    }

    /// Whether the kernel has all that was queued.
    pub(super) fn is_handed_over(&mut self) -> bool {
        self.backlog.is_empty() && self.ring.submission().is_empty()
    }

    #[inline]
    fn is_reaped(&self) -> bool {
        self.unreaped() == 0
    }

    /// Completions that nobody has taken yet.
    #[inline]
    fn unreaped(&self) -> usize {
        // SAFETY: no other view of the queue lives: all are temporaries of this type's methods, or
        // borrow it mutably.
        unsafe { self.ring.completion_shared() }.len()
    }

    fn has_work(&self) -> bool {
        let (work, overflow) = self.flags();
        work || overflow
    }

    /// SQ_TASKRUN and SQ_CQ_OVERFLOW.
    #[inline]
    fn flags(&self) -> (bool, bool) {
        // SAFETY: no other view of the queue lives: all are temporaries of this type's methods.
        let queue = unsafe { self.ring.submission_shared() };
        (queue.taskrun(), queue.cq_overflow())
    }

    /// As if the kernel's flag had been found to tell nothing.
    #[cfg(test)]
    pub(super) fn distrust(&mut self) {
        self.stale = true;
    }

    #[cfg(test)]
    pub(super) fn backlog_len(&self) -> usize {
        self.backlog.len()
    }
}

/// Whether anything waits in the completion queue, or to be put there.
#[inline]
fn pending(ring: &IoUring) -> bool {
    // SAFETY: no other view of the queues lives: all are temporaries of `Ring`'s methods, or borrow it mutably.
    let (queue, completions) = unsafe { (ring.submission_shared(), ring.completion_shared()) };
    queue.taskrun() || queue.cq_overflow() || !completions.is_empty()
}

/// What passes by itself is no error: a signal, a time-out, a full completion queue, a moment without
/// memory. Whatever was not submitted is still queued.
fn tolerate(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN) => Ok(()),
            Some(_) | None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_tolerated() {
        for errno in [libc::EINTR, libc::ETIME, libc::EBUSY, libc::EAGAIN] {
            assert!(tolerate(Err(io::Error::from_raw_os_error(errno))).is_ok());
        }
        for errno in [
            libc::EBADR,
            libc::EBADF,
            libc::EINVAL,
            libc::EEXIST,
            libc::EFAULT,
        ] {
            assert!(tolerate(Err(io::Error::from_raw_os_error(errno))).is_err());
        }
        assert!(tolerate(Ok(3)).is_ok());
    }
}
