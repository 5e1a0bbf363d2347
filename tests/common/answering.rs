//! An HTTP/1.1 server that answers every request with its Host and path: a thread per connection.
//!
//! Paths below `/never/` are not answered. It listens on 0.0.0.0, which all of 127.0.0.0/8 reaches.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub struct Answering {
    address: SocketAddr,
    counts: Arc<Counts>,
    stopping: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    now: Mutex<Count>,
    changed: Condvar,
}

/// What the server has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub open: usize,
    pub open_peak: usize,
    pub accepted: usize,
    pub requests: usize,
}

impl Answering {
    pub fn start() -> Answering {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let counts = Arc::new(Counts::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let (seen, stop) = (counts.clone(), stopping.clone());
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let stream = stream.expect("a connection");
                let counts = seen.clone();
                counts.change(|count| {
                    count.accepted += 1;
                    count.open += 1;
                    count.open_peak = count.open_peak.max(count.open);
                });
                let serving = thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                    // Whatever ends it, it is over.
                    let _ = serve(&stream, &counts);
                    drop(stream);
                    counts.change(|count| count.open -= 1);
                });
                serving.expect("a thread");
            }
        });
        Answering {
            address,
            counts,
            stopping,
            accepting: Some(accepting),
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Its URL at 127.0.0.1.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub fn count(&self) -> Count {
        *self.counts.now.lock().expect("no panic under the lock")
    }

    /// Waits until `done`.
    ///
    /// # Panics
    /// If that takes more than 10 s.
    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&Count) -> bool) -> Count {
        let now = self.counts.now.lock().expect("no panic under the lock");
        let limit = Duration::from_secs(10);
        let waited = self
            .counts
            .changed
            .wait_timeout_while(now, limit, |count| !done(count));
        let (count, timeout) = waited.expect("no panic under the lock");
        assert!(!timeout.timed_out(), "{what}: still {:?}", *count);
        *count
    }
}

impl Counts {
    fn change(&self, change: impl FnOnce(&mut Count)) {
        change(&mut self.now.lock().expect("no panic under the lock"));
        self.changed.notify_all();
    }
}

fn serve(stream: &TcpStream, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1024, stream);
    let (mut path, mut host, mut line) = (String::new(), String::new(), String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let text = line.trim_end();
        if path.is_empty() {
            path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        } else if let Some((name, value)) = text.split_once(": ") {
            if name.eq_ignore_ascii_case("host") {
                host = value.to_owned();
            }
        } else if text.is_empty() {
            counts.change(|count| count.requests += 1);
            if !path.starts_with("/never/") {
                let length = host.len() + path.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{host}{path}");
                (&mut &*stream).write_all(answer.as_bytes())?;
            }
            path.clear();
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let port = self.port();
        // Wakes the accepting thread, which then looks at the flag.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
