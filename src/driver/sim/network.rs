//! The world of a simulation: who listens where, and what is on the way between the two ends of
//! each connection.
//!
//! Owns: both directions of every connection, and the scripted peers. A hop moves what is in flight
//! to where it goes: what was sent on this side reaches the peer, what the peer had answered before
//! reaches the socket. Never: loses, reorders or corrupts bytes by itself, sleeps, or runs a peer
//! while it is borrowed: a peer may use the network as the test does.

use super::Sim;
use super::peer::{Answers, Peer, SimConnection};
use crate::endpoint::Endpoint;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::rc::Rc;

/// How many bytes of a connection may be on the way to a peer; more wait in the socket's send.
pub const WINDOW: usize = 64 * 1024;

/// The world. Clones are the same world.
#[derive(Clone, Default)]
pub struct Network(Rc<RefCell<World>>);

#[derive(Default)]
struct World {
    listeners: BTreeMap<Endpoint, Listener>,
    /// Every connection there ever was: a simulation is short.
    connections: Vec<Connection>,
    drivers: u32,
}

struct Listener {
    accept: Accept,
    accepted: Vec<usize>,
    open: usize,
    peak: usize,
}

type MakePeer = dyn FnMut() -> Box<dyn Peer>;

#[derive(Clone)]
enum Accept {
    By(Rc<RefCell<MakePeer>>),
    Never,
    Refuse,
}

struct Connection {
    driver: u32,
    endpoint: Endpoint,
    peer: Option<Box<dyn Peer>>,
    up: VecDeque<Up>,
    up_bytes: usize,
    down: VecDeque<Down>,
    /// What has come down, and waits for the socket to take it.
    inbox: VecDeque<Down>,
    stalled: bool,
    /// The peer sent RST.
    reset: bool,
    /// The socket is closed.
    closed: bool,
}

/// On the way to the peer.
enum Up {
    Open,
    Bytes(Vec<u8>),
    Closed,
}

/// On the way to the socket.
#[derive(Debug)]
pub(super) enum Down {
    Opened,
    Bytes(Vec<u8>),
    End,
    Reset,
}

/// What a socket finds at the front of its inbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    Nothing,
    Opened,
    Bytes,
    End,
    Reset,
}

impl Network {
    /// A world in which nobody listens.
    pub fn new() -> Network {
        Network::default()
    }

    /// One more driver in this world, with so many buffers to receive into.
    pub fn driver(&self, buffers: u32) -> Sim {
        let mut world = self.0.borrow_mut();
        world.drivers += 1;
        Sim::new(self.clone(), world.drivers, buffers)
    }

    /// Accepts connections to `endpoint` from now on; `peer` makes the script of each. Where nobody
    /// ever listened, connections are refused.
    pub fn listen(&self, endpoint: Endpoint, peer: impl FnMut() -> Box<dyn Peer> + 'static) {
        self.accept(endpoint, Accept::By(Rc::new(RefCell::new(peer))));
    }

    /// Lets connections to `endpoint` hang from now on, as if every SYN was lost.
    pub fn swallow(&self, endpoint: Endpoint) {
        self.accept(endpoint, Accept::Never);
    }

    /// Refuses connections to `endpoint` from now on; those accepted before live on.
    pub fn refuse(&self, endpoint: Endpoint) {
        self.accept(endpoint, Accept::Refuse);
    }

    fn accept(&self, endpoint: Endpoint, accept: Accept) {
        let mut world = self.0.borrow_mut();
        let listener = world.listeners.entry(endpoint).or_insert(Listener {
            accept: Accept::Refuse,
            accepted: Vec::new(),
            open: 0,
            peak: 0,
        });
        listener.accept = accept;
    }

    /// How many sockets are connected, or connecting, to `endpoint`: from the submitted connect to
    /// the close by their owner, whatever the peer does.
    pub fn open_connections(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |listener| listener.open)
    }

    /// The most that [`open_connections`](Network::open_connections) has been.
    pub fn connections_peak(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |listener| listener.peak)
    }

    /// How many connections `endpoint` has accepted.
    pub fn connections_accepted(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |listener| listener.accepted.len())
    }

    fn count(&self, endpoint: &Endpoint, what: impl Fn(&Listener) -> usize) -> usize {
        self.0.borrow().listeners.get(endpoint).map_or(0, what)
    }

    /// The `nth` connection, from 0, that `endpoint` accepted: a handle to act on its peer's behalf.
    ///
    /// # Panics
    /// If there have not been as many.
    pub fn connection(&self, endpoint: &Endpoint, nth: usize) -> SimConnection {
        let world = self.0.borrow();
        let listener = world.listeners.get(endpoint);
        let id = listener.and_then(|listener| listener.accepted.get(nth));
        SimConnection {
            id: *id.unwrap_or_else(|| panic!("{endpoint} has accepted no connection {nth}")),
            network: self.clone(),
        }
    }

    /// Moves everything in flight by one hop; true if there was something.
    pub fn step(&self) -> bool {
        self.hop(|_| true)
    }

    /// As [`step`](Network::step), for one driver's connections.
    pub(super) fn step_driver(&self, driver: u32) -> bool {
        self.hop(|connection| connection.driver == driver)
    }

    fn hop(&self, which: impl Fn(&Connection) -> bool) -> bool {
        let mut moved = false;
        let count = self.0.borrow().connections.len();
        for id in 0..count {
            let mut world = self.0.borrow_mut();
            let connection = &mut world.connections[id];
            if !which(connection) {
                continue;
            }
            moved |= !connection.down.is_empty();
            let arrived = mem::take(&mut connection.down);
            connection.inbox.extend(arrived);
            if connection.stalled {
                continue;
            }
            let up = mem::take(&mut connection.up);
            drop(world);
            moved |= !up.is_empty();
            for message in up {
                self.deliver(id, message);
            }
        }
        moved
    }

    fn deliver(&self, id: usize, message: Up) {
        let mut answers = Answers::default();
        match message {
            Up::Open => match self.accept_of(id) {
                Accept::By(make) => {
                    let mut peer = (make.borrow_mut())();
                    self.0.borrow_mut().opened(id);
                    peer.connected(&mut answers);
                    self.0.borrow_mut().restore(id, peer);
                }
                Accept::Never => {}
                Accept::Refuse => answers.reset(),
            },
            Up::Bytes(bytes) => {
                let mut world = self.0.borrow_mut();
                world.connections[id].up_bytes -= bytes.len();
                let peer = world.connections[id].peer.take();
                drop(world);
                if let Some(mut peer) = peer {
                    peer.received(&bytes, &mut answers);
                    self.0.borrow_mut().restore(id, peer);
                }
            }
            Up::Closed => {
                let peer = self.0.borrow_mut().connections[id].peer.take();
                if let Some(mut peer) = peer {
                    peer.closed();
                }
            }
        }
        self.answer(id, answers);
    }

    fn accept_of(&self, id: usize) -> Accept {
        let world = self.0.borrow();
        world.listeners[&world.connections[id].endpoint]
            .accept
            .clone()
    }

    /// Sets what a peer does on its way.
    pub(super) fn answer(&self, id: usize, answers: Answers) {
        let mut world = self.0.borrow_mut();
        let connection = &mut world.connections[id];
        for action in answers.0 {
            if connection.reset || connection.closed {
                return;
            }
            connection.reset = matches!(action, Down::Reset);
            connection.down.push_back(action);
        }
        if connection.reset {
            connection.peer = None;
        }
    }

    pub(super) fn stall(&self, id: usize, stalled: bool) {
        self.0.borrow_mut().connections[id].stalled = stalled;
    }

    pub(super) fn is_open(&self, id: usize) -> bool {
        !self.0.borrow().connections[id].closed
    }
}

