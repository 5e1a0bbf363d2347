//! A driver without a kernel: it stands in for [`uring`](super::uring) where a test steps shards in
//! one thread and owns the network.
//!
//! Owns: the sockets, operations and buffers of one shard, and holds the shard to the contract in
//! [`driver`](super): whoever breaks it panics. Never: sleeps, or reads a clock;
//! [`enter`](Driver::enter) submits, moves this driver's connections by one hop, and makes events,
//! whatever it was told to wait for. Loss, delay and failing system calls are not simulated.

mod buffer;
mod network;
mod peer;

#[cfg(test)]
mod tests;

pub use buffer::SimBuffer;
pub use network::{Network, WINDOW};
pub use peer::{Answers, Peer, SimConnection};

use super::socket::SocketOptions;
use super::{Counters, Driver, Event, Received, Scope, SendBuffer, Signal, Wait};
use crate::endpoint::Endpoint;
use crate::slab::Key;
use network::Front;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many bytes one receive buffer holds.
pub const BUFFER_SIZE: usize = 4096;

/// One shard's simulated driver; [`Network::driver`] makes it.
pub struct Sim {
    network: Network,
    id: u32,
    sockets: BTreeMap<Key, Socket>,
    queue: Vec<Operation>,
    events: VecDeque<Event<SimBuffer>>,
    buffers: u32,
    held: Rc<Cell<u32>>,
    signalled: Arc<Signalled>,
    counters: Counters,
    /// Whether the next cancel's own event comes before its target's: both happen, in turns.
    cancelled_first: bool,
}

struct Socket {
    endpoint: Endpoint,
    connection: Option<usize>,
    connecting: bool,
    receiving: bool,
    sending: Option<SendBuffer>,
    held: Rc<Cell<u32>>,
    owed: Owed,
}

/// Final events that the shard has not reaped yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owed {
    connect: bool,
    receive: bool,
    send: bool,
    cancels: u32,
    close: bool,
}

enum Operation {
    Connect(Key),
    Receive(Key),
    Send(Key, SendBuffer),
    Cancel(Key, Scope),
    Close(Key),
}

#[derive(Default)]
struct Signalled(AtomicBool);

