//! Ends: of a sleep, by a signal; of a driver, with whatever was in flight.

use super::*;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

#[test]
fn a_signal_from_another_thread_ends_a_sleep() {
    let mut bench = Bench::new();
    let signal = bench.driver.signal();
    let (asleep, about_to_sleep) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        about_to_sleep.recv().unwrap();
        signal.signal();
    });
    asleep.send(()).unwrap();
    // Without the signal nothing would end this.
    bench.driver.enter(Wait::Event).unwrap();
    bench.driver.reap(&mut bench.events);
    thread.join().unwrap();
    assert!(bench.events.is_empty());
}

#[test]
fn a_signal_before_the_sleep_ends_it_at_once() {
    let mut bench = Bench::new();
    // Before the poll is armed, then after; more often than the completion queue is long.
    for _ in 0..1_000 {
        bench.driver.wake.sleeper().wake();
        bench.driver.enter(Wait::Event).unwrap();
        bench.driver.reap(&mut bench.events);
    }
    assert!(bench.events.is_empty());
}

#[test]
fn a_wake_that_the_kernel_ended_is_armed_again() {
    let mut bench = Bench::new();
    bench.driver.enter(Wait::No).unwrap();
    let wake = Token::internal(Kind::Wake).pack();
    let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(wake)).build();
    let cancel = cancel.user_data(Token::internal(Kind::Teardown).pack());
    // SAFETY: a cancel points to no memory.
    unsafe { bench.driver.ring.push(cancel) };
    let before = bench.driver.counters().completions;
    while bench.driver.counters().completions < before + 2 {
        bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
        bench.driver.reap(&mut bench.events);
    }
    bench.driver.wake.sleeper().wake();
    bench.driver.enter(Wait::Event).unwrap();
    bench.driver.reap(&mut bench.events);
    assert!(bench.driver.wake_armed);
}

#[test]
fn a_sleep_with_a_limit_ends_without_events() {
    let mut bench = Bench::new();
    bench
        .driver
        .enter(Wait::EventOr(Duration::from_micros(100)))
        .unwrap();
    bench.driver.reap(&mut bench.events);
    assert!(bench.events.is_empty());
}

#[test]
fn a_signal_outlives_its_driver() {
    let bench = Bench::new();
    let signal = bench.driver.signal();
    drop(bench);
    signal.signal();
}

#[test]
fn held_buffers_stay_readable_when_the_driver_is_gone() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    peer.write_all(b"kept for later").unwrap();
    let mut buffer = bench.data(key);
    let clone = buffer.clone();
    drop(bench);
    buffer.advance(5);
    assert_eq!(
        (&*buffer, &*clone),
        (&b"for later"[..], &b"kept for later"[..])
    );
}

#[test]
fn a_driver_goes_with_everything_in_flight() {
    let mut bench = Bench::new();
    let buffers = Rc::clone(&bench.driver.buffers);
    let listener = listener();
    let (_hole, address, _fill) = black_hole();
    let key = bench.open(&address.into());
    bench.driver.connect(key);
    let mut peers = Vec::new();
    for turn in 0..10 {
        let (key, mut peer) = bench.pair(&listener);
        bench.driver.receive(key);
        bench
            .driver
            .send(key, SendBuffer::from(vec![turn; 16 << 20]));
        peer.write_all(b"unread").unwrap();
        peers.push(peer);
    }
    // Some are in flight, some only queued; completions lie unreaped.
    bench.driver.enter(Wait::No).unwrap();
    let (key, peer) = bench.pair(&listener);
    bench.driver.receive(key);
    peers.push(peer);
    drop(bench);
    // The driver let go of its buffers: it saw every operation end, and leaked nothing.
    assert_eq!(Rc::strong_count(&buffers), 1);
    assert_eq!(buffers.free(), 16);
    for mut peer in peers {
        // Closed: what was sent, then FIN or RST.
        let _ = peer.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_driver_that_panics_while_it_ends_frees_nothing() {
    let (mut bench, listener) = (Bench::new(), listener());
    let buffers = Rc::clone(&bench.driver.buffers);
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    bench.driver.enter(Wait::No).unwrap();
    // A completion that cannot be: the socket is not being closed.
    let impossible = opcode::Nop::new().build();
    let impossible = impossible.user_data(Token::new(Kind::Close, key).pack());
    // SAFETY: a nop points to no memory.
    unsafe { bench.driver.ring.push(impossible) };
    let Bench { driver, .. } = bench;
    catch_unwind(AssertUnwindSafe(|| drop(driver))).unwrap_err();
    // Its buffers are still its own, and its socket is open, with nobody to close it.
    assert_eq!(Rc::strong_count(&buffers), 2);
    peer.set_nonblocking(true).unwrap();
    let read = peer.read(&mut [0]).unwrap_err();
    assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
}
