//! What goes wrong: peers that refuse, leave, reset, or never answer; cancels; stale completions.

use super::sockets::Descriptor;
use super::*;
use std::io::Write;
use std::os::fd::AsRawFd;

#[test]
fn a_refused_connect_says_so() {
    let mut bench = Bench::new();
    let address = listener().local_addr().unwrap();
    let key = bench.open(&address.into());
    bench.driver.connect(key);
    let error = bench.connected(key).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    bench.close(key);
}

#[test]
fn the_peers_fin_ends_an_armed_receive_after_its_bytes() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    peer.write_all(b"last words").unwrap();
    drop(peer);
    assert_eq!(&*bench.data(key), b"last words");
    assert!(matches!(bench.received(key), (Received::End, false)));
    assert_eq!(bench.driver.buffers_free(), 16);
    bench.close(key);
}

#[test]
fn the_peers_reset_fails_an_armed_receive() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, peer) = bench.pair(&listener);
    bench.driver.receive(key);
    bench.driver.enter(Wait::No).unwrap();
    let peer = socket2::Socket::from(peer);
    peer.set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    match bench.received(key) {
        (Received::Failed(error), false) => {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("no failure but {other:?}"),
    }
    bench.close(key);
}

#[test]
fn a_cancelled_receive_stops_and_can_be_armed_again() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    for word in [b"one", b"two"] {
        bench.driver.receive(key);
        bench.driver.enter(Wait::No).unwrap();
        bench.driver.cancel(key, Scope::Receive);
        bench.cancelled(key);
        assert!(matches!(bench.received(key), (Received::Stopped, false)));
        bench.driver.receive(key);
        peer.write_all(word).unwrap();
        assert_eq!(&*bench.data(key), word);
        bench.driver.cancel(key, Scope::All);
        bench.cancelled(key);
        assert!(matches!(bench.received(key), (Received::Stopped, false)));
    }
    bench.close(key);
}

#[test]
fn a_cancelled_receive_that_succeeded_delivers_all_the_same() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    bench.driver.enter(Wait::No).unwrap();
    peer.write_all(b"in time").unwrap();
    bench.driver.cancel(key, Scope::Receive);
    // Whichever the kernel does first, the bytes come: now, or with the next receive.
    let mut stopped = false;
    let mut bytes = Vec::new();
    while bytes.is_empty() {
        let (outcome, more) = bench.received(key);
        match outcome {
            Received::Data(buffer) => bytes.extend_from_slice(&buffer),
            Received::Stopped => {}
            other => panic!("{other:?}"),
        }
        if !more {
            stopped = true;
            bench.driver.receive(key);
        }
    }
    assert_eq!(bytes, b"in time");
    bench.cancelled(key);
    if !stopped {
        assert!(matches!(bench.received(key), (Received::Stopped, false)));
    }
    assert_eq!(bench.driver.buffers_free(), 16);
}

#[test]
fn a_cancel_with_nothing_to_cancel_is_answered() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, _peer) = bench.pair(&listener);
    bench.driver.cancel(key, Scope::Receive);
    bench.driver.cancel(key, Scope::All);
    bench.cancelled(key);
    bench.cancelled(key);
    bench.close(key);
}

#[test]
fn a_connect_into_a_black_hole_is_cancelled() {
    for by_descriptor in [true, false] {
        let mut bench = Bench::new();
        *bench.driver.sockets = Sockets::new(by_descriptor);
        let (_hole, address, _fill) = black_hole();
        let key = bench.open(&address.into());
        bench.driver.connect(key);
        bench.driver.enter(Wait::No).unwrap();
        bench.driver.reap(&mut bench.events);
        assert!(
            bench.events.is_empty(),
            "the hole answers: {:?}",
            bench.events
        );
        bench.driver.cancel(key, Scope::All);
        let error = bench.connected(key).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        bench.cancelled(key);
        bench.close(key);
    }
}

