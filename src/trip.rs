//! What a response has to tell about its way.
//!
//! Owns: the facts. Never: finds them out: the exchange that made the trip does.

use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use std::time::Duration;

/// How a call went. Every response knows it, by its body ([`Trip::of`]): ask before the body is consumed. Where layers above
/// are to see it that give a response another body, put it among the response's extensions, and let them read it there
/// (`extensions().get::<Trip>()`): [`Trip::of`] does not look there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trip {
    /// Whether the connection had carried another request before.
    pub reused: bool,
    /// How many times the request was tried, the answered one included.
    pub attempts: u32,
    /// The attempts before the one that was answered, in order; usually there are none.
    pub failed: Vec<Attempt>,
    /// From the call to the connection, in steps of a turn of the shard.
    pub wait: Duration,
    /// From the connection to the response's head, in steps of a turn of the shard.
    pub first_byte: Duration,
    /// The address that it went to.
    pub endpoint: Option<Endpoint>,
    /// Which shard carried it.
    pub shard: usize,
}

/// One attempt at a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// The address that it went to, where it came that far.
    pub endpoint: Option<Endpoint>,
    /// Whether its connection had carried another request before.
    pub reused: bool,
    /// From the call's beginning to the attempt's.
    pub begun: Duration,
    /// From the attempt's beginning to its end, waiting for a connection included.
    pub took: Duration,
    /// What ended it.
    pub failure: ErrorKind,
}

impl Trip {
    /// The trip of a response that an engine returned; `None` for any other response.
    pub fn of<B: Travelled>(response: &http::Response<B>) -> Option<Trip> {
        response.body().trip()
    }
}

/// A body that knows how the call went that it answers, before its frames were read and after. A service's own body around
/// one of the engine's may pass it on.
///
/// By the body rather than by a response's extensions, which take three allocations and a hash table to hold one value.
pub trait Travelled {
    /// How the call went; `None` if this is not the body of a response.
    fn trip(&self) -> Option<Trip>;
}
