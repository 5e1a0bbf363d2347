//! What the network does by itself: delays, pieces, partitions; and what peers do in their time.

use super::*;
use std::cell::RefCell;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

fn weather(least: u32, most: u32, piece_max: usize) -> Weather {
    Weather {
        latency_min: least * MILLISECOND,
        latency_max: most * MILLISECOND,
        piece_max,
    }
}

impl World {
    /// What comes by `until`, and when, with the network and the driver stepped at every event.
    fn until(&mut self, until: Duration) -> Vec<(Duration, String)> {
        let mut seen = Vec::new();
        loop {
            let now = self.network.now();
            let events = self.turns(1).into_iter();
            seen.extend(events.map(|event| (now, event)));
            if self.network.step() || self.driver.pending() {
                continue;
            }
            match self.network.next_event() {
                Some(next) if next <= until => self.network.advance_to(next),
                Some(_) | None => break,
            }
        }
        self.network.advance_to(until);
        seen
    }
}

#[test]
fn everything_takes_its_time_each_way() {
    let mut world = World::new(4);
    world.network.set_weather(endpoint(), weather(3, 3, 0));
    world.open();
    world.driver.connect(KEY);
    let connected = world.until(10 * MILLISECOND);
    assert_eq!(connected, [(6 * MILLISECOND, "connected".into())]);
    world.driver.receive(KEY);
    world.send(b"x");
    let seen = world.until(30 * MILLISECOND);
    let expected = [
        (10 * MILLISECOND, "sent 1".to_owned()),
        (16 * MILLISECOND, "x+".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert_eq!(world.network.now(), 30 * MILLISECOND);
    world.network.advance_to(MILLISECOND);
    assert_eq!(world.network.now(), 30 * MILLISECOND, "never backwards");
}

#[test]
fn a_slow_set_up_is_felt_once() {
    let mut world = World::new(4);
    world.network.set_weather(endpoint(), weather(1, 1, 0));
    world.network.set_setup_time(endpoint(), 20 * MILLISECOND);
    world.open();
    world.driver.connect(KEY);
    let connected = world.until(30 * MILLISECOND);
    assert_eq!(connected, [(22 * MILLISECOND, "connected".into())]);
    world.driver.receive(KEY);
    world.send(b"x");
    let seen = world.until(60 * MILLISECOND);
    assert_eq!(seen.last(), Some(&(32 * MILLISECOND, "x+".to_owned())));
}

#[test]
fn far_away_a_refusal_takes_its_time_as_well() {
    let mut world = World::new(4);
    world.network.refuse(endpoint());
    world.network.set_weather(endpoint(), weather(2, 2, 0));
    world.open();
    world.driver.connect(KEY);
    let refused = errno("connect", libc::ECONNREFUSED);
    let seen = world.until(10 * MILLISECOND);
    assert_eq!(seen, [(4 * MILLISECOND, refused)]);
}

#[test]
fn bytes_come_in_random_pieces_and_in_order() {
    let mut world = World::new(64);
    world.network.set_weather(endpoint(), weather(0, 9, 5));
    world.open();
    world.driver.connect(KEY);
    world.until(20 * MILLISECOND);
    world.driver.receive(KEY);
    world.send(b"abcdefghijklmnopqrstuvwxyz");
    let seen = world.until(60 * MILLISECOND);
    let pieces: Vec<&str> = seen
        .iter()
        .skip(1)
        .map(|(_, w)| &w[..w.len() - 1])
        .collect();
    assert_eq!(pieces.concat(), "abcdefghijklmnopqrstuvwxyz");
    assert!(pieces.iter().all(|piece| piece.len() <= 5));
    assert!(pieces.iter().any(|piece| piece.len() != pieces[0].len()));
    let latest = seen.last().map(|(at, _)| *at);
    assert!(latest > Some(20 * MILLISECOND));
}

#[test]
fn nothing_gets_through_a_partition_and_nothing_is_lost() {
    let mut world = World::connected(64);
    world.network.partition(endpoint(), true);
    world.network.connection(&endpoint(), 0).send(*b"down");
    world.send(b"up");
    assert_eq!(world.turns(5), ["sent 2"]);
    world.network.partition(endpoint(), false);
    assert_eq!(world.turns(4), ["down+", "up+"]);
    world.network.partition(endpoint(), true);
    world.network.refuse(endpoint());
    let other = Key::from_parts(1, 1);
    let options = SocketOptions::default();
    world.driver.open(other, &endpoint(), &options).unwrap();
    world.driver.connect(other);
    assert!(world.turns(5).is_empty(), "a refusal does not come either");
    world.network.partition(endpoint(), false);
    let refused = errno("connect", libc::ECONNREFUSED);
    assert_eq!(world.turns(5), [refused]);
}

/// What comes after the end of a partition does not overtake what was held.
#[test]
fn a_partition_that_flickers_keeps_the_order() {
    let mut world = World::connected(64);
    let peer = world.network.connection(&endpoint(), 0);
    let mut sent = String::new();
    let mut words = Vec::new();
    for n in 0..50u8 {
        world.network.partition(endpoint(), n % 3 == 0);
        let letter = char::from(b'A' + n);
        sent.push(letter);
        peer.send(letter.to_string());
        words.extend(world.turns(usize::from(n % 2)));
    }
    world.network.partition(endpoint(), false);
    words.extend(world.turns(3));
    assert_eq!(words.concat().replace('+', ""), sent);
}

/// Works a while on each request, and rings when a timer says so.
struct Slow;

impl Peer for Slow {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        match bytes {
            b"ring" => out.timer(4 * MILLISECOND),
            b"die" => {
                out.wait(2 * MILLISECOND);
                out.reset();
            }
            _ => {
                out.wait(3 * MILLISECOND);
                out.send(bytes);
            }
        }
    }

    fn timer(&mut self, out: &mut Answers) {
        out.send("ring!");
    }
}

fn slow() -> World {
    let mut world = World::new(64);
    world.network.listen(endpoint(), || Box::new(Slow));
    world.open();
    world.driver.connect(KEY);
    assert_eq!(world.turns(2), ["connected"]);
    world.driver.receive(KEY);
    world.turns(1);
    world
}

#[test]
fn a_peer_works_on_one_thing_at_a_time() {
    let mut world = slow();
    world.send(b"one");
    world.turns(1);
    world.send(b"two");
    world.turns(1);
    world.send(b"die");
    let seen = world.until(20 * MILLISECOND);
    let expected = [
        (Duration::ZERO, "sent 3".to_owned()),
        (3 * MILLISECOND, "one+".to_owned()),
        (6 * MILLISECOND, "two+".to_owned()),
        (8 * MILLISECOND, errno("failed", libc::ECONNRESET) + "."),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_timer_rings_when_it_was_set_for() {
    let mut world = slow();
    world.send(b"ring");
    world.turns(1);
    world.send(b"one");
    let seen = world.until(20 * MILLISECOND);
    let expected = [
        (Duration::ZERO, "sent 3".to_owned()),
        (3 * MILLISECOND, "one+".to_owned()),
        (4 * MILLISECOND, "ring!+".to_owned()),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_a_peer_set_itself_ends_with_the_connection() {
    let mut world = slow();
    world.send(b"ring");
    world.turns(1);
    let peer = world.network.connection(&endpoint(), 0);
    world.driver.cancel(KEY, Scope::All);
    world.turns(1);
    world.driver.close(KEY);
    let seen = world.until(20 * MILLISECOND);
    assert_eq!(seen, [(Duration::ZERO, "closed".to_owned())]);
    assert_eq!(world.network.next_event(), None);
    // The slot is free, and the handle on its former tenant does nothing.
    assert!(!peer.is_open());
    peer.send(*b"late");
    peer.stall();
    peer.resume();
    assert!(!world.network.step());
}

#[test]
fn slots_of_connections_are_used_again() {
    let mut world = World::new(4);
    let count = 1000;
    for _ in 0..count {
        world.open();
        world.driver.connect(KEY);
        assert_eq!(world.turns(2), ["connected"]);
        world.driver.close(KEY);
        assert_eq!(world.turns(1), ["closed"]);
    }
    assert_eq!(world.network.connections_accepted(&endpoint()), count);
    assert_eq!(world.closed.get(), count as u32);
    assert_eq!(world.network.0.world.borrow().connections.len(), 0);
}

#[test]
fn a_trace_tells_every_event_and_when() {
    let mut world = World::new(4);
    let lines = Rc::new(RefCell::new(Vec::new()));
    let into = lines.clone();
    world
        .network
        .trace(Some(Box::new(move |at: Duration, line: &str| {
            into.borrow_mut().push((at, line.to_owned()));
        })));
    world.network.set_weather(endpoint(), weather(1, 1, 0));
    world.open();
    world.driver.connect(KEY);
    world.until(5 * MILLISECOND);
    world.network.trace(None);
    world.driver.close(KEY);
    world.until(9 * MILLISECOND);
    let lines = lines.take();
    let expected = [
        (0, "driver 0 socket 0#1: connect to 192.0.2.1:80"),
        (1, "driver 0 socket 0#1 → 192.0.2.1:80: Open"),
        (2, "driver 0 socket 0#1 ← 192.0.2.1:80: Opened"),
        (2, "driver 0 socket 0#1: connected: Ok(())"),
    ];
    let expected = expected.map(|(at, line)| (at * MILLISECOND, line.to_owned()));
    assert_eq!(lines, expected);
    // Two arrivals and a completion; then a completion and an arrival.
    assert_eq!(world.network.events(), 5);
}

#[test]
fn names_are_known_to_other_threads() {
    let network = Network::new(1);
    let names = network.names();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    network.set_names("a.test", vec![address]);
    let asked = std::thread::spawn(move || (names.addresses("a.test"), names.addresses("b.test")));
    assert_eq!(asked.join().unwrap(), (Some(vec![address]), None));
}
