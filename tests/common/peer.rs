//! A peer that the test itself plays, over real sockets: it accepts, reads and answers in the order
//! in which the test says so.
//!
//! Never: waits for longer than [`PATIENCE`]; then the test fails and says what did not happen.

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// A whole response.
pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How long anything that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// An address that is bound, so that nobody else gets it, and where nobody ever listens.
pub struct Reserved {
    _socket: Socket,
    pub address: SocketAddr,
}

impl Reserved {
    /// On loopback.
    pub fn new() -> Reserved {
        Reserved::on([127, 0, 0, 1])
    }

    /// At this address of the machine.
    pub fn on(ip: [u8; 4]) -> Reserved {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((ip, 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        Reserved {
            address: address.as_socket().expect("it is IPv4"),
            _socket: socket,
        }
    }
}

/// A listener, and the connections that were made to it.
pub struct Peer {
    place: Place,
    accepted: Arc<AtomicUsize>,
    connections: Receiver<Conn>,
    listener: Arc<Socket>,
}

enum Place {
    Inet(SocketAddr),
    Unix(PathBuf),
}

impl Peer {
    /// Listens on IPv4.
    pub fn start() -> Peer {
        Peer::at("127.0.0.1:0")
    }

    /// Listens on an address.
    pub fn at(address: &str) -> Peer {
        Peer::listen(&address.parse::<SocketAddr>().unwrap().into(), None)
    }

    /// Listens on IPv4, with receive buffers of about `bytes`, so that little fits unread.
    pub fn with_receive_buffer(bytes: usize) -> Peer {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        Peer::listen(&address.into(), Some(bytes))
    }

    /// Listens on a Unix socket.
    pub fn unix() -> Peer {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringpool-test-{}-{n}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut peer = Peer::listen(&SockAddr::unix(&path).unwrap(), None);
        peer.place = Place::Unix(path);
        peer
    }

    fn listen(address: &SockAddr, receive_buffer: Option<usize>) -> Peer {
        let domain = match address.as_socket() {
            Some(address) => Domain::for_address(address),
            None => Domain::UNIX,
        };
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer {
            // Before listen: what is accepted inherits it, and the kernel does not tune it.
            listener.set_recv_buffer_size(bytes).unwrap();
        }
        listener.bind(address).unwrap();
        listener.listen(128).unwrap();
        let place = match listener.local_addr().unwrap().as_socket() {
            Some(address) => Place::Inet(address),
            None => Place::Unix(PathBuf::new()),
        };
        let (listener, accepted) = (Arc::new(listener), Arc::new(AtomicUsize::new(0)));
        let (accepting, count) = (listener.clone(), accepted.clone());
        let (arrived, connections) = channel();
        thread::spawn(move || {
            while let Ok((socket, _)) = accepting.accept() {
                count.fetch_add(1, Ordering::SeqCst);
                if arrived.send(Conn::new(socket)).is_err() {
                    return;
                }
            }
        });
        Peer {
            place,
            accepted,
            connections,
            listener,
        }
    }

    /// `http://…` or `http+unix:…`
    pub fn http(&self) -> String {
        match &self.place {
            Place::Inet(address) => format!("http://{address}"),
            Place::Unix(path) => format!("http+unix:{}", path.display()),
        }
    }

    /// `tcp://…` or `unix:…`
    pub fn raw(&self) -> String {
        match &self.place {
            Place::Inet(address) => format!("tcp://{address}"),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The address as an engine's error or trip tells it.
    pub fn endpoint(&self) -> String {
        match &self.place {
            Place::Inet(address) => address.to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The next connection that the engine makes.
    pub fn accept(&self) -> Conn {
        self.connections
            .recv_timeout(PATIENCE)
            .expect("the engine makes a connection")
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Ends the accepting thread.
        let _ = self.listener.shutdown(Shutdown::Both);
        if let Place::Unix(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The peer's end of one connection.
pub struct Conn {
    socket: Socket,
    unread: Vec<u8>,
}

/// A request as it came over the wire.
#[derive(Debug)]
pub struct Request {
    /// Up to and with the empty line.
    pub head: String,
    /// The body, decoded if it came in chunks.
    pub body: Vec<u8>,
    /// What followed the last chunk, line by line.
    pub trailers: Vec<String>,
}

impl Request {
    /// The first line.
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

impl Conn {
    fn new(socket: Socket) -> Conn {
        // Small writes are to leave as they are made. A Unix socket knows no delay.
        let _ = socket.set_tcp_nodelay(true);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Conn {
            socket,
            unread: Vec::new(),
        }
    }

    /// Reads a whole request.
    pub fn request(&mut self) -> Request {
        let head = self.request_head();
        if header(&head, "transfer-encoding").is_some() {
            let (body, trailers) = self.chunks();
            return Request {
                head,
                body,
                trailers,
            };
        }
        let length = header(&head, "content-length").map_or(0, |n| n.parse().unwrap());
        Request {
            body: self.take(length),
            head,
            trailers: Vec::new(),
        }
    }

    /// Reads a request up to its body.
    pub fn request_head(&mut self) -> String {
        let end = self.find(b"\r\n\r\n");
        String::from_utf8(self.take(end)).unwrap()
    }

    /// Reads exactly so many bytes.
    pub fn take(&mut self, n: usize) -> Vec<u8> {
        while self.unread.len() < n {
            assert!(self.more(), "the connection ended {n} bytes too early");
        }
        let rest = self.unread.split_off(n);
        std::mem::replace(&mut self.unread, rest)
    }

    /// Writes everything.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Writes everything, if the engine lets it: for what may be cut short by a close.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Writes up to `most` bytes, until the other side has taken none for `patience`; tells how many.
    pub fn send_until_stalled(&mut self, most: usize, patience: Duration) -> usize {
        self.socket.set_write_timeout(Some(patience)).unwrap();
        let block = [b'x'; 16 * 1024];
        let mut sent = 0;
        while sent < most {
            match self.socket.write(&block[..block.len().min(most - sent)]) {
                Ok(n) => sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("writing failed: {error}"),
            }
        }
        self.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    /// Reads a request and answers it.
    pub fn answer(&mut self, response: impl AsRef<[u8]>) -> Request {
        let request = self.request();
        self.send(response);
        request
    }

    /// Ends this side of the connection.
    pub fn fin(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Waits until the engine has closed the connection; what it sent before that.
    pub fn closed(mut self) -> Vec<u8> {
        while self.more() {}
        self.unread
    }

    fn more(&mut self) -> bool {
        let mut block = [0; 64 * 1024];
        match self.socket.read(&mut block) {
            Ok(0) => false,
            Ok(n) => {
                self.unread.extend_from_slice(&block[..n]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came from the engine, not even its close: {error}"),
        }
    }

    /// How many bytes there are up to the end of the next `end`.
    fn find(&mut self, end: &[u8]) -> usize {
        let mut looked = 0;
        loop {
            let found = self.unread[looked..]
                .windows(end.len())
                .position(|window| window == end);
            if let Some(at) = found {
                return looked + at + end.len();
            }
            looked = self.unread.len().saturating_sub(end.len());
            assert!(
                self.more(),
                "the connection ended within {:?}",
                self.unread.escape_ascii().to_string()
            );
        }
    }

    fn chunks(&mut self) -> (Vec<u8>, Vec<String>) {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
            if size == 0 {
                break;
            }
            body.extend(self.take(size));
            assert_eq!(self.take(2), b"\r\n");
        }
        let mut trailers = Vec::new();
        loop {
            match self.line() {
                line if line.is_empty() => return (body, trailers),
                line => trailers.push(line),
            }
        }
    }

    fn line(&mut self) -> String {
        let end = self.find(b"\r\n");
        let line = String::from_utf8(self.take(end)).unwrap();
        line.trim_end().to_owned()
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
