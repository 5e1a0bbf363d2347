//! Handshakes that the server breaks off: at every byte, and by an alert at every record.

use super::*;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConnection, SupportedProtocolVersion};
use std::net::TcpStream;
use std::sync::atomic::AtomicUsize;

const BOTH: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a broken-off handshake does to its server's flights.
#[derive(Clone, Copy)]
enum Cut {
    /// After so many bytes of it the server ends the stream.
    Bytes(usize),
    /// After so many records of it comes this instead, and then the end of the stream.
    Records(usize, &'static [u8]),
}

impl Cut {
    /// What is sent of these bytes, which begin with a record; whether that is the end of it.
    fn apply(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        match self {
            Cut::Bytes(left) => {
                let taken = bytes.len().min(*left);
                *left -= taken;
                (bytes[..taken].to_vec(), taken < bytes.len())
            }
            Cut::Records(left, instead) => {
                let mut end = 0;
                while end < bytes.len() && *left > 0 {
                    end += 5 + usize::from(u16::from_be_bytes([bytes[end + 3], bytes[end + 4]]));
                    *left -= 1;
                }
                let over = end < bytes.len();
                let instead = if over { *instead } else { b"" };
                ([&bytes[..end], instead].concat(), over)
            }
        }
    }
}

/// Shakes hands as far as `cut` lets it. Where that is to the end, it answers one request, and says so.
fn serve(mut stream: TcpStream, tls: Arc<ServerConfig>, mut cut: Cut) -> bool {
    let mut connection = ServerConnection::new(tls).expect("a session");
    while connection.is_handshaking() {
        let mut flight = Vec::new();
        while connection.wants_write() {
            connection.write_tls(&mut flight).expect("a Vec takes all");
        }
        let (sent, over) = cut.apply(&flight);
        if stream.write_all(&sent).is_err() {
            return false;
        }
        if over {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            return false;
        }
        let read = connection.read_tls(&mut stream);
        if !matches!(read, Ok(1..)) || connection.process_new_packets().is_err() {
            return false;
        }
    }
    // The last flight of TLS 1.2 has not been sent yet; what TLS 1.3 has left is tickets.
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight).expect("a Vec takes all");
    }
    let tls12 = connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_2);
    let (sent, over) = if tls12 {
        cut.apply(&flight)
    } else {
        (flight, false)
    };
    let _ = stream.write_all(&sent);
    if over {
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        return false;
    }
    let mut stream = TlsStream::new(connection, stream);
    if read_head(&mut stream).is_some() {
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
        let _ = stream.flush();
    }
    true
}

/// Cuts handshakes one after the other as `cut` says of its place, until one goes through. Returns how many have failed;
/// `failed` looks at each failure.
fn until_whole(
    version: &'static SupportedProtocolVersion,
    cut: impl Fn(usize) -> Cut + Clone + Send + 'static,
    failed: impl Fn(usize, Error),
) -> usize {
    let authority = Authority::new();
    let tls = Arc::new(config_of(&authority.sign(), &[version]));
    let (nth, whole) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let peer = Peer::tcp({
        let (nth, whole) = (nth.clone(), whole.clone());
        move |stream| {
            let cut = cut(nth.load(Ordering::SeqCst));
            if serve(stream, tls.clone(), cut) {
                whole.store(true, Ordering::SeqCst);
            }
        }
    });
    let mut upstream = backend(&peer.url("https"), &authority);
    // Each call is to meet its own handshake, at once.
    upstream.breaker.enabled = false;
    upstream.retry.attempts_max = 1;
    upstream.dial_backoff_min = Duration::from_millis(1);
    upstream.dial_backoff_max = Duration::from_millis(1);
    upstream.tls.resumption = false;
    let engine = engine(1, upstream);
    let upstream = engine.upstream("backend").unwrap();
    for at in 0..10_000 {
        nth.store(at, Ordering::SeqCst);
        let result = if at % 2 == 0 {
            run(get(&upstream, "/")).map(drop)
        } else {
            let tasks = engine.spawn_on_each(|shard| async move {
                let upstream = shard.upstream("backend").unwrap();
                upstream.exchange(Head::get("/")).await.map(drop)
            });
            run(tasks).remove(0).expect("no panic")
        };
        match result {
            Ok(()) => return at,
            Err(error) => failed(at, error),
        }
    }
    panic!("no handshake has so many places");
}

#[test]
fn a_handshake_cut_at_every_byte_is_a_truncation() {
    for version in BOTH {
        let places = until_whole(version, Cut::Bytes, |at, error| {
            let kind = error.kind();
            assert_eq!(
                kind,
                ErrorKind::Tls(TlsFailure::Truncated),
                "{at}: {error:?}"
            );
        });
        assert!(places > 500, "a certificate is among it: {places}");
    }
}

/// Some of RFC 8446, section 6: a record's header, fatal, and which.
const ALERTS: [(&[u8], &str); 5] = [
    (b"\x15\x03\x03\x00\x02\x02\x28", "HandshakeFailure"),
    (b"\x15\x03\x03\x00\x02\x02\x2a", "BadCertificate"),
    (b"\x15\x03\x03\x00\x02\x02\x31", "AccessDenied"),
    (b"\x15\x03\x03\x00\x02\x02\x50", "InternalError"),
    (b"\x15\x03\x03\x00\x02\x02\x70", "UnrecognisedName"),
];

/// Where the server's last record of TLS 1.2 stands: what follows its ChangeCipherSpec has to be encrypted.
fn is_encrypted(version: &SupportedProtocolVersion, at: usize) -> bool {
    version.version == TLS12.version && at == 2
}

#[test]
fn an_alert_in_the_middle_of_a_handshake_is_named() {
    for version in BOTH {
        for (alert, name) in ALERTS {
            let cut = |at| Cut::Records(at, alert);
            let places = until_whole(version, cut, |at, error| {
                if is_encrypted(version, at) {
                    let kind = error.kind();
                    assert_eq!(kind, ErrorKind::Tls(TlsFailure::Protocol), "{error:?}");
                    return;
                }
                let kind = error.kind();
                assert_eq!(kind, ErrorKind::Tls(TlsFailure::Alert), "{at}: {error:?}");
                assert!(error.to_string().contains(name), "{error}");
            });
            assert!(places > 1, "before and after the ServerHello: {places}");
        }
    }
}

/// Nobody has proved to be the server yet: it is no proper end, wherever it stands.
#[test]
fn a_close_notify_in_the_middle_of_a_handshake_is_no_end() {
    let close_notify = b"\x15\x03\x03\x00\x02\x01\x00";
    for version in BOTH {
        let cut = |at| Cut::Records(at, close_notify);
        until_whole(version, cut, |at, error| {
            let tls13 = version.version == TLS13.version;
            let expected = match at {
                // After the ServerHello of TLS 1.3 there is no closing any more that is not encrypted.
                1.. if tls13 => TlsFailure::Alert,
                _ if is_encrypted(version, at) => TlsFailure::Protocol,
                _ => TlsFailure::Truncated,
            };
            assert_eq!(error.kind(), ErrorKind::Tls(expected), "{at}: {error:?}");
        });
    }
}
