//! Records and segments that end wherever they may: the response is the same.

use super::*;
use common::bounded::PATIENCE;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, SupportedProtocolVersion};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

const BODY: &str = "whatever the records are";

/// The same body, by its length and in chunks.
const RESPONSES: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\nwhatever the records are",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nwhatever\r\n10\r\n the records are\r\n0\r\n\r\n",
];

/// The ciphertext of `plain`, in one record for each piece.
fn records(connection: &mut ServerConnection, pieces: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        connection.writer().write_all(piece).expect("it has room");
        while connection.wants_write() {
            connection.write_tls(&mut bytes).expect("a Vec takes all");
        }
    }
    bytes
}

/// The number in the target of a request, `GET /number`.
fn number(head: &str) -> Option<usize> {
    head.split(' ').nth(1)?.strip_prefix('/')?.parse().ok()
}

/// What a call on the shard comes to, by the low level.
fn on_shard(engine: &Engine, target: String) -> Result<Vec<u8>, Error> {
    let tasks = engine.spawn_on_each(move |shard| {
        let target = target.clone();
        async move {
            let upstream = shard.upstream("backend")?;
            let mut exchange = upstream.exchange(Head::get(&target)).await?;
            let mut body = Vec::new();
            while let Some(chunk) = exchange.chunk().await? {
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        }
    });
    run(tasks).remove(0).expect("no panic")
}

#[test]
fn a_record_may_end_at_every_offset_of_a_response() {
    let authority = Authority::new();
    for version in BOTH {
        for response in RESPONSES {
            let tls = Arc::new(config_of(&authority.sign(), &[version]));
            let peer = Peer::tls(tls, move |mut stream: TlsStream| {
                while let Some(head) = read_head(&mut stream) {
                    let cut = number(&head).expect("a number");
                    let (first, second) = response.as_bytes().split_at(cut);
                    let bytes = records(&mut stream.conn, &[first, second]);
                    if stream.sock.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
            let engine = engine(1, backend(&peer.url("https"), &authority));
            let upstream = engine.upstream("backend").unwrap();
            for cut in 0..=response.len() {
                let target = format!("/{cut}");
                assert_eq!(run(get(&upstream, &target)).expect("whole"), BODY);
                assert_eq!(on_shard(&engine, target).expect("whole"), BODY.as_bytes());
            }
            let seen = run(engine.snapshot()).unwrap();
            assert_eq!((seen.connections_opened, seen.evictions()), (1, 0));
        }
    }
}

/// Where a peer stops until it is told to go on. It says how much it has to send in all.
#[derive(Clone)]
struct Pause(Arc<Mutex<(Sender<usize>, Receiver<()>)>>);

impl Pause {
    /// One, and the test's ends of it.
    fn new() -> (Pause, Receiver<usize>, Sender<()>) {
        let ((reached, seen), (go, told)) = (channel(), channel());
        (Pause(Arc::new(Mutex::new((reached, told)))), seen, go)
    }

    fn here(&self, of: usize) {
        let ends = self.0.lock().unwrap();
        ends.0.send(of).expect("the test listens");
        ends.1.recv_timeout(PATIENCE).expect("the test goes on");
    }
}

/// Between the two parts the shard has two turns: it has met the first one alone.
#[test]
fn a_segment_may_end_at_every_offset_of_a_responses_records() {
    let authority = Authority::new();
    for version in BOTH {
        let (pause, reached, go) = Pause::new();
        let tls = Arc::new(config_of(&authority.sign(), &[version]));
        let peer = Peer::tls(tls, move |mut stream: TlsStream| {
            while let Some(head) = read_head(&mut stream) {
                let (first, second) = RESPONSES[0].as_bytes().split_at(40);
                let bytes = records(&mut stream.conn, &[first, second]);
                let (first, second) = bytes.split_at(number(&head).expect("a number"));
                stream.sock.write_all(first).expect("it reads");
                pause.here(bytes.len());
                stream.sock.write_all(second).expect("it reads");
            }
        });
        let engine = engine(1, backend(&peer.url("https"), &authority));
        let (mut cut, mut all) = (1, 2);
        while cut < all {
            let body = thread::scope(|scope| {
                let call = scope.spawn(|| {
                    let target = format!("/{cut}");
                    if cut % 2 == 0 {
                        return on_shard(&engine, target);
                    }
                    let upstream = engine.upstream("backend").unwrap();
                    run(get(&upstream, &target)).map(Vec::from)
                });
                all = reached
                    .recv_timeout(PATIENCE)
                    .expect("the first part is out");
                for _ in 0..2 {
                    run(engine.snapshot()).unwrap();
                }
                go.send(()).expect("it waits");
                call.join().expect("no panic")
            });
            assert_eq!(body.expect("whole"), BODY.as_bytes(), "cut at {cut}");
            cut += 1;
        }
        assert!(all > RESPONSES[0].len(), "{all} bytes of ciphertext");
        assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
    }
}

/// What the header of each record says of its length.
fn lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(length);
        bytes = &rest[length..];
    }
    lengths
}

#[test]
fn records_of_full_size() {
    const RECORD: usize = 16 * 1024;
    let authority = Authority::new();
    let body: Bytes = (0..64 * RECORD).map(|n| (n * 7 % 251) as u8).collect();
    for version in BOTH {
        let sent = body.clone();
        let tls = Arc::new(config_of(&authority.sign(), &[version]));
        let peer = Peer::tls(tls, move |mut stream: TlsStream| {
            while read_head(&mut stream).is_some() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len());
                let mut pieces = vec![head.as_bytes()];
                pieces.extend(sent.chunks(RECORD));
                let bytes = records(&mut stream.conn, &pieces);
                let full = lengths(&bytes).iter().filter(|&&len| len > RECORD).count();
                assert_eq!(
                    full, 64,
                    "nothing larger is allowed (RFC 8446, section 5.1)"
                );
                if stream.sock.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        let engine = engine(1, backend(&peer.url("https"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        for _ in 0..3 {
            assert!(run(get(&upstream, "/")).expect("whole") == body);
            assert!(on_shard(&engine, "/".to_owned()).expect("whole") == body);
        }
        assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
    }
}

/// Handshake messages go over many records, too.
#[test]
fn a_handshake_in_tiny_records() {
    let authority = Authority::new();
    for version in BOTH {
        let mut tls = config_of(&authority.sign(), &[version]);
        // The least that rustls takes: one byte of plaintext and what is around it.
        tls.max_fragment_size = Some(32);
        let peer = Peer::tls(Arc::new(tls), |mut stream: TlsStream| {
            while read_head(&mut stream).is_some() {
                if stream.write_all(RESPONSES[1].as_bytes()).is_err() || stream.flush().is_err() {
                    return;
                }
            }
        });
        let engine = engine(1, backend(&peer.url("https"), &authority));
        let upstream = engine.upstream("backend").unwrap();
        for _ in 0..3 {
            assert_eq!(run(get(&upstream, "/")).expect("whole"), BODY);
        }
        assert_eq!(run(engine.snapshot()).unwrap().handshakes_full, 1);
    }
}

/// The peer's keys change between any two pieces of a body.
#[test]
fn keys_may_change_in_the_middle_of_a_response() {
    let authority = Authority::new();
    let tls = Arc::new(config_of(&authority.sign(), &[&TLS13]));
    let peer = Peer::tls(tls, |mut stream: TlsStream| {
        while read_head(&mut stream).is_some() {
            let mut bytes = Vec::new();
            for piece in RESPONSES[1].as_bytes().chunks(5) {
                stream.conn.refresh_traffic_keys().expect("TLS 1.3");
                bytes.extend(records(&mut stream.conn, &[piece]));
            }
            if stream.sock.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    let engine = engine(1, backend(&peer.url("https"), &authority));
    let upstream = engine.upstream("backend").unwrap();
    for _ in 0..20 {
        assert_eq!(run(get(&upstream, "/")).expect("whole"), BODY);
        let body = on_shard(&engine, "/".to_owned()).expect("whole");
        assert_eq!(body, BODY.as_bytes());
    }
    assert_eq!(run(engine.snapshot()).unwrap().connections_opened, 1);
}
