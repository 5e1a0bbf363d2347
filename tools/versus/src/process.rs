//! What a process asks the kernel about itself: its core, its descriptors, its memory, its CPU time.

use crate::failure::Failure;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use nix::unistd::Pid;

/// The cores that this process may run on.
pub(crate) fn cores_allowed() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    let is_allowed = |core: &usize| {
        allowed
            .as_ref()
            .is_ok_and(|set| set.is_set(*core) == Ok(true))
    };
    (0..CpuSet::count()).filter(is_allowed).collect()
}

/// Pins this thread, and all that it starts, to one core.
pub(crate) fn pin(core: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|error| Failure::Machine(format!("cannot pin to core {core}: {error}")))
}

/// Raises the limit on descriptors as far as it goes towards `wanted`, beyond the hard limit where that is
/// allowed, and tells what it is then.
pub(crate) fn raise_descriptors(wanted: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 0;
    };
    if soft >= wanted {
        return soft;
    }
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).is_ok()
        || setrlimit(Resource::RLIMIT_NOFILE, hard.min(wanted), hard).is_ok();
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((now, _)) if raised => now,
        Ok(_) | Err(_) => soft,
    }
}

/// CPU time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTime {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
}

impl CpuTime {
    /// What this process, all threads, has used so far.
    pub(crate) fn of_this() -> CpuTime {
        CpuTime::of(UsageWho::RUSAGE_SELF)
    }

    /// What its children have used that have ended and were waited for.
    pub(crate) fn of_children() -> CpuTime {
        CpuTime::of(UsageWho::RUSAGE_CHILDREN)
    }

    fn of(who: UsageWho) -> CpuTime {
        let usage = getrusage(who).expect("both are valid, and nothing else can fail");
        let micros = |time: TimeVal| time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
        CpuTime {
            user_us: micros(usage.user_time()),
            system_us: micros(usage.system_time()),
        }
    }

    pub(crate) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            user_us: self.user_us.saturating_sub(earlier.user_us),
            system_us: self.system_us.saturating_sub(earlier.system_us),
        }
    }
}

/// The most memory that a process had resident since it began to run its program; `None` once it has ended.
///
/// Not `ru_maxrss`: that one goes on from what the process was before exec(2).
pub(crate) fn peak_rss_bytes(process: &str) -> Option<u64> {
    peak_of(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes = line.trim().strip_suffix("kB")?.trim();
    Some(kilobytes.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "VmPeak:\t  999 kB\nVmHWM:\t    5120 kB\nThreads:\t1\n";
        assert_eq!(peak_of(status), Some(5120 << 10));
        assert_eq!(peak_of("State:\tZ (zombie)\n"), None);
        assert!(peak_rss_bytes("self").unwrap() > 0);
    }

    #[test]
    fn this_process_runs_on_some_core() {
        assert!(!cores_allowed().is_empty());
    }

    #[test]
    fn no_time_is_negative() {
        let now = CpuTime::of_this();
        assert_eq!(CpuTime::default().since(now), CpuTime::default());
    }
}
