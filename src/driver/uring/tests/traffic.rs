//! What works: bytes to and fro, in order, and buffers that come back.

use super::*;
use bytes::Bytes;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

fn echo(bench: &mut Bench, key: Key, mut peer: impl Read + Write) {
    bench.driver.receive(key);
    for turn in 0..100u8 {
        bench.send(key, &[turn; 100]);
        let mut there = [0; 100];
        peer.read_exact(&mut there).unwrap();
        peer.write_all(&there).unwrap();
        assert_eq!(bench.read(key, 100), [turn; 100]);
    }
    bench.close(key);
    assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the peer sees FIN");
    assert_eq!(bench.driver.buffers_free(), 16);
    assert_eq!(bench.driver.counters().sockets, 0);
}

#[test]
fn echo_over_ipv4() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, peer) = bench.pair(&listener);
    echo(&mut bench, key, peer);
}

#[test]
fn echo_over_ipv6() {
    let mut bench = Bench::new();
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let (key, peer) = bench.pair(&listener);
    echo(&mut bench, key, peer);
}

#[test]
fn echo_over_a_unix_socket() {
    let mut bench = Bench::new();
    let path = std::env::temp_dir().join(format!("ringpool-echo-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let key = bench.open(&Endpoint::Unix(path.as_path().into()));
    bench.driver.connect(key);
    bench.connected(key).unwrap();
    std::fs::remove_file(&path).unwrap();
    let peer = listener.accept().unwrap().0;
    echo(&mut bench, key, peer);
}

#[test]
fn byte_order_survives_every_end_of_a_receive() {
    let mut bench = Bench::with(&Settings {
        entries: 8,
        completions: 8,
        buffers: 2,
        buffer_size: 64,
        spin: Duration::ZERO,
    });
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || peer.write_all(&sent).map(|()| peer).unwrap());
    bench.driver.receive(key);
    assert_eq!(bench.read(key, bytes.len()), bytes);
    drop(writer.join().unwrap());
    // Two buffers against so many bytes: receiving has ended for want of buffers, again and again.
    assert!(bench.driver.counters().out_of_buffers > 0);
    assert_eq!(bench.driver.buffers_free(), 2);
}

#[test]
fn without_buffers_it_says_so_and_recovers() {
    let mut bench = Bench::with(&Settings {
        buffers: 1,
        buffer_size: 4,
        ..Settings::default()
    });
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    bench.driver.receive(key);
    peer.write_all(b"abcdefgh").unwrap();
    let first = bench.data(key);
    assert_eq!(&*first, b"abcd");
    assert!(matches!(bench.received(key), (Received::NoBuffers, false)));
    assert_eq!(
        (bench.driver.buffers_free(), bench.driver.buffers_held(key)),
        (0, 1)
    );
    assert_eq!(bench.driver.counters().out_of_buffers, 1);
    drop(first);
    assert_eq!(
        (bench.driver.buffers_free(), bench.driver.buffers_held(key)),
        (1, 0)
    );
    bench.driver.receive(key);
    assert_eq!(&*bench.data(key), b"efgh");
}

#[test]
fn a_large_send_goes_out_whole_and_gives_its_block_back() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    let bytes = vec![7; 8 << 20];
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 8 << 20];
        peer.read_exact(&mut all).map(|()| all).unwrap()
    });
    bench.driver.send(key, SendBuffer::from(bytes));
    let (buffer, result) = bench.sent(key);
    assert_eq!(result.unwrap(), 8 << 20);
    assert!(buffer.capacity() >= 8 << 20);
    assert!(reader.join().unwrap().iter().all(|byte| *byte == 7));
    bench
        .driver
        .send(key, SendBuffer::from(Bytes::from_static(b"shared")));
    let (buffer, result) = bench.sent(key);
    assert_eq!((result.unwrap(), buffer.len()), (6, 0));
}

#[test]
fn pieces_go_out_as_one_send_however_slowly_they_are_read() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 4 + (8 << 20) + 3];
        peer.read_exact(&mut all).map(|()| all).unwrap()
    });
    let before = bench.driver.counters().submissions;
    let mut buffer = SendBuffer::from(b"head".to_vec());
    buffer.share(Bytes::from(vec![7; 8 << 20]));
    buffer.block().extend_from_slice(b"end");
    bench.driver.send(key, buffer);
    let (buffer, result) = bench.sent(key);
    assert_eq!((result.unwrap(), buffer.len()), (4 + (8 << 20) + 3, 0));
    assert_eq!(bench.driver.counters().submissions - before, 1);
    let all = reader.join().unwrap();
    let (head, rest) = all.split_at(4);
    let (shared, end) = rest.split_at(8 << 20);
    assert_eq!((head, end), (&b"head"[..], &b"end"[..]));
    assert!(shared.iter().all(|byte| *byte == 7));
}

#[test]
fn a_detached_socket_lives_on_outside() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    let mut ours = TcpStream::from(bench.driver.detach(key).unwrap());
    assert_eq!(bench.driver.counters().sockets, 0);
    drop(bench);
    ours.write_all(b"still here").unwrap();
    let mut there = [0; 10];
    peer.read_exact(&mut there).unwrap();
    assert_eq!(&there, b"still here");
}

