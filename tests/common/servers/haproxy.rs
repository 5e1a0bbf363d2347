//! HAProxy.
//!
//! Owns: its processes (a master, and a worker that a reload replaces) and configuration. Never: has a backend: it answers
//! by itself.

use super::{Directory, free_address, installed};
use crate::common::bounded::PATIENCE;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running HAProxy with one worker of one thread.
pub struct Haproxy {
    pub address: SocketAddr,
    child: Child,
    directory: Directory,
}

/// What may be said of it.
#[derive(Default)]
pub struct Settings<'a> {
    /// Further lines of the `global` section.
    pub global: &'a str,
    /// What its `bind` line says after the certificate: versions, client certificates, tickets. DIR is its directory.
    pub bind: &'a str,
    /// Further lines of its frontend, before the one that answers.
    pub frontend: &'a str,
}

impl Haproxy {
    /// Starts HAProxy with these files in its directory, `server.pem` (certificate and key) among them. Each request is
    /// answered with the worker's process id and the client certificate's serial number; the response's headers tell
    /// the TLS version (`tls`) and whether the session was resumed (`resumed`, 0 or 1). Returns when it accepts; `None`
    /// where there is no HAProxy.
    pub fn start(settings: &Settings<'_>, files: &[(&str, &str)]) -> Option<Haproxy> {
        installed("haproxy", "-v")?;
        let directory = Directory::new("haproxy");
        for (name, content) in files {
            std::fs::write(directory.file(name), content).expect("written");
        }
        for _ in 0..5 {
            let address = free_address();
            let configuration = configuration(settings, &directory, address);
            std::fs::write(directory.file("haproxy.cfg"), configuration).expect("written");
            let mut child = launch(&directory);
            if accepts(&mut child, &directory, address) {
                return Some(Haproxy {
                    address,
                    child,
                    directory,
                });
            }
            // Somebody else was quicker to take the port.
            reap(&mut child);
        }
        panic!("HAProxy did not start: {}", directory.read("said"));
    }

    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Has it read its configuration again: a new worker takes the port over, and the one before serves what it has
    /// to its end. Returns when that has begun.
    pub fn reload(&self) {
        // Not SIGUSR2, which is lost on a master that has just started its worker. Its socket is away while it starts
        // anew, which may take a moment longer than its worker does.
        let path = self.directory.file("master");
        let connected = (0..PATIENCE.as_millis() / 5).find_map(|_| {
            let connected = UnixStream::connect(&path);
            if connected.is_err() {
                std::thread::sleep(Duration::from_millis(5));
            }
            connected.ok()
        });
        let mut master = connected.expect("it comes back");
        master.set_read_timeout(Some(PATIENCE)).expect("set");
        master.write_all(b"reload\n").expect("it listens");
        let ended = master.read_to_end(&mut Vec::new());
        ended.expect("it closes when it starts anew");
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        reap(&mut self.child);
    }
}

fn configuration(settings: &Settings<'_>, directory: &Directory, address: SocketAddr) -> String {
    let Settings {
        global,
        bind,
        frontend,
    } = settings;
    // The listening socket goes from worker to worker by the socket of its commands: nobody is refused in between.
    format!(
        "global\n nbthread 1\n maxconn 1000\n\
         \x20stats socket DIR/commands mode 600 level admin expose-fd listeners\n{global}\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
         \x20timeout http-keep-alive 30s\n\
         backend ports\n stick-table type integer size 10k expire 60s store http_req_cnt\n\
         frontend tls\n bind {address} ssl crt DIR/server.pem alpn http/1.1 {bind}\n{frontend}\n\
         \x20http-request return status 200 content-type text/plain hdr tls %[ssl_fc_protocol] \
         hdr resumed %[ssl_fc_is_resumed] lf-string \"%pid %[ssl_c_serial,hex]\"\n"
    )
    .replace("DIR", &directory.0.display().to_string())
}

fn launch(directory: &Directory) -> Child {
    let said = std::fs::File::create(directory.file("said")).expect("a file");
    Command::new("haproxy")
        // A master and a worker, in the foreground.
        .args(["-W", "-db", "-f"])
        .arg(directory.file("haproxy.cfg"))
        .arg("-S")
        .arg(directory.file("master"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .process_group(0)
        .spawn()
        .expect("HAProxy starts")
}

/// Whether HAProxy has come up. Its socket for commands is there when it has bound its port: a connection alone could be
/// to somebody else.
fn accepts(child: &mut Child, directory: &Directory, address: SocketAddr) -> bool {
    for _ in 0..PATIENCE.as_millis() / 5 {
        if child.try_wait().expect("our child").is_some() {
            return false;
        }
        if directory.file("commands").exists() && TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

/// SIGTERM to the master, which ends its workers; if that does not help, SIGKILL to all.
fn reap(child: &mut Child) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let pid = Pid::from_child(child);
    let _ = kill_process(pid, Signal::TERM);
    for _ in 0..PATIENCE.as_millis() / 5 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = child.wait();
}
