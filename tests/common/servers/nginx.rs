//! nginx.
//!
//! Owns: its processes and configuration. Never: shares a directory or a port.

use super::{Directory, free_address, installed};
use crate::common::bounded::PATIENCE;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
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
