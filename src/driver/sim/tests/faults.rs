//! Each fault by itself, always or at random.

use super::*;
use std::time::Duration;

pub(super) const ALWAYS: u16 = 1024;
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// Connected and receiving, with faults from then on.
pub(super) fn faulty(faults: Faults) -> World {
    let mut world = World::connected(64);
    world.driver.set_faults(faults);
    world
}

impl World {
    /// Lets time go by from event to event and says what came when, until nothing is left to come.
    pub(super) fn run(&mut self) -> Vec<(Duration, String)> {
        let mut seen = Vec::new();
        loop {
            let now = self.network.now();
            let events = self.turns(1).into_iter().map(|event| (now, event));
            let before = seen.len();
            seen.extend(events);
            let moved = self.network.step() || seen.len() > before || self.driver.pending();
            if moved {
                continue;
            }
            let Some(next) = self.network.next_event() else {
                return seen;
            };
            assert!(next > now, "something due is left");
            self.network.advance_to(next);
        }
    }

    /// As [`run`](World::run), without the times.
    pub(super) fn run_words(&mut self) -> Vec<String> {
        self.run().into_iter().map(|(_, event)| event).collect()
    }
}

#[test]
fn late_completions_come_when_they_are_due() {
    let mut world = faulty(Faults {
        late: ALWAYS,
        late_max: 9 * MILLISECOND,
        ..Faults::default()
    });
    world.send(b"one");
    assert!(world.turns(1).is_empty());
    assert!(!world.driver.pending());
    let due = world.network.next_event().expect("the send is under way");
    assert!(due <= 9 * MILLISECOND);
    let seen = world.run();
    let mut words: Vec<&str> = seen.iter().map(|(_, word)| &**word).collect();
    words.sort_unstable();
    assert_eq!(words, ["one+", "sent 3"]);
    assert!(seen.iter().all(|(at, _)| *at <= 18 * MILLISECOND));
    assert!(seen.iter().any(|(at, _)| !at.is_zero()));
    assert_eq!(world.network.next_event(), None);
}

#[test]
fn whatever_is_late_or_reordered_bytes_keep_their_order() {
    let mut world = faulty(Faults {
        late: 512,
        late_max: MILLISECOND,
        reordered: 512,
        ..Faults::default()
    });
    let peer = world.network.connection(&endpoint(), 0);
    let sent: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    for piece in &sent {
        peer.send(piece.as_bytes());
        world.driver.enter(Wait::No).unwrap();
    }
    peer.end();
    let mut expected: Vec<String> = sent.iter().map(|n| format!("{n}+")).collect();
    expected.push("end.".into());
    // The driver has 64 buffers, and each event lets go of one.
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        for word in world.run_words() {
            if word == "no buffers." {
                world.driver.receive(KEY);
            } else {
                seen.push(word);
            }
        }
    }
    assert_eq!(seen, expected);
}

#[test]
fn sockets_overtake_each_other_where_completions_are_reordered() {
    let faults = Faults {
        reordered: 512,
        ..Faults::default()
    };
    let mut orders = std::collections::BTreeSet::new();
    let mut world = World::new(4);
    world.driver.set_faults(faults);
    world.network.refuse(endpoint());
    let keys = [1, 2, 3].map(|slot| Key::from_parts(slot, 1));
    for _ in 0..40 {
        for key in keys {
            let options = SocketOptions::default();
            world.driver.open(key, &endpoint(), &options).unwrap();
            world.driver.connect(key);
        }
        let order = world.events().into_iter().map(|event| match event {
            Event::Connected { key, .. } => key,
            other => panic!("{other:?}"),
        });
        orders.insert(order.collect::<Vec<Key>>());
        keys.iter().for_each(|&key| world.driver.close(key));
        assert_eq!(world.turns(1), ["closed"; 3]);
    }
    assert!(orders.len() > 3, "{orders:?}");
}

#[test]
fn a_send_ends_short_and_takes_at_least_a_byte() {
    let mut world = faulty(Faults {
        short_send: ALWAYS,
        ..Faults::default()
    });
    world.send(b"four");
    let Some(Event::Sent { buffer, result, .. }) = world.events().pop() else {
        panic!("a send ends");
    };
    let taken = result.unwrap();
    assert!((1..4).contains(&taken));
    assert_eq!(buffer.pieces().concat(), &b"four"[taken..]);
    assert_eq!(world.turns(1), [format!("{}+", &"four"[..taken])]);
    world.send(b"x");
    assert_eq!(world.turns(2), ["sent 1", "x+"]);
}

#[test]
fn a_receive_that_ends_with_its_bytes_loses_nothing() {
    let mut world = faulty(Faults {
        more_lost: ALWAYS,
        ..Faults::default()
    });
    let peer = world.network.connection(&endpoint(), 0);
    peer.send(*b"one");
    peer.send(*b"two");
    assert_eq!(world.turns(3), ["one."]);
    world.driver.receive(KEY);
    assert_eq!(world.turns(1), ["two."]);
}

