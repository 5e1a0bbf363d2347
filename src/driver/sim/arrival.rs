//! What happens when something arrives: peers are called and answer, sockets get something to look at.
//!
//! Never: runs a peer while anything is borrowed: a peer may use the network as a test does.

use super::flight::{Down, Flight, Up, What};
use super::network::Network;
use super::peer::{Answer, Answers, Peer};
use super::traffic::WINDOW;
use super::world::{Accept, World};
use crate::slab::Key;
use crate::time::Time;

impl Network {
    /// Delivers what of one driver's has arrived by now; true if there was something.
    pub(super) fn deliver_due(&self, lane: usize, cutoff: u64) -> bool {
        let now = self.time();
        let mut moved = false;
        loop {
            let flight = self.0.world.borrow_mut().arrival(lane, now, cutoff);
            let Some(flight) = flight else {
                return moved;
            };
            moved = true;
            self.count_event();
            self.deliver(flight);
        }
    }

    fn deliver(&self, flight: Flight) {
        let key = flight.connection;
        self.tell(|| self.describe(&flight));
        match flight.what {
            What::Up(up) => self.arrive_up(key, up),
            What::Down(down) => self.0.world.borrow_mut().arrive_down(key, down),
            What::Reset => self.0.world.borrow_mut().reset(key, self.time()),
            What::Timer => self.call(key, |peer, answers| peer.timer(answers)),
            What::Release => self.release(key),
        }
    }

    fn describe(&self, flight: &Flight) -> String {
        let world = self.0.world.borrow();
        let Some(connection) = world.connections.get(flight.connection) else {
            return format!("nobody is there for {:?}", flight.what);
        };
        let socket = format!("driver {} socket {:?}", connection.lane, connection.socket);
        let endpoint = &world.places[connection.place].endpoint;
        match &flight.what {
            What::Up(up) => format!("{socket} → {endpoint}: {up:?}"),
            What::Down(down) => format!("{socket} ← {endpoint}: {down:?}"),
            What::Reset | What::Timer | What::Release => {
                format!("{socket} · {endpoint}: {:?}", flight.what)
            }
        }
    }

    fn arrive_up(&self, key: Key, up: Up) {
        let mut world = self.0.world.borrow_mut();
        let stopped = world.stops_up(key);
        let Some(connection) = world.connections.get_mut(key) else {
            return;
        };
        if stopped || !connection.held_up.is_empty() {
            connection.held_up.push_back(up);
            return;
        }
        drop(world);
        self.take_up(key, up);
    }

    /// Lets go what was held in both directions, unless something holds it still.
    fn release(&self, key: Key) {
        loop {
            let mut world = self.0.world.borrow_mut();
            let stopped = world.stops_up(key);
            let Some(connection) = world.connections.get_mut(key) else {
                return;
            };
            let up = match stopped {
                true => None,
                false => connection.held_up.pop_front(),
            };
            let Some(up) = up else {
                world.release_down(key);
                return;
            };
            drop(world);
            self.take_up(key, up);
        }
    }

    fn take_up(&self, key: Key, up: Up) {
        match up {
            Up::Open => self.open(key),
            Up::Bytes(bytes) => {
                self.0.world.borrow_mut().read(key, bytes.len());
                self.call(key, |peer, answers| peer.received(&bytes, answers));
            }
            Up::Closed => {
                self.call(key, |peer, answers| peer.ended(answers));
                self.0.world.borrow_mut().connections.remove(key);
            }
        }
    }

    fn open(&self, key: Key) {
        let accept = self.0.world.borrow().accept_of(key);
        match accept {
            Some(Accept::By(make)) => {
                let peer = (make.borrow_mut())();
                self.0.world.borrow_mut().opened(key, peer, self.time());
                self.call(key, |peer, answers| peer.connected(answers));
            }
            Some(Accept::Never) | None => {}
            Some(Accept::Refuse) => self.0.world.borrow_mut().reset(key, self.time()),
        }
    }

