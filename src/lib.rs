//! The outbound connection engine for Linux services: every connection that a service makes to others
//! is opened, kept warm, reused, watched and torn down here. Driven by io_uring, one shard per core.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use ringpool::config::{Config, UpstreamConfig};
//!
//! let users = UpstreamConfig { idle_min: 8, ..UpstreamConfig::at("https://users.internal:8443")? };
//! let engine = ringpool::Engine::start(Config::with_upstream("users", users))?;
//! let request = http::Request::get("/v1/users/42").body(())?;
//! let response = engine.upstream("users")?.call(request).await?;
//! println!("{}, reused: {}", response.status(), ringpool::Trip::of(&response).unwrap().reused);
//! # Ok(())
//! # }
//! ```
//!
//! - [`Engine`] starts the shards; [`Upstream`] is the handle to call or check out with, on any thread
//!   and under any runtime, or none ([`block_on`]).
//! - [`on_shard`] has what tasks on the shards' own threads use: the fast way.
//! - [`config`] explains every setting, its default and the reason for it.
//! - [`telemetry`] names what [`Engine::snapshot`] tells, for Prometheus and others.
//! - [`probe`] says what this machine's io_uring can do.

#![warn(missing_docs)]

// Layers, top to bottom; an import points down only, which a test checks.
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
#[cfg(feature = "simulation")]
pub mod simulation;

pub mod telemetry;

mod client;

mod engine;

mod shard;

mod pool;
mod protocol;
mod tls;

mod driver;

pub mod audit;
mod block_on;
pub mod config;
#[cfg(test)]
mod diagram;
mod endpoint;
mod error;
mod lifecycle;
mod random;
mod slab;
mod stats;
mod sync;
mod time;
mod trace;
mod trip;

pub use block_on::block_on;
pub use client::body::Body;
pub use client::builder::EngineBuilder;
pub use client::drained::{CutUpstream, DrainReport, ShardDrain};
pub use client::engine::Engine;
pub use client::figures::{Acquires, UpstreamFigures};
pub use client::lease::{Detached, DetachedGuard, Lease};
pub use client::not_ready::{ColdUpstream, NotReady};
pub use client::on_each::OnEach;
pub use client::snapshot::{DriverFigures, Gauges, ShardState, Snapshot};
pub use client::snapshots::Snapshots;
pub use client::upstream::Upstream;
pub use config::{CallOptions, Class, Config};
pub use driver::uring::Probe;
pub use endpoint::Endpoint;
pub use error::{Error, ErrorKind, Phase, RequestSent, TlsFailure};
pub use lifecycle::{Lifecycle, LifecycleEvent, LifecycleSubscriber};
pub use shard::meters::{
    BreakerFigures, ConnectionStates, EndpointFigures, Outcome, RequestFigures,
};
pub use stats::{Durations, Latencies};
pub use trip::{Attempt, Travelled, Trip};

/// For tasks on the shards' own threads: see [`Engine::spawn_on_each`].
pub mod on_shard {
    pub use crate::client::shard::{Chunk, Exchange, Lease, ResponseBody, Shard, Upstream};
    pub use crate::protocol::http1::{HEADERS_INLINE_MAX, Head, Headers, ResponseHead};
}

/// Finds out, by trying, what this machine's io_uring can do.
///
/// # Errors
/// [`Unsupported`](ErrorKind::Unsupported) where io_uring is refused or lacks what the engine needs:
/// the error says what refuses it (sysctl, seccomp, the memlock limit, descriptors) and the remedy.
pub fn probe() -> Result<Probe, Error> {
    driver::uring::probe().map_err(engine::threads::unsupported)
}
