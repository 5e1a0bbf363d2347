//! The face: what services hold in their hands.
//!
//! From anywhere: [`Engine`], [`Upstream`], [`Body`], [`Lease`]; their futures need only a waker. On a
//! shard's own thread: [`Shard`](shard::Shard) and what it gives out, under [`on_shard`](crate::on_shard).
//! Never: logic of its own beyond carrying requests to where they are served.

pub(crate) mod body;
pub(crate) mod builder;
pub(crate) mod drained;
pub(crate) mod engine;
pub(crate) mod figures;
pub(crate) mod lease;
pub(crate) mod not_ready;
pub(crate) mod on_each;
pub(crate) mod shard;
pub(crate) mod snapshot;
pub(crate) mod snapshots;
pub(crate) mod upstream;
