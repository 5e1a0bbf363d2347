//! A peer that keeps to a script: it speaks HTTP/1.1, plain or over TLS, one small step of input or output at a
//! time, and stops between any two of them when its [`Script`] says so.
//!
//! Never: sleeps. It waits for the test, for the wire, or for nothing.

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

/// When the peer goes on with its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// At once.
    Free,
    /// With each thing it says once for each time that the test's future had nothing to do. It listens, shakes
    /// hands and completes a head at once: a caller on another thread is not woken by that, so there might
    /// never be a next time.
    Paced,
    /// At once, but only so many steps.
    Stall(u64),
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// What wakes nobody on another thread: the handshake, the request, the second half of a head.
    Prepare,
    /// The rest of the response.
    Answer,
}

/// What the peer and the test tell each other. A round is one conversation of the test's; the script holds for
/// the connection and the request of the present round only, others go on freely.
#[derive(Default)]
pub struct Script {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    round: u64,
    pace: Pace,
    steps: u64,
    pendings: u64,
    /// Pendings that were answered by a step.
    answered: u64,
    stalled: bool,
    waiting: Option<Waker>,
}

impl Default for State {
    fn default() -> State {
        State {
            round: 0,
            pace: Pace::Free,
            steps: 0,
            pendings: 0,
            answered: 0,
            stalled: false,
            waiting: None,
        }
    }
}

impl Script {
    /// Begins a round in which the peer takes a step whenever [`pending`](Script::pending) is called.
    pub fn pace(&self) -> u64 {
        self.begin(Pace::Paced)
    }

    /// Begins a round in which the peer stops for good after `steps`.
    pub fn stall(&self, steps: u64) -> u64 {
        self.begin(Pace::Stall(steps))
    }

    /// Lets everything go on that waits, and begins a round without stops.
    pub fn free(&self) -> u64 {
        self.begin(Pace::Free)
    }

    /// The test's future has nothing to do.
    pub fn pending(&self) {
        self.state.lock().unwrap().pendings += 1;
        self.changed.notify_all();
    }

    /// Ready when the peer has stopped for good.
    pub fn poll_stalled(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.stalled {
            return Poll::Ready(());
        }
        state.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    fn begin(&self, pace: Pace) -> u64 {
        let mut state = self.state.lock().unwrap();
        let round = state.round + 1;
        *state = State {
            round,
            pace,
            ..State::default()
        };
        self.changed.notify_all();
        round
    }

    fn round(&self) -> u64 {
        self.state.lock().unwrap().round
    }

    /// Returns when `round` may take its next step, or is over.
    fn step(&self, round: u64, what: Step) {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.round != round {
                return;
            }
            match state.pace {
                Pace::Free => return,
                Pace::Paced if what == Step::Prepare => return,
                Pace::Paced if state.pendings > state.answered => {
                    state.answered = state.pendings;
                    return;
                }
                Pace::Stall(steps) if state.steps < steps => {
                    state.steps += 1;
                    return;
                }
                Pace::Paced => {}
                Pace::Stall(_) => {
                    state.stalled = true;
                    if let Some(waker) = state.waiting.take() {
                        waker.wake();
                    }
                }
            }
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// A peer on a port of its own, with a thread for each connection. Dropping it ends them all.
pub struct Scripted {
    pub script: Arc<Script>,
    port: u16,
    /// The certificate to trust, where it speaks TLS.
    pem: Option<String>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    stopping: AtomicBool,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Scripted {
    pub fn start(secure: bool) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of our own");
        let port = listener.local_addr().expect("it is bound").port();
        let (tls, pem) = match secure {
            true => {
                let (config, pem) = certified();
                (Some(Arc::new(config)), Some(pem))
            }
            false => (None, None),
        };
        let script = Arc::new(Script::default());
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            connections: Mutex::new(Vec::new()),
        });
        let accepting = thread::spawn({
            let (script, shared) = (script.clone(), shared.clone());
            move || accept(&listener, tls.as_ref(), &script, &shared)
        });
        Scripted {
            script,
            port,
            pem,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn is_secure(&self) -> bool {
        self.pem.is_some()
    }

    /// Settings of an upstream that is this peer.
    pub fn upstream(&self, raw: bool) -> ringpool::config::UpstreamConfig {
        use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
        let scheme = match (raw, self.is_secure()) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "tcp",
            (true, true) => "tls",
        };
        let url = format!("{scheme}://127.0.0.1:{}", self.port);
        let mut config = UpstreamConfig::at(&url).expect("a URL of ours");
        if let Some(pem) = &self.pem {
            config.tls = TlsConfig {
                roots: TrustRoots::Pem(pem.clone()),
                ..TlsConfig::default()
            };
        }
        config
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.script.free();
        // Ends the wait for a connection.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the peer accepts without panics");
        }
        let connections = std::mem::take(&mut *self.shared.connections.lock().unwrap());
        for (socket, thread) in connections {
            let _ = socket.shutdown(Shutdown::Both);
            drop(socket);
            let joined = thread.join();
            if !thread::panicking() {
                joined.expect("the peer keeps to its script without panics");
            }
        }
    }
}

fn certified() -> (ServerConfig, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_string()]).expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("both versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .expect("the key fits the certificate");
    (config, cert.pem())
}

fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<ServerConfig>>,
    script: &Arc<Script>,
    shared: &Shared,
) {
    for socket in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(socket) = socket else { continue };
        // Small pieces leave as they are.
        socket.set_nodelay(true).expect("TCP_NODELAY");
        let ours = socket.try_clone().expect("a descriptor");
        let (tls, script) = (tls.cloned(), script.clone());
        // Deep stacks are not needed, and there may be hundreds.
        let thread = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                // A peer whose connection goes away in the middle has nothing to say about it.
                let _ = converse(socket, tls, &script);
            })
            .expect("a thread");
        let mut connections = shared.connections.lock().unwrap();
        // Those that are over let go of their descriptors.
        let (over, open) = std::mem::take(&mut *connections)
            .into_iter()
            .partition(|(_, thread)| thread.is_finished());
        *connections = open;
        connections.push((ours, thread));
        drop(connections);
        let over: Vec<(TcpStream, JoinHandle<()>)> = over;
        for (_, thread) in over {
            thread
                .join()
                .expect("the peer keeps to its script without panics");
        }
    }
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

fn converse(socket: TcpStream, tls: Option<Arc<ServerConfig>>, script: &Script) -> io::Result<()> {
    let closing = socket.try_clone()?;
    let result = match tls {
        None => serve(&mut &socket, script),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            handshake(connection, socket, script).and_then(|mut wire| serve(&mut wire, script))
        }
    };
    // Other descriptors of it may be open: this is what ends the connection.
    let _ = closing.shutdown(Shutdown::Both);
    result
}

/// Shakes hands in small pieces.
fn handshake(
    mut connection: ServerConnection,
    mut socket: TcpStream,
    script: &Script,
) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let round = script.round();
    while connection.is_handshaking() || connection.wants_write() {
        if connection.wants_write() {
            let mut flight = Vec::new();
            while connection.wants_write() {
                connection.write_tls(&mut flight)?;
            }
            for piece in flight.chunks(150) {
                script.step(round, Step::Prepare);
                socket.write_all(piece)?;
            }
            continue;
        }
        script.step(round, Step::Prepare);
        if connection.read_tls(&mut socket)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        connection.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// Answers requests until the connection ends.
fn serve(wire: &mut impl Wire, script: &Script) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(request) = Request::read(wire, &mut received)? {
        request.read_body(wire, &mut received, script)?;
        request.answer(wire, script)?;
        if request.closes {
            return Ok(());
        }
    }
    Ok(())
}

/// `/KIND/LENGTH/NONCE`, with `bye` behind it if the connection is to be closed afterwards.
struct Request {
    kind: String,
    length: u64,
    nonce: u64,
    closes: bool,
    body: Body,
}

enum Body {
    Length(u64),
    Chunked,
}

