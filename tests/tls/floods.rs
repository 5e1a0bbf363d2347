//! Records that carry nothing, without end: the connection is given up after a bound, whoever holds it.

use super::*;
use common::bounded::PATIENCE;
use rustls::crypto::cipher::{MessageEncrypter, OutboundChunks, OutboundPlainMessage};
use rustls::version::{TLS12, TLS13};
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion, ServerConnection};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

/// What comes again and again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// RFC 8446, section 4.6.3.
    KeyUpdates,
    /// RFC 8446, section 4.6.1.
    Tickets,
    /// RFC 8446, section 5.4: allowed, against who counts records.
    EmptyRecords,
    /// Both in turns: neither kind alone comes often in a row.
    TicketsAndEmptyRecords,
    /// HelloRequest, TLS 1.2 (RFC 5246, section 7.4.1.1).
    HelloRequests,
    /// `user_canceled`, TLS 1.2 (RFC 5246, section 7.2).
    Warnings,
    /// Data, after `close_notify` (RFC 8446, section 6.1): to be ignored.
    LastWords,
}

const FLOODS: [Flood; 6] = [
    Flood::KeyUpdates,
    Flood::Tickets,
    Flood::EmptyRecords,
    Flood::TicketsAndEmptyRecords,
    Flood::HelloRequests,
    Flood::Warnings,
];

/// What a flood would come to if nobody stopped it.
const ENDLESS: usize = 64 << 20;
/// What of it may leave the peer: the bound on our side is 64 KiB; the rest is for what two sockets hold.
const ACCEPTED_MAX: usize = 8 << 20;

/// A NewSessionTicket with 200 bytes of ticket.
fn ticket() -> Vec<u8> {
    let mut message = vec![4, 0, 0, 4 + 4 + 1 + 2 + 200 + 2];
    message.extend([0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 200]);
    message.extend([7; 200]);
    message.extend([0, 0]);
    message
}

/// Makes records of its own with a connection's keys, which rustls would not make.
struct Forge {
    encrypter: Box<dyn MessageEncrypter>,
    sequence: u64,
}

impl Forge {
    /// Takes the keys over.
    fn of(connection: ServerConnection) -> Forge {
        let suite = connection.negotiated_cipher_suite().expect("agreed on");
        let secrets = connection.dangerous_extract_secrets().expect("enabled");
        let (sent, secrets) = secrets.tx;
        let (ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv }) = secrets
        else {
            panic!("there are no other suites");
        };
        let encrypter = match (suite.tls13(), suite) {
            (Some(tls13), _) => tls13.aead_alg.encrypter(key, iv),
            (None, rustls::SupportedCipherSuite::Tls12(tls12)) => {
                tls12.aead_alg.encrypter(key, &iv.as_ref()[..4], &[0; 8])
            }
            (None, _) => panic!("there are no other versions"),
        };
        let mut forge = Forge {
            encrypter,
            sequence: 0,
        };
        // AWS-LC wants to see every number, from 0; these are used up.
        for _ in 0..sent {
            forge.record(ContentType::ApplicationData, b"");
        }
        forge
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        self.sequence += 1;
        let record = self.encrypter.encrypt(message, self.sequence - 1);
        record.expect("encrypted").encode()
    }
}

/// Sends the flood until the client stops it. Returns how much the kernel took.
fn pour(flood: Flood, stream: TlsStream) -> usize {
    let TlsStream {
        mut conn, mut sock, ..
    } = stream;
    // Who is neither read nor refused any more has been stopped as well.
    let stopped = Some(Duration::from_millis(200));
    sock.set_write_timeout(stopped).expect("set");
    let small = socket2::SockRef::from(&sock).set_send_buffer_size(32 * 1024);
    small.expect("set");
    if flood == Flood::KeyUpdates {
        return pour_from(&mut sock, || {
            let mut records = Vec::new();
            conn.refresh_traffic_keys().expect("TLS 1.3");
            conn.write_tls(&mut records).expect("a Vec takes all");
            records
        });
    }
    let mut forge = Forge::of(conn);
    if flood == Flood::LastWords {
        let close_notify = forge.record(ContentType::Alert, &[1, 0]);
        sock.write_all(&close_notify).expect("it reads");
    }
    pour_from(&mut sock, || match flood {
        Flood::KeyUpdates => unreachable!("rustls makes them"),
        Flood::Tickets => forge.record(ContentType::Handshake, &ticket()),
        Flood::EmptyRecords => forge.record(ContentType::ApplicationData, b""),
        Flood::TicketsAndEmptyRecords => {
            let ticket = forge.record(ContentType::Handshake, &ticket());
            let empty = forge.record(ContentType::ApplicationData, b"");
            [ticket, empty].concat()
        }
        Flood::HelloRequests => forge.record(ContentType::Handshake, &[0; 4]),
        Flood::Warnings => forge.record(ContentType::Alert, &[1, 90]),
        Flood::LastWords => forge.record(ContentType::ApplicationData, &[0; 1024]),
    })
}

