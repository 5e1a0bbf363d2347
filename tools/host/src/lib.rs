//! The facts of a host that a measurement depends on: a figure without them cannot be judged.
//!
//! Owns: what is looked at, and its names in JSON, which are a promise: they may be added to, never renamed. Never: fails,
//! or changes anything. What cannot be read is `None`, and null in JSON.
//!
//! | module | facts |
//! |---|---|
//! | `cpus` | model, cores, SMT, NUMA, isolation, mitigations |
//! | `power` | frequency and idle states |
//! | `kernel` | release, clock, memory, io_uring |
//! | `network` | sysctls, queues of the interfaces, who moves interrupts |
//! | `limits` | descriptors, locked memory |
//! | `tree` | how files are read |
//! | `date` | the calendar |

#![warn(missing_docs)]

mod cpus;
mod date;
mod kernel;
mod limits;
mod network;
mod power;
mod tree;

pub use cpus::{Cpus, Node};
pub use kernel::Kernel;
pub use limits::{Limit, Limits};
pub use network::{Interface, Network};
pub use power::Power;

use serde::Serialize;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tree::Tree;

/// What a host is like now. Taken before a measurement, so that its load is not the measurement's own.
///
/// In JSON all facts are keys of one object.
///
/// ```
/// let host = host::Host::look();
/// println!("{:#}", host.json());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Host {
    /// The kernel, its clock and its memory.
    #[serde(flatten)]
    pub kernel: Kernel,
    /// The processors.
    #[serde(flatten)]
    pub cpus: Cpus,
    /// How fast they run, and how deep they sleep.
    #[serde(flatten)]
    pub power: Power,
    /// What TCP and the interfaces are set to.
    #[serde(flatten)]
    pub network: Network,
    /// What this process may have.
    #[serde(flatten)]
    pub limits: Limits,
    /// UTC, ISO 8601.
    pub date: String,
}

impl Host {
    /// Reads `/proc` and `/sys`, some hundred small files.
    pub fn look() -> Host {
        let mut host = Host::look_below(Path::new("/"));
        // Knows of cgroups' quotas as well.
        if let Ok(cores) = std::thread::available_parallelism() {
            host.cpus.cores = Some(cores.get());
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        host.date = date::of_seconds(since.map_or(0, |since| since.as_secs()));
        host
    }

    /// The same from a copy of those files.
    fn look_below(root: &Path) -> Host {
        let tree = Tree::at(root);
        Host {
            kernel: Kernel::look(&tree),
            cpus: Cpus::look(&tree),
            power: Power::look(&tree),
            network: Network::look(&tree),
            limits: Limits::look(&tree),
            date: String::new(),
        }
    }

    /// All of it as one JSON object.
    pub fn json(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_tells_nothing_is_all_nulls() {
        let json = Host::look_below(Path::new("/nowhere")).json();
        let facts = json.as_object().unwrap();
        assert!(facts.len() > 30, "{facts:#?}");
        let told = facts.iter().filter(|(name, _)| *name != "date");
        assert!(told.clone().all(|(_, fact)| fact.is_null()), "{facts:#?}");
    }

    #[test]
    fn this_host_tells_what_every_linux_tells() {
        let host = Host::look();
        assert!(host.kernel.kernel.is_some() && host.kernel.load_before.is_some());
        assert!(host.cpus.cores.is_some() && host.cpus.cores_allowed.is_some());
        assert!(host.limits.descriptors.is_some());
        assert!(host.date.ends_with('Z'));
    }

    #[test]
    fn keys_that_were_promised_are_there() {
        let json = Host::look().json();
        for key in [
            "kernel",
            "cpu",
            "cores",
            "cores_online",
            "cores_allowed",
            "smt",
            "numa_nodes",
            "isolated",
            "nohz_full",
            "virtual",
            "mitigations",
            "governor",
            "frequency_driver",
            "boost",
            "idle_driver",
            "clock_source",
            "transparent_huge_pages",
            "io_uring_disabled",
            "busy_poll",
            "busy_read",
            "somaxconn",
            "local_ports",
            "tcp_tw_reuse",
            "conntrack_max",
            "irqbalance",
            "interfaces",
            "descriptors",
            "memlock",
            "load_before",
            "date",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }
}
