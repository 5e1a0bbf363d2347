//! Cancels that race with success; and all faults together.

use super::faults::{ALWAYS, MILLISECOND, faulty};
use super::*;
use std::time::Duration;

#[test]
fn bytes_may_forestall_a_cancel_and_end_the_receive_themselves() {
    let mut orders = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut world = faulty(Faults {
            cancel_races: ALWAYS,
            late_max: MILLISECOND,
            ..Faults::default()
        });
        // What decides differs from world to world only if something else did before.
        for _ in 0..orders.len() {
            world.driver.cancel(KEY, Scope::Receive);
            world.run();
            world.driver.receive(KEY);
            world.run();
        }
        world.driver.cancel(KEY, Scope::Receive);
        world.driver.enter(Wait::No).unwrap();
        world.network.connection(&endpoint(), 0).send(*b"late");
        let words = world.run_words();
        assert!(words.contains(&"cancelled".into()), "{words:?}");
        assert!(words.contains(&"late.".into()), "{words:?}");
        assert_eq!(words.len(), 2, "{words:?}");
        orders.insert(words);
        world.driver.close(KEY);
        assert_eq!(world.run_words(), ["closed"]);
        if orders.len() == 2 {
            return;
        }
    }
    panic!("a cancel ends before or after its target: {orders:?}");
}

#[test]
fn a_cancel_that_takes_its_time_spares_what_began_later() {
    let mut world = faulty(Faults {
        cancel_races: ALWAYS,
        late_max: MILLISECOND,
        ..Faults::default()
    });
    for _ in 0..20 {
        world.driver.cancel(KEY, Scope::Receive);
        world.driver.enter(Wait::No).unwrap();
        let peer = world.network.connection(&endpoint(), 0);
        peer.send(*b"a");
        let mut words = world.turns(1);
        assert!(words.contains(&"a.".into()));
        world.driver.receive(KEY);
        words.extend(world.run_words());
        words.sort_unstable();
        assert_eq!(words, ["a.", "cancelled"], "the new receive is still armed");
    }
}

#[test]
fn a_raced_connect_may_succeed() {
    let (mut connected, mut cancelled) = (0, 0);
    let mut world = World::new(4);
    world.network.set_weather(
        endpoint(),
        Weather {
            latency_min: MILLISECOND / 4,
            latency_max: MILLISECOND / 4,
            piece_max: 0,
        },
    );
    world.driver.set_faults(Faults {
        cancel_races: ALWAYS,
        late_max: MILLISECOND,
        ..Faults::default()
    });
    for _ in 0..40 {
        world.open();
        world.driver.connect(KEY);
        world.driver.cancel(KEY, Scope::All);
        let words = world.run_words();
        assert_eq!(words.len(), 2, "{words:?}");
        if words.contains(&"connected".into()) {
            connected += 1;
        } else {
            assert!(words.contains(&errno("connect", libc::ECANCELED)));
            cancelled += 1;
        }
        world.driver.close(KEY);
        assert_eq!(world.run_words(), ["closed"]);
    }
    assert!(
        connected > 5 && cancelled > 5,
        "{connected} and {cancelled}"
    );
}

/// All faults at once: every byte comes back in order, and every operation ends.
#[test]
fn with_all_faults_a_stream_is_still_a_stream() {
    let course = |seed: u64| {
        let mut world = World::seeded(seed, 64);
        world.network.set_weather(
            endpoint(),
            Weather {
                latency_min: Duration::ZERO,
                latency_max: MILLISECOND,
                piece_max: 7,
            },
        );
        world.open();
        world.driver.connect(KEY);
        assert_eq!(world.run_words(), ["connected"]);
        world.driver.set_faults(Faults {
            late: 300,
            late_max: MILLISECOND,
            reordered: 300,
            short_send: 500,
            more_lost: 300,
            no_buffers: 100,
            open_fails: 0,
            submit_fails: 100,
            cancel_races: 300,
            overflow: 300,
            events_per_reap_max: 3,
        });
        let text: String = (0..60).map(|n| format!("<{n}>")).collect();
        let mut unsent = text.clone();
        let (mut back, mut log) = (String::new(), Vec::new());
        let (mut sending, mut receiving) = (false, false);
        while back.len() < text.len() {
            if !sending && !unsent.is_empty() {
                world.send(unsent.as_bytes());
                sending = true;
            }
            if !receiving {
                world.driver.receive(KEY);
                receiving = true;
            }
            for event in world.events() {
                log.push((world.network.now(), describe(&event)));
                match event {
                    Event::Sent { result, .. } => {
                        sending = false;
                        // A send that failed has taken nothing.
                        unsent.drain(..result.unwrap_or(0));
                    }
                    Event::Received { outcome, more, .. } => {
                        receiving = more;
                        if let Received::Data(bytes) = outcome {
                            back += std::str::from_utf8(&bytes).unwrap();
                        }
                    }
                    other => panic!("{other:?}"),
                }
            }
            if !world.network.step() && !world.driver.pending() {
                let next = world.network.next_event();
                world.network.advance_to(next.unwrap_or_default());
            }
            assert!(log.len() < 10_000, "{back}");
        }
        assert_eq!(back, text);
        log
    };
    for seed in 0..50 {
        assert_eq!(course(seed), course(seed), "seed {seed}");
    }
    assert_ne!(course(1), course(2));
}
