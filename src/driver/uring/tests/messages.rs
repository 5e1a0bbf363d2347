//! Wake-ups from ring to ring.

use super::*;
use crate::driver::Signal;
use std::sync::mpsc;
use std::thread::{JoinHandle, spawn};

/// A driver on a thread of its own, which sleeps until it is woken; what ends its sleep.
fn sleeper() -> (Arc<dyn Signal>, JoinHandle<()>) {
    let (tell, told) = mpsc::channel();
    let thread = spawn(move || {
        let mut bench = Bench::new();
        bench.driver.enter(Wait::No).unwrap();
        tell.send(bench.driver.signal()).unwrap();
        // Without a wake-up nothing would end this.
        bench.driver.enter(Wait::Event).unwrap();
        bench.driver.reap(&mut bench.events);
        assert!(bench.events.is_empty());
    });
    (told.recv().unwrap(), thread)
}

/// Where a ring should be, and is none.
fn no_ring() -> Wake {
    let file = std::fs::File::open("/dev/null").unwrap();
    Wake::new(Some(std::os::fd::AsFd::as_fd(&file))).unwrap()
}

#[test]
fn within_a_turn_they_go_down_with_its_end() {
    assert!(probe::once().unwrap().ring_messages, "since 5.18");
    let mut bench = Bench::new();
    for round in 1..=20 {
        bench.driver.reap(&mut bench.events);
        let (one, other) = (sleeper(), sleeper());
        one.0.signal();
        other.0.signal();
        assert_eq!(bench.driver.counters().messages, 2 * (round - 1));
        bench.driver.enter(Wait::No).unwrap();
        assert_eq!(bench.driver.counters().messages, 2 * round);
        one.1.join().unwrap();
        other.1.join().unwrap();
    }
    bench.driver.reap(&mut bench.events);
    assert!(bench.events.is_empty());
    assert!(bench.driver.messages.is_usable());
}

#[test]
fn outside_of_a_turn_they_go_at_once() {
    let mut bench = Bench::new();
    bench.driver.reap(&mut bench.events);
    bench.driver.enter(Wait::No).unwrap();
    let (signal, thread) = sleeper();
    signal.signal();
    thread.join().unwrap();
    assert_eq!(bench.driver.counters().messages, 0);
}

#[test]
fn a_driver_that_ends_within_its_turn_has_sent_them() {
    let mut bench = Bench::new();
    bench.driver.reap(&mut bench.events);
    let (signal, thread) = sleeper();
    signal.signal();
    drop(bench);
    thread.join().unwrap();
}

/// The rings are not for each other: whoever is meant hears of it in the other way.
#[test]
fn what_does_not_arrive_is_sent_in_the_other_way() {
    let mut bench = Bench::new();
    bench.driver.reap(&mut bench.events);
    let (signal, thread) = sleeper();
    let deaf = no_ring();
    deaf.signal();
    signal.signal();
    assert!(!deaf.sleeper().is_signalled());
    let sent = bench.driver.counters().completions;
    while bench.driver.counters().completions == sent {
        bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
        bench.driver.reap(&mut bench.events);
    }
    assert!(deaf.sleeper().is_signalled());
    thread.join().unwrap();
}

#[test]
fn without_them_there_is_the_eventfd() {
    let mut bench = Bench::new();
    bench.driver.messages.failed(libc::EINVAL);
    assert!(!bench.driver.messages.is_usable());
    bench.driver.reap(&mut bench.events);
    let (signal, thread) = sleeper();
    signal.signal();
    thread.join().unwrap();
    assert_eq!(bench.driver.counters().messages, 0);
}