/// What a driver does to the world.
impl Network {
    /// The new connection's id.
    pub(super) fn connect(&self, driver: u32, endpoint: &Endpoint) -> io::Result<usize> {
        let mut world = self.0.borrow_mut();
        let id = world.connections.len();
        let listener = world.listeners.get_mut(endpoint);
        let listener = listener.filter(|listener| !matches!(listener.accept, Accept::Refuse));
        let Some(listener) = listener else {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        };
        listener.open += 1;
        listener.peak = listener.peak.max(listener.open);
        world.connections.push(Connection {
            driver,
            endpoint: endpoint.clone(),
            peer: None,
            up: VecDeque::from([Up::Open]),
            up_bytes: 0,
            down: VecDeque::new(),
            inbox: VecDeque::new(),
            stalled: false,
            reset: false,
            closed: false,
        });
        Ok(id)
    }

    /// How many bytes the connection can take now; an error once the reset has arrived.
    pub(super) fn window(&self, id: usize) -> io::Result<usize> {
        let world = self.0.borrow();
        let connection = &world.connections[id];
        if connection
            .inbox
            .iter()
            .any(|down| matches!(down, Down::Reset))
        {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        Ok(WINDOW - connection.up_bytes)
    }

    pub(super) fn send(&self, id: usize, bytes: &[u8]) {
        let mut world = self.0.borrow_mut();
        let connection = &mut world.connections[id];
        connection.up_bytes += bytes.len();
        assert!(connection.up_bytes <= WINDOW, "more than the window takes");
        connection.up.push_back(Up::Bytes(bytes.to_vec()));
    }

    pub(super) fn front(&self, id: usize) -> Front {
        match self.0.borrow().connections[id].inbox.front() {
            None => Front::Nothing,
            Some(Down::Opened) => Front::Opened,
            Some(Down::Bytes(_)) => Front::Bytes,
            Some(Down::End) => Front::End,
            Some(Down::Reset) => Front::Reset,
        }
    }

    /// Takes the connection's opening from its inbox.
    pub(super) fn take_opened(&self, id: usize) {
        let opened = self.0.borrow_mut().connections[id].inbox.pop_front();
        assert!(matches!(opened, Some(Down::Opened)), "no opening there");
    }

    /// Takes up to `max` received bytes of one message. FIN and RST stay for ever.
    pub(super) fn take_bytes(&self, id: usize, max: usize) -> Vec<u8> {
        let mut world = self.0.borrow_mut();
        let inbox = &mut world.connections[id].inbox;
        let Some(Down::Bytes(mut bytes)) = inbox.pop_front() else {
            panic!("no bytes there");
        };
        if bytes.len() > max {
            inbox.push_front(Down::Bytes(bytes.split_off(max)));
        }
        bytes
    }

    pub(super) fn close(&self, id: usize) {
        let mut world = self.0.borrow_mut();
        let connection = &mut world.connections[id];
        assert!(!connection.closed, "closed twice");
        connection.closed = true;
        connection.down.clear();
        connection.inbox.clear();
        connection.up.push_back(Up::Closed);
        let endpoint = connection.endpoint.clone();
        let listener = world.listeners.get_mut(&endpoint);
        listener.expect("it was connected to").open -= 1;
    }
}

impl World {
    fn opened(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        if !connection.closed {
            connection.down.push_back(Down::Opened);
        }
        let listener = self.listeners.get_mut(&connection.endpoint);
        listener.expect("it accepts").accepted.push(id);
    }

    /// Gives a connection its peer back, unless it was reset meanwhile.
    fn restore(&mut self, id: usize, peer: Box<dyn Peer>) {
        let connection = &mut self.connections[id];
        if !connection.reset {
            connection.peer = Some(peer);
        }
    }
}
