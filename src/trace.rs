//! Spans and events of the engine, by the crate `tracing`: targets and levels stand in [`telemetry`](crate::telemetry).
//!
//! Owns: their names and fields. Never: compiled into a build without the feature `tracing`: what stands in for it there has no size
//! and does nothing. A subscriber is called on the shards' threads, in the middle of a turn: it must not call the engine. One that panics
//! there loses what it was told, and no more.

#[cfg(not(feature = "tracing"))]
mod off;
#[cfg(feature = "tracing")]
mod on;

#[cfg(not(feature = "tracing"))]
pub(crate) use off::*;
#[cfg(feature = "tracing")]
pub(crate) use on::*;
