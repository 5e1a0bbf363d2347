//! The backend, spoken to over real sockets, plain and TLS.

mod common;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Served, response, run, stress, words};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

fn connect(served: &Served) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(served.plain).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    BufReader::new(stream)
}

fn trusting(
    served: &Served,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(served.ca.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_protocol_versions(versions)
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn connect_tls(
    served: &Served,
    config: &Arc<ClientConfig>,
    name: &'static str,
) -> BufReader<StreamOwned<ClientConnection, TcpStream>> {
    let stream = TcpStream::connect(served.tls).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let session =
        ClientConnection::new(Arc::clone(config), ServerName::try_from(name).unwrap()).unwrap();
    BufReader::new(StreamOwned::new(session, stream))
}

#[test]
fn one_connection_serves_many_requests() {
    let served = Served::start("");
    let mut stream = connect(&served);
    for _ in 0..3 {
        stream.get_mut().write_all(GET).unwrap();
        let (head, body) = response(&mut stream, true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("Connection:"));
        assert_eq!(body, b"hello, world\n");
    }
    stream
        .get_mut()
        .write_all(b"HEAD /?size=99 HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(
        response(&mut stream, false)
            .0
            .contains("Content-Length: 99\r\n")
    );
    stream
        .get_mut()
        .write_all(b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(
        response(&mut stream, true)
            .0
            .contains("Connection: close\r\n")
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it closes after /close");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = Served::start("--threads 2");
    let mut stream = connect(&served);
    let requests: String = (0..200)
        .map(|i| format!("GET /?size={i} HTTP/1.1\r\nHost: x\r\n\r\n"))
        .collect();
    // Cut where no request ends, so that one straddles two receives.
    let (first, second) = requests.as_bytes().split_at(1001);
    stream.get_mut().write_all(first).unwrap();
    assert_eq!(response(&mut stream, true).1.len(), 0);
    stream.get_mut().write_all(second).unwrap();
    for size in 1..200 {
        assert_eq!(response(&mut stream, true).1.len(), size);
    }
}

#[test]
fn bodies_of_requests_are_read_and_dropped() {
    let served = Served::start("--body 5");
    let mut stream = connect(&served);
    let mut chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..50 {
        chunked.extend_from_slice(b"1000;ext\r\n");
        chunked.resize(chunked.len() + 0x1000, b'G');
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\nTrailer: t\r\n\r\n");
    stream.get_mut().write_all(&chunked).unwrap();
    assert_eq!(response(&mut stream, true).1, b"hello");

    let length = b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    stream.get_mut().write_all(length).unwrap();
    assert!(response(&mut stream, false).0.starts_with("HTTP/1.1 100 "));
    stream.get_mut().write_all(b"body").unwrap();
    stream.get_mut().write_all(GET).unwrap();
    assert_eq!(response(&mut stream, true).1, b"hello");
    assert_eq!(response(&mut stream, true).1, b"hello");
}

#[test]
fn a_large_body_arrives_whole() {
    let served = Served::start("");
    let text = b"hello, world\n".iter().cycle().take(3_000_001);
    let whole: Vec<u8> = text.copied().collect();
    let request = b"GET /?size=3000001 HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = connect(&served);
    stream.get_mut().write_all(request).unwrap();
    assert!(response(&mut stream, true).1 == whole);
    let mut stream = connect_tls(
        &served,
        &trusting(&served, rustls::ALL_VERSIONS),
        "localhost",
    );
    stream.get_mut().write_all(request).unwrap();
    assert!(response(&mut stream, true).1 == whole);
}

#[test]
fn garbage_gets_its_status_and_the_end() {
    let served = Served::start("");
    let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(20_000));
    for (garbage, status) in [
        (&b"\x16\x03\x01\x00\x05hello"[..], "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "400",
        ),
        (endless.as_bytes(), "431"),
    ] {
        let mut stream = connect(&served);
        stream.get_mut().write_all(garbage).unwrap();
        let (head, _) = response(&mut stream, true);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    let mut plaintext_at_tls = TcpStream::connect(served.tls).unwrap();
    plaintext_at_tls.write_all(GET).unwrap();
    let mut answer = Vec::new();
    plaintext_at_tls.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.first(), Some(&21), "a TLS alert");
    let mut stream = connect(&served);
    stream.get_mut().write_all(GET).unwrap();
    assert_eq!(
        response(&mut stream, true).1,
        b"hello, world\n",
        "others are unhurt"
    );
}

#[test]
fn tls_sessions_resume_in_both_versions() {
    let served = Served::start("");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = trusting(&served, &[version]);
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = connect_tls(&served, &config, "127.0.0.1");
            for _ in 0..3 {
                stream.get_mut().write_all(GET).unwrap();
                assert_eq!(response(&mut stream, true).1, b"hello, world\n");
            }
            let session = &stream.get_ref().conn;
            assert_eq!(session.handshake_kind(), Some(expected), "{version:?}");
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
            stream
                .get_mut()
                .write_all(b"GET /close HTTP/1.1\r\nHost: x\r\n\r\n")
                .unwrap();
            response(&mut stream, true);
            // Without close_notify this would be an error, not the end.
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
    }
}

#[test]
fn delays_are_where_they_should_be() {
    let served = Served::start("--delay 60ms --handshake-delay 150ms");
    let mut plain = connect(&served);
    let start = Instant::now();
    plain.get_mut().write_all(GET).unwrap();
    response(&mut plain, true);
    assert!(start.elapsed() >= Duration::from_millis(60));

    let mut stream = connect_tls(
        &served,
        &trusting(&served, rustls::ALL_VERSIONS),
        "localhost",
    );
    let start = Instant::now();
    while stream.get_ref().conn.is_handshaking() {
        let StreamOwned { conn, sock, .. } = stream.get_mut();
        conn.complete_io(sock).unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn connections_above_the_limit_are_closed() {
    let served = Served::start("--connections-max 1");
    let mut first = connect(&served);
    first.get_mut().write_all(GET).unwrap();
    response(&mut first, true);
    let mut second = connect(&served);
    assert!(matches!(second.read(&mut [0]), Ok(0) | Err(_)));
    first.get_mut().write_all(GET).unwrap();
    response(&mut first, true);
}

#[test]
fn it_ends_with_its_stdin_and_with_sigterm() {
    let mut served = Served::start("");
    drop(served.child.stdin.take());
    assert!(served.child.wait().unwrap().success());

    let mut served = Served::start("");
    let pid = nix::unistd::Pid::from_raw(served.child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(served.child.wait().unwrap().success());
}

#[test]
fn the_authority_goes_to_a_file_if_asked() {
    let path = std::env::temp_dir().join(format!("stress-ca-{}.pem", std::process::id()));
    let served = Served::start(&format!("--cert-out {}", path.display()));
    assert_eq!(served.ca, path.display().to_string());
    let pem = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(CertificateDer::from_pem_slice(&pem).is_ok());
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let served = Served::start("");
    let output = run(&format!("serve --plain {} --tls 127.0.0.1:0", served.plain));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words(&output).contains(&served.plain.to_string()),
        "{}",
        words(&output)
    );
    let output = stress()
        .args(["serve", "--cert-out", "/nowhere/ca.pem"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}
