//! Which cores shards run on.

use crate::config::Config;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io;

/// The cores that this process may run on, in order; at least one.
pub(crate) fn allowed() -> Vec<usize> {
    let cores: Vec<usize> = match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect(),
        Err(_) => Vec::new(),
    };
    if cores.is_empty() { vec![0] } else { cores }
}

/// How many shards `config` asks for.
pub(crate) fn shards(config: &Config) -> usize {
    match config.shards {
        0 => allowed().len(),
        shards => shards,
    }
}

/// The core for shard `index`; `None` leaves it to the scheduler.
pub(crate) fn for_shard(config: &Config, index: usize) -> Option<usize> {
    if !config.pin {
        return None;
    }
    let cores = if config.cores.is_empty() {
        allowed()
    } else {
        config.cores.clone()
    };
    Some(cores[index % cores.len()])
}

/// Keeps this thread on `core`.
///
/// # Errors
/// If there is no such core, or it is not ours to use.
pub(crate) fn pin(core: usize) -> io::Result<()> {
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no kernel has that many cores",
        ));
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}
