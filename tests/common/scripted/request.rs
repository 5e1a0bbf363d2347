//! Requests to a scripted peer, and its answers.

use super::script::{Script, Step};
use super::wire::{Wire, at_least_one, fill, find};
use std::io;

/// `/KIND/LENGTH/NONCE`, with `bye` behind it if the connection is to be closed afterwards.
pub(super) struct Request {
    kind: String,
    length: u64,
    nonce: u64,
    pub(super) closes: bool,
    body: Body,
}

enum Body {
    Length(u64),
    Chunked,
}

impl Request {
    pub(super) fn read(
        wire: &mut impl Wire,
        received: &mut Vec<u8>,
    ) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(end) = find(received, b"\r\n\r\n") {
                break end + 4;
            }
            if fill(wire, received)? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8(received.drain(..end).collect()).expect("a head in ASCII");
        let mut lines = head.split("\r\n");
        let line = lines.next().expect("a request line");
        let target = line.split(' ').nth(1).expect("a target");
        let mut parts = target.trim_start_matches('/').split('/');
        let mut part = || parts.next().expect("a path of the test's");
        let (kind, length, nonce) = (part().to_string(), part(), part());
        let mut body = Body::Length(0);
        for header in lines {
            let header = header.to_ascii_lowercase();
            if let Some(length) = header.strip_prefix("content-length:") {
                body = Body::Length(length.trim().parse().expect("a length"));
            }
            if header.starts_with("transfer-encoding:") {
                body = Body::Chunked;
            }
        }
        Ok(Some(Request {
            kind,
            length: length.parse().expect("a length"),
            nonce: nonce.parse().expect("a nonce"),
            closes: parts.next() == Some("bye"),
            body,
        }))
    }

    /// Reads the body, which has to be the nonce's own.
    pub(super) fn read_body(
        &self,
        wire: &mut impl Wire,
        received: &mut Vec<u8>,
        script: &Script,
    ) -> io::Result<()> {
        let mut body = Vec::new();
        match self.body {
            Body::Length(length) => {
                let length = length as usize;
                while received.len() < length {
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                }
                body.extend(received.drain(..length));
            }
            Body::Chunked => loop {
                let (header, size) = loop {
                    if let Some(end) = find(received, b"\r\n") {
                        let size = std::str::from_utf8(&received[..end]).expect("ASCII");
                        break (end + 2, usize::from_str_radix(size, 16).expect("a size"));
                    }
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                };
                while received.len() < header + size + 2 {
                    script.step(self.nonce, Step::Prepare);
                    at_least_one(fill(wire, received)?)?;
                }
                body.extend_from_slice(&received[header..header + size]);
                received.drain(..header + size + 2);
                if size == 0 {
                    break;
                }
            },
        }
        if !body.is_empty() {
            assert!(
                body == pattern(self.nonce, self.length as usize),
                "the request of round {} came with another body: {} bytes of {}",
                self.nonce,
                body.len(),
                self.length
            );
        }
        Ok(())
    }

    pub(super) fn answer(&self, wire: &mut impl Wire, script: &Script) -> io::Result<()> {
        match self.kind.as_str() {
            // In one piece.
            "whole" => {
                let (close, length) = (self.farewell(), self.length);
                let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n");
                let mut all = head.into_bytes();
                all.extend_from_slice(&pattern(self.nonce, self.length as usize));
                self.write_step(wire, script, Step::Answer, &all)
            }
            "length" => {
                let (close, length) = (self.farewell(), self.length);
                let head = format!("HTTP/1.1 200 OK\r\n{close}Content-Length: {length}\r\n\r\n");
                self.write_halves(wire, script, head.as_bytes())?;
                self.write_pieces(wire, script, &pattern(self.nonce, self.length as usize))
            }
            "chunked" => {
                let close = self.farewell();
                let head = format!("HTTP/1.1 200 OK\r\n{close}Transfer-Encoding: chunked\r\n\r\n");
                self.write_halves(wire, script, head.as_bytes())?;
                let body = pattern(self.nonce, self.length as usize);
                let mut framed = Vec::new();
                for chunk in body.chunks(body.len().div_ceil(3).max(1)) {
                    framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                }
                framed.extend_from_slice(b"0\r\n\r\n");
                self.write_pieces(wire, script, &framed)
            }
            // As fast as it is taken, without a stop.
            "flood" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", self.length);
                wire.write_all(head.as_bytes())?;
                let piece = [b'x'; 64 * 1024];
                let mut left = self.length;
                while left > 0 {
                    let n = left.min(piece.len() as u64);
                    wire.write_all(&piece[..n as usize])?;
                    left -= n;
                }
                wire.flush()
            }
            other => panic!("no kind of answer: {other}"),
        }
    }

    fn farewell(&self) -> &'static str {
        match self.closes {
            true => "Connection: close\r\n",
            false => "",
        }
    }

    fn write_halves(&self, wire: &mut impl Wire, script: &Script, all: &[u8]) -> io::Result<()> {
        let (first, second) = all.split_at(all.len() / 2);
        self.write_step(wire, script, Step::Answer, first)?;
        self.write_step(wire, script, Step::Prepare, second)
    }

    fn write_pieces(&self, wire: &mut impl Wire, script: &Script, all: &[u8]) -> io::Result<()> {
        // Seven: never where a chunk ends.
        for piece in all.chunks(all.len().div_ceil(7).max(1)) {
            self.write_step(wire, script, Step::Answer, piece)?;
        }
        Ok(())
    }

    fn write_step(
        &self,
        wire: &mut impl Wire,
        script: &Script,
        step: Step,
        piece: &[u8],
    ) -> io::Result<()> {
        script.step(self.nonce, step);
        wire.write_all(piece)?;
        wire.flush()
    }
}

/// What the body of a nonce is: no other nonce's, at no place.
pub fn pattern(nonce: u64, len: usize) -> Vec<u8> {
    let mut pattern = format!("{nonce:07}|").repeat(len.div_ceil(8)).into_bytes();
    pattern.truncate(len);
    pattern
}