impl Request {
    fn read(wire: &mut impl Wire, received: &mut Vec<u8>) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(end) = find(received, b"\r\n\r\n") {
                break end + 4;
            }
            if fill(wire, received)? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8(received.drain(..end).collect()).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let line = lines.next().expect("a request line");
        let target = line.split(' ').nth(1).expect("a target");
        let mut parts = target.trim_start_matches('/').split('/');
        let mut part = || parts.next().expect("a path of the test's");
        let (kind, length, nonce) = (part().to_string(), part(), part());
        let mut body = Body::Length(0);
        for header in lines {
            let header = header.to_ascii_lowercase();
            if let Some(length) = header.strip_prefix("content-length:") {
                body = Body::Length(length.trim().parse().expect("a length"));
            }
            if header.starts_with("transfer-encoding:") {
                body = Body::Chunked;
            }
        }
        Ok(Some(Request {
            kind,
            length: length.parse().expect("a length"),
            nonce: nonce.parse().expect("a nonce"),
            closes: parts.next() == Some("bye"),
            body,
        }))
    }

    /// Reads the body, which has to be the nonce's own.
    fn read_body(
        &self,
        wire: &mut impl Wire,
        received: &mut Vec<u8>,
        script: &Script,
    ) -> io::Result<()> {
        let mut body = Vec::new();
        match self.body {
            Body::Length(length) => {
                let length = length as usize;
                while received.len() < length {
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                }
                body.extend(received.drain(..length));
            }
            Body::Chunked => loop {
                let (header, size) = loop {
                    if let Some(end) = find(received, b"\r\n") {
                        let size = std::str::from_utf8(&received[..end]).expect("ASCII");
                        break (end + 2, usize::from_str_radix(size, 16).expect("a size"));
                    }
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                };
                while received.len() < header + size + 2 {
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                }
                body.extend_from_slice(&received[header..header + size]);
                received.drain(..header + size + 2);
                if size == 0 {
                    break;
                }
            },
        }
        if !body.is_empty() {
            assert!(
                body == pattern(self.nonce, self.length as usize),
                "the request of round {} came with another body: {} bytes of {}",
                self.nonce,
                body.len(),
                self.length
            );
        }
        Ok(())
    }

    fn answer(&self, wire: &mut impl Wire, script: &Script) -> io::Result<()> {
        match self.kind.as_str() {
            // In one piece.
            "whole" => {
                let (close, length) = (self.farewell(), self.length);
                let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n");
                let mut all = head.into_bytes();
                all.extend_from_slice(&pattern(self.nonce, self.length as usize));
                self.write_step(wire, script, Step::Answer, &all)
            }
            "length" => {
                let (close, length) = (self.farewell(), self.length);
                let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n");
                self.write_halves(wire, script, head.as_bytes())?;
                self.write_pieces(wire, script, &pattern(self.nonce, self.length as usize))
            }
            "chunked" => {
                let close = self.farewell();
                let head = format!("HTTP/1.1 200 OK\r\n{close}Transfer-Encoding: chunked\r\n\r\n");
                self.write_halves(wire, script, head.as_bytes())?;
                let body = pattern(self.nonce, self.length as usize);
                let mut framed = Vec::new();
                for chunk in body.chunks(body.len().div_ceil(3).max(1)) {
                    framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                }
                framed.extend_from_slice(b"0\r\n\r\n");
                self.write_pieces(wire, script, &framed)
            }
            // As fast as it is taken, without a stop.
            "flood" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.length);
                wire.write_all(head.as_bytes())?;
                let piece = [b'x'; 64 * 1024];
                let mut left = self.length;
                while left > 0 {
                    let n = left.min(piece.len() as u64);
                    wire.write_all(&piece[..n as usize])?;
                    left -= n;
                }
                wire.flush()
            }
            other => panic!("no kind of answer: {other}"),
        }
    }

    fn farewell(&self) -> &'static str {
        match self.closes {
            true => "Connection: close\r\n",
            false => "",
        }
    }

    fn write_halves(&self, wire: &mut impl Wire, script: &Script, all: &[u8]) -> io::Result<()> {
        let (first, second) = all.split_at(all.len() / 2);
        self.write_step(wire, script, Step::Answer, first)?;
        self.write_step(wire, script, Step::Prepare, second)
    }

    fn write_pieces(&self, wire: &mut impl Wire, script: &Script, all: &[u8]) -> io::Result<()> {
        // Seven: never where a chunk ends.
        for piece in all.chunks(all.len().div_ceil(7).max(1)) {
            self.write_step(wire, script, Step::Answer, piece)?;
        }
        Ok(())
    }

    fn write_step(
        &self,
        wire: &mut impl Wire,
        script: &Script,
        step: Step,
        piece: &[u8],
    ) -> io::Result<()> {
        script.step(self.nonce, step);
        wire.write_all(piece)?;
        wire.flush()
    }
}

/// What the body of a nonce is: no other nonce's, at no place.
pub fn pattern(nonce: u64, len: usize) -> Vec<u8> {
    let mut pattern = format!("{nonce:07}|").repeat(len.div_ceil(8)).into_bytes();
    pattern.truncate(len);
    pattern
}

fn fill(wire: &mut impl Wire, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut piece = [0; 32 * 1024];
    let n = wire.read(&mut piece)?;
    received.extend_from_slice(&piece[..n]);
    Ok(n)
}

fn at_least_one(n: usize) -> io::Result<()> {
    match n {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|at| at == needle)
}
