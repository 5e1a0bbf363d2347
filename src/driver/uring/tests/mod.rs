//! The driver against the real kernel: loopback, Unix sockets, and peers that misbehave.
//!
//! One thread plays both sides: the kernel completes a connect before the peer accepts. Waits have a
//! limit so that a bug fails the test instead of hanging it; no result depends on it.

mod messages;
mod refused;
mod sleep;
mod teardown;
mod traffic;
mod trouble;

use super::*;
use crate::driver::{Received, ReceivedBuffer};
use crate::slab::Slab;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Only a bug meets it.
const PATIENCE: Duration = Duration::from_secs(5);
const ROUNDS: usize = 2_000;

/// A driver, keys for its sockets, and the events not yet looked at.
struct Bench {
    driver: Uring,
    keys: Slab<()>,
    events: Vec<Event<RingBuffer>>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with(&Settings {
            entries: 64,
            completions: 128,
            buffers: 16,
            buffer_size: 4096,
            spin: Duration::ZERO,
        })
    }

    fn with(settings: &Settings) -> Bench {
        Bench {
            driver: Uring::new(settings).unwrap(),
            keys: Slab::new(),
            events: Vec::new(),
        }
    }

    fn open(&mut self, endpoint: &Endpoint) -> Key {
        let key = self.keys.insert(());
        self.driver
            .open(key, endpoint, &SocketOptions::default())
            .unwrap();
        key
    }

    /// A connected socket and its peer.
    fn pair(&mut self, listener: &TcpListener) -> (Key, TcpStream) {
        let key = self.open(&listener.local_addr().unwrap().into());
        self.driver.connect(key);
        self.connected(key).unwrap();
        (key, listener.accept().unwrap().0)
    }

    /// Takes the first event that `wanted` wants, waiting for it.
    fn next(&mut self, mut wanted: impl FnMut(&Event<RingBuffer>) -> bool) -> Event<RingBuffer> {
        for _ in 0..ROUNDS {
            if let Some(at) = self.events.iter().position(&mut wanted) {
                return self.events.remove(at);
            }
            self.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
            self.driver.reap(&mut self.events);
        }
        panic!("the event did not come; there are {:?}", self.events);
    }

    fn connected(&mut self, key: Key) -> io::Result<()> {
        match self.next(|event| matches!(event, Event::Connected { key: k, .. } if *k == key)) {
            Event::Connected { result, .. } => result,
            other => unreachable!("{other:?}"),
        }
    }

    fn received(&mut self, key: Key) -> (Received<RingBuffer>, bool) {
        match self.next(|event| matches!(event, Event::Received { key: k, .. } if *k == key)) {
            Event::Received { outcome, more, .. } => (outcome, more),
            other => unreachable!("{other:?}"),
        }
    }

    fn data(&mut self, key: Key) -> RingBuffer {
        match self.received(key) {
            (Received::Data(buffer), _) => buffer,
            other => panic!("no data but {other:?}"),
        }
    }

    fn sent(&mut self, key: Key) -> (SendBuffer, io::Result<usize>) {
        match self.next(|event| matches!(event, Event::Sent { key: k, .. } if *k == key)) {
            Event::Sent { buffer, result, .. } => (buffer, result),
            other => unreachable!("{other:?}"),
        }
    }

    fn cancelled(&mut self, key: Key) {
        self.next(|event| matches!(event, Event::Cancelled { key: k } if *k == key));
    }

    /// Sends all of `bytes`.
    fn send(&mut self, key: Key, bytes: &[u8]) {
        self.driver.send(key, SendBuffer::from(bytes.to_vec()));
        let (buffer, result) = self.sent(key);
        assert_eq!(result.unwrap(), bytes.len());
        assert!(buffer.is_empty());
    }

    /// Receives until `len` bytes are there, arming again whenever receiving ends.
    fn read(&mut self, key: Key, len: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < len {
            let (outcome, more) = self.received(key);
            match outcome {
                Received::Data(buffer) => all.extend_from_slice(&buffer),
                Received::NoBuffers | Received::Stopped => {}
                Received::End | Received::Failed(_) => panic!("ended early: {outcome:?}"),
            }
            if !more {
                self.driver.receive(key);
            }
        }
        assert_eq!(all.len(), len);
        all
    }

    /// Cancels what is left and closes, as the shard does.
    fn close(&mut self, key: Key) {
        self.driver.cancel(key, Scope::All);
        self.cancelled(key);
        self.driver.enter(Wait::No).unwrap();
        self.driver.reap(&mut self.events);
        self.driver.close(key);
        self.next(|event| matches!(event, Event::Closed { key: k } if *k == key));
        self.keys.remove(key);
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn endpoint(listener: &TcpListener) -> Endpoint {
    listener.local_addr().unwrap().into()
}

/// A listener whose backlog is full, so that a further connect goes unanswered, and what fills it.
fn black_hole() -> (socket2::Socket, SocketAddr, Vec<socket2::Socket>) {
    use socket2::{Domain, Socket, Type};
    let hole = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    hole.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap();
    let fill = (0..4).map(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&address);
        socket
    });
    let fill = fill.collect();
    (hole, address.as_socket().unwrap(), fill)
}
