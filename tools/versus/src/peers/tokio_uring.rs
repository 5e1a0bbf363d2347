//! A hand-written HTTP/1.1 client on tokio-uring: what somebody writes who wants no more than this.
//!
//! A connection for each caller, a read and a write for each request, httparse for the response's head. No pool,
//! no time limits, no retries.

use super::ringpool::UPLOAD;
use super::{Peer, expect, refuses_tokio};
use crate::caller::{Caller, Callers};
use crate::certificate::NAME;
use crate::cli::ClientOptions;
use crate::measure::Outcome;
use crate::scenario::{Scenario, Transport};
use httparse::{EMPTY_HEADER, Response, Status};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_uring::BufResult;
use tokio_uring::buf::BoundedBuf;
use tokio_uring::net::{TcpStream, UnixStream};

pub(super) const PEER: Peer = Peer {
    name: "tokio-uring",
    about: "a hand-written client, a connection for each caller, no pool",
    refuses,
    run,
};

/// Bytes that one read takes.
const BUFFER: usize = 64 << 10;

fn refuses(scenario: &Scenario) -> Option<String> {
    let tls = scenario.transport == Transport::Tls;
    refuses_tokio(scenario)
        .or_else(|| tls.then(|| "the hand-written client speaks no TLS".to_owned()))
}

fn run(options: &ClientOptions) -> Result<Outcome, String> {
    let options = options.clone();
    let entries = (2 * options.scenario.callers).next_power_of_two().max(256);
    tokio_uring::builder()
        .entries(entries as u32)
        .start(drive(options))
}

async fn drive(options: ClientOptions) -> Result<Outcome, String> {
    let scenario = options.scenario;
    let mut idle = Vec::with_capacity(scenario.idle);
    for _ in 0..scenario.idle {
        let stream = Stream::connect(&options).await;
        idle.push(stream.map_err(|why| why.to_string())?);
    }
    let callers = Callers::begin(scenario, options.seconds);
    let (running, mut all_ended) = mpsc::channel::<()>(1);
    for _ in 0..scenario.callers {
        let (caller, running) = (ByHand::new(options.clone()), running.clone());
        tokio_uring::spawn(async move {
            callers.run(caller).await;
            drop(running);
        });
    }
    drop(running);
    all_ended.recv().await;
    callers.outcome()
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn connect(options: &ClientOptions) -> io::Result<Stream> {
        if options.scenario.transport == Transport::Unix {
            return Ok(Stream::Unix(UnixStream::connect(&options.unix).await?));
        }
        let stream = TcpStream::connect(options.tcp).await?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    async fn write_all(&self, bytes: Vec<u8>) -> BufResult<(), Vec<u8>> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    /// Reads behind the first `filled` bytes of `buffer`.
    async fn read(&self, buffer: Vec<u8>, filled: usize) -> BufResult<usize, Vec<u8>> {
        let free = buffer.slice(filled..);
        let (read, free) = match self {
            Stream::Tcp(stream) => stream.read(free).await,
            Stream::Unix(stream) => stream.read(free).await,
        };
        (read, free.into_inner())
    }
}

struct ByHand {
    options: ClientOptions,
    stream: Option<Stream>,
    /// The whole request, the same every time.
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl ByHand {
    fn new(options: ClientOptions) -> ByHand {
        let mut request = request(options.scenario).into_bytes();
        request.extend_from_slice(&UPLOAD[..options.scenario.work.request_body()]);
        ByHand {
            options,
            stream: None,
            request,
            buffer: vec![0; BUFFER],
        }
    }

    async fn exchange(&mut self) -> io::Result<(u16, usize)> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => Stream::connect(&self.options).await?,
        };
        let (written, request) = stream.write_all(std::mem::take(&mut self.request)).await;
        self.request = request;
        written?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(&stream, filled).await?;
            match head(&self.buffer[..filled])? {
                Some(head) => break head,
                None if filled == self.buffer.len() => return Err(invalid("its head is too long")),
                None => {}
            }
        };
        let mut body = filled - head.len;
        while body < head.body {
            body += self.read(&stream, 0).await?;
        }
        if body > head.body {
            return Err(invalid("more than a response came"));
        }
        if !head.close {
            self.stream = Some(stream);
        }
        Ok((head.status, body))
    }

    async fn read(&mut self, stream: &Stream, filled: usize) -> io::Result<usize> {
        let (read, buffer) = stream.read(std::mem::take(&mut self.buffer), filled).await;
        self.buffer = buffer;
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

impl Caller for ByHand {
    async fn call(&mut self) -> Result<(), String> {
        let (status, body) = self.exchange().await.map_err(|why| why.to_string())?;
        expect(self.options.scenario, status, body)
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        tokio::time::sleep(time)
    }
}

/// A request's head, which the bare loop sends as well.
pub(super) fn request(scenario: &Scenario) -> String {
    let (method, path) = (scenario.work.method(), scenario.work.path());
    let length = match scenario.work.request_body() {
        0 => String::new(),
        len => format!("Content-Length: {len}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: {NAME}\r\n{length}\r\n")
}

struct Head {
    status: u16,
    len: usize,
    body: usize,
    close: bool,
}

/// `None` while it is not complete.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [EMPTY_HEADER; 16];
    let mut response = Response::new(&mut headers);
    let parsed = response.parse(bytes);
    let Status::Complete(len) = parsed.map_err(|_| invalid("it is no response"))? else {
        return Ok(None);
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        len,
        body: 0,
        close: false,
    };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).ok();
            let length = value.and_then(|value| value.parse().ok());
            head.body = length.ok_or_else(|| invalid("its length is no number"))?;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.close = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(head))
}

fn invalid(complaint: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, complaint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        let bytes = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\nConnection: close\r\n\r\nhe";
        let read = head(bytes).unwrap().unwrap();
        assert_eq!(
            (read.status, read.len, read.body),
            (200, bytes.len() - 2, 5)
        );
        assert!(read.close);
        assert!(head(&bytes[..20]).unwrap().is_none());
        assert!(head(b"\0").is_err());
    }
}
