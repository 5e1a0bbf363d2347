//! What a drain came to.

use crate::shard::desk::Drained;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What [`Engine::drain`](crate::Engine::drain) has let finish, and what it had to cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// From the beginning to the last connection closed.
    pub took: Duration,
    /// By shard, in their order.
    pub shards: Vec<ShardDrain>,
}

/// What the drain of one shard came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardDrain {
    /// Which shard.
    pub shard: usize,
    /// From the beginning to its last connection closed.
    pub took: Duration,
    /// Calls and leases that were under way here, and ended by themselves.
    pub finished: u64,
    /// Tasks of the service's own that had not ended and were dropped.
    pub tasks_cut: u64,
    /// What was left of which upstream; those of which nothing was left are not in it.
    pub upstreams: BTreeMap<String, CutUpstream>,
    /// Why the shard failed before its drain was over; what it was serving then is not counted.
    pub fault: Option<String>,
}

/// What was left of one upstream on one shard at the deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutUpstream {
    /// Calls that were cut: waiting for a connection or for their next attempt, sending, or receiving.
    pub calls: u64,
    /// Raw leases that were cut, and checkouts that waited for one. A task's checkout that waited is
    /// among `calls` if the upstream speaks HTTP.
    pub leases: u64,
    /// Sockets that had left the engine and counted against its caps still. They are not cut.
    pub detached: u64,
}

impl DrainReport {
    pub(crate) fn of(shards: &[Arc<Drained>]) -> DrainReport {
        DrainReport {
            took: shards
                .iter()
                .map(|shard| shard.took)
                .max()
                .unwrap_or_default(),
            shards: shards.iter().map(|shard| ShardDrain::of(shard)).collect(),
        }
    }

    /// Whether nothing had to be cut.
    pub fn is_clean(&self) -> bool {
        let clean = |shard: &ShardDrain| shard.tasks_cut == 0 && shard.fault.is_none();
        self.calls_cut() + self.leases_cut() == 0 && self.shards.iter().all(clean)
    }

    /// Calls and leases that ended by themselves.
    pub fn finished(&self) -> u64 {
        self.shards.iter().map(|shard| shard.finished).sum()
    }

    /// Calls that were cut.
    pub fn calls_cut(&self) -> u64 {
        self.upstreams().map(|cut| cut.calls).sum()
    }

    /// Leases that were cut.
    pub fn leases_cut(&self) -> u64 {
        self.upstreams().map(|cut| cut.leases).sum()
    }

    /// Tasks that were dropped.
    pub fn tasks_cut(&self) -> u64 {
        self.shards.iter().map(|shard| shard.tasks_cut).sum()
    }

    /// Detached sockets that were still out.
    pub fn detached(&self) -> u64 {
        self.upstreams().map(|cut| cut.detached).sum()
    }

    fn upstreams(&self) -> impl Iterator<Item = &CutUpstream> {
        self.shards
            .iter()
            .flat_map(|shard| shard.upstreams.values())
    }
}

impl fmt::Display for DrainReport {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "drained in {:?}: {} finished",
            self.took,
            self.finished()
        )?;
        if self.is_clean() {
            f.write_str(", nothing cut")?;
        } else {
            let (calls, leases) = (self.calls_cut(), self.leases_cut());
            write!(
                f,
                ", cut {calls} calls, {leases} leases, {} tasks",
                self.tasks_cut()
            )?;
        }
        if self.detached() > 0 {
            write!(f, "; {} detached sockets are still out", self.detached())?;
        }
        for shard in &self.shards {
            if let Some(fault) = &shard.fault {
                write!(f, "; {fault}")?;
            }
        }
        Ok(())
    }
}

impl ShardDrain {
    fn of(drained: &Drained) -> ShardDrain {
        let upstreams = drained.upstreams.iter();
        ShardDrain {
            shard: drained.shard,
            took: drained.took,
            finished: drained.finished,
            tasks_cut: drained.tasks,
            upstreams: upstreams
                .map(|(name, cut)| {
                    let cut = CutUpstream {
                        calls: cut.calls,
                        leases: cut.leases,
                        detached: cut.detached,
                    };
                    (name.to_string(), cut)
                })
                .collect(),
            fault: drained.fault.as_ref().map(ToString::to_string),
        }
    }
}
