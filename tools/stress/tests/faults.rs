//! What goes wrong at the backend on purpose, seen over real sockets.

mod common;

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Served, response, run, words};
use rustls::{AlertDescription, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::ServerName;

const GET: &[u8] = b"GET /?size=1000 HTTP/1.1\r\nHost: x\r\n\r\n";

fn connect(served: &Served) -> TcpStream {
    let stream = TcpStream::connect(served.plain).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// What is answered to one request, until the connection ends; and how it ends.
fn asked(served: &Served) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = connect(served);
    stream.write_all(GET).unwrap();
    let mut answer = Vec::new();
    let end = stream.read_to_end(&mut answer);
    (answer, end.err().map(|error| error.kind()))
}

/// A connection on which one request has been answered, as soon as there is one.
fn answered_when_there(served: &Served) -> BufReader<TcpStream> {
    let begun = Instant::now();
    loop {
        match try_answered(served) {
            Ok(stream) => return stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
    }
}

fn try_answered(served: &Served) -> std::io::Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(served.plain)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(GET)?;
    // Who is away again before the answer has said nothing yet.
    stream.peek(&mut [0]).and_then(|peeked| match peeked {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    })?;
    let mut stream = BufReader::new(stream);
    assert_eq!(response(&mut stream, true).1.len(), 1000);
    Ok(stream)
}

#[test]
fn answers_are_spoilt_in_every_way() {
    let served = Served::start("--fault reset");
    assert_eq!(asked(&served), (vec![], Some(ErrorKind::ConnectionReset)));
    let served = Served::start("--fault fin");
    assert_eq!(asked(&served), (vec![], None));
    let served = Served::start("--fault half");
    let (half, end) = asked(&served);
    let text = String::from_utf8(half).unwrap();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
    assert_eq!((body, end), (Some(500), None));
    assert!(text.contains("Content-Length: 1000\r\n"));
    let served = Served::start("--fault garbage");
    let (garbage, end) = asked(&served);
    assert!(!garbage.is_empty() && !garbage.starts_with(b"HTTP"));
    assert_eq!(end, None);
}

#[test]
fn a_black_hole_takes_what_is_sent_and_says_nothing() {
    let served = Served::start("--fault hole");
    let mut stream = connect(&served);
    for _ in 0..3 {
        stream.write_all(GET).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty());
}

#[test]
fn stalls_and_slow_bodies_take_their_time_and_are_good_answers() {
    for (options, least) in [
        ("--fault stall:100ms", 100),
        // 1000 bytes.
        ("--fault slow:10000", 95),
        ("--service bimodal:1ms,100ms,100%", 100),
    ] {
        let served = Served::start(options);
        let mut stream = BufReader::new(connect(&served));
        for _ in 0..2 {
            let begun = Instant::now();
            stream.get_mut().write_all(GET).unwrap();
            assert_eq!(response(&mut stream, true).1.len(), 1000);
            assert!(begun.elapsed() >= Duration::from_millis(least), "{options}");
        }
    }
}

#[test]
fn connections_are_refused_at_the_door() {
    let served = Served::start("--fault refuse");
    let error = connect(&served).read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let served = Served::start("--fault limit:1");
    let mut first = BufReader::new(connect(&served));
    first.get_mut().write_all(GET).unwrap();
    response(&mut first, true);
    assert_eq!(connect(&served).read(&mut [0]).unwrap(), 0, "one too many");
}

#[test]
fn an_alert_answers_a_client_hello() {
    let served = Served::start("--fault alert");
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let stream = TcpStream::connect(served.tls).unwrap();
    let mut tls = StreamOwned::new(session, stream);
    let error = tls.write_all(GET).unwrap_err();
    let alert = error.get_ref().and_then(|error| error.downcast_ref());
    let expected = rustls::Error::AlertReceived(AlertDescription::InternalError);
    assert_eq!(alert, Some(&expected));
}

#[test]
fn a_backend_that_restarts_closes_what_idles_and_comes_back_at_the_same_port() {
    let mut served = Served::start("--fault restart@0s..200ms");
    for _ in 0..2 {
        let mut stream = answered_when_there(&served);
        // The window begins anew: what idles is closed in good order.
        let told = served.child.stdin.as_mut().unwrap();
        told.write_all(b"\n").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn an_outage_resets_what_is_open() {
    let mut served = Served::start("--fault outage@0s..100ms --threads 2");
    let mut stream = answered_when_there(&served);
    let told = served.child.stdin.as_mut().unwrap();
    told.write_all(b"\n").unwrap();
    let error = stream.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    answered_when_there(&served);
}

#[test]
fn a_seed_repeats_what_goes_wrong() {
    let course = |seed: u32| -> Vec<bool> {
        let served = Served::start(&format!("--fault fin:30% --seed {seed}"));
        (0..40).map(|_| asked_once(&served)).collect()
    };
    assert_eq!(course(5), course(5));
    assert_ne!(course(5), course(6));
}

/// Whether one request on a connection of its own is answered.
fn asked_once(served: &Served) -> bool {
    let mut stream = connect(served);
    let close = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(close).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    !answer.is_empty()
}

#[test]
fn faults_that_make_no_sense_are_usage_errors() {
    for fault in ["dance", "outage", "reset:200%", "stall@2s..1s"] {
        let output = run(&format!("serve --fault {fault}"));
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    }
}
