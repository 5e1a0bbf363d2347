//! Sandboxes: what the driver says where io_uring is forbidden. Filters and limits belong to threads
//! or processes, so each test brings a thread of its own.

use super::*;
use crate::driver::uring::refusal::Cause;

/// Makes io_uring_setup fail with `errno` in this thread from now on, for rings of more than `entries`.
fn forbid_above(entries: u32, errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(EQUAL, 0, 3, libc::SYS_io_uring_setup as u32),
        step(LOAD, 0, 0, FIRST_ARGUMENT),
        step(GREATER, 0, 1, entries),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: both calls concern this thread alone; the program is valid and copied by the kernel.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(
            libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter),
            0
        );
    }
}

/// Where the first argument's lower half is in what a filter looks at.
const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") {
    16
} else {
    20
};

fn forbid(errno: i32) {
    forbid_above(0, errno);
}

/// As a kernel does whose memory lies in pieces.
#[test]
fn where_large_rings_find_no_memory_a_small_one_is_made() {
    let thread = std::thread::spawn(|| {
        forbid_above(256, libc::ENOMEM);
        Uring::new(&Settings::default()).map(|driver| driver.entries())
    });
    assert_eq!(thread.join().unwrap().unwrap(), 256);
}

fn refusals_under(errno: i32) -> [Refusal; 2] {
    let thread = std::thread::spawn(move || {
        forbid(errno);
        let made = Uring::new(&Settings::default()).map(drop);
        [probe().unwrap_err(), made.unwrap_err()]
    });
    thread.join().unwrap()
}

#[test]
fn a_seccomp_filter_is_named_whatever_it_returns() {
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for refusal in refusals_under(errno) {
            let expected = match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
                Ok(text) if text.trim() != "0" && errno == libc::EPERM => Cause::Sysctl,
                Ok(_) | Err(_) => Cause::Seccomp,
            };
            assert_eq!(refusal.cause, expected);
            let text = refusal.to_string();
            assert!(
                text.contains("profile") || expected == Cause::Sysctl,
                "{text}"
            );
        }
    }
}

#[test]
fn other_failures_under_a_filter_are_not_blamed_on_it() {
    for refusal in refusals_under(libc::EMFILE) {
        assert_eq!(refusal.cause, Cause::Descriptors);
    }
}

/// Set in the process that [`a_low_memlock_is_named`] starts, because the limit is a process's.
const LIMITED: &str = "RINGPOOL_TEST_MEMLOCK";

#[test]
fn a_low_memlock_is_named() {
    if std::env::var_os(LIMITED).is_some() {
        return set_up_without_locked_memory();
    }
    let name = "driver::uring::tests::refused::a_low_memlock_is_named";
    let status = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(LIMITED, "1")
        .status();
    assert!(status.unwrap().success());
}

/// Some kernels charge a ring to the limit (before 5.12, and again 6.18), some do not: if it is
/// refused, the reason is the right one.
fn set_up_without_locked_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let mut held = capabilities(None).unwrap();
    held.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, held).unwrap();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Memlock, none).unwrap();
    if let Err(refusal) = Uring::new(&Settings::default()) {
        assert_eq!(refusal.cause, Cause::Memlock);
        assert!(refusal.to_string().contains("RLIMIT_MEMLOCK"));
    }
}

#[test]
fn settings_that_cannot_be_are_refused_in_words() {
    let good = Settings::default();
    for bad in [
        Settings { buffers: 0, ..good },
        Settings {
            buffers: 100,
            ..good
        },
        Settings {
            buffer_size: 0,
            ..good
        },
        Settings { entries: 0, ..good },
        Settings {
            completions: 0,
            ..good
        },
    ] {
        let refusal = Uring::new(&bad).map(drop).unwrap_err();
        assert_eq!(refusal.cause, Cause::Other);
    }
}

#[test]
fn absurd_queue_sizes_are_clamped() {
    Bench::with(&Settings {
        entries: u32::MAX,
        completions: u32::MAX,
        ..Settings::default()
    });
}
