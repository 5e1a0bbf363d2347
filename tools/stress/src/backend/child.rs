//! The backend as a separate process of this same program, so that its CPU time is not ours.
//!
//! The child ends when its standard input closes: however this process ends, no orphan is left.
//! It is only ever killed through its own handle.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::nonces::PATH;
use crate::failure::{EXIT_MACHINE, Failure};

/// How long the child may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// The pause between two looks at whether it has read all that was sent.
const LOOK: Duration = Duration::from_millis(20);

/// How the child serves; see `stress serve`.
#[derive(Clone, Debug, Default)]
pub(crate) struct BackendOptions {
    /// Time that each answer takes.
    pub(crate) delay: Duration,
    /// Time between a ClientHello and its answer.
    pub(crate) handshake_delay: Duration,
    /// More options of `stress serve`, as they are written.
    pub(crate) options: Vec<String>,
    /// Where to listen, plain and TLS: where another one listened that has ended. `None`: anywhere.
    pub(crate) at: Option<(SocketAddr, SocketAddr)>,
}

/// A running backend; it ends when this drops.
#[derive(Debug)]
pub(crate) struct Backend {
    /// Where it speaks plain HTTP.
    pub(crate) plain: SocketAddr,
    /// Where it speaks TLS.
    pub(crate) tls: SocketAddr,
    /// The authority to trust, in PEM.
    pub(crate) ca: Vec<u8>,
    process: Process,
}

impl Backend {
    /// Starts it and waits until it is ready.
    pub(crate) fn spawn(options: &BackendOptions) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|e| {
            Failure::Run(format!("cannot find this program to start it again: {e}"))
        })?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (plain, tls) = options.at.unwrap_or((anywhere, anywhere));
        let mut command = Command::new(program);
        command
            .arg("serve")
            .args(&options.options)
            .arg(format!("--plain={plain}"))
            .arg(format!("--tls={tls}"))
            .arg(format!(
                "--handshake-delay={}",
                humantime::format_duration(options.handshake_delay)
            ))
            .arg("--until-stdin-closes")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C goes to the whole group, and the run still needs its backend.
            .process_group(0);
        if !options.delay.is_zero() {
            let delay = humantime::format_duration(options.delay);
            command.arg(format!("--delay={delay}"));
        }
        let child = command
            .spawn()
            .map_err(|e| Failure::Run(format!("cannot start the backend: {e}")))?;
        let mut process = Process(child);
        let line = process.ready_line()?;
        match addresses(&line) {
            Some((plain, tls, ca)) => Ok(Self {
                plain,
                tls,
                ca,
                process,
            }),
            None => Err(Failure::Run(format!("the backend began with `{line}`"))),
        }
    }

    /// Which nonces it has seen, once it has read all that was sent on connections of ours: when it has no other
    /// one than this.
    pub(crate) fn nonces(&mut self) -> Result<NoncesSeen, Failure> {
        let begun = Instant::now();
        loop {
            self.check()?;
            let told = ask_nonces(self.plain)
                .map_err(|e| Failure::Run(format!("the backend does not tell its nonces: {e}")))?;
            let figure = |key: &str| told.get(key).and_then(Value::as_u64);
            if figure("open") == Some(1) {
                return Ok(NoncesSeen {
                    seen: figure("seen").unwrap_or_default(),
                    again: figure("again").unwrap_or_default(),
                });
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(Failure::Run(format!(
                    "the backend still serves others: {told}"
                )));
            }
            thread::sleep(LOOK);
        }
    }

    /// The windows of its faults begin now.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        let told = match &mut self.process.0.stdin {
            Some(stdin) => stdin.write_all(b"\n"),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        told.map_err(|e| Failure::Run(format!("the backend cannot be told to begin: {e}")))
    }

    /// An error if the backend has ended, which it should not while this lives.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        match self.process.0.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::Run(format!(
                "the backend died during the run ({status})"
            ))),
            Err(e) => Err(Failure::Run(format!("cannot ask after the backend: {e}"))),
        }
    }
}

/// What a backend has seen of nonces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoncesSeen {
    /// Requests that had one.
    pub(crate) seen: u64,
    /// Those whose nonce had come before.
    pub(crate) again: u64,
}

/// The child's handle, killed and reaped on drop.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn ready_line(&mut self) -> Result<String, Failure> {
        let Some(stdout) = self.0.stdout.take() else {
            return Err(Failure::Run(
                "the backend has no standard output".to_owned(),
            ));
        };
        match first_line(stdout).recv_timeout(READY_WITHIN) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(Failure::Run(format!(
                "the backend was not ready within {}",
                humantime::format_duration(READY_WITHIN)
            ))),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended_early()),
        }
    }

    /// Its own words are on standard error already, which it shares with us.
    fn ended_early(&mut self) -> Failure {
        match self.0.wait() {
            Ok(status) if status.code() == Some(i32::from(EXIT_MACHINE)) => Failure::Machine {
                cause: "the backend cannot run on this machine".to_owned(),
                remedy: "see the backend's message above".to_owned(),
            },
            Ok(status) => Failure::Run(format!("the backend ended before it was ready ({status})")),
            Err(e) => Failure::Run(format!("the backend ended before it was ready: {e}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads one line on a thread of its own, since reading a pipe has no deadline. The sender drops
/// without a line where there is none; the thread ends with the child at the latest.
fn first_line(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        if BufReader::new(stdout)
            .read_line(&mut line)
            .is_ok_and(|n| n > 0)
        {
            let _ = send.send(line);
        }
    });
    receive
}

/// One exchange, blocking.
fn ask_nonces(address: SocketAddr) -> io::Result<Value> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(READY_WITHIN))?;
    write!(
        socket,
        "GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).map_err(io::Error::other)
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr, Vec<u8>)> {
    let ready: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| ready.get(key)?.as_str();
    Some((
        text("plain")?.parse().ok()?,
        text("tls")?.parse().ok()?,
        text("ca")?.into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_understood_or_refused() {
        let line = r#"{"ca":"PEM","plain":"127.0.0.1:1","tls":"[::1]:2"}"#;
        let (plain, tls, ca) = addresses(line).unwrap();
        assert_eq!(
            (plain.port(), tls.port(), ca.as_slice()),
            (1, 2, &b"PEM"[..])
        );
        for bad in ["", "{}", "ready", r#"{"plain":"x","tls":"y","ca":"z"}"#] {
            assert_eq!(addresses(bad), None, "{bad}");
        }
    }
}
