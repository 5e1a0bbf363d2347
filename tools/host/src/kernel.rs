//! The kernel: its release, its clock, its memory, and what it allows of io_uring.

use crate::tree::Tree;
use serde::Serialize;

/// The kernel of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Kernel {
    /// Its release, such as `6.18.2`.
    pub kernel: Option<String>,
    /// What tells the time: with anything but `tsc` or `arch_sys_counter` a look at the clock is a system call, or nearly.
    pub clock_source: Option<String>,
    /// `always`, `madvise` or `never`.
    pub transparent_huge_pages: Option<String>,
    /// Huge pages that are set aside.
    pub huge_pages: Option<u64>,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// The sysctl `kernel.io_uring_disabled`: 0 allowed, 1 for a group alone, 2 forbidden.
    pub io_uring_disabled: Option<u8>,
    /// The sysctl `kernel.io_uring_group`: who is allowed at 1; -1 is nobody.
    pub io_uring_group: Option<i64>,
    /// Runnable tasks averaged over the minute before: more than none is other work beside.
    pub load_before: Option<f64>,
}

impl Kernel {
    pub(crate) fn look(tree: &Tree) -> Kernel {
        let clock = "sys/devices/system/clocksource/clocksource0/current_clocksource";
        let memory = tree.field("proc/meminfo", "MemTotal");
        let load = tree.line("proc/loadavg");
        Kernel {
            kernel: tree.line("proc/sys/kernel/osrelease"),
            clock_source: tree.line(clock),
            transparent_huge_pages: tree.chosen("sys/kernel/mm/transparent_hugepage/enabled"),
            huge_pages: tree.number("proc/sys/vm/nr_hugepages"),
            memory_bytes: memory.and_then(|kib| kilobytes(&kib)),
            io_uring_disabled: tree.number("proc/sys/kernel/io_uring_disabled"),
            io_uring_group: tree.number("proc/sys/kernel/io_uring_group"),
            load_before: load.and_then(|load| load.split(' ').next()?.parse().ok()),
        }
    }
}

fn kilobytes(field: &str) -> Option<u64> {
    let kib: u64 = field.strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(kilobytes("16 kB"), Some(16_384));
        assert_eq!(kilobytes("16"), None);
    }
}
