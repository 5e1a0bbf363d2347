//! The backend, the same for all clients: a process of its own, pinned to its own core.
//!
//! Owns: its listeners, and the counts that it tells. Never: measures, or knows who its client is. It takes connections over TCP, TLS 1.3 and a
//! Unix socket, and is one thread with epoll, so that it is rather the client than the backend whose speed shows.

mod connection;
mod request;
mod response;
mod server;
mod stream;

use crate::certificate::Certificate;
use crate::cli::BackendOptions;
use crate::failure::Failure;
use crate::process;
use serde::{Deserialize, Serialize};
use server::Server;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;

pub(crate) use response::response_len;

/// Descriptors that the most demanding scenario takes, and some more.
pub(crate) const DESCRIPTORS: u64 = 12_000;
/// Connections that may wait to be accepted; the kernel caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 16_384;

/// Where it listens: the first line that it says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Listening {
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) unix: PathBuf,
    /// The authority behind its certificate, in PEM.
    pub(crate) authority: PathBuf,
    /// Descriptors that it may have.
    pub(crate) descriptors: u64,
}

/// What it has seen so far: its answer to any line.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Connections accepted.
    pub(crate) accepted: u64,
    /// Requests read whole, whose responses were begun.
    pub(crate) answered: u64,
}

impl Counts {
    pub(crate) fn since(self, earlier: Counts) -> Counts {
        Counts {
            accepted: self.accepted - earlier.accepted,
            answered: self.answered - earlier.answered,
        }
    }
}

/// Serves until standard input closes.
pub(crate) fn run(options: &BackendOptions) -> Result<(), Failure> {
    process::pin(options.core)?;
    let descriptors = process::raise_descriptors(DESCRIPTORS);
    let certificate = Certificate::generate()?;
    let failed = |error: io::Error| Failure::run("the backend cannot listen", error);
    let (unix, authority) = (
        options.directory.join("socket"),
        options.directory.join("authority.pem"),
    );
    std::fs::write(&authority, &certificate.authority_pem).map_err(failed)?;
    let (tcp, tls) = (listen_tcp().map_err(failed)?, listen_tcp().map_err(failed)?);
    let listening = Listening {
        tcp: address(&tcp).map_err(failed)?,
        tls: address(&tls).map_err(failed)?,
        unix: unix.clone(),
        authority,
        descriptors,
    };
    let unix = listen_unix(&unix).map_err(failed)?;
    let mut server = Server::new(tcp, tls, unix, certificate.server_config()?).map_err(failed)?;
    say(&listening).map_err(failed)?;

    let waker = server.waker();
    thread::spawn(move || {
        let questions = io::stdin().lock().lines();
        for _ in questions.map_while(Result::ok) {
            if waker.wake().is_err() {
                break;
            }
        }
        // Nobody is there any more.
        std::process::exit(0);
    });
    let asked = |counts: Counts| say(&counts);
    server
        .run(asked)
        .map_err(|error| Failure::run("the backend failed", error))
}

fn say(what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn listen_tcp() -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    listen(socket)
}

fn listen_unix(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    listen(socket)
}

fn listen(socket: Socket) -> io::Result<Socket> {
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("no address of the Internet"))
}
