//! What comes before a sleep: looking out, and the pulse of a driver that sleeps often.

use super::*;
use std::io::{Read, Write};

/// Longer than any of it takes.
const SHORT: Wait = Wait::EventOr(Duration::from_micros(50));

fn nap(bench: &mut Bench, wait: Wait) {
    bench.driver.enter(wait).unwrap();
    bench.driver.reap(&mut bench.events);
}

#[test]
fn a_driver_that_sleeps_often_has_a_pulse_and_one_at_rest_has_none() {
    let mut bench = Bench::new();
    for _ in 0..ROUNDS {
        nap(&mut bench, SHORT);
    }
    let pulses = bench.driver.pulse.count;
    assert!(pulses > 0, "none in {ROUNDS} sleeps");
    // The one that is armed, and perhaps its successor; then there are too few sleeps for another.
    for _ in 0..8 {
        nap(&mut bench, Wait::EventOr(Duration::from_millis(5)));
    }
    assert!(bench.driver.pulse.count <= pulses + 2);
    assert!(bench.events.is_empty(), "a pulse is no event");
}

#[test]
fn what_comes_while_a_driver_looks_out_is_found() {
    let mut bench = Bench::with(&Settings {
        entries: 64,
        completions: 128,
        buffers: 16,
        buffer_size: 4096,
        spin: Duration::from_millis(1),
    });
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    let echo = std::thread::spawn(move || {
        let mut byte = [0];
        while peer.read(&mut byte).unwrap() > 0 {
            peer.write_all(&byte).unwrap();
        }
    });
    bench.driver.receive(key);
    for round in 0..100 {
        bench.send(key, &[round]);
        assert_eq!(*bench.data(key), [round]);
    }
    bench.close(key);
    echo.join().unwrap();
}

#[test]
fn a_signal_reaches_a_driver_that_looks_out() {
    let mut bench = Bench::with(&Settings {
        spin: Duration::from_secs(3_600),
        ..Settings::default()
    });
    nap(&mut bench, Wait::No);
    let signal = bench.driver.signal();
    let other = std::thread::spawn(move || signal.signal());
    nap(&mut bench, Wait::Event);
    other.join().unwrap();
}

#[test]
fn a_look_that_takes_all_the_time_leaves_no_sleep() {
    let mut bench = Bench::with(&Settings {
        spin: Duration::from_secs(3_600),
        ..Settings::default()
    });
    nap(&mut bench, Wait::No);
    let sleeps = bench.driver.ring.sleeps;
    nap(&mut bench, Wait::EventOr(Duration::from_millis(20)));
    assert_eq!(bench.driver.ring.sleeps, sleeps);
    // After one in vain the next one comes without.
    nap(&mut bench, Wait::EventOr(Duration::from_millis(20)));
    assert_eq!(bench.driver.ring.sleeps, sleeps + 1);
}

/// The kernel's flag may stay up with nothing to do (a race of its own): what there is counts then.
#[test]
fn where_the_flag_tells_nothing_the_kernel_is_asked() {
    let mut bench = Bench::new();
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    bench.driver.enter(Wait::No).unwrap();
    bench.driver.reap(&mut bench.events);
    bench.driver.ring.distrust();
    let before = bench.driver.counters().enters;
    assert!(!bench.driver.pending());
    assert_eq!(bench.driver.counters().enters, before + 1);
    peer.write_all(b"x").unwrap();
    // The write has returned: over loopback the byte is there.
    assert!(bench.driver.pending());
}
