//! The loop: one thread, one epoll, edge-triggered.
//!
//! Owns: listeners, connections, counts. Never: waits for one of them.

use super::Counts;
use super::connection::{Connection, Then};
use super::response::Responses;
use super::stream::{Stream, Tls};
use mio::event::Event;
use mio::net::{TcpListener, UnixListener};
use mio::{Events, Interest, Poll, Token, Waker};
use rustls::{ServerConfig, ServerConnection};
use socket2::Socket;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

const TCP: Token = Token(0);
const TLS: Token = Token(1);
const UNIX: Token = Token(2);
const ASKED: Token = Token(3);
/// The token of the first connection.
const FIRST: usize = 4;

/// Large enough for a whole upload.
const BUFFER: usize = 128 << 10;

pub(super) struct Server {
    poll: Poll,
    waker: Arc<Waker>,
    tcp: TcpListener,
    tls: TcpListener,
    unix: UnixListener,
    config: Arc<ServerConfig>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    /// Connections whose request waits for others, which all have to be there still.
    held: Vec<usize>,
    responses: Responses,
    buffer: Vec<u8>,
    counts: Counts,
}

impl Server {
    pub(super) fn new(
        tcp: Socket,
        tls: Socket,
        unix: Socket,
        config: Arc<ServerConfig>,
    ) -> io::Result<Server> {
        let poll = Poll::new()?;
        let mut tcp = TcpListener::from_std(tcp.into());
        let mut tls = TcpListener::from_std(tls.into());
        let mut unix = UnixListener::from_std(OwnedFd::from(unix).into());
        let registry = poll.registry();
        registry.register(&mut tcp, TCP, Interest::READABLE)?;
        registry.register(&mut tls, TLS, Interest::READABLE)?;
        registry.register(&mut unix, UNIX, Interest::READABLE)?;
        Ok(Server {
            waker: Arc::new(Waker::new(registry, ASKED)?),
            poll,
            tcp,
            tls,
            unix,
            config,
            connections: Vec::new(),
            free: Vec::new(),
            held: Vec::new(),
            responses: Responses::new(),
            buffer: vec![0; BUFFER],
            counts: Counts::default(),
        })
    }

    /// Wakes it to tell its counts.
    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// Serves for ever. Whenever it is woken `tell` gets the counts, of everything that came before.
    pub(super) fn run(&mut self, tell: impl Fn(Counts) -> io::Result<()>) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut is_asked = false;
        loop {
            let wait = is_asked.then_some(Duration::ZERO);
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if is_asked && events.is_empty() {
                is_asked = false;
                tell(self.counts)?;
            }
            for event in &events {
                match event.token() {
                    ASKED => is_asked = true,
                    TCP | TLS | UNIX => self.accept(event.token())?,
                    Token(_) => self.serve(event),
                }
            }
        }
    }

    fn accept(&mut self, listener: Token) -> io::Result<()> {
        loop {
            let accepted = match listener {
                TCP => self.tcp.accept().map(|(socket, _)| {
                    // Only spoils latency if it fails, which would show.
                    let _ = socket.set_nodelay(true);
                    Stream::Tcp(socket)
                }),
                TLS => self.tls.accept().and_then(|(socket, _)| {
                    let _ = socket.set_nodelay(true);
                    let session = ServerConnection::new(self.config.clone());
                    let mut session = session.map_err(io::Error::other)?;
                    session.set_buffer_limit(None);
                    Ok(Stream::Tls(Box::new(Tls { socket, session })))
                }),
                _ => self.unix.accept().map(|(socket, _)| Stream::Unix(socket)),
            };
            match accepted {
                Ok(stream) => self.begin(stream)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn begin(&mut self, mut stream: Stream) -> io::Result<()> {
        self.counts.accepted += 1;
        let slot = self.free.pop().unwrap_or(self.connections.len());
        stream.register(self.poll.registry(), Token(FIRST + slot))?;
        let connection = Some(Connection::new(stream));
        if slot == self.connections.len() {
            self.connections.push(connection);
        } else {
            self.connections[slot] = connection;
        }
        Ok(())
    }

    fn serve(&mut self, event: &Event) {
        let slot = event.token().0 - FIRST;
        // It may be gone, or another: events of before do no harm to that one.
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        let (held, mut awaited) = (&mut self.held, None);
        let hold = |count| {
            held.push(slot);
            awaited = Some(count);
        };
        let (closed, answered) = (event.is_read_closed(), &mut self.counts.answered);
        let then = connection.go_on(&self.responses, &mut self.buffer, closed, hold, answered);
        if then == Then::Close {
            self.end(slot);
        }
        if awaited.is_some_and(|count| self.held.len() >= count) {
            self.answer_held();
        }
    }

    fn answer_held(&mut self) {
        for slot in std::mem::take(&mut self.held) {
            let connection = self.connections[slot].as_mut();
            self.counts.answered += 1;
            let then = connection.map(|one| one.answer_held(&self.responses));
            if then == Some(Then::Close) {
                self.end(slot);
            }
        }
    }

    fn end(&mut self, slot: usize) {
        self.connections[slot] = None;
        self.free.push(slot);
        self.held.retain(|held| *held != slot);
    }
}