#[test]
fn a_blocked_send_is_cancelled_and_says_how_far_it_got() {
    for by_descriptor in [true, false] {
        let mut bench = Bench::new();
        *bench.driver.sockets = Sockets::new(by_descriptor);
        let listener = listener();
        let (key, _peer) = bench.pair(&listener);
        let len = 64 << 20;
        bench.driver.receive(key);
        bench.driver.send(key, SendBuffer::from(vec![1; len]));
        bench.driver.enter(Wait::No).unwrap();
        bench.driver.reap(&mut bench.events);
        assert!(
            bench.events.is_empty(),
            "the peer does not read: {:?}",
            bench.events
        );
        bench.driver.cancel(key, Scope::All);
        let (buffer, result) = bench.sent(key);
        let sent = result.unwrap_or(0);
        assert!(sent < len);
        assert_eq!(buffer.len(), len - sent);
        assert!(matches!(bench.received(key), (Received::Stopped, false)));
        bench.cancelled(key);
        // One cancel is one event, however many operations it was for.
        assert!(bench.events.is_empty());
        bench.close(key);
    }
}

#[test]
fn a_late_completion_does_not_reach_the_slots_new_tenant() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (old, peer) = bench.pair(&listener);
    bench.close(old);
    drop(peer);
    let (new, _peer) = bench.pair(&listener);
    assert_eq!(old.index(), new.index());
    let kinds = [
        Kind::Connect,
        Kind::Receive,
        Kind::Send,
        Kind::Cancel,
        Kind::Close,
    ];
    for kind in kinds {
        let late = opcode::Nop::new()
            .build()
            .user_data(Token::new(kind, old).pack());
        // SAFETY: a no-op points to no memory.
        unsafe { bench.driver.ring.push(late) };
    }
    let before = bench.driver.counters().completions;
    while bench.driver.counters().completions < before + kinds.len() as u64 {
        bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
        bench.driver.reap(&mut bench.events);
    }
    assert!(bench.events.is_empty(), "{:?}", bench.events);
    bench.send(new, b"unharmed");
    bench.close(new);
    assert_eq!(bench.driver.sockets.in_flight(), 0);
}

#[test]
fn a_close_that_the_ring_could_not_do_is_done_otherwise() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, _peer) = bench.pair(&listener);
    // The entry is thrown away, and a message from ourselves takes the place of its completion.
    bench.driver.sockets.close(key);
    let Descriptor::Closing(raw) = bench.driver.sockets.descriptor(key) else {
        panic!("it is closing");
    };
    let (raw, path) = (*raw, format!("/proc/self/fd/{raw}"));
    let before = std::fs::read_link(&path).unwrap();
    let ring = io_uring::types::Fd(bench.driver.ring.io_uring().as_raw_fd());
    let failed = Token::new(Kind::Close, key).pack();
    let message = opcode::MsgRingData::new(ring, -libc::ECANCELED, failed, None).build();
    let message = message.user_data(Token::internal(Kind::Teardown).pack());
    // SAFETY: a message points to no memory.
    unsafe { bench.driver.ring.push(message) };
    bench.next(|event| matches!(event, Event::Closed { key: k } if *k == key));
    // Another test may have taken the number by now, but for another socket.
    assert_ne!(
        std::fs::read_link(&path).ok(),
        Some(before),
        "{raw} is still open"
    );
    assert_eq!(bench.driver.counters().sockets, 0);
}

#[test]
#[should_panic(expected = "closed with operations in flight")]
fn closing_with_an_armed_receive_is_a_bug() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, _peer) = bench.pair(&listener);
    bench.driver.receive(key);
    bench.driver.close(key);
}

#[test]
fn a_socket_that_cannot_be_made_is_an_error_of_open() {
    let mut bench = Bench::new();
    let endpoint = Endpoint::Unix(std::path::Path::new(&"x".repeat(200)).into());
    let key = bench.keys.insert(());
    assert!(
        bench
            .driver
            .open(key, &endpoint, &SocketOptions::default())
            .is_err()
    );
    assert_eq!(bench.driver.counters().sockets, 0);
}

#[test]
fn a_cancel_ends_a_receive_that_is_flooded() {
    let mut bench = Bench::with(&Settings::default());
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    let writer = std::thread::spawn(move || while peer.write_all(&[b'x'; 256 * 1024]).is_ok() {});
    let mut most = 0;
    for round in 0..200 {
        bench.driver.receive(key);
        for _ in 0..1 + round % 40 {
            bench.received(key);
        }
        // What is here already came before the cancel.
        bench.events.clear();
        bench.driver.cancel(key, Scope::Receive);
        let mut pieces = 0;
        while bench.received(key).1 {
            pieces += 1;
        }
        bench.cancelled(key);
        most = most.max(pieces);
    }
    bench.close(key);
    writer.join().unwrap();
    // One turn's, at most.
    assert!(most < 64 + 66, "{most} pieces came after the cancel");
}
