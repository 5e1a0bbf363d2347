//! What an engine is told: plain structs, the same fields in code and in a file.
//!
//! Owns: defaults with their reasons, and checks. Never: state.
//!
//! Every field has a default; a file need only name what differs. Durations are written `"50s"`;
//! where a limit may be absent, `"off"` says so. Unknown fields are refused.

mod access;
mod address;
mod audit;
mod call;
mod check;
mod class;
mod policy;
mod serial;
mod sharing;
mod tls;
mod trace_parent;
mod upstream;
mod url;

pub use access::{AccessConfig, Destination, DestinationError};
pub use address::EndpointAddress;
pub use audit::AuditConfig;
pub use call::CallOptions;
pub use class::Class;
pub use policy::{
    AttemptConfig, BalanceConfig, BreakerConfig, RetryConfig, ShedConfig, WarmConfig,
};
pub use sharing::SharingConfig;
pub use tls::{ClientCertificate, Pem, RevocationConfig, TlsConfig, TrustRoots};
pub use trace_parent::{TraceParent, TraceParentError};
pub use upstream::{KeepaliveConfig, UpstreamConfig};
pub use url::{Scheme, UpstreamUrl, UrlError};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of a whole engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many shards, each a thread with its own ring. 0, the default, is one per core that the
    /// process may run on: shards share nothing, so a second one on a core only adds switches, and
    /// fewer leave cores to other work.
    pub shards: usize,
    /// Whether shard threads are pinned to a core each. Default true: a shard's slab, ring and
    /// buffers stay in that core's caches. Turn it off where other work owns the cores.
    pub pin: bool,
    /// The cores to pin to, shard by shard, going round if there are fewer than shards. Empty, the
    /// default, takes the cores that the process may run on, in order: whoever restricted the
    /// process has chosen them already. Set it to keep shards apart from other work.
    pub cores: Vec<usize>,
    /// The most connections the engine has open at once, over all upstreams; strict. Default 8192:
    /// well below the 20,000 descriptors that services commonly get, beside their inbound ones.
    /// More needs a higher limit of descriptors; fewer makes upstreams wait for each other sooner.
    pub connections_max: u32,
    /// The most upstreams made on the fly for absolute URLs. Past it, the one unused longest is
    /// given up; if all are in use the call is refused. Default 1024: more than most services talk
    /// to, and a crawler's memory stays bounded. Fewer saves memory, and gives connections up
    /// sooner.
    pub upstreams_max: usize,
    /// The most calls on their way from other threads to one shard. Past it, calls are shed.
    /// Default 4096: at 100,000 calls a second and shard, 40 ms of work. More hides a shard that
    /// lags behind latency; fewer sheds in short bursts.
    pub mailbox_max: usize,
    /// How often within a minute a shard that fails by a defect of the engine is started again. Past it,
    /// the shard stays down and calls go to the others. Default 8: the pauses between them double to more
    /// than half a second, so that what does not pass by then is no coincidence. More keeps a crippled
    /// shard trying; 0 never starts one again.
    pub restarts_max: u32,
    /// Entries of each shard's submission queue. Default 1024: a turn of a busy shard fits. A full
    /// queue is handed to the kernel early, nothing is lost; larger only batches more, and costs 64
    /// bytes an entry.
    pub ring_entries: u32,
    /// Receive buffers per shard, a power of two up to 32,768. Default 256. Idle connections hold
    /// none: what counts is how many pieces of responses are being looked at at once. With fewer,
    /// slow readers have more copied to the heap; more costs memory that is rarely touched.
    pub receive_buffers: u16,
    /// Bytes per receive buffer, 1 KiB to 1 MiB. Default 16 KiB: one TLS record, and most small
    /// responses whole. 256 of them are 4 MiB a shard. Larger saves turns on large bodies; smaller
    /// saves memory.
    pub receive_buffer_size: u32,
    /// How many receive buffers one connection may hold; what comes beyond is copied out of them.
    /// With as many bytes unread as they are large, receiving pauses, and TCP slows the peer down.
    /// Default 8 (128 KiB): enough for a fast link while the reader is busy for a millisecond. More
    /// lets a slow reader take buffers from others; fewer pauses fast bodies.
    pub receive_buffers_per_connection: u16,
    /// How long a shard with nothing to do looks out for what comes before it sleeps, 1 ms at most; where that is in vain it
    /// does so less and less often. Default off: the core is left to others. `"50us"` answers single calls in half the time where
    /// each shard has a core to itself and upstreams are near; longer than they take to answer is wasted.
    #[serde(with = "serial::duration_or_off")]
    pub spin: Option<Duration>,
    /// How often the files that named upstreams' `tls` settings name are looked at, by a thread that is there only if one of
    /// them speaks TLS; what has changed, and stayed so for two looks, is read as by [`Engine::reload`](crate::Engine::reload). Default 1 s: a
    /// renewed certificate is in use within two or three seconds, for a stat(2) or two. Longer looks less often; `"off"` leaves it to
    /// `reload`.
    #[serde(with = "serial::duration_or_off")]
    pub reload_interval: Option<Duration>,
    /// Where the engine may connect to.
    pub access: AccessConfig,
    /// Where it is written down who was connected to.
    pub audit: AuditConfig,
    /// What upstreams made on the fly for absolute URLs go by; its `url` is ignored.
    pub defaults: UpstreamConfig,
    /// The named upstreams, with their settings. Empty, the default, leaves absolute URLs to call
    /// by, which go by `defaults`: there is no upstream that everyone has. A name costs nothing,
    /// and gives an upstream settings and figures of its own.
    pub upstreams: BTreeMap<String, UpstreamConfig>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            shards: 0,
            pin: true,
            cores: Vec::new(),
            connections_max: 8192,
            upstreams_max: 1024,
            mailbox_max: 4096,
            restarts_max: 8,
            ring_entries: 1024,
            receive_buffers: 256,
            receive_buffer_size: 16 * 1024,
            receive_buffers_per_connection: 8,
            spin: None,
            reload_interval: Some(Duration::from_secs(1)),
            access: AccessConfig::default(),
            audit: AuditConfig::default(),
            defaults: UpstreamConfig::default(),
            upstreams: BTreeMap::new(),
        }
    }
}

impl Config {
    /// A configuration with one named upstream and defaults for everything else.
    pub fn with_upstream(name: impl Into<String>, upstream: UpstreamConfig) -> Config {
        let mut config = Config::default();
        config.upstreams.insert(name.into(), upstream);
        config
    }

    /// Checks every value.
    ///
    /// # Errors
    /// One error of kind [`Config`](crate::ErrorKind::Config) that lists *all* mistakes.
    pub fn validate(&self) -> Result<(), crate::Error> {
        check::config(self)
    }
}
