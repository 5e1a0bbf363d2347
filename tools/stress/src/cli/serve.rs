//! What the backend may be asked for.
//!
//! Owns: its options and defaults. Never: acts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{body_size, connections, duration, shards};
use crate::backend::Fault;
use crate::words::Spread;

/// `stress serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServeOptions {
    /// Where to listen for plain HTTP; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) plain: SocketAddr,
    /// Where to listen for TLS; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    pub(crate) tls: SocketAddr,
    /// Time that each answer takes: --service fixed:D
    #[arg(long, value_name = "D", default_value = "0s", value_parser = duration, conflicts_with = "service")]
    pub(crate) delay: Duration,
    /// How the time that answers take is spread: 5ms, exp:5ms, lognormal:5ms,0.5, bimodal:1ms,50ms,5%
    #[arg(long, value_name = "SPREAD", value_parser = Spread::of_durations)]
    pub(crate) service: Option<Spread>,
    /// What goes wrong, such as `reset:0.1%` or `stall@10s..11s`; may be repeated: `KIND[:VALUE][:SHARE%][@FROM..TO[/EVERY]]`
    #[arg(long, value_name = "FAULT", value_parser = Fault::parse)]
    pub(crate) fault: Vec<Fault>,
    /// What random numbers come from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Time between a ClientHello and its answer
    #[arg(long, value_name = "D", default_value = "0s", value_parser = duration)]
    pub(crate) handshake_delay: Duration,
    /// Size of a response body where the request has no ?size=N
    #[arg(long, value_name = "BYTES", default_value = "13", value_parser = body_size)]
    pub(crate) body: u64,
    /// Write the CA's certificate to this file; without it, it stands in the ready line
    #[arg(long, value_name = "FILE")]
    pub(crate) cert_out: Option<PathBuf>,
    /// Threads, each with a ring of its own
    #[arg(long, value_name = "N", default_value = "1", value_parser = shards)]
    pub(crate) threads: usize,
    /// Connections held at once; those above are closed as they arrive
    #[arg(long, value_name = "N", default_value = "65536", value_parser = connections)]
    pub(crate) connections_max: usize,
    /// End when standard input closes, so that no orphan outlives its parent
    #[arg(long)]
    pub(crate) until_stdin_closes: bool,
}
