//! A small HTTP server on a thread of its own, for Prometheus and for whoever has `curl`.
//!
//! Owns: one connection at a time, for a bounded time, with a bounded request. Never: stands in the way of the engine, or is meant for
//! strangers: bind it to an address that only those reach who may see the figures.

use super::prometheus::{Format, write};
use super::within::within;
use crate::client::snapshot::Snapshot;
use crate::client::snapshots::Snapshots;
use crate::time::Time;
use crate::time::clock::Clock;
use socket2::SockRef;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long one visitor may take, its request and its answer each.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest head of a request.
const HEAD_MAX: usize = 8 * 1024;

/// Answers `GET /metrics` with an engine's figures, in Prometheus' text format or, if the visitor says that it takes that, as
/// OpenMetrics. Ends when it is dropped.
///
/// One visitor is served at a time, and has two seconds for its request and as many to take its answer; others wait in the kernel's queue.
/// Shards have the time that `snapshots` gives them ([`Snapshots::within`]); of those that do not tell by then comes what they told last, and
/// `ringpool_shard_up` is 0.
pub struct PrometheusEndpoint {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PrometheusEndpoint {
    /// Listens at `address` (`127.0.0.1:9464`, say; port 0 takes any), for figures of `snapshots`.
    ///
    /// # Errors
    /// Those of binding, and of starting a thread.
    pub fn start(
        address: impl ToSocketAddrs,
        snapshots: Snapshots,
    ) -> io::Result<PrometheusEndpoint> {
        let listener = Arc::new(TcpListener::bind(address)?);
        let address = listener.local_addr()?;
        let ending = Arc::new(AtomicBool::new(false));
        let (listens, ends) = (listener.clone(), ending.clone());
        let thread = thread::Builder::new()
            .name("ringpool-metrics".to_owned())
            .spawn(move || serve(&listens, &snapshots, &ends))?;
        Ok(PrometheusEndpoint {
            address,
            listener,
            ending,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PrometheusEndpoint {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Ends the wait for a visitor, and takes no descriptor for that.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // A panic was the thread's own end.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for PrometheusEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrometheusEndpoint({})", self.address)
    }
}

fn serve(listener: &TcpListener, snapshots: &Snapshots, ending: &AtomicBool) {
    let clock = Clock::system();
    while !ending.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok((visitor, _)) => {
                let until = clock.now() + PATIENCE;
                // One who goes, or is too slow, is no trouble to others.
                let _ = answer(&visitor, snapshots, &clock, until);
            }
            Err(_) if ending.load(Ordering::SeqCst) => return,
            // No descriptor left, most likely: there may be one later.
            Err(_) => thread::park_timeout(PATIENCE / 20),
        }
    }
}

fn answer(
    mut visitor: &TcpStream,
    snapshots: &Snapshots,
    clock: &Clock,
    until: Time,
) -> io::Result<()> {
    let head = read_head(visitor, clock, until)?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next());
    let path = target.unwrap_or_default().split('?').next();
    let (status, content_type, body) = match (method, path) {
        ("GET" | "HEAD", Some("/metrics")) => page(&head, snapshots, clock),
        ("GET" | "HEAD", _) => ("404 Not Found", TEXT, b"/metrics\n".to_vec()),
        _ => ("405 Method Not Allowed", TEXT, Vec::new()),
    };
    let length = body.len();
    let mut out = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    .into_bytes();
    if method != "HEAD" {
        out.extend_from_slice(&body);
    }
    let until = clock.now() + PATIENCE;
    let mut sent = 0;
    while sent < out.len() {
        visitor.set_write_timeout(Some(left(clock, until)?))?;
        sent += visitor.write(&out[sent..])?;
    }
    visitor.flush()
}

const TEXT: &str = "text/plain; charset=utf-8";

type Page = (&'static str, &'static str, Vec<u8>);

fn page(head: &str, snapshots: &Snapshots, clock: &Clock) -> Page {
    let unavailable = |why: String| ("503 Service Unavailable", TEXT, why.into_bytes());
    // The snapshot's own limit comes first; this one is there for the time when no alarm can be set.
    let until = clock.now() + snapshots.patience() + PATIENCE;
    let snapshot: Snapshot = match within(snapshots.take(), clock, until) {
        Some(Ok(snapshot)) => snapshot,
        Some(Err(error)) => return unavailable(format!("{error}\n")),
        None => return unavailable("the engine does not answer\n".to_owned()),
    };
    let wants = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_default();
        name.eq_ignore_ascii_case("accept") && value.contains("application/openmetrics-text")
    };
    let format = match head.lines().any(wants) {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    let mut body = Vec::new();
    match write(&snapshot, format, &mut body) {
        Ok(()) => ("200 OK", format.content_type(), body),
        Err(error) => unavailable(format!("{error}\n")),
    }
}

/// The request's head; whatever follows it is not read.
fn read_head(mut visitor: &TcpStream, clock: &Clock, until: Time) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    loop {
        visitor.set_read_timeout(Some(left(clock, until)?))?;
        let n = visitor.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&piece[..n]);
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        if head.len() > HEAD_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}

/// What is left of the time.
fn left(clock: &Clock, until: Time) -> io::Result<Duration> {
    match until.since(clock.now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
