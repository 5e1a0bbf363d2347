//! Everything outside of the engine: servers, names, and what befalls them.
//!
//! Owns: which server is in what health. Never: judges the engine; it tells the oracle what happened.

mod connection;
pub mod filler;
mod plan;
mod raw;
mod request;
mod server;
mod signature;
mod tls;
mod trouble;

pub use connection::Link;
pub use plan::{After, AnswerFault, Plan};
pub use signature::{Signature, Stray};
pub use tls::{Certificate, provider, roots};
pub use trouble::{Trouble, Troubles};

use crate::stage::Stage;
use raw::LineServer;
use ringpool::simulation::{Network, OpenWatch, Peer, Weather, wall_clock};
use ringpool::{Endpoint, TlsFailure};
use rustls::crypto::CryptoProvider;
use server::HttpServer;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use tls::{Ground, TlsServer};

/// The servers of a run.
pub struct World {
    stage: Rc<Stage>,
    network: Network,
    servers: Vec<Server>,
    connections: Rc<Cell<u64>>,
    tls: Rc<Ground>,
}

/// One server.
struct Server {
    upstream: usize,
    index: usize,
    endpoint: Endpoint,
    open: OpenWatch,
    raw: bool,
    /// The connections that it accepted, in order.
    links: Rc<RefCell<Vec<Rc<Link>>>>,
}

impl World {
    /// All servers in good health, with keys that `provider` makes.
    pub fn new(stage: &Rc<Stage>, network: &Network, provider: CryptoProvider) -> World {
        let knobs = &stage.knobs;
        let mut servers = Vec::new();
        for (upstream, one) in knobs.upstreams.iter().enumerate() {
            network.set_names(&one.host, one.addresses.clone());
            if one.home != upstream {
                continue;
            }
            for (index, &address) in one.addresses.iter().enumerate() {
                network.set_weather(address.into(), knobs.weather);
                network.set_setup_time(address.into(), knobs.setup);
                servers.push(Server {
                    upstream,
                    index,
                    endpoint: address.into(),
                    open: network.watch(&address.into()),
                    raw: one.raw,
                    links: Rc::default(),
                });
            }
        }
        let world = World {
            stage: stage.clone(),
            network: network.clone(),
            servers,
            connections: Rc::default(),
            tls: Rc::new(Ground::new(provider, wall_clock(network))),
        };
        for server in 0..world.servers.len() {
            world.serve(server);
        }
        world
    }

    /// How many servers there are.
    pub fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Whose server it is.
    pub fn upstream_of(&self, server: usize) -> usize {
        self.servers[server].upstream
    }

    /// Where a server listens.
    pub fn endpoint(&self, server: usize) -> &Endpoint {
        &self.servers[server].endpoint
    }

    /// How many sockets are open to an upstream's servers, connecting ones included.
    pub fn open_to(&self, upstream: usize) -> usize {
        let servers = self.servers.iter().filter(|one| one.upstream == upstream);
        servers.map(|one| one.open.count()).sum()
    }

    /// Accepts connections from now on.
    pub fn serve(&self, server: usize) {
        let one = &self.servers[server];
        let (stage, links) = (self.stage.clone(), one.links.clone());
        let (numbers, raw) = (self.connections.clone(), one.raw);
        let (upstream, index) = (one.upstream, one.index);
        let tls = self.stage.knobs.upstreams[upstream].tls.is_some();
        let ground = self.tls.clone();
        self.network.listen(one.endpoint.clone(), move || {
            let number = numbers.get();
            numbers.set(number + 1);
            let link = Rc::new(Link {
                number,
                upstream,
                server: index,
                spoiled: Cell::new(None),
                busy_until: Cell::default(),
                gone: Cell::new(false),
                until_close: Cell::new(false),
                first: OnceCell::new(),
                tls,
                rude: Cell::new(false),
            });
            links.borrow_mut().push(link.clone());
            let (stage, ground) = (stage.clone(), ground.clone());
            let peer: Box<dyn Peer> = match (raw, tls) {
                (true, false) => Box::new(LineServer::new(stage, link)),
                (false, false) => Box::new(HttpServer::new(stage, link)),
                (true, true) => {
                    let lines = LineServer::new(stage.clone(), link.clone());
                    Box::new(TlsServer::new(stage, ground, link, lines))
                }
                (false, true) => {
                    let http = HttpServer::new(stage.clone(), link.clone());
                    Box::new(TlsServer::new(stage, ground, link, http))
                }
            };
            peer
        });
    }

    /// Refuses connections from now on.
    pub fn refuse(&self, server: usize) {
        self.network.refuse(self.servers[server].endpoint.clone());
    }

    /// Lets connections hang from now on.
    pub fn swallow(&self, server: usize) {
        self.network.swallow(self.servers[server].endpoint.clone());
    }

    /// Cuts a server off, or joins it again.
    pub fn partition(&self, server: usize, on: bool) {
        let one = &self.servers[server];
        self.network.partition(one.endpoint.clone(), on);
        let now = self.stage.now.get();
        let oracle = &mut self.stage.oracle.borrow_mut();
        oracle.partitioned(one.upstream, one.index, on, now);
    }

    /// Ends every connection to a server. Where FIN would pass for the end of a body, with RST: without
    /// TLS, that is, which has a word for it.
    pub fn cut(&self, server: usize, reset: bool) {
        let one = &self.servers[server];
        let now = self.stage.now.get();
        for (nth, link) in one.links.borrow().iter().enumerate() {
            if link.gone.get() {
                continue;
            }
            let connection = self.network.connection(&one.endpoint, nth);
            if link.tls {
                let oracle = &mut self.stage.oracle.borrow_mut();
                oracle.tls_misdeed(link.upstream, &[TlsFailure::Truncated]);
            }
            if reset || link.until_close.get() && !link.tls {
                connection.reset();
                link.gone.set(true);
            } else {
                connection.end();
            }
            link.spoil(now.max(link.busy_until.get()));
        }
    }

    /// Other weather for connections made from now on.
    pub fn weather(&self, server: usize, weather: Weather) {
        let endpoint = self.servers[server].endpoint.clone();
        self.network.set_weather(endpoint, weather);
    }

    /// Everything is well from now on.
    pub fn heal(&self) {
        self.stage.calm.set(true);
        for server in 0..self.servers() {
            self.partition(server, false);
            self.serve(server);
            self.weather(server, self.stage.knobs.weather);
        }
        for upstream in &self.stage.knobs.upstreams {
            let addresses = upstream.addresses.clone();
            self.network.set_names(&upstream.host, addresses);
        }
    }

    /// A name that resolves to nothing, for a while.
    pub fn forget_name(&self, upstream: usize) {
        let host = &self.stage.knobs.upstreams[upstream].host;
        self.network.set_names(host, Vec::new());
    }

    /// A name resolves again.
    pub fn know_name(&self, upstream: usize) {
        let one = &self.stage.knobs.upstreams[upstream];
        self.network.set_names(&one.host, one.addresses.clone());
    }
}
