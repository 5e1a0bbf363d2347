//! Drives the load: one blocking thread per caller, a closed loop, no engine beneath.
//!
//! It stands in until the engine takes this file over, which must keep the signature of [`run`].
//! It knows no fixed rate and no shards.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};

use crate::interrupt::Interrupt;
use crate::load::{DriveError, LoadPlan, LoadResult};
use crate::measure::{self, Window};
use crate::progress::Progress;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Carries out `plan`, in a closed loop.
pub(crate) fn run(
    plan: &LoadPlan,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<LoadResult, DriveError> {
    let broken = |what: &dyn std::fmt::Display| DriveError::Plan(what.to_string());
    if plan.rate.is_some() {
        return Err(broken(&"this build cannot load at a fixed rate"));
    }
    let uri: http::Uri = plan
        .url
        .parse()
        .map_err(|e: http::uri::InvalidUri| broken(&e))?;
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(plan.ca.as_deref().unwrap_or_default()).flatten() {
        roots.add(der).map_err(|e| broken(&e))?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls = (uri.scheme_str() == Some("https")).then(|| Arc::new(config));
    let total = Mutex::new(LoadResult::default());
    let begin = Instant::now() + plan.warmup;
    let caller = || call(plan, &uri, tls.as_ref(), begin, &total, progress, interrupt);
    thread::scope(|scope| {
        for _ in 0..plan.connections {
            scope.spawn(caller);
        }
        thread::sleep(plan.warmup.min(Duration::from_secs(60)));
        let window = Window::open();
        while begin.elapsed() < plan.duration && !interrupt.requested() {
            thread::sleep(Duration::from_millis(2));
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        (total.elapsed, total.cpu) = window.read();
        total.interrupted = interrupt.requested();
    });
    Ok(total.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn call(
    plan: &LoadPlan,
    uri: &http::Uri,
    tls: Option<&Arc<ClientConfig>>,
    begin: Instant,
    total: &Mutex<LoadResult>,
    progress: &Progress,
    interrupt: &Interrupt,
) {
    let mut own = LoadResult::default();
    let mut connection = None;
    while begin.elapsed() < plan.duration && !interrupt.requested() {
        let start = Instant::now();
        let hit = connection.is_some();
        let answer = exchange(&mut connection, uri, tls, &mut own);
        if answer.is_err() || !plan.reuse {
            connection = None;
        }
        progress.add(u64::from(answer.is_ok()), u64::from(answer.is_err()));
        match answer {
            _ if start < begin => {}
            Ok(()) => {
                (own.ok, own.hits, own.misses) = (
                    own.ok + 1,
                    own.hits + u64::from(hit),
                    own.misses + u64::from(!hit),
                );
                measure::record(&mut own.latency, start.elapsed());
            }
            Err(e) => *own.failed.entry(format!("{:?}", e.kind())).or_default() += 1,
        }
    }
    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = total.latency.add(&own.latency);
    (total.ok, total.hits, total.misses) = (
        total.ok + own.ok,
        total.hits + own.hits,
        total.misses + own.misses,
    );
    total.dials += own.dials;
    total.connections_opened += own.connections_opened;
    total.handshakes_full += own.handshakes_full;
    total.handshakes_resumed += own.handshakes_resumed;
    for (kind, count) in own.failed {
        *total.failed.entry(kind).or_default() += count;
    }
}

fn exchange(
    connection: &mut Option<BufReader<Box<dyn Stream>>>,
    uri: &http::Uri,
    tls: Option<&Arc<ClientConfig>>,
    own: &mut LoadResult,
) -> io::Result<()> {
    let (host, path) = (uri.host().unwrap_or_default(), uri.path());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = match connection {
        Some(stream) => stream,
        None => {
            own.dials += 1;
            let port = uri
                .port_u16()
                .unwrap_or(if tls.is_some() { 443 } else { 80 });
            let mut tcp = TcpStream::connect((bare, port))?;
            tcp.set_nodelay(true)?;
            tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
            own.connections_opened += 1;
            let stream: Box<dyn Stream> = match tls {
                None => Box::new(tcp),
                Some(config) => {
                    let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
                    let mut session = ClientConnection::new(Arc::clone(config), name)
                        .map_err(io::Error::other)?;
                    session.complete_io(&mut tcp)?;
                    match session.handshake_kind() {
                        Some(HandshakeKind::Resumed) => own.handshakes_resumed += 1,
                        _ => own.handshakes_full += 1,
                    }
                    Box::new(StreamOwned::new(session, tcp))
                }
            };
            connection.insert(BufReader::new(stream))
        }
    };
    write!(
        stream.get_mut(),
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    )?;
    let (mut line, mut length, mut status) = (String::new(), 0, String::new());
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if status.is_empty() {
            status.clone_from(&line);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
    if status.starts_with("HTTP/1.1 2") {
        Ok(())
    } else {
        Err(io::Error::other(status))
    }
}
