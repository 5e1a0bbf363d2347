//! What this kernel's io_uring can do, found by trying it.
//!
//! Owns: one trial for each feature, on rings of its own that are gone afterwards. Never: looks at a
//! version. Distributions backport features, and sandboxes take them away.

use super::buffers::{Buffers, GROUP};
use super::refusal::Refusal;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{Builder, EnterFlags, IoUring, cqueue, opcode, squeue};
use std::fmt;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::OnceLock;

/// What was found. Displays as one line for each feature.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// IORING_SETUP_SINGLE_ISSUER (6.0): one thread submits, the kernel need not lock.
    pub single_issuer: bool,
    /// IORING_SETUP_DEFER_TASKRUN (6.1): completions are worked out only when we ask for them.
    pub defer_taskrun: bool,
    /// IORING_SETUP_COOP_TASKRUN (5.19): no interrupt to tell of completions.
    pub coop_taskrun: bool,
    /// IORING_SETUP_TASKRUN_FLAG (5.19): shared memory tells of deferred work.
    pub taskrun_flag: bool,
    /// IORING_SETUP_SUBMIT_ALL (5.18): one bad entry does not hold up the others.
    pub submit_all: bool,
    /// IORING_SETUP_NO_SQARRAY (6.6): one indirection less.
    pub no_sqarray: bool,
    /// Provided-buffer rings (5.19). The driver needs them.
    pub buffer_ring: bool,
    /// Multishot receive (6.0). The driver needs it.
    pub receive_multishot: bool,
    /// MSG_WAITALL on a send (5.19): a short send goes on by itself.
    pub send_waitall: bool,
    /// Cancelling all operations on a descriptor at once (5.19).
    pub cancel_by_descriptor: bool,
    /// Messages between rings (5.18).
    pub ring_messages: bool,
    /// A time-out as an argument of the wait (5.11). The driver needs it.
    pub wait_timeout: bool,
    /// The kernel's own name for itself, for display alone.
    pub kernel: String,
}

/// Tries every feature. Takes a few milliseconds and about eight short-lived rings.
///
/// # Errors
/// If no ring can be had at all, or descriptors or memory run out on the way.
pub fn probe() -> Result<Probe, Refusal> {
    let trial = Trial::new().map_err(Refusal::of)?;
    let single_issuer = accepts(|ring| ring.setup_single_issuer())?;
    let mut probe = Probe {
        single_issuer,
        defer_taskrun: single_issuer
            && accepts(|ring| ring.setup_single_issuer().setup_defer_taskrun())?,
        coop_taskrun: accepts(|ring| ring.setup_coop_taskrun())?,
        taskrun_flag: accepts(|ring| ring.setup_coop_taskrun().setup_taskrun_flag())?,
        submit_all: accepts(|ring| ring.setup_submit_all())?,
        no_sqarray: accepts(|ring| ring.setup_no_sqarray())?,
        buffer_ring: false,
        receive_multishot: false,
        send_waitall: false,
        cancel_by_descriptor: false,
        ring_messages: false,
        wait_timeout: trial.wait_timeout(),
        kernel: rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned(),
    };
    // Without time-outs a trial that goes wrong would never end, and nothing newer is there either.
    if probe.wait_timeout {
        trial.fill(&mut probe).map_err(Refusal::of)?;
    }
    Ok(probe)
}

/// What the first probe of this process found, so that each shard need not try again.
pub(super) fn once() -> Result<&'static Probe, Refusal> {
    static FOUND: OnceLock<Probe> = OnceLock::new();
    match FOUND.get() {
        Some(found) => Ok(found),
        None => {
            let found = probe()?;
            Ok(FOUND.get_or_init(|| found))
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kernel {}", self.kernel)?;
        let features = [
            ("single_issuer", self.single_issuer),
            ("defer_taskrun", self.defer_taskrun),
            ("coop_taskrun", self.coop_taskrun),
            ("taskrun_flag", self.taskrun_flag),
            ("submit_all", self.submit_all),
            ("no_sqarray", self.no_sqarray),
            ("buffer_ring", self.buffer_ring),
            ("receive_multishot", self.receive_multishot),
            ("send_waitall", self.send_waitall),
            ("cancel_by_descriptor", self.cancel_by_descriptor),
            ("ring_messages", self.ring_messages),
            ("wait_timeout", self.wait_timeout),
        ];
        for (name, there) in features {
            writeln!(f, "{name} {}", if there { "yes" } else { "no" })?;
        }
        Ok(())
    }
}

/// Whether a ring can be set up so. EINVAL is the kernel's word for a flag that it does not know;
/// any other error says nothing about the flag.
fn accepts(set: impl Fn(&mut Builder) -> &mut Builder) -> Result<bool, Refusal> {
    match set(&mut IoUring::builder()).build(2) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(Refusal::of(error)),
    }
}

/// A plain ring to try operations on.
struct Trial {
    ring: IoUring,
}

/// Longer than any trial takes; only a feature that does not work as it should meets it.
const LIMIT: Timespec = Timespec::new().sec(1);

/// More than a socket buffer of the smallest size takes at once.
static PAYLOAD: [u8; 1 << 18] = [0; 1 << 18];

impl Trial {
    fn new() -> io::Result<Trial> {
        Ok(Trial {
            ring: IoUring::new(4)?,
        })
    }

