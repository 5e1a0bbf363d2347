//! The simulated servers: HTTP/1.1 peers that answer with what they were asked, and do what the path
//! says.
//!
//! | path | after the request |
//! |---|---|
//! | `/x` | answers `x@n` on its `n`th connection |
//! | `/hold/x` | answers when [`Web::let_go`] says so |
//! | `/never/x` | answers never |
//! | `/cut/n/x` | the first n times sends FIN instead of an answer, then answers |
//! | `/stuck/n/x` | the first n times answers never, then answers |
//! | `/503/x` | answers with that status |
//! | `/part/x` | answers with half of a body, and sends FIN |
//! | `/bye/x`, `/rst/x`, `/stray/x` | answers, and in the same breath sends FIN, RST, or a stray byte |

use crate::driver::sim::{Answers, Network, Peer};
use crate::endpoint::Endpoint;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

#[derive(Clone)]
pub(super) struct Web(Rc<RefCell<Sites>>, Network);

#[derive(Default)]
struct Sites {
    caps: BTreeMap<Endpoint, usize>,
    asked: Vec<String>,
    held: Vec<Held>,
}

/// A request whose answer is held back.
struct Held {
    endpoint: Endpoint,
    connection: usize,
    answer: String,
}

struct Server {
    web: Web,
    endpoint: Endpoint,
    connection: usize,
    unread: Vec<u8>,
}

pub(super) fn endpoint(host: u8) -> Endpoint {
    SocketAddr::from(([192, 0, 2, host], 80)).into()
}

impl Web {
    pub(super) fn new(network: &Network) -> Web {
        Web(Rc::default(), network.clone())
    }

    /// Listens at `192.0.2.host`, where no more than `cap` connections may ever be open.
    pub(super) fn serve(&self, host: u8, cap: usize) {
        let at = endpoint(host);
        self.0.borrow_mut().caps.insert(at.clone(), cap);
        let web = self.clone();
        let mut accepted = self.1.connections_accepted(&at);
        self.1.listen(at.clone(), move || {
            accepted += 1;
            Box::new(Server {
                web: web.clone(),
                endpoint: at.clone(),
                connection: accepted - 1,
                unread: Vec::new(),
            })
        });
    }

    /// Notes a place where nobody answers, to be counted all the same.
    pub(super) fn watch(&self, host: u8, cap: usize) {
        self.0.borrow_mut().caps.insert(endpoint(host), cap);
    }

    /// Every path that was asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.0.borrow().asked.clone()
    }

    /// Answers what `/hold/` paths asked for; returns how many.
    pub(super) fn let_go(&self) -> usize {
        let held = std::mem::take(&mut self.0.borrow_mut().held);
        let count = held.len();
        for held in held {
            let connection = self.1.connection(&held.endpoint, held.connection);
            connection.send(response(&held.answer));
        }
        count
    }

    pub(super) fn assert_caps(&self) {
        for (endpoint, cap) in &self.0.borrow().caps {
            let peak = self.1.connections_peak(endpoint);
            assert!(peak <= *cap, "{peak} connections to {endpoint}, not {cap}");
        }
    }

    /// How many sockets are open, wherever to.
    pub(super) fn open(&self) -> usize {
        let sites = self.0.borrow();
        let open = sites.caps.keys().map(|at| self.1.open_connections(at));
        open.sum()
    }
}

impl Peer for Server {
    fn received(&mut self, bytes: &[u8], out: &mut Answers) {
        self.unread.extend_from_slice(bytes);
        while let Some(end) = self.unread.windows(4).position(|end| end == b"\r\n\r\n") {
            let head: Vec<u8> = self.unread.drain(..end + 4).collect();
            let head = String::from_utf8(head).expect("a request's head is text");
            let path = head.split(' ').nth(1).expect("a request line has a path");
            self.answer(path, out);
        }
    }
}

impl Server {
    fn answer(&self, path: &str, out: &mut Answers) {
        let nonce = path.rsplit('/').next().unwrap_or_default();
        let answer = format!("{nonce}@{}", self.connection);
        let mut sites = self.web.0.borrow_mut();
        sites.asked.push(path.to_owned());
        let times = sites.asked.iter().filter(|asked| *asked == path).count();
        let fails = |how: &str| {
            let count = path
                .strip_prefix(how)
                .and_then(|rest| rest.split('/').next());
            let count = count.map(|count| count.parse::<usize>().expect("a number"));
            count.is_some_and(|count| times <= count)
        };
        if path.starts_with("/never/") || fails("/stuck/") {
            return;
        }
        if fails("/cut/") {
            return out.end();
        }
        if path.starts_with("/503/") {
            return out.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
        }
        if path.starts_with("/part/") {
            out.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            return out.end();
        }
        if path.starts_with("/hold/") {
            sites.held.push(Held {
                endpoint: self.endpoint.clone(),
                connection: self.connection,
                answer,
            });
            return;
        }
        out.send(response(&answer));
        if path.starts_with("/bye/") {
            out.end();
        } else if path.starts_with("/rst/") {
            out.reset();
        } else if path.starts_with("/stray/") {
            out.send("?");
        }
    }
}

fn response(body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
}