#[test]
fn buffers_are_denied_though_there_are_some() {
    let mut world = faulty(Faults {
        no_buffers: ALWAYS,
        ..Faults::default()
    });
    world.network.connection(&endpoint(), 0).send(*b"one");
    assert_eq!(world.turns(2), ["no buffers."]);
    assert_eq!(world.driver.buffers_free(), 64);
    world.driver.set_faults(Faults::default());
    world.driver.receive(KEY);
    assert_eq!(world.turns(1), ["one+"]);
}

#[test]
fn a_socket_cannot_be_opened() {
    let mut world = World::new(1);
    world.driver.set_faults(Faults {
        open_fails: ALWAYS,
        ..Faults::default()
    });
    let mut errors = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let options = SocketOptions::default();
        let error = world.driver.open(KEY, &endpoint(), &options).unwrap_err();
        errors.insert(error.raw_os_error().unwrap());
    }
    let expected = [libc::EMFILE, libc::ENFILE, libc::EADDRNOTAVAIL];
    assert_eq!(errors, expected.into());
    assert_eq!(world.driver.counters().sockets, 0);
    world.driver.set_faults(Faults::default());
    world.open();
}

#[test]
fn what_fails_when_submitted_ends_once_and_leaves_nothing_under_way() {
    let mut seen = std::collections::BTreeSet::new();
    let mut world = World::connected(4);
    world.driver.cancel(KEY, Scope::All);
    world.turns(2);
    world.driver.set_faults(Faults {
        submit_fails: ALWAYS,
        ..Faults::default()
    });
    for _ in 0..40 {
        world.driver.receive(KEY);
        world.send(b"x");
        let words = world.turns(1);
        assert_eq!(words.len(), 2);
        seen.extend(words);
    }
    let failed = |what: &str, number| errno(what, number);
    let mut expected = vec![
        "no buffers.".to_owned(),
        "stopped.".to_owned(),
        failed("failed", libc::ENOMEM) + ".",
        "sent 0".to_owned(),
    ];
    expected.extend([libc::ENOMEM, libc::ECANCELED, libc::ENOBUFS].map(|e| failed("send", e)));
    assert_eq!(seen, expected.into_iter().collect());
    world.driver.close(KEY);
    assert_eq!(world.turns(1), ["closed"]);

    world.open();
    world.driver.connect(KEY);
    assert!(world.turns(1)[0].starts_with("connect: "));
    assert_eq!(world.network.open_connections(&endpoint()), 0);
}

#[test]
fn what_overflows_the_queue_comes_with_another_enter() {
    let mut world = faulty(Faults {
        overflow: ALWAYS,
        ..Faults::default()
    });
    let peer = world.network.connection(&endpoint(), 0);
    (0..10u8).for_each(|n| peer.send([b'0' + n]));
    let mut events = Vec::new();
    world.driver.enter(Wait::No).unwrap();
    let mut enters = 1;
    loop {
        let before = events.len();
        world.driver.reap(&mut events);
        assert!(events.len() > before, "each enter brings something");
        world.driver.reap(&mut events);
        if events.len() == 10 {
            break;
        }
        assert!(world.driver.pending());
        world.driver.enter(Wait::No).unwrap();
        enters += 1;
    }
    assert!(enters > 1);
    assert!(!world.driver.pending());
    let words: String = events.iter().map(describe).collect();
    assert_eq!(words, "0+1+2+3+4+5+6+7+8+9+");
}

#[test]
fn a_reap_brings_so_many_events_and_no_more() {
    let mut world = faulty(Faults {
        events_per_reap_max: 3,
        ..Faults::default()
    });
    let peer = world.network.connection(&endpoint(), 0);
    (0..7u8).for_each(|n| peer.send([b'0' + n]));
    world.driver.enter(Wait::No).unwrap();
    for expected in [3, 3, 1] {
        assert!(world.driver.pending());
        let mut events = Vec::new();
        world.driver.reap(&mut events);
        assert_eq!(events.len(), expected);
    }
    assert!(!world.driver.pending());
}

#[test]
fn a_driver_told_to_sleep_moves_the_clock_where_that_is_allowed() {
    let mut world = faulty(Faults {
        late: ALWAYS,
        late_max: 9 * MILLISECOND,
        ..Faults::default()
    });
    world.driver.cancel(KEY, Scope::All);
    world.driver.enter(Wait::Event).unwrap();
    assert!(world.network.now().is_zero());
    world.network.let_drivers_sleep();
    world.driver.enter(Wait::EventOr(Duration::ZERO)).unwrap();
    assert!(world.network.now().is_zero());
    for _ in 0..2 {
        world.driver.enter(Wait::Event).unwrap();
        let mut events = Vec::new();
        world.driver.reap(&mut events);
        assert_eq!(events.len(), 1);
    }
    assert!(!world.network.now().is_zero());
    let then = world.network.now();
    world.driver.enter(Wait::EventOr(MILLISECOND)).unwrap();
    assert_eq!(world.network.now(), then + MILLISECOND);
}
