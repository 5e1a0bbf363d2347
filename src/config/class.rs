//! How much a call matters, where not everyone can be served.

use serde::{Deserialize, Serialize};

/// How much a call matters beside others of its upstream.
///
/// Callers who wait for a connection are served by class, and within a class in the order of their
/// coming. Under overload the lowest class is shed first. A call says its class among its request's
/// extensions (`request.extensions_mut().insert(Class::Critical)`); one that does not has its
/// handle's ([`Upstream::with_class`](crate::Upstream::with_class)), or its upstream's
/// [`class`](crate::config::UpstreamConfig::class).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Served before all others; may use connections that are reserved for it, and is shed only when
    /// its wait is over or the queue is full of its own kind.
    Critical,
    /// What calls are unless they say otherwise.
    #[default]
    Normal,
    /// The first to be shed.
    Sheddable,
}

impl Class {
    /// All of them, the most important first; each at the index of its discriminant.
    pub const ALL: [Class; 3] = [Class::Critical, Class::Normal, Class::Sheddable];
}
