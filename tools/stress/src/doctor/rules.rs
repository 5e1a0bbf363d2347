//! What is looked at of a host, each by a rule of its own.
//!
//! Owns the thresholds and the remedies. A fact that cannot be read has no finding. Never: reads anything itself.

use host::{Host, Interface, Limit};

use super::Finding;
use super::Health::{Bad, Good, Poor};

/// Descriptors beside the connections: rings, files, standard streams.
const DESCRIPTORS_BESIDE: u64 = 256;
/// Below this a ring and its neighbours' may not fit.
const MEMLOCK_LOW: u64 = 64 << 20;
/// Runnable tasks that were there before, for each core.
const LOAD_MAX: f64 = 0.1;

/// All findings; `connections` is how many a run is to open.
pub(super) fn all(host: &Host, connections: u64) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [
        kernel(host),
        io_uring(host),
        descriptors(host, connections),
        memlock(host),
        ports(host, connections),
        conntrack(host, connections),
        backlog(host, connections),
        cores(host),
        load(host),
        governor(host),
        boost(host),
        idle_states(host),
        clock(host),
        hypervisor(host),
        irqbalance(host),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.extend(interfaces(host));
    findings
}

fn kernel(host: &Host) -> Option<Finding> {
    let release = host.kernel.kernel.clone()?;
    let mut parts = release.split(['.', '-']).map(|part| part.parse().ok());
    let version: (u32, u32) = (parts.next()??, parts.next()??);
    Some(if version < (6, 1) {
        let remedy = "use Linux 6.1 or later: DEFER_TASKRUN came with it";
        Finding::new("kernel", Bad, release, remedy)
    } else {
        Finding::new("kernel", Good, release, "")
    })
}

fn io_uring(host: &Host) -> Option<Finding> {
    Some(match host.kernel.io_uring_disabled? {
        0 => Finding::new("io_uring", Good, "allowed to everybody".to_owned(), ""),
        1 => Finding::new(
            "io_uring",
            Poor,
            "allowed to one group only (kernel.io_uring_disabled = 1)".to_owned(),
            "run in the group of the sysctl kernel.io_uring_group, or set kernel.io_uring_disabled to 0",
        ),
        _ => Finding::new(
            "io_uring",
            Bad,
            "forbidden (kernel.io_uring_disabled = 2)".to_owned(),
            "sysctl -w kernel.io_uring_disabled=0",
        ),
    })
}

fn descriptors(host: &Host, connections: u64) -> Option<Finding> {
    let Limit { soft, hard } = host.limits.descriptors?;
    let needed = connections + DESCRIPTORS_BESIDE;
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    let says = format!("{} descriptors, up to {}", named(soft), named(hard));
    Some(if !enough(hard) {
        let remedy = format!(
            "raise the hard limit to {needed} for {connections} connections (ulimit -Hn, LimitNOFILE=)"
        );
        Finding::new("descriptors", Bad, says, &remedy)
    } else if !enough(soft) {
        let says = format!("{says}; stress raises its own limit as it starts");
        Finding::new("descriptors", Good, says, "")
    } else {
        Finding::new("descriptors", Good, says, "")
    })
}

fn memlock(host: &Host) -> Option<Finding> {
    let limit = host.limits.memlock?;
    let says = format!("{} bytes may be locked", named(limit.soft));
    Some(match limit.soft {
        Some(bytes) if bytes < MEMLOCK_LOW => Finding::new(
            "memlock",
            Poor,
            format!("{says}: some kernels charge rings to that"),
            "if many shards do not start, raise it (ulimit -l, LimitMEMLOCK=), or grant CAP_IPC_LOCK",
        ),
        Some(_) | None => Finding::new("memlock", Good, says, ""),
    })
}

fn ports(host: &Host, connections: u64) -> Option<Finding> {
    let [first, last] = host.network.local_ports?;
    let ports = u64::from(last.saturating_sub(first)) + 1;
    let says = format!("{ports} local ports for each address and port of a server");
    Some(if connections > ports {
        let remedy = "sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several addresses";
        Finding::new("ports", Bad, says, remedy)
    } else if connections * 2 > ports {
        let remedy = "sysctl -w net.ipv4.ip_local_port_range='1024 65535': connections that end keep theirs for a minute";
        Finding::new("ports", Poor, says, remedy)
    } else {
        Finding::new("ports", Good, says, "")
    })
}

