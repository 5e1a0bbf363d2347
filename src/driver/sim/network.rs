//! The world of a simulation, as its owner sees it: who listens where, what time it is, and what is on
//! the way between the two ends of each connection.
//!
//! Owns: the clock, which moves by hand only. [`Network::step`] delivers what is due, and nothing else
//! does but a driver's own [`enter`](crate::driver::Driver::enter). Never: loses or corrupts bytes, or
//! reorders those of a connection.

use super::Sim;
use super::flight::What;
use super::peer::{Peer, SimConnection};
use super::weather::Weather;
use super::world::{Accept, Place, World};
use crate::endpoint::Endpoint;
use crate::slab::Key;
use crate::time::Time;
use crate::time::clock::Clock;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The world. Clones are the same world.
#[derive(Clone)]
pub struct Network(pub(super) Rc<Shared>);

pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) world: RefCell<World>,
    /// Deliveries and completions so far.
    pub(super) events: Cell<u64>,
    /// Whether a driver that is told to sleep moves the clock.
    pub(super) sleeps: Cell<bool>,
    traced: Cell<bool>,
    trace: RefCell<Option<Box<Trace>>>,
    names: Names,
}

/// Who is told of every event.
pub type Trace = dyn FnMut(Duration, &str);

/// What names stand for. Clones are the same list; another thread may ask, as resolvers do.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, Vec<SocketAddr>>>>);

impl Names {
    /// The addresses of `name`, if it is known.
    pub fn addresses(&self, name: &str) -> Option<Vec<SocketAddr>> {
        // Whatever panicked did so elsewhere: each change of the list is whole.
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(name).cloned()
    }

    fn set(&self, name: &str, addresses: Vec<SocketAddr>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), addresses);
    }
}

impl Network {
    /// A world in which nobody listens, at time zero. The same seed makes the same choices.
    pub fn new(seed: u64) -> Network {
        Network(Rc::new(Shared {
            clock: Clock::manual(),
            world: RefCell::new(World::new(seed)),
            events: Cell::new(0),
            sleeps: Cell::new(false),
            traced: Cell::new(false),
            trace: RefCell::new(None),
            names: Names::default(),
        }))
    }

    /// The time, since the world began.
    pub fn now(&self) -> Duration {
        self.time().since(Time::ZERO)
    }

    /// The earliest moment at which something in flight arrives or a driver's completion is due; it may
    /// have passed already.
    pub fn next_event(&self) -> Option<Duration> {
        let world = self.0.world.borrow();
        let lanes = 0..world.lanes.len();
        let next = lanes.map(|lane| world.next_arrival(lane).min(world.lanes[lane].due));
        next.min()
            .filter(|&next| next != Time::NEVER)
            .map(|next| next.since(Time::ZERO))
    }

    /// Deliveries and completions so far.
    pub fn events(&self) -> u64 {
        self.0.events.get()
    }