    fn fill(mut self, probe: &mut Probe) -> io::Result<()> {
        let buffers = Buffers::new(2, 64)?;
        probe.buffer_ring = buffers.register(&self.ring.submitter()).is_ok();
        probe.receive_multishot = probe.buffer_ring && self.receive_multishot(&buffers)?;
        probe.cancel_by_descriptor = self.cancel_by_descriptor()?;
        probe.ring_messages = self.ring_messages()?;
        probe.send_waitall = self.send_waitall()?;
        Ok(())
    }

    /// ETIME after the time that we asked for, not EINVAL.
    fn wait_timeout(&self) -> bool {
        let short = Timespec::new().nsec(1);
        let result = self.enter(0, &short);
        result.is_err_and(|error| error.raw_os_error() == Some(libc::ETIME))
    }

    /// The first completion says that more follow.
    fn receive_multishot(&mut self, buffers: &Rc<Buffers>) -> io::Result<bool> {
        let (ours, mut peer) = UnixStream::pair()?;
        peer.write_all(b"x")?;
        let entry = opcode::RecvMulti::new(Fd(ours.as_raw_fd()), GROUP).build();
        let first = self.run(entry)?;
        let more = first
            .as_ref()
            .is_some_and(|first| cqueue::more(first.flags()));
        drop(peer);
        if first.is_none() || (more && self.next()?.is_none()) {
            // The kernel may still write there.
            std::mem::forget(Rc::clone(buffers));
        }
        Ok(more)
    }

    /// It finds nothing, but it understands the question.
    fn cancel_by_descriptor(&mut self) -> io::Result<bool> {
        let (ours, _peer) = UnixStream::pair()?;
        let target = CancelBuilder::fd(Fd(ours.as_raw_fd())).all();
        let answer = self.run(opcode::AsyncCancel2::new(target).build())?;
        Ok(answer.is_some_and(|answer| matches!(answer.result(), 0 | NOT_FOUND)))
    }

    /// A message to ourselves: one completion for the sending, one that is the message.
    fn ring_messages(&mut self) -> io::Result<bool> {
        let ring: RawFd = self.ring.as_raw_fd();
        let answer = self.run(opcode::MsgRingData::new(Fd(ring), 7, 7, None).build())?;
        let second = match &answer {
            Some(answer) if answer.result() >= 0 => self.next()?,
            Some(_) | None => None,
        };
        Ok([answer, second]
            .iter()
            .flatten()
            .any(|completion| completion.result() == 7 && completion.user_data() == 7))
    }

    /// More than fits: it does not come back short at once, but when the peer goes.
    fn send_waitall(&mut self) -> io::Result<bool> {
        let (ours, peer) = UnixStream::pair()?;
        let entry = opcode::Send::new(Fd(ours.as_raw_fd()), PAYLOAD.as_ptr(), PAYLOAD.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        socket2::SockRef::from(&ours).set_send_buffer_size(4096)?;
        self.push(&entry);
        self.enter_at_once()?;
        let waits = self.ring.completion().next().is_none();
        drop(peer);
        if waits {
            self.next()?;
        }
        Ok(waits)
    }

    fn run(&mut self, entry: squeue::Entry) -> io::Result<Option<cqueue::Entry>> {
        self.push(&entry);
        self.next()
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: entries point to the static payload or to a ring of buffers, which `fill` keeps
        // until the operation has ended.
        let pushed = unsafe { self.ring.submission().push(entry) };
        pushed.expect("a trial has one operation at a time");
    }

    /// The next completion, if one comes in time.
    fn next(&mut self) -> io::Result<Option<cqueue::Entry>> {
        if let Some(there) = self.ring.completion().next() {
            return Ok(Some(there));
        }
        let queued = self.queued();
        let entered = self.enter(queued, &LIMIT);
        match entered.map_err(|error| error.raw_os_error()) {
            Ok(_) | Err(Some(libc::ETIME | libc::EINTR)) => Ok(self.ring.completion().next()),
            Err(Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
            Err(None) => Err(io::ErrorKind::Other.into()),
        }
    }

    fn queued(&mut self) -> u32 {
        self.ring.submission().len() as u32
    }

    fn enter(&self, submit: u32, limit: &Timespec) -> io::Result<usize> {
        let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        let limit = SubmitArgs::new().timespec(limit);
        // SAFETY: SubmitArgs is what EXT_ARG stands for; `push` answers for the entries.
        unsafe {
            self.ring
                .submitter()
                .enter(submit, 1, flags.bits(), Some(&limit))
        }
    }

    fn enter_at_once(&mut self) -> io::Result<usize> {
        let submit = self.queued();
        let flags = EnterFlags::GETEVENTS;
        // SAFETY: no extended argument; `push` answers for the entries.
        unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(submit, 0, flags.bits(), None)
        }
    }
}

const NOT_FOUND: i32 = -libc::ENOENT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_what_the_driver_needs() {
        let found = probe().unwrap();
        assert!(
            found.buffer_ring && found.receive_multishot && found.wait_timeout,
            "{found}"
        );
    }

    #[test]
    fn it_displays_one_line_for_each_feature() {
        let found = probe().unwrap();
        let text = found.to_string();
        assert_eq!(text.lines().count(), 13);
        assert!(text.contains("buffer_ring yes\n"), "{text}");
    }

    #[test]
    fn dependent_flags_are_not_claimed_alone() {
        let found = probe().unwrap();
        assert!(found.single_issuer || !found.defer_taskrun);
    }
}
