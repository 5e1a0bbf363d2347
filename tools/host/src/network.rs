//! What TCP is set to, which queues the interfaces have, and who moves their interrupts.

use crate::tree::Tree;
use serde::Serialize;

/// Interfaces that are told of, at most: hosts of containers have hundreds.
const INTERFACES_MAX: usize = 16;

/// The network of a host, in this process's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Network {
    /// The sysctl `net.core.busy_poll`, in µs: how long `poll` and `epoll` look at the queues themselves.
    pub busy_poll: Option<u32>,
    /// The sysctl `net.core.busy_read`, in µs: the same for reads, the default of new sockets.
    pub busy_read: Option<u32>,
    /// The sysctl `net.core.somaxconn`: the most that a listener's backlog holds.
    pub somaxconn: Option<u32>,
    /// The sysctl `net.ipv4.ip_local_port_range`: the first and the last port of connections to one address and port.
    pub local_ports: Option<[u32; 2]>,
    /// The sysctl `net.ipv4.tcp_tw_reuse`: 0 off, 1 on, 2 over loopback.
    pub tcp_tw_reuse: Option<u8>,
    /// The sysctl `net.ipv4.tcp_congestion_control`.
    pub congestion_control: Option<String>,
    /// The sysctl `net.netfilter.nf_conntrack_max`; null also where connections are not tracked.
    pub conntrack_max: Option<u64>,
    /// Connections that are tracked now.
    pub conntrack_count: Option<u64>,
    /// The sysctl `net.core.rps_sock_flow_entries`: RFS, off at 0.
    pub rps_sock_flow_entries: Option<u64>,
    /// Whether `irqbalance` runs and moves interrupts meanwhile; of the processes that this one may see.
    pub irqbalance: Option<bool>,
    /// The interfaces, sixteen at most.
    pub interfaces: Option<Vec<Interface>>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its driver; null where it is no device.
    pub driver: Option<String>,
    /// Its NUMA node; null where it has none.
    pub numa_node: Option<u32>,
    /// The most that a packet may carry.
    pub mtu: Option<u32>,
    /// Queues that receive.
    pub rx_queues: usize,
    /// Queues that send.
    pub tx_queues: usize,
    /// Masks of the cores that packets of each receiving queue are handed to (RPS), each once; `0`: not handed on.
    pub rps_cpus: Vec<String>,
    /// The sysfs file `gro_flush_timeout`, in ns.
    pub gro_flush_timeout: Option<u64>,
    /// The sysfs file `napi_defer_hard_irqs`.
    pub napi_defer_hard_irqs: Option<u64>,
}

impl Network {
    pub(crate) fn look(tree: &Tree) -> Network {
        let ports = tree.line("proc/sys/net/ipv4/ip_local_port_range");
        Network {
            busy_poll: tree.number("proc/sys/net/core/busy_poll"),
            busy_read: tree.number("proc/sys/net/core/busy_read"),
            somaxconn: tree.number("proc/sys/net/core/somaxconn"),
            local_ports: ports.and_then(|range| pair(&range)),
            tcp_tw_reuse: tree.number("proc/sys/net/ipv4/tcp_tw_reuse"),
            congestion_control: tree.line("proc/sys/net/ipv4/tcp_congestion_control"),
            conntrack_max: tree.number("proc/sys/net/netfilter/nf_conntrack_max"),
            conntrack_count: tree.number("proc/sys/net/netfilter/nf_conntrack_count"),
            rps_sock_flow_entries: tree.number("proc/sys/net/core/rps_sock_flow_entries"),
            irqbalance: runs(tree, "irqbalance"),
            interfaces: interfaces(tree),
        }
    }
}

fn pair(range: &str) -> Option<[u32; 2]> {
    let mut ends = range.split_whitespace().map(|end| end.parse().ok());
    Some([ends.next()??, ends.next()??])
}

/// Whether a process of that name is to be seen.
fn runs(tree: &Tree, name: &str) -> Option<bool> {
    let processes = tree.names("proc")?.into_iter();
    let mut numbers = processes.filter(|entry| entry.bytes().all(|byte| byte.is_ascii_digit()));
    Some(numbers.any(|number| {
        let comm = tree.line(&format!("proc/{number}/comm"));
        comm.as_deref() == Some(name)
    }))
}

fn interfaces(tree: &Tree) -> Option<Vec<Interface>> {
    let names = tree.names("sys/class/net")?.into_iter();
    let interfaces = names.map(|name| interface(tree, name));
    Some(interfaces.take(INTERFACES_MAX).collect())
}

fn interface(tree: &Tree, name: String) -> Interface {
    let at = |file: &str| format!("sys/class/net/{name}/{file}");
    let queues = tree.names(&at("queues")).unwrap_or_default();
    let count = |kind: &str| queues.iter().filter(|one| one.starts_with(kind)).count();
    let receiving = queues.iter().filter(|queue| queue.starts_with("rx-"));
    let mut rps_cpus: Vec<_> = receiving
        .filter_map(|queue| tree.line(&at(&format!("queues/{queue}/rps_cpus"))))
        .collect();
    rps_cpus.sort();
    rps_cpus.dedup();
    Interface {
        driver: tree.linked(&at("device/driver")),
        // -1 is none, and no number here.
        numa_node: tree.number(&at("device/numa_node")),
        mtu: tree.number(&at("mtu")),
        rx_queues: count("rx-"),
        tx_queues: count("tx-"),
        rps_cpus,
        gro_flush_timeout: tree.number(&at("gro_flush_timeout")),
        napi_defer_hard_irqs: tree.number(&at("napi_defer_hard_irqs")),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        assert_eq!(pair("32768\t60999"), Some([32_768, 60_999]));
        assert_eq!(pair("32768"), None);
        assert_eq!(pair("low high"), None);
    }
}