    /// Runs a connection's peer, and sends what it answers on its way.
    fn call(&self, key: Key, run: impl FnOnce(&mut dyn Peer, &mut Answers)) {
        let mut world = self.0.world.borrow_mut();
        let connection = world.connections.get_mut(key);
        let peer = connection.and_then(|connection| connection.peer.take());
        drop(world);
        let Some(mut peer) = peer else {
            return;
        };
        let mut answers = Answers::default();
        run(&mut *peer, &mut answers);
        let mut world = self.0.world.borrow_mut();
        if let Some(connection) = world.connections.get_mut(key)
            && !connection.reset
        {
            connection.peer = Some(peer);
        }
        drop(world);
        self.answer(key, answers);
    }

    /// Sets what a peer does on its way.
    pub(super) fn answer(&self, key: Key, answers: Answers) {
        if answers.0.is_empty() {
            return;
        }
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        for answer in answers.0 {
            let Some(connection) = world.connections.get_mut(key) else {
                return;
            };
            if connection.reset || connection.closed {
                return;
            }
            let starts = now.max(connection.busy_until);
            match answer {
                Answer::Send(mut bytes) => {
                    while let Some(piece) = world.next_piece(key, &mut bytes) {
                        world.fly_down(now, key, Down::Bytes(piece));
                    }
                }
                Answer::End => world.fly_down(now, key, Down::End),
                Answer::Reset if starts <= now => world.reset(key, now),
                Answer::Reset => world.fly(starts, key, What::Reset),
                Answer::Wait(time) => connection.busy_until = starts + time,
                Answer::Timer(after) => world.fly(now + after, key, What::Timer),
            }
        }
    }

    pub(super) fn stall(&self, key: Key, stalled: bool) {
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        if let Some(connection) = world.connections.get_mut(key) {
            connection.stalled = stalled;
            if !stalled {
                world.fly(now, key, What::Release);
            }
        }
    }

    pub(super) fn is_open(&self, key: Key) -> bool {
        let world = self.0.world.borrow();
        world.connections.get(key).is_some_and(|c| !c.closed)
    }
}

impl World {
    fn accept_of(&self, key: Key) -> Option<Accept> {
        let connection = self.connections.get(key)?;
        Some(self.places[connection.place].accept.clone())
    }

    /// Whether what goes up is held: the way is cut, or there is a peer and it does not read.
    fn stops_up(&self, key: Key) -> bool {
        self.connections.get(key).is_some_and(|connection| {
            self.is_partitioned(connection) || connection.stalled && connection.peer.is_some()
        })
    }

    fn opened(&mut self, key: Key, peer: Box<dyn Peer>, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.peer = Some(peer);
        let (place, closed) = (connection.place, connection.closed);
        connection.busy_until = now + self.places[place].setup;
        self.places[place].accepted.push(key);
        if !closed {
            self.fly_down(now, key, Down::Opened);
        }
    }

    /// The peer has read so many bytes: a send that waits for room may go on.
    fn read(&mut self, key: Key, len: usize) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let was_full = connection.up_bytes == WINDOW;
        connection.up_bytes -= len;
        if was_full {
            self.touch(key);
        }
    }

    fn arrive_down(&mut self, key: Key, down: Down) {
        let Some(connection) = self.connections.get(key) else {
            return;
        };
        let stopped = self.is_partitioned(connection) || !connection.held_down.is_empty();
        let Some(connection) = self.connections.get_mut(key).filter(|c| !c.closed) else {
            return;
        };
        if stopped {
            connection.held_down.push_back(down);
        } else {
            self.take_down(key, down);
        }
    }

    fn release_down(&mut self, key: Key) {
        while let Some(connection) = self.connections.get(key) {
            if self.is_partitioned(connection) {
                return;
            }
            let connection = self.connections.get_mut(key);
            let Some(down) = connection.and_then(|c| c.held_down.pop_front()) else {
                return;
            };
            self.take_down(key, down);
        }
    }

    fn take_down(&mut self, key: Key, down: Down) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.reset_arrived |= matches!(down, Down::Reset);
            connection.inbox.push_back(down);
            self.touch(key);
        }
    }

    fn reset(&mut self, key: Key, now: Time) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if connection.closed || connection.reset {
            return;
        }
        connection.reset = true;
        connection.peer = None;
        self.fly_down(now, key, Down::Reset);
    }
}