impl Signal for Signalled {
    fn signal(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Driver for Sim {
    type Buffer = SimBuffer;

    fn open(&mut self, key: Key, endpoint: &Endpoint, _: &SocketOptions) -> io::Result<()> {
        let socket = Socket {
            endpoint: endpoint.clone(),
            connection: None,
            connecting: false,
            receiving: false,
            sending: None,
            held: Rc::default(),
            owed: Owed::default(),
        };
        let former = self.sockets.insert(key, socket);
        assert!(former.is_none(), "{key:?} is open already");
        Ok(())
    }

    fn connect(&mut self, key: Key) {
        let socket = self.usable(key);
        assert!(!socket.owed.connect, "{key:?}: a second connect");
        socket.owed.connect = true;
        self.submit(Operation::Connect(key));
    }

    fn receive(&mut self, key: Key) {
        let socket = self.usable(key);
        assert!(!socket.owed.receive, "{key:?}: a second receive");
        socket.owed.receive = true;
        self.submit(Operation::Receive(key));
    }

    fn send(&mut self, key: Key, buffer: SendBuffer) {
        let socket = self.usable(key);
        assert!(!socket.owed.send, "{key:?}: a second send");
        socket.owed.send = true;
        self.submit(Operation::Send(key, buffer));
    }

    fn cancel(&mut self, key: Key, scope: Scope) {
        self.usable(key).owed.cancels += 1;
        self.submit(Operation::Cancel(key, scope));
    }

    fn close(&mut self, key: Key) {
        self.assert_at_rest(key).owed.close = true;
        self.submit(Operation::Close(key));
    }

    fn detach(&mut self, key: Key) -> io::Result<OwnedFd> {
        self.assert_at_rest(key);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn pending(&self) -> bool {
        !self.events.is_empty()
            || self.signalled.0.load(Ordering::Acquire)
            || self.sockets.values().any(|socket| self.is_ready(socket))
    }

    fn enter(&mut self, _: Wait) -> io::Result<()> {
        self.counters.enters += 1;
        self.signalled.0.store(false, Ordering::Release);
        for operation in std::mem::take(&mut self.queue) {
            self.begin(operation);
        }
        self.network.step_driver(self.id);
        let keys: Vec<Key> = self.sockets.keys().copied().collect();
        for key in keys {
            self.advance_connect(key);
            self.advance_send(key);
            self.advance_receive(key);
        }
        Ok(())
    }

    fn reap(&mut self, events: &mut Vec<Event<SimBuffer>>) {
        for event in self.events.drain(..) {
            self.counters.completions += 1;
            match &event {
                Event::Connected { key, .. } => owed(&mut self.sockets, *key).connect = false,
                Event::Received { key, more, .. } => {
                    owed(&mut self.sockets, *key).receive = *more;
                }
                Event::Sent { key, .. } => owed(&mut self.sockets, *key).send = false,
                Event::Cancelled { key } => owed(&mut self.sockets, *key).cancels -= 1,
                Event::Closed { .. } => {}
            }
            events.push(event);
        }
    }

    fn buffers_held(&self, key: Key) -> u32 {
        self.sockets.get(&key).map_or(0, |socket| socket.held.get())
    }

    fn buffers_free(&self) -> u32 {
        self.buffers - self.held.get()
    }

    fn signal(&self) -> Arc<dyn Signal> {
        self.signalled.clone()
    }

    fn counters(&self) -> Counters {
        Counters {
            sockets: self.sockets.len() as u64,
            buffers_held: u64::from(self.held.get()),
            ..self.counters
        }
    }
}

fn owed(sockets: &mut BTreeMap<Key, Socket>, key: Key) -> &mut Owed {
    let socket = sockets.get_mut(&key);
    &mut socket.expect("no close before the last event").owed
}

impl Sim {
    fn new(network: Network, id: u32, buffers: u32) -> Sim {
        Sim {
            network,
            id,
            sockets: BTreeMap::new(),
            queue: Vec::new(),
            events: VecDeque::new(),
            buffers,
            held: Rc::default(),
            signalled: Arc::default(),
            counters: Counters::default(),
            cancelled_first: false,
        }
    }

    fn socket(&mut self, key: Key) -> &mut Socket {
        let socket = self.sockets.get_mut(&key);
        socket.unwrap_or_else(|| panic!("{key:?} is not open"))
    }

    fn usable(&mut self, key: Key) -> &mut Socket {
        let socket = self.socket(key);
        assert!(!socket.owed.close, "{key:?} is being closed");
        socket
    }

    /// The socket, whose every operation has had its final event reaped.
    fn assert_at_rest(&mut self, key: Key) -> &mut Socket {
        let socket = self.usable(key);
        let owed = socket.owed;
        assert_eq!(owed, Owed::default(), "{key:?} still has operations");
        socket
    }

    fn submit(&mut self, operation: Operation) {
        self.counters.submissions += 1;
        self.queue.push(operation);
    }

    fn begin(&mut self, operation: Operation) {
        match operation {
            Operation::Connect(key) => self.begin_connect(key),
            Operation::Receive(key) => self.socket(key).receiving = true,
            Operation::Send(key, buffer) => {
                self.socket(key).sending = Some(buffer);
                self.advance_send(key);
            }
            Operation::Cancel(key, scope) => self.cancel_now(key, scope),
            Operation::Close(key) => {
                if let Some(Socket {
                    connection: Some(id),
                    ..
                }) = self.sockets.remove(&key)
                {
                    self.network.close(id);
                }
                self.events.push_back(Event::Closed { key });
            }
        }
    }

    fn begin_connect(&mut self, key: Key) {
        let (network, id) = (self.network.clone(), self.id);
        let socket = self.socket(key);
        assert!(socket.connection.is_none(), "{key:?} is connected already");
        match network.connect(id, &socket.endpoint) {
            Ok(connection) => {
                socket.connection = Some(connection);
                socket.connecting = true;
            }
            Err(error) => self.connected(key, Err(error)),
        }
    }

    fn cancel_now(&mut self, key: Key, scope: Scope) {
        let own_first = self.cancelled_first;
        self.cancelled_first = !own_first;
        if own_first {
            self.events.push_back(Event::Cancelled { key });
        }
        if std::mem::take(&mut self.socket(key).receiving) {
            self.received(key, Received::Stopped, false);
        }
        match scope {
            Scope::Receive => {}
            Scope::All => {
                if std::mem::take(&mut self.socket(key).connecting) {
                    self.connected(key, Err(cancelled()));
                }
                if let Some(buffer) = self.socket(key).sending.take() {
                    self.sent(key, buffer, Err(cancelled()));
                }
            }
        }
        if !own_first {
            self.events.push_back(Event::Cancelled { key });
        }
    }

    fn advance_connect(&mut self, key: Key) {
        let Socket {
            connection: Some(id),
            connecting: true,
            ..
        } = *self.socket(key)
        else {
            return;
        };
        let result = match self.network.front(id) {
            Front::Nothing => return,
            Front::Opened => {
                self.network.take_opened(id);
                Ok(())
            }
            Front::Reset => Err(io::Error::from_raw_os_error(libc::ECONNREFUSED)),
            Front::Bytes | Front::End => unreachable!("nothing comes before the opening"),
        };
        self.socket(key).connecting = false;
        self.connected(key, result);
    }

    /// Sends what the window takes, if it takes anything: a send may end short.
    fn advance_send(&mut self, key: Key) {
        let network = self.network.clone();
        let socket = self.socket(key);
        let Some(mut buffer) = socket.sending.take() else {
            return;
        };
        let window = match socket.connection {
            Some(id) if !socket.connecting => network.window(id),
            Some(_) | None => Err(io::Error::from_raw_os_error(libc::ENOTCONN)),
        };
        let result = match (window, socket.connection) {
            (Ok(0), _) if !buffer.remaining().is_empty() => {
                socket.sending = Some(buffer);
                return;
            }
            (Ok(window), Some(id)) => {
                let taken = buffer.remaining().len().min(window);
                network.send(id, &buffer.remaining()[..taken]);
                buffer.advance(taken);
                Ok(taken)
            }
            (Ok(_), None) => unreachable!("no window without a connection"),
            (Err(error), _) => Err(error),
        };
        self.sent(key, buffer, result);
    }

    fn advance_receive(&mut self, key: Key) {
        while self.socket(key).receiving {
            let (outcome, more) = match self.socket(key).connection {
                None => (Received::Failed(not_connected()), false),
                Some(id) => match self.network.front(id) {
                    Front::Nothing | Front::Opened => return,
                    Front::Bytes if self.buffers_free() == 0 => {
                        self.counters.out_of_buffers += 1;
                        (Received::NoBuffers, false)
                    }
                    Front::Bytes => {
                        let bytes = self.network.take_bytes(id, BUFFER_SIZE);
                        let holders = [self.held.clone(), self.socket(key).held.clone()];
                        (Received::Data(SimBuffer::new(bytes, holders)), true)
                    }
                    Front::End => (Received::End, false),
                    Front::Reset => {
                        let error = io::Error::from_raw_os_error(libc::ECONNRESET);
                        (Received::Failed(error), false)
                    }
                },
            };
            self.socket(key).receiving = more;
            self.received(key, outcome, more);
        }
    }

    /// Whether entering would make an event for this socket.
    fn is_ready(&self, socket: &Socket) -> bool {
        let Some(id) = socket.connection else {
            return socket.receiving;
        };
        let arrived = self.network.front(id) != Front::Nothing;
        let can_send = socket.sending.is_some() && !matches!(self.network.window(id), Ok(0));
        ((socket.connecting || socket.receiving) && arrived) || can_send
    }

    fn connected(&mut self, key: Key, result: io::Result<()>) {
        self.events.push_back(Event::Connected { key, result });
    }

    fn received(&mut self, key: Key, outcome: Received<SimBuffer>, more: bool) {
        self.events
            .push_back(Event::Received { key, outcome, more });
    }

    fn sent(&mut self, key: Key, buffer: SendBuffer, result: io::Result<usize>) {
        self.events.push_back(Event::Sent {
            key,
            buffer,
            result,
        });
    }
}

impl Drop for Sim {
    /// As the kernel would when the thread ends: what is open is closed.
    fn drop(&mut self) {
        for socket in self.sockets.values() {
            if let Some(id) = socket.connection {
                self.network.close(id);
            }
        }
    }
}

fn cancelled() -> io::Error {
    io::Error::from_raw_os_error(libc::ECANCELED)
}

fn not_connected() -> io::Error {
    io::Error::from_raw_os_error(libc::ENOTCONN)
}