fn pour_from(socket: &mut TcpStream, mut next: impl FnMut() -> Vec<u8>) -> usize {
    let mut taken = 0;
    while taken < ENDLESS {
        let mut records = Vec::new();
        while records.len() < 16 * 1024 {
            records.extend(next());
        }
        if socket.write_all(&records).is_err() {
            break;
        }
        taken += records.len();
    }
    taken
}

/// A peer that answers a request, or echoes a line, and floods when it is told to. It tells how much was taken of it.
struct Flooding {
    peer: Peer,
    authority: Authority,
    go: Sender<()>,
    taken: Receiver<usize>,
}

impl Flooding {
    /// It says `first` when a line has come that ends with an empty one.
    fn start(flood: Flood, first: &'static str) -> Flooding {
        let authority = Authority::new();
        let version = match flood {
            Flood::HelloRequests | Flood::Warnings => &TLS12,
            _ => &TLS13,
        };
        let mut tls = config_of(&authority.sign(), &[version]);
        tls.enable_secret_extraction = true;
        let ((go, told), (tell, taken)) = (channel(), channel());
        let ends = Arc::new(Mutex::new((told, tell)));
        let peer = Peer::tls(Arc::new(tls), move |mut stream| {
            if read_head(&mut stream).is_none() {
                return;
            }
            let _ = stream.write_all(first.as_bytes());
            let _ = stream.flush();
            let ends = ends.lock().unwrap();
            // The test may have failed meanwhile.
            if ends.0.recv_timeout(PATIENCE).is_ok() {
                let _ = ends.1.send(pour(flood, stream));
            }
        });
        Flooding {
            peer,
            authority,
            go,
            taken,
        }
    }

    fn engine(&self, scheme: &str) -> Engine {
        let mut upstream = backend(&self.peer.url(scheme), &self.authority);
        upstream.retry.attempts_max = 1;
        engine(1, upstream)
    }

    fn flood(&self) {
        self.go.send(()).expect("it listens");
    }

    fn is_bounded(&self) {
        let taken = self.taken.recv_timeout(2 * PATIENCE);
        let taken = taken.expect("it was stopped");
        assert!(taken < ACCEPTED_MAX, "{taken} bytes");
    }
}

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf:";

fn is_flood(error: &Error) {
    let kind = error.kind();
    assert_eq!(kind, ErrorKind::Tls(TlsFailure::Flood), "{error:?}");
}

#[test]
fn on_an_idle_connection() {
    for flood in FLOODS {
        let flooding = Flooding::start(flood, EMPTY);
        let engine = flooding.engine("https");
        assert_eq!(told(&engine).0, 200);
        until(&engine, "it idles", |seen| {
            seen.upstreams["backend"].idle == 1
        });
        flooding.flood();
        until(&engine, "it is gone", |seen| {
            seen.evicted_failed == 1 && seen.now.sockets == 0
        });
        flooding.is_bounded();
    }
}

#[test]
fn during_a_response() {
    for flood in FLOODS {
        let flooding = Flooding::start(flood, HALF);
        let engine = flooding.engine("https");
        let upstream = engine.upstream("backend").unwrap();
        let request = http::Request::get("/").body(()).unwrap();
        let response = run(upstream.call(request)).expect("a head");
        flooding.flood();
        let error = run(response.into_body().collect()).expect_err("half of it");
        is_flood(&error);
        flooding.is_bounded();
        until(&engine, "it is gone", |seen| seen.now.sockets == 0);
    }
}

#[test]
fn in_front_of_a_response_on_the_shard() {
    for flood in FLOODS {
        let flooding = Flooding::start(flood, "");
        let engine = flooding.engine("https");
        flooding.flood();
        let tasks = engine.spawn_on_each(|shard| async move {
            let upstream = shard.upstream("backend").unwrap();
            upstream.exchange(Head::get("/")).await.map(drop)
        });
        let ended = run(tasks).remove(0).expect("no panic");
        is_flood(&ended.expect_err("no head"));
        flooding.is_bounded();
        until(&engine, "it is gone", |seen| seen.now.sockets == 0);
    }
}

/// Its holder has the connection for as long as it likes, read or not. Nothing is taken in for it any more.
#[test]
fn on_a_lease_that_is_held() {
    for flood in FLOODS {
        let error = held(flood).expect_err("it has failed");
        is_flood(&error);
    }
}

#[test]
fn what_comes_behind_the_end_of_a_lease_that_is_held_is_not_read() {
    assert_eq!(held(Flood::LastWords).expect("a proper end"), None);
}

/// What its holder reads, after the flood has come.
fn held(flood: Flood) -> Result<Option<Bytes>, Error> {
    let flooding = Flooding::start(flood, "hello");
    let engine = flooding.engine("tls");
    let upstream = engine.upstream("backend").unwrap();
    let mut lease = run(upstream.checkout()).unwrap();
    run(lease.write_all(b"hello\r\n\r\n")).unwrap();
    run(lease.flush()).unwrap();
    assert_eq!(run(lease.read()).unwrap().expect("an answer"), "hello");
    flooding.flood();
    flooding.is_bounded();
    let read = run(lease.read());
    drop(lease);
    until(&engine, "it is gone", |seen| seen.now.sockets == 0);
    read
}
