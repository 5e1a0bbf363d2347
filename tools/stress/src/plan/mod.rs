//! Scenario files: a backend, a load in phases, and what is expected of it, in TOML.
//!
//! Owns: what a file says. Never: carries it out. `read` reads it, `expect` has the metrics, `keys` the mistakes.

mod expect;
mod keys;
mod read;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::load::WayIn;
use crate::traffic::{CallPlan, PhasePlan};
use crate::words::Spread;

#[cfg(test)]
pub(crate) use expect::KINDS;
pub(crate) use expect::{Expectation, Metric};
pub(crate) use keys::Mistake;
pub(crate) use read::read;

/// A scenario, as its file says it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// One line for the list.
    pub(crate) about: String,
    /// What is expected, in the author's words.
    pub(crate) expects: String,
    pub(crate) seed: u64,
    pub(crate) shards: usize,
    pub(crate) way: WayIn,
    /// How many callers there are at most, if the load goes by the clock.
    pub(crate) callers: usize,
    pub(crate) think: Spread,
    pub(crate) warmup: Duration,
    /// Whether the load begins without waiting for warm connections.
    pub(crate) cold: bool,
    /// The first is that of calls which name none.
    pub(crate) upstreams: Vec<Upstream>,
    /// Empty stands for GETs of `/`.
    pub(crate) calls: Vec<CallPlan>,
    pub(crate) phases: Vec<PhasePlan>,
    pub(crate) sweep: Option<Sweep>,
    pub(crate) expectations: Vec<Expectation>,
}

/// Who is called.
#[derive(Clone, Debug, Default)]
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) place: Place,
    /// The engine's settings.
    pub(crate) pool: Map<String, Value>,
}

/// Where it is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Somewhere else.
    Url(String),
    /// Backends of our own, each an endpoint.
    Backends {
        tls: bool,
        backends: Vec<BackendPlan>,
    },
}

/// A backend, as options of `stress serve`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BackendPlan {
    pub(crate) options: Vec<String>,
    pub(crate) handshake_delay: Duration,
}

/// The same load once for each value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sweep {
    /// Of the first upstream's pool.
    pub(crate) key: String,
    pub(crate) values: Vec<Value>,
}

impl Default for Place {
    fn default() -> Self {
        Self::Backends {
            tls: false,
            backends: vec![BackendPlan::default()],
        }
    }
}

impl Plan {
    /// How long one load takes.
    pub(crate) fn lasts(&self) -> Duration {
        self.phases.iter().map(|phase| phase.lasts).sum()
    }
}

impl Sweep {
    /// A value as it is written.
    pub(crate) fn name(&self, at: usize) -> String {
        match &self.values[at] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    }
}