    /// How many sockets are connected, or connecting, to `endpoint`: from the submitted connect to
    /// the close by their owner, whatever the peer does.
    pub fn open_connections(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |place| place.open)
    }

    /// The most that [`open_connections`](Network::open_connections) has been.
    pub fn connections_peak(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |place| place.peak)
    }

    /// How many connections `endpoint` has accepted.
    pub fn connections_accepted(&self, endpoint: &Endpoint) -> usize {
        self.count(endpoint, |place| place.accepted.len())
    }

    fn count(&self, endpoint: &Endpoint, what: impl Fn(&Place) -> usize) -> usize {
        let world = self.0.world.borrow();
        world.known_place(endpoint).map_or(0, what)
    }

    /// The `nth` connection, from 0, that `endpoint` accepted: a handle to act on its peer's behalf.
    ///
    /// # Panics
    /// If there have not been as many.
    pub fn connection(&self, endpoint: &Endpoint, nth: usize) -> SimConnection {
        let world = self.0.world.borrow();
        let place = world.known_place(endpoint);
        let key = place.and_then(|place| place.accepted.get(nth));
        SimConnection {
            key: *key.unwrap_or_else(|| panic!("{endpoint} has accepted no connection {nth}")),
            network: self.clone(),
        }
    }

    /// Accepts connections to `endpoint` from now on; `peer` makes the script of each. Where nobody
    /// ever listened, connections are refused.
    pub fn listen(&self, endpoint: Endpoint, peer: impl FnMut() -> Box<dyn Peer> + 'static) {
        self.accept(&endpoint, Accept::By(Rc::new(RefCell::new(peer))));
    }

    /// Lets connections to `endpoint` hang from now on, as if every SYN was lost.
    pub fn swallow(&self, endpoint: Endpoint) {
        self.accept(&endpoint, Accept::Never);
    }

    /// Refuses connections to `endpoint` from now on; those accepted before live on.
    pub fn refuse(&self, endpoint: Endpoint) {
        self.accept(&endpoint, Accept::Refuse);
    }

    fn accept(&self, endpoint: &Endpoint, accept: Accept) {
        self.change(endpoint, |place| place.accept = accept);
    }

    /// Sets what the way to `endpoint` is like, for connections made from now on.
    pub fn set_weather(&self, endpoint: Endpoint, weather: Weather) {
        self.change(&endpoint, |place| place.weather = weather);
    }

    /// Sets how long `endpoint` takes to set a connection up, for connections made from now on: as
    /// an authentication would, and unlike weather not felt afterwards.
    pub fn set_setup_time(&self, endpoint: Endpoint, setup: Duration) {
        self.change(&endpoint, |place| place.setup = setup);
    }

    /// While it is on, nothing arrives from `endpoint` or at it. What was held up arrives afterwards,
    /// as if it had been sent again.
    pub fn partition(&self, endpoint: Endpoint, on: bool) {
        self.change(&endpoint, |place| place.partitioned = on);
        if on {
            return;
        }
        let now = self.time();
        let mut world = self.0.world.borrow_mut();
        let place = world.place(&endpoint);
        let here = world.connections.iter().filter(|(_, c)| c.place == place);
        let keys: Vec<Key> = here.map(|(key, _)| key).collect();
        for key in keys {
            world.fly(now, key, What::Release);
        }
    }

    fn change(&self, endpoint: &Endpoint, change: impl FnOnce(&mut Place)) {
        let mut world = self.0.world.borrow_mut();
        let place = world.place(endpoint);
        change(&mut world.places[place]);
    }

    /// Says what `name` stands for from now on. A port of 0 stands for the one that is asked for.
    pub fn set_names(&self, name: &str, addresses: Vec<SocketAddr>) {
        self.0.names.set(name, addresses);
    }

    /// Moves the clock to `at`, since the world began; never backwards. Delivers nothing.
    pub fn advance_to(&self, at: Duration) {
        self.0.clock.advance(at.saturating_sub(self.now()));
    }

    /// Delivers what is due now, but not what comes of that; true if there was something. So with no
    /// latency everything moves by one hop.
    pub fn step(&self) -> bool {
        let cutoff = self.0.world.borrow().sequence();
        let lanes = self.0.world.borrow().lanes.len();
        let mut moved = false;
        for lane in 0..lanes {
            moved |= self.deliver_due(lane, cutoff);
        }
        moved
    }

    /// Tells every event from now on, of the network and of its drivers, as one line each.
    pub fn trace(&self, trace: Option<Box<Trace>>) {
        self.0.traced.set(trace.is_some());
        self.0.trace.replace(trace);
    }
}

/// For the engine that runs in this world.
impl Network {
    /// As [`driver_with`](Network::driver_with), with small buffers.
    #[cfg(test)]
    pub(crate) fn driver(&self, buffers: u32) -> Sim {
        self.driver_with(buffers, super::BUFFER_SIZE)
    }

    /// One more driver in this world, with so many buffers of a size to receive into.
    pub(crate) fn driver_with(&self, buffers: u32, buffer_size: usize) -> Sim {
        let mut world = self.0.world.borrow_mut();
        let (lane, seed) = (world.add_lane(), world.seed());
        Sim::new(self.clone(), lane, seed, buffers, buffer_size)
    }

    /// The clock that this world goes by.
    pub(crate) fn clock(&self) -> Clock {
        self.0.clock.clone()
    }

    /// What names stand for.
    pub(crate) fn names(&self) -> Names {
        self.0.names.clone()
    }

    /// From now on a driver that is told to sleep moves the clock to what it would sleep for.
    pub(crate) fn let_drivers_sleep(&self) {
        self.0.sleeps.set(true);
    }

    pub(super) fn drivers_sleep(&self) -> bool {
        self.0.sleeps.get()
    }

    pub(super) fn time(&self) -> Time {
        self.0.clock.now()
    }

    pub(super) fn count_event(&self) {
        self.0.events.set(self.0.events.get() + 1);
    }

    /// Tells `line` to whoever traces; where nobody does it is not even made.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if !self.0.traced.get() {
            return;
        }
        let now = self.now();
        if let Some(trace) = self.0.trace.borrow_mut().as_mut() {
            trace(now, &line());
        }
    }
}
