//! The simulated servers of the multiplexing protocol, with a codec of their own: they answer with what
//! they were asked, and do what the request says. They hold every client to the protocol.
//!
//! | request | what follows |
//! |---|---|
//! | `x` | the answer `x@n` on the `n`th connection |
//! | `echo…` | the request itself |
//! | `hold/x` | the answer when [`Hub::let_go`] says so |
//! | `never/x` | nothing |
//! | `part/x` | an answer without an end |
//! | `refuse/x`, `reset/x` | RESET, as refused or not |
//! | `refuse-once/x` | RESET as refused, and an answer the next time |
//! | `garbage/x` | bytes that are no frame |
//! | `early/x` | the answer, at the first bytes of the request |

use super::web::endpoint;
use crate::driver::sim::{Answers, Network, Peer, SimConnection};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

const DATA: u8 = 0;
const END: u8 = 1;
const RESET: u8 = 2;
const LIMIT: u8 = 3;
const GOAWAY: u8 = 4;
pub(super) const PING: u8 = 5;
const PONG: u8 = 6;

/// A frame, as bytes.
pub(super) fn frame(stream: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = stream.to_be_bytes().to_vec();
    frame.push(kind);
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

pub(super) fn limit(streams: u32) -> Vec<u8> {
    frame(0, LIMIT, &streams.to_be_bytes())
}

pub(super) fn going_away(last: u32) -> Vec<u8> {
    frame(0, GOAWAY, &last.to_be_bytes())
}

pub(super) fn answer(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(stream, END, bytes)
}

pub(super) fn part(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(stream, DATA, bytes)
}

pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(stream, RESET, &code.to_be_bytes())
}

/// What the servers have seen, and what they are to say at first.
#[derive(Default)]
struct Seen {
    asked: Vec<String>,
    held: Vec<(usize, u32, String)>,
    resets: Vec<(usize, u32, u32)>,
    pongs: usize,
    /// Streams that are not over in both directions, by connection.
    open: BTreeSet<(usize, u32)>,
    /// The most streams that any connection had at once.
    streams_peak: usize,
    refused: BTreeSet<String>,
}

impl Seen {
    fn opened(&mut self, connection: usize, stream: u32) {
        self.open.insert((connection, stream));
        let all = self.open.range((connection, 0)..=(connection, u32::MAX));
        self.streams_peak = self.streams_peak.max(all.count());
    }
}

#[derive(Clone)]
pub(super) struct Hub {
    seen: Rc<RefCell<Seen>>,
    network: Network,
}

struct Server {
    hub: Hub,
    connection: usize,
    greeting: Vec<u8>,
    unread: Vec<u8>,
    /// The highest stream so far.
    last: u32,
    requests: Vec<(u32, Vec<u8>)>,
}

impl Hub {
    /// Listens at `192.0.2.1`, and greets with a limit if there is one.
    pub(super) fn serve(network: &Network, streams: Option<u32>) -> Hub {
        let hub = Hub {
            seen: Rc::default(),
            network: network.clone(),
        };
        let (servers, mut accepted) = (hub.clone(), 0);
        network.listen(endpoint(1), move || {
            accepted += 1;
            Box::new(Server {
                hub: servers.clone(),
                connection: accepted - 1,
                greeting: streams.map(limit).unwrap_or_default(),
                unread: Vec::new(),
                last: 0,
                requests: Vec::new(),
            })
        });
        hub
    }

    pub(super) fn connection(&self, nth: usize) -> SimConnection {
        self.network.connection(&endpoint(1), nth)
    }

    pub(super) fn accepted(&self) -> usize {
        self.network.connections_accepted(&endpoint(1))
    }

    pub(super) fn open(&self) -> usize {
        self.network.open_connections(&endpoint(1))
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.seen.borrow().asked.clone()
    }

    /// Connection, stream and code of every RESET that came.
    pub(super) fn resets(&self) -> Vec<(usize, u32, u32)> {
        self.seen.borrow().resets.clone()
    }

