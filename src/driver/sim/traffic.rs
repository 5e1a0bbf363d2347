//! What a driver does to the world: its sockets connect, send, take what has come, and close.
//!
//! Never: calls a peer; what is done here goes on its way.

use super::flight::{Down, Up};
use super::network::Network;
use super::world::Accept;
use crate::endpoint::Endpoint;
use crate::slab::Key;
use crate::time::Time;
use bytes::Bytes;
use std::io;

/// How many bytes of a connection may be on the way to a peer; more wait in the socket's send.
pub const WINDOW: usize = 64 * 1024;

/// What a socket finds at the front of its inbox.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    Nothing,
    Opened,
    Bytes,
    End,
    Reset,
}

/// A driver's connections live until it closes them.
impl Network {
    /// Begins to connect; the new connection's key.
    pub(super) fn connect(&self, lane: usize, socket: Key, endpoint: &Endpoint) -> io::Result<Key> {
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        let place = world.place(endpoint);
        let there = &world.places[place];
        let near = there.weather.latency_max.is_zero() && !there.partitioned;
        if near && matches!(there.accept, Accept::Refuse) {
            return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        }
        let key = world.add_connection(lane, socket, place);
        world.fly_up(now, key, Up::Open);
        Ok(key)
    }

    /// How many bytes the connection can take now; an error once the reset has arrived.
    pub(super) fn window(&self, key: Key) -> io::Result<usize> {
        let world = self.0.world.borrow();
        let connection = world.connections.get(key).expect("it is open");
        if connection.reset_arrived {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        Ok(WINDOW - connection.up_bytes)
    }

    pub(super) fn send(&self, key: Key, bytes: &[u8]) {
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        let connection = world.connections.get_mut(key).expect("it is open");
        connection.up_bytes += bytes.len();
        assert!(connection.up_bytes <= WINDOW, "more than the window takes");
        let mut bytes = Bytes::copy_from_slice(bytes);
        while let Some(piece) = world.next_piece(key, &mut bytes) {
            world.fly_up(now, key, Up::Bytes(piece));
        }
    }

    pub(super) fn front(&self, key: Key) -> Front {
        let world = self.0.world.borrow();
        let connection = world.connections.get(key).expect("it is open");
        match connection.inbox.front() {
            None => Front::Nothing,
            Some(Down::Opened) => Front::Opened,
            Some(Down::Bytes(_)) => Front::Bytes,
            Some(Down::End) => Front::End,
            Some(Down::Reset) => Front::Reset,
        }
    }

    /// Takes the connection's opening from its inbox.
    pub(super) fn take_opened(&self, key: Key) {
        let mut world = self.0.world.borrow_mut();
        let connection = world.connections.get_mut(key).expect("it is open");
        let opened = connection.inbox.pop_front();
        assert!(matches!(opened, Some(Down::Opened)), "no opening there");
    }

    /// Takes up to `max` received bytes of one message. FIN and RST stay for ever.
    pub(super) fn take_bytes(&self, key: Key, max: usize) -> Bytes {
        let mut world = self.0.world.borrow_mut();
        let connection = world.connections.get_mut(key).expect("it is open");
        let Some(Down::Bytes(bytes)) = connection.inbox.front_mut() else {
            panic!("no bytes there");
        };
        let taken = bytes.split_to(max.min(bytes.len()));
        if bytes.is_empty() {
            connection.inbox.pop_front();
        }
        taken
    }

    pub(super) fn close(&self, key: Key) {
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        let connection = world.connections.get_mut(key).expect("closed once only");
        assert!(!connection.closed, "closed twice");
        connection.closed = true;
        connection.inbox.clear();
        connection.held_down.clear();
        let place = connection.place;
        world.places[place].open -= 1;
        world.fly_up(now, key, Up::Closed);
    }

    /// Delivers what has arrived for one driver, and moves the list of its sockets that have something
    /// new to `touched`.
    pub(super) fn step_driver(&self, lane: usize, touched: &mut Vec<Key>) {
        let cutoff = self.0.world.borrow().sequence();
        self.deliver_due(lane, cutoff);
        touched.append(&mut self.0.world.borrow_mut().lanes[lane].touched);
    }

    /// From now on news of this connection is told again.
    pub(super) fn untouch(&self, key: Key) {
        if let Some(connection) = self.0.world.borrow_mut().connections.get_mut(key) {
            connection.touched = false;
        }
    }

    /// Whether `look` says so of any of a driver's sockets that have something new.
    pub(super) fn any_touched(&self, lane: usize, look: impl FnMut(&Key) -> bool) -> bool {
        self.0.world.borrow().lanes[lane].touched.iter().any(look)
    }

    /// Notes when a driver's next completion is due.
    pub(super) fn set_due(&self, lane: usize, due: Time) {
        self.0.world.borrow_mut().lanes[lane].due = due;
    }

    /// When there is something new for a driver that has nothing now.
    pub(super) fn next_of_driver(&self, lane: usize) -> Time {
        let world = self.0.world.borrow();
        world.next_arrival(lane).min(world.lanes[lane].due)
    }
}
