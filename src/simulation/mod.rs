//! The real engine over simulated drivers and a simulated network, in virtual time and in one thread:
//! for the simulator, behind the feature `simulation`. No part of the promise that versions make.
//!
//! [`Network`] owns the clock and whatever the engine talks to; [`Engine`] owns the shards, which turn
//! only when told to. The same seed takes the same course, event for event; byte for byte too, where what
//! makes the keys of TLS repeats itself ([`Engine::with_tls`]).
//!
//! ```
//! use ringpool::config::{Config, UpstreamConfig};
//! use ringpool::simulation::{Answers, Engine, Network, Peer};
//! use std::time::Duration;
//!
//! struct Server;
//! impl Peer for Server {
//!     fn received(&mut self, _: &[u8], out: &mut Answers) {
//!         out.send("HTTP/1.1 204 No Content\r\n\r\n");
//!     }
//! }
//!
//! let network = Network::new(7);
//! let address: std::net::SocketAddr = "192.0.2.1:80".parse()?;
//! network.listen(address.into(), || Box::new(Server));
//! let config = Config::with_upstream("a", UpstreamConfig::at("http://192.0.2.1")?);
//! let mut engine = Engine::new(config, 2, 7, &network)?;
//! let mut call = engine.call(None, "a", http::Request::get("/").body(().into())?);
//! let response = loop {
//!     if let Some(response) = call.poll() {
//!         break response?;
//!     }
//!     if !engine.step() {
//!         network.advance_to(engine.next_event().expect("a call ends"));
//!     }
//! };
//! assert_eq!(response.status(), 204);
//! assert_eq!(engine.stop(), Vec::<String>::new());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod call;
mod costs;
mod engine;
mod lease;
mod polled;
mod shard;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
mod wall_clock;

pub use crate::driver::sim::{
    Answer, Answers, Fault, FaultCounts, Faults, Network, OpenWatch, Peer, SimConnection, Weather,
};
pub use crate::protocol::mux;
pub use crate::shard::look::{ConnectionLook, Look, UpstreamCounters, UpstreamLook};
pub use call::Call;
pub use costs::Costs;
pub use engine::{Engine, PermitsLook, PermitsWatch};
pub use lease::{Checkout, RawLease};
pub use shard::{Lease, Shard, Stream};
pub use wall_clock::{EPOCH, wall_clock};
