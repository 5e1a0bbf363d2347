//! Asking for an upstream's addresses: the shard's side. Who answers, and how, is the engine's affair.

use super::upstream::UpstreamId;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Resolves names away from shard threads.
pub(crate) trait Resolve: Send + Sync {
    /// Begins to resolve; answers through [`Lookup::deliver`], in any case and on any thread.
    fn resolve(&self, lookup: Lookup);

    /// Nobody asks any more: what it has threads for may end.
    fn end(&self) {}
}

/// One name to resolve.
pub(crate) struct Lookup {
    pub(crate) upstream: UpstreamId,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) deliver: Box<dyn FnOnce(Resolved) + Send>,
}

/// What came of it.
pub(crate) struct Resolved {
    pub(crate) upstream: UpstreamId,
    /// At least one address, or why there is none.
    pub(crate) result: io::Result<Vec<SocketAddr>>,
}

/// All that a name resolved to is where the engine may not connect to; an [`io::Error`] carries it.
#[derive(Debug)]
pub(crate) struct Forbidden(pub(crate) String);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Forbidden {}

/// For engines that never meet a name.
#[cfg(test)]
pub(crate) struct NoNames;

#[cfg(test)]
impl Resolve for NoNames {
    fn resolve(&self, lookup: Lookup) {
        let result = Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this engine resolves no names",
        ));
        (lookup.deliver)(Resolved {
            upstream: lookup.upstream,
            result,
        });
    }
}

/// Shared by all shards.
pub(crate) type Resolver = Arc<dyn Resolve>;
