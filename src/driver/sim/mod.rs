//! A driver without a kernel: it stands in for [`uring`](super::uring) where a test or the simulator
//! steps shards in one thread and owns the network.
//!
//! Owns: the sockets, operations and buffers of one shard, and holds the shard to the contract in
//! [`driver`](super): whoever breaks it panics. Never: sleeps, or loses an event.
//! [`enter`](Driver::enter) submits, delivers what of this driver's has arrived by the network's time,
//! and makes events, whatever it was told to wait for.
//!
//! | file | concept |
//! |---|---|
//! | `network` | the world, as its owner sees it: the clock, who listens where |
//! | `world`, `flight`, `weather` | what there is, what is on its way, and how long that takes |
//! | `traffic`, `arrival` | what drivers do to the world, and what happens when something arrives |
//! | `peer` | scripts at the other end |
//! | `socket`, `operations`, `ending` | what the shard has asked for, and how it ends |
//! | `completions` | when the shard learns of it |
//! | `faults` | what goes wrong, and how often |

mod arrival;
mod buffer;
mod completions;
mod ending;
mod faults;
mod flight;
mod network;
#[cfg(feature = "simulation")]
mod open_watch;
mod operations;
mod peer;
mod socket;
mod traffic;
mod weather;
mod world;

#[cfg(test)]
mod tests;

pub use buffer::SimBuffer;
#[cfg(feature = "simulation")]
pub use faults::FaultCounts;
pub use faults::{Fault, Faults};
#[cfg(feature = "simulation")]
pub use network::Names;
pub use network::Network;
#[cfg(feature = "simulation")]
pub use open_watch::OpenWatch;
#[cfg(feature = "simulation")]
pub use peer::Answer;
pub use peer::{Answers, Peer, SimConnection};
pub use weather::Weather;

#[cfg(feature = "simulation")]
use super::Received;
use super::socket::SocketOptions;
use super::{Counters, Driver, Event, Scope, SendBuffer, Signal, Wait};
use crate::endpoint::Endpoint;
use crate::slab::Key;
use crate::time::Time;
use completions::Completions;
use faults::Dice;
use operations::Operation;
use socket::Sockets;
use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many bytes one receive buffer holds in tests.
#[cfg(test)]
const BUFFER_SIZE: usize = 4096;

