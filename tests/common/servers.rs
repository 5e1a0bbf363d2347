//! Servers that are not ours, started for one test each: nginx and `openssl s_server`.
//!
//! Owns: the processes and their files; both are gone when the handle is dropped. Never: falls back to
//! something else: where a program is missing its tests are skipped, loudly, or fail if
//! `RINGPOOL_FORBID_SKIP` is set.

use super::bounded::PATIENCE;
use super::certificates::Certificate;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A running nginx with one worker.
pub struct Nginx {
    /// Where it listens, if its configuration says `listen PORT`.
    pub address: SocketAddr,
    child: Child,
    directory: Directory,
}

impl Nginx {
    /// Starts nginx with these directives in its `server` block, in which PORT stands for a free port
    /// (with the loopback address) and DIR for its own directory. Returns when it accepts; `None`
    /// where there is no nginx.
    pub fn start(server: &str) -> Option<Nginx> {
        Nginx::start_with(server, &[])
    }

    /// As [`start`](Nginx::start), with files put into its directory first.
    pub fn start_with(server: &str, files: &[(&str, &[u8])]) -> Option<Nginx> {
        installed("nginx", "-v")?;
        let directory = Directory::new("nginx");
        std::fs::create_dir(directory.file("www")).expect("a directory");
        for (name, content) in files {
            std::fs::write(directory.file(name), content).expect("written");
        }
        for _ in 0..5 {
            let address = free_address();
            std::fs::write(
                directory.file("nginx.conf"),
                configuration(server, &directory, address),
            )
            .expect("written");
            let mut nginx = launch(&directory);
            if accepts(
                &mut nginx,
                &directory,
                server.contains("PORT").then_some(address),
            ) {
                return Some(Nginx {
                    address,
                    child: nginx,
                    directory,
                });
            }
            // Somebody else was quicker to take the port.
            reap(&mut nginx);
        }
        panic!("nginx did not start: {}", directory.read("error.log"));
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// A file in its directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.file(name)
    }

    /// SIGKILL to the master and its worker at once; returns when both are gone.
    pub fn kill(&mut self) {
        let group = pid(&self.child);
        kill_process_group(group, Signal::KILL).expect("it is running");
        self.child.wait().expect("it was our child");
        // The worker's parent is now somebody else, who reaps it: it is gone when its port is free.
        for _ in 0..PATIENCE.as_millis() / 5 {
            if TcpStream::connect(self.address).is_err() {
                let _ = std::fs::remove_file(self.directory.file("nginx.pid"));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("nginx survives SIGKILL");
    }

    /// Starts it again on the same port, after [`kill`](Nginx::kill).
    pub fn restart(&mut self) {
        self.child = launch(&self.directory);
        assert!(
            accepts(&mut self.child, &self.directory, Some(self.address)),
            "nginx does not start again: {}",
            self.directory.read("error.log")
        );
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

fn configuration(server: &str, directory: &Directory, address: SocketAddr) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path DIR/{what};\n"))
        .concat();
    // Without `user root` a worker started by root would be nobody, and could not read its files.
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid DIR/nginx.pid;\n\
         error_log DIR/error.log;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\n{temporary}root DIR/www;\nclient_max_body_size 0;\n\
         server {{\n{server}\n}}\n}}\n"
    )
    .replace("DIR", &directory.0.display().to_string())
    .replace("PORT", &address.to_string())
}

fn launch(directory: &Directory) -> Child {
    Command::new("nginx")
        .arg("-p")
        .arg(&directory.0)
        .arg("-e")
        .arg(directory.file("error.log"))
        .arg("-c")
        .arg(directory.file("nginx.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("nginx starts")
}

/// Whether nginx has come up. It writes its pid when its sockets are bound: a connection alone could be
/// to somebody else.
fn accepts(nginx: &mut Child, directory: &Directory, address: Option<SocketAddr>) -> bool {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if nginx.try_wait().expect("our child").is_some() {
            return false;
        }
        let bound = std::fs::read_to_string(directory.file("nginx.pid"))
            .is_ok_and(|pid| pid.trim() == nginx.id().to_string());
        if bound && address.is_none_or(|address| TcpStream::connect(address).is_ok()) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// SIGTERM to nginx's master, which ends its worker; if that does not help, SIGKILL to both.
fn reap(nginx: &mut Child) {
    if matches!(nginx.try_wait(), Ok(Some(_))) {
        return;
    }
    let _ = kill_process(pid(nginx), Signal::TERM);
    for _ in 0..PATIENCE.as_millis() / 5 {
        if matches!(nginx.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = kill_process_group(pid(nginx), Signal::KILL);
    let _ = nginx.wait();
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// A running `openssl s_server`: it serves one connection after the other.
pub struct OpensslServer {
    pub address: SocketAddr,
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
    _directory: Directory,
}

impl OpensslServer {
    /// Starts it with these options (`-rev`, `-tls1_3`, ...) on a port that it picks. `None` where
    /// there is no openssl.
    pub fn start(certificate: &Certificate, options: &[&str]) -> Option<OpensslServer> {
        installed("openssl", "version")?;
        let directory = Directory::new("openssl");
        std::fs::write(directory.file("cert.pem"), &certificate.pem).expect("written");
        std::fs::write(directory.file("key.pem"), &certificate.key_pem).expect("written");
        let mut child = Command::new("openssl")
            .current_dir(&directory.0)
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", "cert.pem", "-key", "key.pem"])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (tell, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                // Nobody listens any more: the pipe is emptied all the same.
                let _ = tell.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        let mut server = OpensslServer {
            address: ([127, 0, 0, 1], 0).into(),
            child,
            stdin,
            said,
            _directory: directory,
        };
        let line = server.hear("ACCEPT ");
        let address = line.trim_start_matches("ACCEPT ").trim();
        server.address = address.parse().expect("an address");
        Some(server)
    }

    /// Waits for a line of its output that contains `what`, and returns it.
    pub fn hear(&mut self, what: &str) -> String {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(_) => {}
                Err(error) => panic!("openssl s_server never said {what:?}: {error}"),
            }
        }
    }

    /// Gives it a line of input: sent to the peer, or a command such as `K` (update the keys).
    pub fn tell(&mut self, line: &str) {
        // In one write: it takes what one read gives it, and a lone line end for data.
        let line = format!("{line}\n");
        self.stdin.write_all(line.as_bytes()).expect("it reads");
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
