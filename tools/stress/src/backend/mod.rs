//! The backend: an HTTP/1.1 server on tokio-uring, plain and TLS, that answers any path.
//!
//! Owns the listeners, the threads and the end of the process. It shares no code with the engine
//! under load, so that a fault cannot cancel itself out, and it must never be the bottleneck:
//! no logging and no lock on the way of a request.

mod body;
mod child;
mod counting;
mod faults;
mod http;
mod naps;
mod nginx;
mod nonces;
mod plain;
mod request;
mod service;
mod spoil;
mod tls;
mod trouble;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;

use crate::certificates::Certificates;
use crate::cli::ServeOptions;
use crate::failure::Failure;
use crate::measure;
use faults::Faults;
use service::{Service, Terms};

pub(crate) use child::{Backend, BackendOptions, NoncesSeen};
pub(crate) use counting::{Counted, Counting};
pub(crate) use faults::Fault;
pub(crate) use nginx::{Logged, Nginx};
pub(crate) use nonces::{APART, NONCE, NONCES_MAX};

/// The largest body that `--body` and `?size=N` may ask for: 1 TiB.
pub(crate) const BODY_MAX: u64 = 1 << 40;

/// Connections that the kernel queues before they are accepted; it clamps this to somaxconn.
const BACKLOG: i32 = 4096;
/// Submission queue entries of each thread's ring.
const RING_ENTRIES: u32 = 1024;
/// How long accepting rests after it failed, mostly for want of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// One thread's listeners. All threads listen on the same two addresses (SO_REUSEPORT), and the
/// kernel spreads the connections over them.
struct Listeners {
    plain: TcpListener,
    tls: TcpListener,
    /// What keeps the ports while faults have nobody listen.
    _kept: Vec<Socket>,
}

/// What the main thread, which only waits, is told.
enum Told {
    ThreadReady,
    ThreadFailed(Failure),
    Signal,
    Begin,
    StdinClosed,
}

/// Runs the backend until SIGTERM, SIGINT or, if asked for, the end of standard input.
pub(crate) fn serve(options: &ServeOptions) -> Result<(), Failure> {
    measure::raise_descriptor_limit();
    let certificates = Certificates::generate(options.tls.ip())?;
    let authority = match &options.cert_out {
        Some(path) => {
            std::fs::write(path, &certificates.authority_pem).map_err(|e| {
                Failure::Usage(format!("cannot write the CA to {}: {e}", path.display()))
            })?;
            path.display().to_string()
        }
        None => certificates.authority_pem.clone(),
    };
    let tls = certificates.server_config()?;
    let listeners = Listeners::bind(options)?;
    let ready = listeners[0].ready_line(&authority)?;

    let (tell, told) = mpsc::channel();
    watch_signals(tell.clone())?;
    let (begin, epoch) = watch::channel(Instant::now());
    let terms = Terms::new(options, tls, epoch);
    for (number, listeners) in listeners.into_iter().enumerate() {
        let (terms, tell) = (terms.clone(), tell.clone());
        spawn("backend", move || {
            let failure = serve_on_thread(listeners, terms, number, &tell);
            let _ = tell.send(Told::ThreadFailed(failure));
        })?;
    }
    let mut starting = options.threads;
    loop {
        match told.recv() {
            Ok(Told::ThreadReady) => {
                starting -= 1;
                if starting == 0 {
                    begin.send_replace(Instant::now());
                    announce(&ready)?;
                    if options.until_stdin_closes {
                        watch_stdin(tell.clone())?;
                    }
                }
            }
            Ok(Told::Begin) => drop(begin.send_replace(Instant::now())),
            Ok(Told::ThreadFailed(failure)) => return Err(failure),
            Ok(Told::Signal | Told::StdinClosed) | Err(mpsc::RecvError) => return Ok(()),
        }
    }
}

/// Prints the ready line: all threads have their rings, whoever connects is answered.
fn announce(ready: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{ready}")
        .and_then(|()| stdout.flush())
        .map_err(|e| Failure::Run(format!("cannot say that the backend is ready: {e}")))
}

impl Listeners {
    /// One pair per thread; the first pair settles what port 0 means.
    fn bind(options: &ServeOptions) -> Result<Vec<Self>, Failure> {
        let shared = options.threads > 1;
        let listen = |address: SocketAddr| {
            listen(address, shared)
                .map_err(|e| Failure::Run(format!("cannot listen on {address}: {e}")))
        };
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|e| Failure::Run(format!("no local address: {e}")))
        };
        let kept = |address: SocketAddr| {
            bind(address, shared).map_err(|e| Failure::Run(format!("cannot bind {address}: {e}")))
        };
        let (mut plain, mut tls, mut keepers) = (options.plain, options.tls, Vec::new());
        if Faults::new(options.fault.clone()).have_absences() {
            keepers = vec![kept(plain)?, kept(tls)?];
            (plain, tls) = (bound(&keepers[0])?, bound(&keepers[1])?);
        }
        let mut pairs = vec![Self {
            plain: listen(plain)?,
            tls: listen(tls)?,
            _kept: keepers,
        }];
        let (plain, tls) = (address(&pairs[0].plain)?, address(&pairs[0].tls)?);
        for _ in 1..options.threads {
            pairs.push(Self {
                plain: listen(plain)?,
                tls: listen(tls)?,
                _kept: Vec::new(),
            });
        }
        Ok(pairs)
    }

    /// What tells the parent, or a script, where to connect.
    fn ready_line(&self, authority: &str) -> Result<String, Failure> {
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .map(|address| address.to_string())
                .map_err(|e| Failure::Run(format!("no local address: {e}")))
        };
        let ready = serde_json::json!({
            "plain": address(&self.plain)?,
            "tls": address(&self.tls)?,
            "ca": authority,
        });
        Ok(ready.to_string())
    }
}

