//! What there is in a simulated world: places to connect to, connections, and what is on its way.
//!
//! Owns: the order in which things arrive. In each direction of a connection that is the order in which
//! they left. Never: calls a peer, or knows what a driver makes of what arrives.

use super::flight::{Down, Flight, Up, What};
use super::peer::Peer;
use super::weather::Weather;
use crate::endpoint::Endpoint;
use crate::random::Random;
use crate::slab::{Key, Slab};
use crate::time::Time;
use bytes::Bytes;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// The world, but for its clock.
pub(super) struct World {
    pub(super) places: Vec<Place>,
    by_endpoint: BTreeMap<Endpoint, usize>,
    pub(super) connections: Slab<Connection>,
    /// One for each driver.
    pub(super) lanes: Vec<Lane>,
    random: Random,
    sequence: u64,
}

/// Where connections go.
pub(super) struct Place {
    pub(super) endpoint: Endpoint,
    pub(super) accept: Accept,
    pub(super) weather: Weather,
    /// How long the peer takes to set a connection up, beyond the way there and back.
    pub(super) setup: Duration,
    pub(super) partitioned: bool,
    pub(super) accepted: Vec<Key>,
    pub(super) open: usize,
    pub(super) peak: usize,
}

pub(super) type MakePeer = dyn FnMut() -> Box<dyn Peer>;

#[derive(Clone)]
pub(super) enum Accept {
    By(Rc<RefCell<MakePeer>>),
    Never,
    Refuse,
}

/// What concerns one driver.
pub(super) struct Lane {
    flights: BinaryHeap<Reverse<Flight>>,
    /// Sockets with something new to look at.
    pub(super) touched: Vec<Key>,
    /// When the driver's next completion is due.
    pub(super) due: Time,
}

/// A connection, from the submitted connect until its peer knows of its end.
pub(super) struct Connection {
    pub(super) lane: usize,
    pub(super) socket: Key,
    pub(super) place: usize,
    pub(super) peer: Option<Box<dyn Peer>>,
    random: Random,
    weather: Weather,
    /// Bytes sent that the peer has not read.
    pub(super) up_bytes: usize,
    up_last: Time,
    down_last: Time,
    /// Until when the peer is at work on what came before.
    pub(super) busy_until: Time,
    /// What has come down, and waits for the socket to take it.
    pub(super) inbox: VecDeque<Down>,
    /// What has arrived, but for a stall or a partition.
    pub(super) held_up: VecDeque<Up>,
    pub(super) held_down: VecDeque<Down>,
    pub(super) stalled: bool,
    /// The peer sent RST; and it has arrived.
    pub(super) reset: bool,
    pub(super) reset_arrived: bool,
    /// The socket is closed.
    pub(super) closed: bool,
    pub(super) touched: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        World {
            places: Vec::new(),
            by_endpoint: BTreeMap::new(),
            connections: Slab::new(),
            lanes: Vec::new(),
            random: Random::new(seed),
            sequence: 0,
        }
    }

    /// How many things have ever been sent on their way.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn add_lane(&mut self) -> usize {
        self.lanes.push(Lane {
            flights: BinaryHeap::new(),
            touched: Vec::new(),
            due: Time::NEVER,
        });
        self.lanes.len() - 1
    }

    /// A seed for whoever makes choices of its own.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.next_u64()
    }

    pub(super) fn known_place(&self, endpoint: &Endpoint) -> Option<&Place> {
        let index = self.by_endpoint.get(endpoint)?;
        Some(&self.places[*index])
    }

    /// The place at `endpoint`; where nobody ever listened, connections are refused.
    pub(super) fn place(&mut self, endpoint: &Endpoint) -> usize {
        if let Some(&index) = self.by_endpoint.get(endpoint) {
            return index;
        }
        self.places.push(Place {
            endpoint: endpoint.clone(),
            accept: Accept::Refuse,
            weather: Weather::default(),
            setup: Duration::ZERO,
            partitioned: false,
            accepted: Vec::new(),
            open: 0,
            peak: 0,
        });
        let index = self.places.len() - 1;
        self.by_endpoint.insert(endpoint.clone(), index);
        index
    }

    pub(super) fn add_connection(&mut self, lane: usize, socket: Key, place: usize) -> Key {
        let random = Random::new(self.seed());
        let at = &mut self.places[place];
        at.open += 1;
        at.peak = at.peak.max(at.open);
        self.connections.insert(Connection {
            lane,
            socket,
            place,
            peer: None,
            random,
            weather: at.weather,
            up_bytes: 0,
            up_last: Time::ZERO,
            down_last: Time::ZERO,
            busy_until: Time::ZERO,
            inbox: VecDeque::new(),
            held_up: VecDeque::new(),
            held_down: VecDeque::new(),
            stalled: false,
            reset: false,
            reset_arrived: false,
            closed: false,
            touched: false,
        })
    }

    /// Sends something to the peer.
    pub(super) fn fly_up(&mut self, now: Time, key: Key, up: Up) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let latency = connection.weather.latency(&mut connection.random);
        let at = (now + latency).max(connection.up_last);
        connection.up_last = at;
        self.fly(at, key, What::Up(up));
    }

    /// Sends something to the socket, as soon as the peer has come to it.
    pub(super) fn fly_down(&mut self, now: Time, key: Key, down: Down) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let latency = connection.weather.latency(&mut connection.random);
        let leaves = now.max(connection.busy_until);
        let at = (leaves + latency).max(connection.down_last);
        connection.down_last = at;
        self.fly(at, key, What::Down(down));
    }

    /// Takes from `bytes` what arrives in one piece.
    pub(super) fn next_piece(&mut self, key: Key, bytes: &mut Bytes) -> Option<Bytes> {
        if bytes.is_empty() {
            return None;
        }
        let connection = self.connections.get_mut(key)?;
        let len = connection
            .weather
            .piece(bytes.len(), &mut connection.random);
        Some(bytes.split_to(len))
    }

    pub(super) fn fly(&mut self, at: Time, key: Key, what: What) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let flight = Flight::new(at, self.sequence, key, what);
        self.sequence += 1;
        self.lanes[connection.lane].flights.push(Reverse(flight));
    }

    /// The next of a lane's flights that has arrived by `now`, of those that left before `cutoff`.
    pub(super) fn arrival(&mut self, lane: usize, now: Time, cutoff: u64) -> Option<Flight> {
        let flights = &mut self.lanes[lane].flights;
        let Reverse(first) = flights.peek()?;
        if !first.has_arrived(now, cutoff) {
            return None;
        }
        flights.pop().map(|Reverse(flight)| flight)
    }

    /// When something of the lane arrives next.
    pub(super) fn next_arrival(&self, lane: usize) -> Time {
        let first = self.lanes[lane].flights.peek();
        first.map_or(Time::NEVER, |Reverse(flight)| flight.at())
    }

    /// Tells the driver that there is something to look at.
    pub(super) fn touch(&mut self, key: Key) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.touched
            && !connection.closed
        {
            connection.touched = true;
            self.lanes[connection.lane].touched.push(connection.socket);
        }
    }

    /// Whether nothing of this place's gets through.
    pub(super) fn is_partitioned(&self, connection: &Connection) -> bool {
        self.places[connection.place].partitioned
    }
}
