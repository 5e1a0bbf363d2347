//! What an idle connection takes of this process's memory, kernel's part left out: under 1 KiB plain, 10 KiB over TLS.
//!
//! The client is a process of its own, the test's executable once more: the peer's side of the connections is in the
//! test's process, and does not count. What the second half of the connections adds to what is resident is theirs;
//! what an engine takes once is there with the first half.
//!
//! The peer's chain is one short certificate. rustls keeps a chain with its session: a longer one comes on top, byte for byte.

mod common;

use common::bounded::run_for;
use common::certificates::Authority;
use common::tls_peer;
use ringpool::config::{TlsConfig, TrustRoots, UpstreamConfig};
use ringpool::on_shard::{Lease, Shard};
use ringpool::{Config, Engine};
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ServerConfig, ServerConnection};
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// As many again are added to so many.
const CONNECTIONS: u32 = 2_500;

/// Beside the connections: the engine's own descriptors, the peer's, the test runner's.
const OTHER_FILES: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(300);

/// Set in the client's process: its upstream's URL, and the authority to trust where TLS is spoken.
const URL: &str = "RINGPOOL_TEST_IDLE_URL";
const TRUST: &str = "RINGPOOL_TEST_IDLE_TRUST";

#[test]
fn a_plain_connection_that_idles_takes_less_than_1_kib() {
    stays_below(
        "a_plain_connection_that_idles_takes_less_than_1_kib",
        1024,
        None,
    );
}

#[test]
fn a_tls_connection_that_idles_takes_less_than_10_kib() {
    stays_below(
        "a_tls_connection_that_idles_takes_less_than_10_kib",
        10 * 1024,
        Some(&Authority::new()),
    );
}

/// The test `name`, in both its processes.
fn stays_below(name: &str, ceiling: u64, authority: Option<&Authority>) {
    if let Ok(url) = std::env::var(URL) {
        return measure(&url, ceiling);
    }
    if !may_open(u64::from(2 * CONNECTIONS) + OTHER_FILES, name) {
        return;
    }
    let tls = authority.map(|authority| Arc::new(tls_peer::config(&authority.sign())));
    let echo = Echo::start(tls);
    let scheme = if authority.is_some() { "tls" } else { "tcp" };
    let mut client = Command::new(std::env::current_exe().expect("this test"));
    client
        .args(["--exact", name, "--nocapture"])
        .env(URL, format!("{scheme}://{}", echo.address));
    if let Some(authority) = authority {
        client.env(TRUST, &authority.pem);
    }
    let status = client.status().expect("this test starts");
    assert!(status.success(), "the client's process says why");
}

/// Whether this process, and those that it starts, may have so many files open at once. The soft limit is raised if that
/// helps. If not, the test `name` is named on standard error, past the test runner's capture;
/// `RINGPOOL_FORBID_SKIP` makes it fail instead.
fn may_open(files: u64, name: &str) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= files);
    if enough(limit.current) {
        return true;
    }
    if enough(limit.maximum) {
        let raised = Rlimit {
            current: Some(files),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit anyone may");
        return true;
    }
    let what = format!("{files} open files are needed, the limit is {limit:?}");
    assert!(std::env::var_os("RINGPOOL_FORBID_SKIP").is_none(), "{what}");
    let _ = std::io::stderr().write_all(format!("SKIPPED: {name}: {what}\n").as_bytes());
    false
}

/// The client's process.
fn measure(url: &str, ceiling: u64) {
    let engine = Engine::start(config(url)).expect("the machine has io_uring");
    let half = resident_with(&engine, CONNECTIONS);
    let whole = resident_with(&engine, 2 * CONNECTIONS);
    let each = whole.saturating_sub(half) / u64::from(CONNECTIONS);
    println!(
        "{url}: {each} bytes for each idle connection; {} KiB resident with {CONNECTIONS}, {} KiB with twice as many",
        half / 1024,
        whole / 1024,
    );
    assert!(each > 0, "they are somewhere");
    assert!(each < ceiling, "{each} bytes, not below {ceiling}");
}

/// One shard, and connections that stay until the end.
fn config(url: &str) -> Config {
    let roots = std::env::var(TRUST).map_or(TrustRoots::WebPki, TrustRoots::Pem);
    let mut upstream = UpstreamConfig {
        connections_max: 2 * CONNECTIONS,
        idle_timeout: None,
        age_max: None,
        tls: TlsConfig {
            roots,
            ..TlsConfig::default()
        },
        ..UpstreamConfig::at(url).expect("a URL")
    };
    upstream.warm.purge_interval = None;
    Config {
        shards: 1,
        pin: false,
        connections_max: 2 * CONNECTIONS,
        ..Config::with_upstream("peer", upstream)
    }
}

