//! `openssl s_server`.
//!
//! Owns: its process, and what it says. Never: serves two connections at once.

use super::{Directory, installed};
use crate::common::bounded::PATIENCE;
use crate::common::certificates::Certificate;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

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
