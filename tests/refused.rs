//! Where io_uring is refused, the engine does not start, and says why and what to do. What refuses is
//! real: a seccomp filter, a memlock limit.

use ringpool::{Config, Engine, Error, ErrorKind};
use std::process::Command;

fn start() -> Result<Engine, Error> {
    Engine::start(Config {
        shards: 2,
        pin: false,
        ..Config::default()
    })
}

/// Makes io_uring_setup fail with `errno` in this thread, and in those that it starts.
fn forbid(errno: i32) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        step(LOAD, 0, 0, 0),
        step(JUMP, 0, 1, libc::SYS_io_uring_setup as u32),
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

/// What the engine and the probe say in a thread where io_uring_setup fails with `errno`.
fn refusals_under(errno: i32) -> [Error; 2] {
    let thread = std::thread::spawn(move || {
        forbid(errno);
        let started = start().expect_err("io_uring is forbidden");
        [
            started,
            ringpool::probe().expect_err("io_uring is forbidden"),
        ]
    });
    thread.join().expect("the thread ends")
}

fn says(error: &Error, words: &[&str]) {
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!error.is_retryable());
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(std::error::Error::source(error).is_some());
}

#[test]
fn a_seccomp_filter_is_named_with_its_remedy() {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let by_sysctl = disabled.is_ok_and(|value| value.trim() != "0");
    for errno in [libc::EPERM, libc::ENOSYS] {
        for error in refusals_under(errno) {
            if by_sysctl && errno == libc::EPERM {
                says(&error, &["kernel.io_uring_disabled", "set it to 0"]);
            } else {
                says(&error, &["seccomp", "profile that allows io_uring_setup"]);
            }
        }
    }
}

#[test]
fn running_out_of_descriptors_is_named_with_its_remedy() {
    for error in refusals_under(libc::EMFILE) {
        says(&error, &["no file descriptor", "RLIMIT_NOFILE"]);
    }
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
    for _ in 0..20 {
        let _ = refusals_under(libc::EPERM);
    }
    // The refused shards' threads are gone; those of a test beside this one soon are.
    for _ in 0..2000 {
        let threads = std::fs::read_dir("/proc/self/task").expect("/proc");
        let ours = threads.filter_map(Result::ok).filter(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.starts_with("ringpool-"))
        });
        if ours.count() == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("a refused shard's thread never ends");
}

/// Set in the process that [`a_low_memlock_is_named_with_its_remedy`] starts: the limit is a process's.
const LIMITED: &str = "RINGPOOL_TEST_MEMLOCK";

#[test]
fn a_low_memlock_is_named_with_its_remedy() {
    if std::env::var_os(LIMITED).is_some() {
        return start_without_locked_memory();
    }
    let status = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_low_memlock_is_named_with_its_remedy"])
        .env(LIMITED, "1")
        .status();
    assert!(status.expect("this test starts").success());
}

/// Some kernels charge a ring to the limit (before 5.12, and again 6.18), some do not: engine and probe
/// say the same, and if it is charged, that.
fn start_without_locked_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let mut held = capabilities(None).expect("readable");
    held.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, held).expect("less is always granted");
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Memlock, none).expect("less is always granted");
    let (started, probed) = (start().map(drop), ringpool::probe().map(drop));
    assert_eq!(started.is_ok(), probed.is_ok(), "{started:?} {probed:?}");
    for error in [started, probed].into_iter().filter_map(Result::err) {
        says(&error, &["RLIMIT_MEMLOCK", "raise it", "CAP_IPC_LOCK"]);
    }
}
