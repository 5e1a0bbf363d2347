//! What a response has to tell about its way.

use crate::driver::Driver;
use crate::endpoint::Endpoint;
use crate::shard::exchange::Exchange;
use std::time::Duration;

/// How a call went: on every response, among its extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trip {
    /// Whether the connection had carried another request before.
    pub reused: bool,
    /// How many times the request was tried, 1 or 2.
    pub attempts: u32,
    /// From the call to the connection, in steps of a turn of the shard.
    pub wait: Duration,
    /// From the connection to the response's head, in steps of a turn of the shard.
    pub first_byte: Duration,
    /// The address that it went to.
    pub endpoint: Option<Endpoint>,
    /// Which shard carried it.
    pub shard: usize,
}

impl Trip {
    pub(crate) fn new<D: Driver>(exchange: &Exchange<D>) -> Trip {
        let facts = exchange.facts();
        Trip {
            reused: facts.reused,
            attempts: facts.attempts,
            wait: facts.granted.since(facts.begun),
            first_byte: facts.head.since(facts.granted),
            endpoint: facts.endpoint.clone(),
            shard: exchange.upstream().shard.index(),
        }
    }

    /// The trip of a response that an engine returned; `None` for any other response.
    pub fn of<B>(response: &http::Response<B>) -> Option<&Trip> {
        response.extensions().get()
    }
}