#[test]
fn more_operations_than_entries_before_one_enter() {
    let mut bench = Bench::with(&Settings {
        entries: 4,
        completions: 8,
        buffers: 256,
        buffer_size: 64,
        spin: Duration::ZERO,
    });
    let listener = listener();
    let pairs: Vec<_> = (0..100).map(|_| bench.pair(&listener)).collect();
    for (key, _) in &pairs {
        bench.driver.receive(*key);
        bench
            .driver
            .send(*key, SendBuffer::from(key.index().to_le_bytes().to_vec()));
    }
    for (key, mut peer) in pairs {
        let mut there = [0; 4];
        bench.sent(key).1.unwrap();
        peer.read_exact(&mut there).unwrap();
        assert_eq!(there, key.index().to_le_bytes());
        peer.write_all(&there).unwrap();
        assert_eq!(bench.read(key, 4), there);
    }
}

#[test]
fn ten_thousand_completions_through_a_tiny_queue() {
    let mut bench = Bench::with(&Settings {
        entries: 8,
        completions: 8,
        buffers: 1,
        buffer_size: 64,
        spin: Duration::ZERO,
    });
    let listener = listener();
    let keys: Vec<Key> = (0..100).map(|_| bench.open(&endpoint(&listener))).collect();
    let mut overflowed = false;
    for _ in 0..100 {
        for key in &keys {
            bench.driver.cancel(*key, Scope::All);
        }
        bench.driver.enter(Wait::No).unwrap();
        overflowed |= bench.driver.ring.overflowed();
        assert!(bench.driver.pending());
        bench.driver.reap(&mut bench.events);
    }
    for _ in 0..ROUNDS {
        if bench.events.len() >= 10_000 {
            break;
        }
        bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
        bench.driver.reap(&mut bench.events);
    }
    assert!(overflowed, "the test did what it is for");
    assert_eq!(bench.events.len(), 10_000);
    assert!(
        bench
            .events
            .iter()
            .all(|event| matches!(event, Event::Cancelled { .. }))
    );
    assert_eq!(bench.driver.sockets.in_flight(), 0);
    assert_eq!(
        (bench.driver.ring.backlog_len(), bench.driver.losses()),
        (0, 0)
    );
}

#[test]
fn calls_are_counted_and_not_made_for_nothing() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, _peer) = bench.pair(&listener);
    bench.driver.enter(Wait::No).unwrap();
    bench.driver.reap(&mut bench.events);
    let before = bench.driver.counters();
    bench.driver.enter(Wait::No).unwrap();
    if probe().unwrap().taskrun_flag {
        assert_eq!(
            bench.driver.counters(),
            before,
            "nothing queued, nothing pending"
        );
    }
    bench.send(key, b"x");
    let after = bench.driver.counters();
    assert_eq!(after.submissions, before.submissions + 1);
    assert_eq!(after.completions, before.completions + 1);
    assert!(after.enters > before.enters);
    assert_eq!(after.faults, 0);
}

#[test]
fn one_peer_that_floods_cannot_fill_every_buffer_in_one_turn() {
    let mut bench = Bench::with(&Settings {
        buffers: 1024,
        buffer_size: 64,
        ..Settings::default()
    });
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    peer.write_all(&[b'x'; 64 * 1024]).unwrap();
    bench.driver.receive(key);
    bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
    bench.driver.reap(&mut bench.events);
    let received = bench.events.len();
    assert!(received > 0);
    // One less than what stops the passes, and one call of the kernel's: 33 receives, twice.
    assert!(received < 64 + 66, "{received} pieces in one turn");
    // What is left comes in the turns after.
    assert_eq!(bench.read(key, 64 * 1024), [b'x'; 64 * 1024]);
}

#[test]
fn a_socket_is_silent_until_something_came() {
    let (mut bench, listener) = (Bench::new(), listener());
    let (key, mut peer) = bench.pair(&listener);
    assert!(bench.driver.is_silent(key));
    peer.write_all(b"unread").unwrap();
    assert!(!bench.driver.is_silent(key));
    bench.driver.receive(key);
    assert_eq!(&*bench.data(key), b"unread");
    assert!(bench.driver.is_silent(key), "it was read");
    peer.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!bench.driver.is_silent(key), "an end is news");
    assert!(
        !bench
            .driver
            .is_silent(Key::from_parts(key.index(), key.generation() + 1))
    );
}

/// The kernel tells so much of one socket at once and lets others have their turn: what it told last says that there
/// is more, and nobody may take silence for the end.
#[test]
fn what_the_kernel_holds_back_is_told_of() {
    let mut bench = Bench::with(&Settings {
        entries: 64,
        completions: 256,
        buffers: 128,
        buffer_size: 64,
        spin: Duration::ZERO,
    });
    let listener = listener();
    let (key, mut peer) = bench.pair(&listener);
    peer.write_all(&[7; 64 * 100]).unwrap();
    drop(peer);
    let mut seen = 0;
    bench.driver.receive(key);
    loop {
        bench.driver.enter(Wait::EventOr(PATIENCE)).unwrap();
        let mut events = Vec::new();
        bench.driver.reap(&mut events);
        let mut last = None;
        for event in events {
            if let Event::Received {
                outcome, nonempty, ..
            } = event
            {
                seen += match &outcome {
                    Received::Data(buffer) => buffer.len(),
                    _ => 0,
                };
                last = Some((matches!(outcome, Received::End), nonempty));
            }
        }
        match last.expect("there is more") {
            (true, _) => break,
            (false, nonempty) => assert!(nonempty, "after {seen} bytes the end is still to come"),
        }
    }
    assert_eq!(seen, 64 * 100);
    bench.close(key);
}
