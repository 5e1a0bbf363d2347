//! Why there is no ring, in words that help.
//!
//! Owns: the reading of an errno in the light of what surrounds it (sysctl, seccomp, limits). Never:
//! retries or works around: that is for whoever reads the message, and `scarce` where memory is short.

use std::error::Error;
use std::fmt;
use std::io;

/// io_uring cannot be used here. Displays as one line: the cause, then the remedy.
#[derive(Debug)]
pub struct Refusal {
    /// What forbids it.
    pub cause: Cause,
    source: io::Error,
}

/// What forbids io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The sysctl `kernel.io_uring_disabled` (6.6) is not 0.
    Sysctl,
    /// A seccomp filter. The default profiles of Docker and containerd block io_uring.
    Seccomp,
    /// RLIMIT_MEMLOCK is too low. Kernels before 5.12 charge a ring to it, and some recent ones do
    /// again (seen on 6.18), unless the process has CAP_IPC_LOCK.
    Memlock,
    /// The kernel has no memory for a ring at the moment: it wants one block of physical pages for each queue.
    Memory,
    /// No descriptor is left, in the process or in the system.
    Descriptors,
    /// The kernel has no io_uring, or lacks a feature that the driver cannot do without.
    Kernel,
    /// Something else; the source says what the kernel said.
    Other,
}

/// What surrounds a failed set-up. `None` where it could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// `/proc/sys/kernel/io_uring_disabled`; absent before 6.6.
    pub(super) sysctl: Option<u32>,
    /// `Seccomp:` of this thread: 0 none, 1 strict, 2 filter.
    pub(super) seccomp: Option<u32>,
    /// The soft RLIMIT_MEMLOCK in bytes; `u64::MAX` for none.
    pub(super) memlock: Option<u64>,
    /// Whether that limit does not bind: CAP_IPC_LOCK, where it counts, which is outside of user namespaces.
    pub(super) unbound: bool,
}

/// Under this, a ring and its neighbours' may well not fit. The usual default is 8 MiB.
const MEMLOCK_LOW: u64 = 64 << 20;

/// Its number in `linux/capability.h`.
const CAP_IPC_LOCK: u32 = 14;

impl Refusal {
    /// Reads `source`, which io_uring's own system calls gave, in the light of this thread's
    /// surroundings.
    pub(super) fn of(source: io::Error) -> Refusal {
        let cause = classify(source.raw_os_error().unwrap_or(0), Surroundings::read());
        Refusal { cause, source }
    }

    /// The kernel lacks `feature`.
    pub(super) fn lacking(feature: &'static str) -> Refusal {
        Refusal {
            cause: Cause::Kernel,
            source: io::Error::new(io::ErrorKind::Unsupported, feature),
        }
    }

