//! Servers that are not ours, started for one test each: nginx, HAProxy, `openssl s_server` and Prometheus.
//!
//! Owns: what they share: whether they are installed, their ports and directories; a file for each has its process.
//! All of it is gone when the handle is dropped. Never: falls back to something else: where a program is missing its
//! tests are skipped, loudly, or fail if `RINGPOOL_FORBID_SKIP` is set.

pub mod haproxy;
pub mod nginx;
pub mod openssl;
pub mod prometheus;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether there is such a program. If not, the test that asks is named on standard error, past the
/// test runner's capture; `RINGPOOL_FORBID_SKIP` makes it fail instead.
fn installed(program: &str, harmless: &str) -> Option<()> {
    let tried = Command::new(program)
        .arg(harmless)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if tried.is_ok() {
        return Some(());
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os("RINGPOOL_FORBID_SKIP").is_none(),
        "{program} is not installed"
    );
    let notice = format!("SKIPPED: {test}: {program} is not installed\n");
    let _ = std::io::stderr().write_all(notice.as_bytes());
    None
}

/// A port on the loopback address that nobody has. Below the range that the kernel takes clients' ports
/// from: none of them can take it before its server does, or while that is down.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        let nth =
            std::process::id().wrapping_mul(97) % 12_000 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(20_000 + nth % 12_000).expect("below 32,000");
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().expect("a bound port");
        }
    }
    panic!("no port is free");
}

/// A directory of one server's own, gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(whose: &str) -> Directory {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpool-{whose}-{}-{nth}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // What a killed test of the same number left behind.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).expect("a directory");
        Directory(path)
    }

    fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