fn conntrack(host: &Host, connections: u64) -> Option<Finding> {
    let most = host.network.conntrack_max?;
    let used = host.network.conntrack_count.unwrap_or(0);
    let says = format!("{used} of {most} connections are tracked");
    Some(if used + connections * 2 > most {
        let remedy = "sysctl -w net.netfilter.nf_conntrack_max=1048576, or do not track these (iptables -t raw, NOTRACK)";
        Finding::new("conntrack", Poor, says, remedy)
    } else {
        Finding::new("conntrack", Good, says, "")
    })
}

fn backlog(host: &Host, connections: u64) -> Option<Finding> {
    let most = host.network.somaxconn?;
    let says = format!("a listener here holds {most} connections that wait");
    Some(if u64::from(most) < connections {
        let remedy = "sysctl -w net.core.somaxconn=65535, if the server is on this host: else a burst of dials is slow";
        Finding::new("backlog", Poor, says, remedy)
    } else {
        Finding::new("backlog", Good, says, "")
    })
}

fn cores(host: &Host) -> Option<Finding> {
    let cores = host.cpus.cores?;
    let says = format!("{cores} may be used");
    Some(if cores < 2 {
        let remedy = "give it two or more: shards, callers and a local server take turns on one";
        Finding::new("cores", Poor, says, remedy)
    } else {
        Finding::new("cores", Good, says, "")
    })
}

fn load(host: &Host) -> Option<Finding> {
    let (load, cores) = (host.kernel.load_before?, host.cpus.cores?);
    let says = format!("{load:.2} tasks wanted to run in the last minute");
    Some(if load > LOAD_MAX * cores as f64 {
        let remedy = "end what else runs here, or wait";
        Finding::new("load", Poor, says, remedy)
    } else {
        Finding::new("load", Good, says, "")
    })
}

fn governor(host: &Host) -> Option<Finding> {
    let governor = host.power.governor.clone()?;
    Some(if governor == "performance" {
        Finding::new("governor", Good, governor, "")
    } else {
        let remedy = "cpupower frequency-set -g performance: else the clock follows the load";
        Finding::new("governor", Poor, governor, remedy)
    })
}

fn boost(host: &Host) -> Option<Finding> {
    Some(if host.power.boost? {
        let says = "on: the clock depends on heat and on neighbours".to_owned();
        let remedy = "echo 0 > /sys/devices/system/cpu/cpufreq/boost (intel: echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo)";
        Finding::new("boost", Poor, says, remedy)
    } else {
        Finding::new("boost", Good, "off".to_owned(), "")
    })
}

fn idle_states(host: &Host) -> Option<Finding> {
    let states = host.power.idle_states.as_ref()?;
    let deepest = states.last()?;
    Some(if states.len() > 2 {
        let says = format!("cores sleep as deep as {deepest}");
        let remedy = "cpupower idle-set -D 2, for latencies at low rates: waking from it takes tens of microseconds";
        Finding::new("idle", Poor, says, remedy)
    } else {
        Finding::new("idle", Good, format!("no deeper than {deepest}"), "")
    })
}

fn clock(host: &Host) -> Option<Finding> {
    let source = host.kernel.clock_source.clone()?;
    let quick = ["tsc", "arch_sys_counter", "kvm-clock"];
    Some(if quick.contains(&source.as_str()) {
        Finding::new("clock", Good, source, "")
    } else {
        let remedy =
            "boot with tsc=reliable if the CPU's is: else each look at the clock is a system call";
        Finding::new("clock", Poor, source, remedy)
    })
}

fn hypervisor(host: &Host) -> Option<Finding> {
    Some(if host.cpus.is_virtual? {
        let says = "a virtual machine: what its neighbours do is not seen".to_owned();
        let remedy = "compare runs that alternate, not those of different days";
        Finding::new("hypervisor", Poor, says, remedy)
    } else {
        Finding::new("hypervisor", Good, "none".to_owned(), "")
    })
}

fn irqbalance(host: &Host) -> Option<Finding> {
    Some(if host.network.irqbalance? {
        let says = "irqbalance runs, and moves interrupts meanwhile".to_owned();
        let remedy = "systemctl stop irqbalance, and set /proc/irq/*/smp_affinity_list";
        Finding::new("interrupts", Poor, says, remedy)
    } else {
        Finding::new("interrupts", Good, "nobody moves them".to_owned(), "")
    })
}

/// Interfaces that are devices, each by how its packets are spread over cores.
fn interfaces(host: &Host) -> Vec<Finding> {
    let cores = host.cpus.cores.unwrap_or(1);
    let all = host.network.interfaces.iter().flatten();
    let devices = all.filter(|interface| interface.driver.is_some());
    devices.map(|device| interface(device, cores)).collect()
}