    /// The settings ask for what cannot be.
    pub(super) fn settings(complaint: &'static str) -> Refusal {
        Refusal {
            cause: Cause::Other,
            source: io::Error::new(io::ErrorKind::InvalidInput, complaint),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.cause {
            Cause::Sysctl => {
                "the sysctl kernel.io_uring_disabled forbids io_uring: set it to 0, or to 1 and \
                 run in the group named by kernel.io_uring_group"
            }
            Cause::Seccomp => {
                "a seccomp filter forbids io_uring, as the default profiles of Docker and \
                 containerd do: run with a profile that allows io_uring_setup, io_uring_enter and \
                 io_uring_register"
            }
            Cause::Memlock => {
                "RLIMIT_MEMLOCK is too low for a ring: raise it (ulimit -l, LimitMEMLOCK=), or \
                 grant CAP_IPC_LOCK"
            }
            Cause::Memory => {
                "the kernel has no memory for a ring, not even a small one: free some, or have it gathered \
                 (vm.compact_memory)"
            }
            Cause::Descriptors => {
                "no file descriptor is left for a ring: raise RLIMIT_NOFILE (ulimit -n, \
                 LimitNOFILE=) or fs.file-max"
            }
            Cause::Kernel => "this kernel lacks what the driver needs: run Linux 6.1 or later",
            Cause::Other => "io_uring could not be set up: see the system's own message",
        };
        write!(f, "{text} ({})", self.source)
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl Surroundings {
    /// Whether RLIMIT_MEMLOCK may be what stands in the way.
    fn is_bound(&self) -> bool {
        !self.unbound && self.memlock.is_some_and(|limit| limit < MEMLOCK_LOW)
    }

    fn read() -> Surroundings {
        // Filters belong to threads, so it is this thread's status that counts.
        let status = std::fs::read_to_string("/proc/thread-self/status").ok();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
        Surroundings {
            sysctl: std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
                .ok()
                .and_then(|text| text.trim().parse().ok()),
            seccomp: status.as_deref().and_then(seccomp_mode),
            memlock: Some(limit.current.unwrap_or(u64::MAX)),
            unbound: status.as_deref().is_some_and(may_lock) && in_first_namespace(),
        }
    }
}

/// Whether the effective capabilities have CAP_IPC_LOCK.
fn may_lock(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 << CAP_IPC_LOCK != 0)
}

/// Whether this process is in the first user namespace, whose map is that of all ids to themselves.
fn in_first_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map");
    map.is_ok_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

fn seccomp_mode(status: &str) -> Option<u32> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"))?;
    value.trim().parse().ok()
}

/// Which cause fits. A pure function, so that every combination can be tested anywhere.
pub(super) fn classify(errno: i32, around: Surroundings) -> Cause {
    let filtered = around.seccomp.is_some_and(|mode| mode != 0);
    match errno {
        // The sysctl is looked at first: a container has a filter more often than not.
        libc::EPERM if around.sysctl.is_some_and(|value| value != 0) => Cause::Sysctl,
        // Where /proc is hidden we are most likely in a container.
        libc::EPERM | libc::EACCES if filtered || around.seccomp.is_none() => Cause::Seccomp,
        libc::EPERM | libc::EACCES => Cause::Other,
        libc::ENOSYS if filtered => Cause::Seccomp,
        libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP => Cause::Kernel,
        libc::ENOMEM if around.is_bound() => Cause::Memlock,
        libc::ENOMEM => Cause::Memory,
        libc::EMFILE | libc::ENFILE => Cause::Descriptors,
        _ => Cause::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Surroundings = Surroundings {
        sysctl: Some(0),
        seccomp: Some(0),
        memlock: Some(u64::MAX),
        unbound: false,
    };

    #[test]
    fn each_cause_is_told_from_its_neighbours() {
        let sysctl = Surroundings {
            sysctl: Some(2),
            ..FREE
        };
        let filter = Surroundings {
            seccomp: Some(2),
            ..FREE
        };
        let both = Surroundings {
            sysctl: Some(1),
            ..filter
        };
        let hidden = Surroundings {
            sysctl: None,
            seccomp: None,
            memlock: None,
            unbound: false,
        };
        let low = Surroundings {
            memlock: Some(8 << 20),
            ..FREE
        };
        let privileged = Surroundings {
            unbound: true,
            ..low
        };
        let expected = [
            (libc::EPERM, sysctl, Cause::Sysctl),
            (libc::EPERM, both, Cause::Sysctl),
            (libc::EPERM, filter, Cause::Seccomp),
            (libc::EPERM, hidden, Cause::Seccomp),
            (libc::EPERM, FREE, Cause::Other),
            (libc::EACCES, filter, Cause::Seccomp),
            (libc::EACCES, FREE, Cause::Other),
            (libc::ENOSYS, filter, Cause::Seccomp),
            (libc::ENOSYS, FREE, Cause::Kernel),
            (libc::ENOSYS, hidden, Cause::Kernel),
            (libc::EINVAL, FREE, Cause::Kernel),
            (libc::ENOMEM, low, Cause::Memlock),
            (libc::ENOMEM, privileged, Cause::Memory),
            (libc::ENOMEM, FREE, Cause::Memory),
            (libc::ENOMEM, hidden, Cause::Memory),
            (libc::EMFILE, FREE, Cause::Descriptors),
            (libc::ENFILE, filter, Cause::Descriptors),
            (libc::EIO, FREE, Cause::Other),
            (0, FREE, Cause::Other),
        ];
        for (errno, around, cause) in expected {
            assert_eq!(classify(errno, around), cause, "{errno} {around:?}");
        }
    }

    #[test]
    fn the_message_is_one_line_with_cause_remedy_and_source() {
        for cause in [
            Cause::Sysctl,
            Cause::Seccomp,
            Cause::Memlock,
            Cause::Memory,
            Cause::Descriptors,
            Cause::Kernel,
            Cause::Other,
        ] {
            let refusal = Refusal {
                cause,
                source: io::Error::from_raw_os_error(libc::EPERM),
            };
            let text = refusal.to_string();
            assert!(!text.contains('\n') && text.contains(": "), "{text}");
            assert!(text.contains("Operation not permitted"), "{text}");
            assert!(refusal.source().is_some());
        }
    }

    #[test]
    fn capabilities_are_read_from_their_own_line() {
        assert!(may_lock("CapPrm:\t0\nCapEff:\t0000000000004000\n"));
        assert!(!may_lock("CapPrm:\t4000\nCapEff:\t000001ffffffbfff\n"));
        assert!(!may_lock("CapEff:\tmany\n"));
    }

    #[test]
    fn the_mode_is_read_from_its_own_line() {
        assert_eq!(
            seccomp_mode("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"),
            Some(2)
        );
        assert_eq!(seccomp_mode("Seccomp_filters:\t1\n"), None);
        assert_eq!(seccomp_mode("Seccomp:\tmany\n"), None);
    }
}