/// `shared` lets others of this user listen there too, so it is asked for only where it is needed:
/// a second backend on the same port must be refused, not share the connections.
fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = bind(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A socket that is bound and does not listen: it keeps the port.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn bound(socket: &Socket) -> Result<SocketAddr, Failure> {
    let address = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket());
    address.ok_or_else(|| Failure::Run("no local address".to_owned()))
}

/// Serves until the process ends; returns only if it cannot begin.
fn serve_on_thread(
    listeners: Listeners,
    terms: Terms,
    number: usize,
    tell: &Sender<Told>,
) -> Failure {
    let runtime = match start_runtime() {
        Ok(runtime) => runtime,
        Err(error) => return ring_refused(&error),
    };
    runtime.block_on(async move {
        let service = match Service::start(terms, number) {
            Ok(service) => Rc::new(service),
            Err(error) => return Failure::Run(format!("the backend has no timer: {error}")),
        };
        let _ = tell.send(Told::ThreadReady);
        if service.faults.is_empty() {
            tokio_uring::spawn(accept(listeners.tls, Rc::clone(&service), Kind::Tls));
            accept(listeners.plain, service, Kind::Plain).await
        } else {
            let tls = trouble::accept(listeners.tls, Rc::clone(&service), Kind::Tls);
            let plain = trouble::accept(listeners.plain, service, Kind::Plain);
            let error = tokio::select! { error = tls => error, error = plain => error };
            Failure::Run(format!("the backend cannot listen any more: {error}"))
        }
    })
}

/// A ring whose completions cost no interrupt of this thread (COOP_TASKRUN, Linux 5.19, and
/// SINGLE_ISSUER, 6.0), or a plain one where the kernel does not know that.
fn start_runtime() -> io::Result<tokio_uring::Runtime> {
    let mut flags = tokio_uring::uring_builder();
    flags.setup_coop_taskrun().setup_single_issuer();
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&flags);
    if let Ok(runtime) = tokio_uring::Runtime::new(&builder) {
        return Ok(runtime);
    }
    builder.uring_builder(&tokio_uring::uring_builder());
    tokio_uring::Runtime::new(&builder)
}

fn ring_refused(error: &io::Error) -> Failure {
    Failure::Machine {
        cause: format!("the backend cannot set up io_uring: {error}"),
        remedy: "allow io_uring (sysctl kernel.io_uring_disabled=0; a seccomp profile that \
                 permits io_uring_setup and io_uring_enter), raise `ulimit -l` and `ulimit -n`, or load another \
                 server with `stress run URL`"
            .to_owned(),
    }
}

/// What a listener's connections speak.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Tls,
}

/// Accepts for as long as the process lives.
async fn accept(listener: TcpListener, service: Rc<Service>, kind: Kind) -> Failure {
    let listener = tokio_uring::net::TcpListener::from_std(listener);
    loop {
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let Some(place) = Place::take(&service, None) else {
                    continue; // Dropping the stream closes it.
                };
                let service = Rc::clone(&service);
                tokio_uring::spawn(async move {
                    // What goes wrong on a connection ends that connection and nothing else.
                    let _ = match kind {
                        Kind::Plain => plain::serve(stream, None, &service).await,
                        Kind::Tls => tls::serve(stream, None, &service).await,
                    };
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_REST).await,
        }
    }
}

/// One of the `connections_max` places, given back on drop.
struct Place(Arc<AtomicUsize>);

impl Place {
    /// One of those, or of `most` if that is fewer.
    fn take(service: &Service, most: Option<usize>) -> Option<Self> {
        let place = Self(Arc::clone(&service.open));
        let before = place.0.fetch_add(1, Ordering::Relaxed);
        let most = most.map_or(service.connections_max, |most| {
            most.min(service.connections_max)
        });
        (before < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn watch_signals(tell: Sender<Told>) -> Result<(), Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Failure::Run(format!("cannot watch for signals: {e}")))?;
    spawn("signals", move || {
        if signals.forever().next().is_some() {
            let _ = tell.send(Told::Signal);
        }
    })
}

fn watch_stdin(tell: Sender<Told>) -> Result<(), Failure> {
    spawn("stdin", move || {
        let mut words = [0; 64];
        let mut stdin = io::stdin().lock();
        // Whatever is said: the windows of faults begin anew.
        while stdin.read(&mut words).is_ok_and(|n| n > 0) {
            let _ = tell.send(Told::Begin);
        }
        let _ = tell.send(Told::StdinClosed);
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
        .map_err(|e| Failure::Run(format!("cannot start the thread `{name}`: {e}")))
}