fn interface(device: &Interface, cores: usize) -> Finding {
    let Interface {
        name, rx_queues, ..
    } = device;
    let handed_on = device
        .rps_cpus
        .iter()
        .any(|mask| mask.contains(|c: char| c.is_ascii_hexdigit() && c != '0'));
    let says = format!("{name} receives in {rx_queues} queues for {cores} cores");
    if *rx_queues < cores && !handed_on {
        let remedy = format!(
            "ethtool -L {name} combined {cores}, or hand packets on (RPS): echo f > /sys/class/net/{name}/queues/rx-0/rps_cpus"
        );
        return Finding::new("interface", Poor, says, &remedy);
    }
    Finding::new("interface", Good, says, "")
}

fn named(limit: Option<u64>) -> String {
    limit.map_or_else(|| "any number of".to_owned(), |limit| limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Health;

    fn health(findings: &[Finding], what: &str) -> Option<Health> {
        let found = findings.iter().find(|finding| finding.what == what);
        found.map(|finding| finding.health)
    }

    #[test]
    fn a_host_that_tells_nothing_has_no_findings() {
        assert!(all(&Host::default(), 64).is_empty());
    }

    #[test]
    fn every_rule_knows_good_from_poor() {
        let mut host = Host::default();
        host.kernel.kernel = Some("5.15.0-91-generic".into());
        host.kernel.io_uring_disabled = Some(2);
        host.kernel.clock_source = Some("hpet".into());
        host.kernel.load_before = Some(1.5);
        host.cpus.cores = Some(1);
        host.cpus.is_virtual = Some(true);
        host.power.governor = Some("powersave".into());
        host.power.boost = Some(true);
        host.power.idle_states = Some(["POLL", "C1", "C6"].map(String::from).into());
        host.limits.descriptors = Some(Limit {
            soft: Some(256),
            hard: Some(1024),
        });
        host.limits.memlock = Some(Limit {
            soft: Some(65_536),
            hard: None,
        });
        host.network.local_ports = Some([32_768, 33_000]);
        host.network.conntrack_max = Some(100);
        host.network.somaxconn = Some(128);
        host.network.irqbalance = Some(true);
        let poor = all(&host, 1000);
        for (what, expected) in [
            ("kernel", Bad),
            ("io_uring", Bad),
            ("descriptors", Bad),
            ("ports", Bad),
            ("memlock", Poor),
            ("conntrack", Poor),
            ("backlog", Poor),
            ("cores", Poor),
            ("load", Poor),
            ("governor", Poor),
            ("boost", Poor),
            ("idle", Poor),
            ("clock", Poor),
            ("hypervisor", Poor),
            ("interrupts", Poor),
        ] {
            assert_eq!(health(&poor, what), Some(expected), "{what}");
        }
        assert!(poor.iter().all(|finding| !finding.remedy.is_empty()));

        host.kernel.kernel = Some("6.18.2".into());
        host.kernel.io_uring_disabled = Some(0);
        host.kernel.clock_source = Some("tsc".into());
        host.kernel.load_before = Some(0.1);
        host.cpus.cores = Some(8);
        host.cpus.is_virtual = Some(false);
        host.power.governor = Some("performance".into());
        host.power.boost = Some(false);
        host.power.idle_states = Some(["POLL", "C1"].map(String::from).into());
        host.limits.descriptors = Some(Limit {
            soft: Some(1024),
            hard: None,
        });
        host.limits.memlock = Some(Limit::default());
        host.network.local_ports = Some([1024, 65_535]);
        host.network.conntrack_max = Some(1 << 20);
        host.network.somaxconn = Some(4096);
        host.network.irqbalance = Some(false);
        let good = all(&host, 1000);
        assert_eq!(good.len(), poor.len());
        for finding in good {
            assert_eq!(
                (finding.health, finding.remedy.as_str()),
                (Good, ""),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn packets_of_one_queue_are_spread_or_it_is_said() {
        let mut device = Interface {
            name: "eth0".into(),
            rx_queues: 1,
            rps_cpus: vec!["00".into()],
            ..Interface::default()
        };
        assert_eq!(interface(&device, 4).health, Poor);
        device.rps_cpus = vec!["0f".into()];
        assert_eq!(interface(&device, 4).health, Good);
        device.rps_cpus = vec!["00".into()];
        device.rx_queues = 4;
        assert_eq!(interface(&device, 4).health, Good);
    }
}