/// One shard's simulated driver; [`Network::driver_with`] makes it.
pub struct Sim {
    network: Network,
    /// Which of the network's drivers this is.
    lane: usize,
    sockets: Sockets,
    queue: Vec<Operation>,
    /// Operations begun so far: each is named by its number.
    begun: u64,
    /// Sockets to look at in this enter.
    touched: Vec<Key>,
    completions: Completions,
    dice: Dice,
    buffers: u32,
    buffer_size: usize,
    held: Rc<Cell<u32>>,
    signalled: Arc<Signalled>,
    counters: Counters,
    /// Sends submitted, and receives reaped.
    #[cfg(feature = "simulation")]
    sent: u64,
    #[cfg(feature = "simulation")]
    received: u64,
    /// Whether the next cancel's own event comes before its target's: both happen, in turns.
    cancelled_first: bool,
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
        if let Some(error) = self.dice.open_error() {
            self.tell(key, || format!("cannot be opened: {error}"));
            return Err(error);
        }
        self.sockets.insert(key, endpoint);
        Ok(())
    }

    fn connect(&mut self, key: Key) {
        let socket = self.sockets.usable(key);
        assert!(!socket.owed.connect, "{key:?}: a second connect");
        socket.owed.connect = true;
        self.submit(Operation::Connect(key));
    }

    fn receive(&mut self, key: Key) {
        let socket = self.sockets.usable(key);
        assert!(!socket.owed.receive, "{key:?}: a second receive");
        socket.owed.receive = true;
        self.submit(Operation::Receive(key));
    }

    fn send(&mut self, key: Key, buffer: SendBuffer) {
        let socket = self.sockets.usable(key);
        assert!(!socket.owed.send, "{key:?}: a second send");
        socket.owed.send = true;
        #[cfg(feature = "simulation")]
        {
            self.sent += 1;
        }
        self.submit(Operation::Send(key, buffer));
    }

    fn cancel(&mut self, key: Key, scope: Scope) {
        self.sockets.usable(key).owed.cancels += 1;
        self.submit(Operation::Cancel(key, scope));
    }

    fn close(&mut self, key: Key) {
        self.sockets.at_rest(key).owed.close = true;
        self.submit(Operation::Close(key));
    }

    fn detach(&mut self, key: Key) -> io::Result<OwnedFd> {
        self.sockets.at_rest(key);
        Err(io::ErrorKind::Unsupported.into())
    }

    fn pending(&self) -> bool {
        self.completions.queued() > 0
            || self.signalled.0.load(Ordering::Acquire)
            || self.completions.due() <= self.network.time()
            || self
                .network
                .any_touched(self.lane, |&key| self.is_ready(key))
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.counters.enters += 1;
        let woken = self.signalled.0.swap(false, Ordering::AcqRel);
        let mut queue = std::mem::take(&mut self.queue);
        for operation in queue.drain(..) {
            self.begin(operation);
        }
        self.queue = queue;
        self.look();
        if self.completions.queued() == 0 && !woken {
            self.sleep(wait);
        }
        let queued = self.completions.queued();
        let overflows = queued > 1 && self.dice.roll(Fault::Overflow);
        let visible = match overflows {
            true => self.dice.part(queued - 1),
            false => queued,
        };
        self.completions.show(visible);
        self.network.set_due(self.lane, self.completions.due());
        Ok(())
    }

    fn reap(&mut self, events: &mut Vec<Event<SimBuffer>>) {
        let max = match self.dice.faults.events_per_reap_max {
            0 => usize::MAX,
            max => max,
        };
        for _ in 0..max {
            let Some(event) = self.completions.take() else {
                return;
            };
            self.counters.completions += 1;
            self.settle(&event);
            #[cfg(feature = "simulation")]
            {
                let data = matches!(
                    &event,
                    Event::Received {
                        outcome: Received::Data(_),
                        ..
                    }
                );
                self.received += u64::from(data);
            }
            events.push(event);
        }
    }

    fn is_silent(&self, key: Key) -> bool {
        self.has_told_all(key)
    }

    fn buffers_held(&self, key: Key) -> u32 {
        self.sockets.get(key).map_or(0, |socket| socket.held.get())
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

impl Sim {
    fn new(network: Network, lane: usize, seed: u64, buffers: u32, buffer_size: usize) -> Sim {
        Sim {
            network,
            lane,
            sockets: Sockets::default(),
            queue: Vec::new(),
            begun: 0,
            touched: Vec::new(),
            completions: Completions::default(),
            dice: Dice::new(seed),
            buffers,
            buffer_size,
            held: Rc::default(),
            signalled: Arc::default(),
            counters: Counters::default(),
            #[cfg(feature = "simulation")]
            sent: 0,
            #[cfg(feature = "simulation")]
            received: 0,
            cancelled_first: false,
        }
    }

    /// What goes wrong from now on.
    pub(crate) fn set_faults(&mut self, faults: Faults) {
        self.dice.faults = faults;
    }

    /// How often each kind of fault has happened.
    #[cfg(feature = "simulation")]
    pub(crate) fn faults_met(&self) -> FaultCounts {
        self.dice.met
    }

    /// How many sends were submitted, and how many receives reaped.
    #[cfg(feature = "simulation")]
    pub(crate) fn transfers(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    /// The shard is at work: what completes meanwhile brings no turn before it enters again.
    #[cfg(feature = "simulation")]
    pub(crate) fn leave(&self) {
        self.network.set_due(self.lane, Time::NEVER);
    }

    fn submit(&mut self, operation: Operation) {
        self.counters.submissions += 1;
        self.queue.push(operation);
    }

    /// Looks at what has arrived, and queues the completions that are due.
    fn look(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        self.network.step_driver(self.lane, &mut touched);
        for key in touched.drain(..) {
            self.look_at(key);
        }
        self.touched = touched;
        self.queue_due();
    }

    /// Lets the time go by that a kernel would sleep, where the network allows it: a shard that stops
    /// waits in here for its last completions.
    fn sleep(&mut self, wait: Wait) {
        if !self.network.drivers_sleep() {
            return;
        }
        let now = self.network.time();
        let next = self
            .network
            .next_of_driver(self.lane)
            .min(self.completions.due());
        let until = match wait {
            Wait::No => return,
            Wait::Event => next,
            Wait::EventOr(limit) => next.min(now + limit),
        };
        if until != Time::NEVER {
            self.network.advance_to(until.since(Time::ZERO));
            self.look();
        }
    }

    fn tell(&self, key: Key, what: impl FnOnce() -> String) {
        let lane = self.lane;
        self.network
            .tell(|| format!("driver {lane} socket {key:?}: {}", what()));
    }
}

impl Drop for Sim {
    /// As the kernel would when the thread ends: what is open is closed.
    fn drop(&mut self) {
        for socket in self.sockets.iter() {
            if let Some(connection) = socket.connection {
                self.network.close(connection);
            }
        }
        self.network.set_due(self.lane, Time::NEVER);
    }
}
