//! What was missing when the engine was not ready in time.

use crate::error::Error;
use crate::shard::ready::Missing;
use std::error::Error as StdError;
use std::fmt;

/// The source of the error that [`Engine::ready`](crate::Engine::ready) gives: which upstreams had fewer warm connections
/// than they were to have, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct NotReady {
    /// By shard, in their order. Never empty.
    pub upstreams: Vec<ColdUpstream>,
}

/// An upstream without all its warm connections, on one shard.
#[derive(Debug)]
#[non_exhaustive]
pub struct ColdUpstream {
    /// Its name; its URL, if it has none.
    pub upstream: String,
    /// Which shard.
    pub shard: usize,
    /// How many of its warm connections are up.
    pub up: u32,
    /// How many there are to be.
    pub wanted: u32,
    /// Why there are no more: what the last attempt to make one failed with. None if none has failed: an attempt is
    /// under way, or has not begun.
    pub why: Option<Error>,
}

impl NotReady {
    /// What was missing, if that is what `error` is about.
    pub fn of(error: &Error) -> Option<&NotReady> {
        error.source()?.downcast_ref()
    }

    pub(crate) fn new(missing: Vec<Missing>) -> NotReady {
        let cold = |missing: Missing| ColdUpstream {
            upstream: missing.upstream.to_string(),
            shard: missing.shard,
            up: missing.up,
            wanted: missing.wanted,
            why: missing.why,
        };
        NotReady {
            upstreams: missing.into_iter().map(cold).collect(),
        }
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, cold) in self.upstreams.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "; " };
            write!(f, "{separator}{cold}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ColdUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ColdUpstream {
            upstream,
            shard,
            up,
            wanted,
            why,
        } = self;
        write!(f, "{upstream} has {up} of {wanted} warm on shard {shard}")?;
        match why {
            Some(why) => write!(f, ": {why}"),
            None => Ok(()),
        }
    }
}

impl StdError for NotReady {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let why = self.upstreams.iter().find_map(|cold| cold.why.as_ref());
        why.map(|why| why as _)
    }
}