    pub(super) fn pongs(&self) -> usize {
        self.seen.borrow().pongs
    }

    pub(super) fn streams_peak(&self) -> usize {
        self.seen.borrow().streams_peak
    }

    /// Answers what `hold/` requests asked for; returns how many.
    pub(super) fn let_go(&self) -> usize {
        let held = std::mem::take(&mut self.seen.borrow_mut().held);
        for (connection, stream, text) in &held {
            self.seen.borrow_mut().open.remove(&(*connection, *stream));
            self.connection(*connection)
                .send(answer(*stream, text.as_bytes()));
        }
        held.len()
    }
}

impl Peer for Server {
    fn connected(&mut self, out: &mut Answers) {
        out.send(std::mem::take(&mut self.greeting));
    }

    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.unread.extend_from_slice(bytes);
        while self.unread.len() >= 7 {
            let length = usize::from(u16::from_be_bytes([self.unread[5], self.unread[6]]));
            if self.unread.len() < 7 + length {
                return;
            }
            let frame: Vec<u8> = self.unread.drain(..7 + length).collect();
            let stream = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
            self.frame(stream, frame[4], &frame[7..], out);
        }
    }
}

impl Server {
    fn frame(&mut self, stream: u32, kind: u8, payload: &[u8], out: &mut Answers) {
        match kind {
            DATA | END => {
                if stream > self.last {
                    self.last = stream;
                    self.requests.push((stream, Vec::new()));
                    self.hub.seen.borrow_mut().opened(self.connection, stream);
                }
                let at = self.requests.iter().position(|(id, _)| *id == stream);
                let at = at.expect("streams are opened in order, and end once");
                self.requests[at].1.extend_from_slice(payload);
                let early = self.requests[at].1.starts_with(b"early/");
                if kind == END || early {
                    let (_, request) = self.requests.remove(at);
                    self.answer(stream, &request, out);
                }
                if early && kind != END {
                    // What is left of it is reset.
                    self.requests.push((stream, Vec::new()));
                }
            }
            RESET => {
                let code = u32::from_be_bytes(payload.try_into().expect("four bytes"));
                assert!(stream <= self.last, "a stream is opened before it is reset");
                self.requests.retain(|(id, _)| *id != stream);
                let mut seen = self.hub.seen.borrow_mut();
                seen.open.remove(&(self.connection, stream));
                seen.held
                    .retain(|held| (held.0, held.1) != (self.connection, stream));
                seen.resets.push((self.connection, stream, code));
            }
            PING => out.send(frame(0, PONG, payload)),
            PONG => self.hub.seen.borrow_mut().pongs += 1,
            other => panic!("a client sends no frames of kind {other}"),
        }
    }

    fn answer(&mut self, stream: u32, request: &[u8], out: &mut Answers) {
        if request.starts_with(b"echo") {
            let mut seen = self.hub.seen.borrow_mut();
            seen.open.remove(&(self.connection, stream));
            for piece in request.chunks(10_000) {
                out.send(part(stream, piece));
            }
            out.send(answer(stream, b""));
            return;
        }
        let text = String::from_utf8(request.to_vec()).expect("a request is text");
        let (what, nonce) = text.split_once('/').unwrap_or(("", &text));
        let reply = format!("{nonce}@{}", self.connection);
        let mut seen = self.hub.seen.borrow_mut();
        seen.asked.push(text.clone());
        let first = seen.refused.insert(text.clone());
        match what {
            "never" => {}
            "hold" => seen.held.push((self.connection, stream, reply)),
            "part" => out.send(part(stream, reply.as_bytes())),
            "garbage" => out.send(vec![0xff; 16]),
            "refuse" => out.send(reset(stream, 2)),
            "refuse-once" if first => out.send(reset(stream, 2)),
            "reset" => out.send(reset(stream, 7)),
            _ => out.send(answer(stream, reply.as_bytes())),
        }
        // An early answer leaves the request's direction open.
        if !matches!(what, "never" | "hold" | "part" | "early") {
            seen.open.remove(&(self.connection, stream));
        }
    }
}
