//! What the engine tells of itself, in the words of others: a catalogue of metrics, and what makes them of a
//! [`Snapshot`](crate::Snapshot).
//!
//! Owns: names, units and labels, once for all ways out. Never: counts anything; shards do, and a snapshot copies it.
//!
//! | feature | what it brings |
//! |---|---|
//! | none | [`METRICS`], each with what it reads out of a snapshot |
//! | `prometheus` | `write_prometheus` and `write_openmetrics`, and `PrometheusEndpoint`, a small server for tools |
//! | `metrics` | `MetricsPublisher`: to the recorder of the `metrics` facade |
//! | `opentelemetry` | `register`: observable instruments of a meter |
//! | `tracing` | spans and events of the engine itself: see [`tracing`](self#spans-and-events) below |
//!
//! Names and units are OpenTelemetry's where it has some (HTTP client metrics, `dns.lookup.duration`), and else `ringpool.pool.*`,
//! shaped after `db.client.connection.*`. Ratios are left to the reader: counters alone can be added up and be subtracted.
//! `docs/observability.md` lists all of them, with the dashboard and the alerts made of them.
//!
//! # Spans and events
//!
//! With the feature `tracing` the engine has spans of its own; without it nothing of them is compiled. Targets are stable:
//!
//! | target | span, and its level | from, to |
//! |---|---|---|
//! | `ringpool::request` | `request`, TRACE | a shard takes a call up; its response's head, or its error |
//! | `ringpool::wait` | `wait_for_connection`, TRACE | a call asks for a connection and there is none; it has one |
//! | `ringpool::connection` | `connection`, DEBUG | a dial begins; the connection ends, and why |
//! | `ringpool::connection` | `connect`, DEBUG | the system call; its answer |
//! | `ringpool::dns` | `lookup`, DEBUG | a name is asked for; its answer |
//! | `ringpool::tls` | `handshake`, DEBUG | the ClientHello; the end of the handshake |
//!
//! A request follows from (links to) the span of its connection, which began with its set-up.
//!
//! Subscribers are called on the shards' threads, in the middle of a turn: they must not call the engine. A panic of one is caught where the
//! engine calls it: the span or event that was told is lost, and the engine goes on.

mod catalogue;
mod read;

#[cfg(feature = "prometheus")]
mod endpoint;
#[cfg(feature = "metrics")]
mod facade;
#[cfg(feature = "opentelemetry")]
mod otel;
#[cfg(feature = "prometheus")]
mod prometheus;
#[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
mod within;

pub use catalogue::{Kind, METRICS, Metric, Sample, Value};
#[cfg(feature = "prometheus")]
pub use endpoint::PrometheusEndpoint;
#[cfg(feature = "metrics")]
pub use facade::MetricsPublisher;
#[cfg(feature = "opentelemetry")]
pub use otel::{Instruments, register};
#[cfg(feature = "prometheus")]
pub use prometheus::{write_openmetrics, write_prometheus};
