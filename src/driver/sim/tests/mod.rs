//! The simulated driver and network, by themselves: without faults first.

mod faults;
mod races;
mod weather;

use super::traffic::WINDOW;
use super::*;
use crate::driver::Received;
use crate::driver::ReceivedBuffer;
use std::net::{Ipv4Addr, SocketAddr};

/// Sends back what it gets, until told otherwise: "end" and "reset" are orders, "hello" greets.
struct Echo {
    closed: Rc<Cell<u32>>,
}

impl Peer for Echo {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        match bytes {
            b"end" => out.end(),
            b"reset" => out.reset(),
            _ => out.send(bytes),
        }
    }

    fn ended(&mut self, _: &mut Answers) {
        self.closed.set(self.closed.get() + 1);
    }
}

const KEY: Key = Key::from_parts(0, 1);

fn endpoint() -> Endpoint {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80)).into()
}

struct World {
    network: Network,
    driver: Sim,
    closed: Rc<Cell<u32>>,
}

impl World {
    fn new(buffers: u32) -> World {
        World::seeded(1, buffers)
    }

    fn seeded(seed: u64, buffers: u32) -> World {
        let network = Network::new(seed);
        let closed = Rc::new(Cell::new(0));
        let count = closed.clone();
        network.listen(endpoint(), move || {
            Box::new(Echo {
                closed: count.clone(),
            })
        });
        World {
            driver: network.driver(buffers),
            network,
            closed,
        }
    }

    /// With one socket connected, and receiving.
    fn connected(buffers: u32) -> World {
        let mut world = World::new(buffers);
        world.open();
        world.driver.connect(KEY);
        world.driver.receive(KEY);
        assert_eq!(world.turns(2), ["connected"]);
        world
    }

    fn open(&mut self) {
        let options = SocketOptions::default();
        self.driver.open(KEY, &endpoint(), &options).unwrap();
    }

    fn send(&mut self, bytes: &[u8]) {
        self.driver.send(KEY, SendBuffer::from(bytes.to_vec()));
    }

    fn events(&mut self) -> Vec<Event<SimBuffer>> {
        self.driver.enter(Wait::No).unwrap();
        let mut events = Vec::new();
        self.driver.reap(&mut events);
        events
    }

    /// What so many turns bring, in words.
    fn turns(&mut self, count: usize) -> Vec<String> {
        let events = (0..count).flat_map(|_| self.events());
        events.map(|event| describe(&event)).collect()
    }
}