/// Has `count` connections, each used, and all idle again; what is resident then, in bytes.
fn resident_with(engine: &Engine, count: u32) -> u64 {
    let snapshot = run_for(PATIENCE, async {
        for ended in engine
            .spawn_on_each(move |shard| use_all(shard, count))
            .await
        {
            ended.expect("the shard is up");
        }
        engine.snapshot().await.expect("it runs")
    });
    assert_eq!(snapshot.now.sockets, u64::from(count));
    assert_eq!(snapshot.upstreams["peer"].idle, u64::from(count));
    resident()
}

thread_local! {
    /// Where the test keeps leases, once for all and with room for all: it is not to count.
    static LEASES: Cell<Vec<Option<Lease>>> =
        Cell::new((0..2 * CONNECTIONS).map(|_| None).collect());
}

/// Holds so many connections at once, uses each, and gives them back.
async fn use_all(shard: Shard, count: u32) {
    let upstream = shard.upstream("peer").expect("it is configured");
    let mut leases = LEASES.take();
    let places = &mut leases[..count as usize];
    for place in &mut *places {
        *place = Some(upstream.checkout().await.expect("a connection"));
    }
    for lease in places.iter_mut().flatten() {
        ping(lease).await;
    }
    for place in places {
        place.take().expect("it is held").release();
    }
    LEASES.set(leases);
}

async fn ping(lease: &mut Lease) {
    lease.write_all(b"ping").await.expect("written");
    let mut answer = Vec::new();
    while answer.len() < 4 {
        let piece = lease.read().await.expect("read").expect("an echo");
        answer.extend_from_slice(&piece);
    }
    assert_eq!(answer, b"ping");
}

/// What of this process is in memory now, counted page by page.
fn resident() -> u64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("Linux 4.14 has it");
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.expect("it is in KiB").parse::<u64>().expect("a number") * 1024
}

/// A peer that sends back what comes, on any number of connections, by one thread.
struct Echo {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(tls: Option<Arc<ServerConfig>>) -> Echo {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let thread = thread::spawn(move || {
            let mut echoing = EchoLoop {
                epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll"),
                tls,
                connections: Vec::new(),
            };
            echoing.run(&listener, &stop);
        });
        Echo {
            address,
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Only to end the wait.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection, as the peer has it; its session where TLS is spoken.
type Served = (TcpStream, Option<ServerConnection>);

struct EchoLoop {
    epoll: std::os::fd::OwnedFd,
    tls: Option<Arc<ServerConfig>>,
    /// By the number that events bear; those that ended are gone from here.
    connections: Vec<Option<Served>>,
}

impl EchoLoop {
    /// What events of the listener bear.
    const LISTENER: u64 = u64::MAX;

    fn run(&mut self, listener: &TcpListener, over: &AtomicBool) {
        let listening = epoll::EventData::new_u64(Self::LISTENER);
        epoll::add(&self.epoll, listener, listening, epoll::EventFlags::IN).expect("added");
        let mut events = Vec::with_capacity(256);
        while !over.load(Ordering::Relaxed) {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            epoll::wait(&self.epoll, spare, None::<&Timespec>).expect("events");
            for event in &events {
                match event.data.u64() {
                    Self::LISTENER => self.accept(listener),
                    connection => self.serve(usize::try_from(connection).expect("an index")),
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) {
        let (stream, _) = listener.accept().expect("accepted");
        stream.set_nodelay(true).expect("set");
        let number = epoll::EventData::new_u64(self.connections.len() as u64);
        epoll::add(&self.epoll, &stream, number, epoll::EventFlags::IN).expect("added");
        let session = self.tls.clone().map(ServerConnection::new);
        let session = session.transpose().expect("a session");
        self.connections.push(Some((stream, session)));
    }

    fn serve(&mut self, connection: usize) {
        if let Some(served) = &mut self.connections[connection]
            && !echo(served).expect("the client behaves")
        {
            self.connections[connection] = None;
        }
    }
}

/// Reads once what is there, and sends it back. Whether the connection goes on.
fn echo((stream, session): &mut Served) -> std::io::Result<bool> {
    let mut bytes = [0; 16 * 1024];
    let Some(session) = session else {
        let n = or_end(stream.read(&mut bytes))?;
        stream.write_all(&bytes[..n])?;
        return Ok(n > 0);
    };
    let goes_on = or_end(session.read_tls(stream))? > 0;
    session
        .process_new_packets()
        .map_err(std::io::Error::other)?;
    let n = match session.reader().read(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        read => or_end(read)?,
    };
    session.writer().write_all(&bytes[..n])?;
    while session.wants_write() {
        session.write_tls(stream)?;
    }
    Ok(goes_on)
}

/// A client whose process has ended resets, or closes without a word.
fn or_end(read: std::io::Result<usize>) -> std::io::Result<usize> {
    match read {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof
            ) =>
        {
            Ok(0)
        }
        read => read,
    }
}
