//! A small server within this process that counts its open connections, address by address, at every moment.
//!
//! Owns: the counts and their peaks. A connection counts from its acceptance until its client has closed it, whether this side has
//! noticed or not: before one is found to be too many, the others of its address are asked for their ends (CLOSE_WAIT).
//! It must never share code with the engine under load.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::SockRef;
use std::mem::MaybeUninit;
use std::rc::Rc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Ends of heads, and an answer without anything to say.
const END: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The server; it ends when this is dropped.
pub(crate) struct Counting {
    pub(crate) addresses: Vec<SocketAddr>,
    counts: Arc<Mutex<Counts>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    peaks: HashMap<IpAddr, usize>,
    accepted: u64,
    requests: u64,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    /// The most connections that were open to one address at once.
    pub(crate) peak: usize,
    pub(crate) accepted: u64,
    pub(crate) requests: u64,
}

impl Counting {
    /// Listens at so many addresses of the loopback network; each request is answered after so long.
    pub(crate) fn start(addresses: u8, delay: Duration) -> io::Result<Self> {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let (end, ended) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = {
            let counts = Arc::clone(&counts);
            thread::Builder::new()
                .name("counting".to_owned())
                .spawn(move || serve(addresses, delay, &counts, &tell, ended))?
        };
        let addresses = told.recv().map_err(io::Error::other)??;
        Ok(Self {
            addresses,
            counts,
            end: Some(end),
            thread: Some(thread),
        })
    }

    pub(crate) fn counted(&self) -> Counted {
        let counts = lock(&self.counts);
        Counted {
            peak: counts.peaks.values().copied().max().unwrap_or(0),
            accepted: counts.accepted,
            requests: counts.requests,
        }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // Its receiver is there until it is told.
        let _ = self.end.take().map(|end| end.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

type Told = io::Result<Vec<SocketAddr>>;

fn serve(
    addresses: u8,
    delay: Duration,
    counts: &Arc<Mutex<Counts>>,
    tell: &Sender<Told>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(tell.send(Err(error))),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut bound = Vec::new();
        for n in 1..=addresses {
            match listen(n).await {
                Ok(listener) => bound.push(listener),
                Err(error) => return drop(tell.send(Err(error))),
            }
        }
        let at: io::Result<Vec<SocketAddr>> = bound.iter().map(TcpListener::local_addr).collect();
        // Whoever started it waits for this.
        drop(tell.send(at));
        for listener in bound {
            tokio::task::spawn_local(accept(listener, delay, Arc::clone(counts)));
        }
        let _ = ended.await;
    });
}

/// At 127.0.1.n, on a port of its own.
async fn listen(n: u8) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::new(127, 0, 1, n), 0))).await
}

async fn accept(listener: TcpListener, delay: Duration, counts: Arc<Mutex<Counts>>) {
    let mut open: Vec<std::rc::Weak<TcpStream>> = Vec::new();
    while let Ok((socket, _)) = listener.accept().await {
        let socket = Rc::new(socket);
        open.retain(|one| one.upgrade().is_some_and(|one| !is_left(&one)));
        open.push(Rc::downgrade(&socket));
        if let Ok(at) = listener.local_addr() {
            let mut counts = lock(&counts);
            counts.accepted += 1;
            let peak = counts.peaks.entry(at.ip()).or_default();
            *peak = (*peak).max(open.len());
        }
        tokio::task::spawn_local(answer(socket, delay, Arc::clone(&counts)));
    }
}

/// Whether the client has closed it, and nothing it sent before is unread.
fn is_left(socket: &TcpStream) -> bool {
    let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    matches!(peeked, Ok(0)) || peeked.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock)
}

async fn answer(socket: Rc<TcpStream>, delay: Duration, counts: Arc<Mutex<Counts>>) {
    let mut unread = Vec::new();
    let mut block = [0; 4096];
    loop {
        while let Some(at) = unread.windows(END.len()).position(|four| four == END) {
            unread.drain(..at + END.len());
            lock(&counts).requests += 1;
            tokio::time::sleep(delay).await;
            if write(&socket, ANSWER).await.is_err() {
                return;
            }
        }
        if socket.readable().await.is_err() {
            return;
        }
        match socket.try_read(&mut block) {
            Ok(0) => return,
            Ok(n) => unread.extend_from_slice(&block[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

async fn write(socket: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