fn describe(event: &Event<SimBuffer>) -> String {
    match event {
        Event::Connected { result: Ok(()), .. } => "connected".into(),
        Event::Connected { result: Err(e), .. } => format!("connect: {:?}", e.raw_os_error()),
        Event::Received { outcome, more, .. } => {
            let outcome = match outcome {
                Received::Data(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Received::End => "end".into(),
                Received::NoBuffers => "no buffers".into(),
                Received::Stopped => "stopped".into(),
                Received::Failed(e) => format!("failed: {:?}", e.raw_os_error()),
            };
            outcome + if *more { "+" } else { "." }
        }
        Event::Sent { result: Ok(n), .. } => format!("sent {n}"),
        Event::Sent { result: Err(e), .. } => format!("send: {:?}", e.raw_os_error()),
        Event::Cancelled { .. } => "cancelled".into(),
        Event::Closed { .. } => "closed".into(),
    }
}

fn errno(what: &str, errno: i32) -> String {
    format!("{what}: Some({errno})")
}

#[test]
fn where_nobody_listens_a_connect_is_refused() {
    let mut world = World::new(1);
    world.network.refuse(endpoint());
    world.open();
    world.driver.connect(KEY);
    assert!(!world.driver.pending(), "nothing happens before enter");
    assert_eq!(world.turns(1), [errno("connect", libc::ECONNREFUSED)]);
    world.driver.close(KEY);
    assert_eq!(world.turns(1), ["closed"]);
    assert_eq!(world.network.connections_peak(&endpoint()), 0);
    assert_eq!(world.driver.counters().sockets, 0);
}

#[test]
fn a_swallowed_connect_hangs_until_cancelled() {
    let mut world = World::new(1);
    world.network.swallow(endpoint());
    world.open();
    world.driver.connect(KEY);
    assert!(world.turns(10).is_empty());
    assert_eq!(world.network.open_connections(&endpoint()), 1);
    world.driver.cancel(KEY, Scope::All);
    let expected = [errno("connect", libc::ECANCELED), "cancelled".into()];
    assert_eq!(world.turns(3), expected);
    world.driver.close(KEY);
    assert_eq!(world.turns(1), ["closed"]);
    assert_eq!(world.network.open_connections(&endpoint()), 0);
    assert_eq!(world.network.connections_accepted(&endpoint()), 0);
}

#[test]
fn bytes_go_there_and_back_and_the_peer_hears_the_close() {
    let mut world = World::connected(4);
    world.send(b"one");
    assert_eq!(world.turns(1), ["sent 3"]);
    assert!(!world.driver.pending());
    assert!(world.network.step(), "the answer arrives");
    assert!(world.driver.pending());
    assert_eq!(world.turns(1), ["one+"]);
    world.driver.cancel(KEY, Scope::All);
    assert_eq!(world.turns(1), ["stopped.", "cancelled"]);
    world.driver.close(KEY);
    assert_eq!(world.turns(1), ["closed"]);
    assert_eq!(world.closed.get(), 1);
    assert!(!world.network.connection(&endpoint(), 0).is_open());
    assert_eq!(world.network.connections_peak(&endpoint()), 1);
    assert_eq!(world.network.open_connections(&endpoint()), 0);
    assert!(!world.network.step());
}

#[test]
fn fin_comes_after_the_bytes_before_it_and_stays() {
    let mut world = World::connected(4);
    world.send(b"last");
    world.turns(1);
    world.send(b"end");
    assert_eq!(world.turns(2), ["sent 3", "last+", "end."]);
    world.driver.receive(KEY);
    assert_eq!(world.turns(1), ["end."]);
    world.send(b"still open");
    assert_eq!(world.turns(1), ["sent 10"]);
}

#[test]
fn after_a_reset_nothing_works() {
    let mut world = World::connected(4);
    world.send(b"reset");
    let expected = ["sent 5".into(), errno("failed", libc::ECONNRESET) + "."];
    assert_eq!(world.turns(2), expected);
    world.send(b"x");
    assert_eq!(world.turns(1), [errno("send", libc::EPIPE)]);
    world.driver.close(KEY);
    assert_eq!(world.turns(1), ["closed"]);
    assert_eq!(world.closed.get(), 0, "the peer was gone already");
}

#[test]
fn a_test_acts_for_the_peer_of_an_idle_connection() {
    let mut world = World::connected(4);
    let peer = world.network.connection(&endpoint(), 0);
    peer.send(*b"stray");
    peer.end();
    assert_eq!(world.turns(1), ["stray+", "end."]);
    peer.reset();
    world.driver.receive(KEY);
    assert_eq!(world.turns(1), ["end."]);
    world.send(b"x");
    assert_eq!(world.turns(1), [errno("send", libc::EPIPE)]);
}

#[test]
fn a_cancel_ends_before_or_after_its_target() {
    let mut world = World::connected(4);
    for expected in [["stopped.", "cancelled"], ["cancelled", "stopped."]] {
        world.driver.cancel(KEY, Scope::Receive);
        assert_eq!(world.turns(2), expected);
        world.driver.receive(KEY);
        assert!(world.turns(1).is_empty());
    }
}

#[test]
fn a_cancel_that_finds_nothing_ends_alone() {
    let mut world = World::connected(4);
    world.network.connection(&endpoint(), 0).end();
    world.driver.enter(Wait::No).unwrap();
    // The receive has ended already, but nobody has reaped that yet.
    world.driver.cancel(KEY, Scope::All);
    assert_eq!(world.turns(1), ["end.", "cancelled"]);
}

#[test]
fn a_peer_that_does_not_read_holds_a_send_up() {
    let mut world = World::connected(64);
    let peer = world.network.connection(&endpoint(), 0);
    peer.stall();
    world.send(&vec![b'x'; WINDOW + 1]);
    assert_eq!(world.turns(1), [format!("sent {WINDOW}")]);
    world.send(b"more");
    assert!(world.turns(3).is_empty());
    world.driver.cancel(KEY, Scope::All);
    let mut expected = vec!["stopped.".into(), errno("send", libc::ECANCELED)];
    expected.push("cancelled".into());
    assert_eq!(world.turns(1), expected);
    world.send(b"more");
    assert!(world.turns(1).is_empty());
    peer.resume();
    assert_eq!(world.turns(1), ["sent 4"]);
}

#[test]
fn without_buffers_receiving_stops_and_nothing_is_lost() {
    let mut world = World::connected(2);
    world.send(&[b'x'; 3 * BUFFER_SIZE]);
    world.events();
    let mut events = world.events();
    assert_eq!(events.len(), 3);
    assert_eq!(describe(&events[2]), "no buffers.");
    assert_eq!(world.driver.buffers_free(), 0);
    assert_eq!(world.driver.buffers_held(KEY), 2);
    let clones: Vec<String> = events.iter().map(describe).collect();
    assert_eq!(clones[0].len(), BUFFER_SIZE + 1);

    world.driver.receive(KEY);
    assert_eq!(world.turns(1), ["no buffers."]);
    events.remove(0);
    assert_eq!(world.driver.buffers_free(), 1);
    world.driver.receive(KEY);
    assert_eq!(world.turns(1)[0].len(), BUFFER_SIZE + 1);
    drop(events);
    assert_eq!(world.driver.counters().buffers_held, 0);
    assert_eq!(world.driver.counters().out_of_buffers, 2);
}

#[test]
fn a_buffer_is_held_until_its_last_clone_goes() {
    let mut world = World::connected(2);
    world.send(b"abcdef");
    world.events();
    let mut events = world.events();
    let Some(Event::Received {
        outcome: Received::Data(mut view),
        ..
    }) = events.pop()
    else {
        panic!("bytes");
    };
    let mut clone = view.clone();
    view.advance(2);
    view.truncate(3);
    view.truncate(10);
    assert_eq!(&*view, b"cde");
    clone.truncate(1);
    assert_eq!(&*clone, b"a");
    drop(view);
    assert_eq!(world.driver.buffers_held(KEY), 1);
    drop(clone);
    assert_eq!(world.driver.buffers_held(KEY), 0);
}

#[test]
fn a_signal_shows_until_the_next_enter() {
    let mut world = World::new(1);
    let signal = world.driver.signal();
    assert!(!world.driver.pending());
    std::thread::spawn(move || signal.signal()).join().unwrap();
    assert!(world.driver.pending());
    assert!(world.turns(1).is_empty());
    assert!(!world.driver.pending());
}

#[test]
fn a_driver_that_goes_closes_its_sockets() {
    let world = World::connected(1);
    drop(world.driver);
    assert_eq!(world.network.open_connections(&endpoint()), 0);
    assert!(world.network.step());
    assert_eq!(world.closed.get(), 1);
}

#[test]
fn drivers_share_the_world_but_move_only_their_own() {
    let mut world = World::connected(4);
    let mut other = world.network.driver(4);
    let options = SocketOptions::default();
    other.open(KEY, &endpoint(), &options).unwrap();
    other.connect(KEY);
    other.enter(Wait::No).unwrap();
    assert_eq!(world.network.open_connections(&endpoint()), 2);
    assert_eq!(world.network.connections_accepted(&endpoint()), 2);
    world
        .network
        .connection(&endpoint(), 0)
        .send(*b"for the first");
    assert_eq!(world.turns(1), ["for the first+"]);
    assert!(!other.pending(), "its connection has not moved");
    other.enter(Wait::No).unwrap();
    let mut events = Vec::new();
    other.reap(&mut events);
    assert_eq!(
        events.iter().map(describe).collect::<Vec<_>>(),
        ["connected"]
    );
    drop(other);
    assert_eq!(world.network.open_connections(&endpoint()), 1);
    assert_eq!(world.network.connections_peak(&endpoint()), 2);
}

#[test]
fn there_is_nothing_to_detach() {
    let mut world = World::new(1);
    world.open();
    let error = world.driver.detach(KEY).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}

#[test]
#[should_panic(expected = "still has operations")]
fn closing_with_an_operation_in_flight_is_refused() {
    World::connected(1).driver.close(KEY);
}

#[test]
#[should_panic(expected = "a second receive")]
fn one_receive_at_a_time() {
    World::connected(1).driver.receive(KEY);
}
