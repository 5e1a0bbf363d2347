//! The processors: which there are, which this process may use, and what slows them.

use crate::tree::{Tree, cores_in, field};
use serde::Serialize;
use std::collections::BTreeMap;

const CPU: &str = "sys/devices/system/cpu";
const NODE: &str = "sys/devices/system/node";

/// The processors of a host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cpus {
    /// The model's name.
    pub cpu: Option<String>,
    /// How many this process may use: by its affinity, and by its cgroup's quota.
    pub cores: Option<usize>,
    /// Those that are on, as a list such as `0-3,8`.
    pub cores_online: Option<String>,
    /// Those that this process may run on.
    pub cores_allowed: Option<String>,
    /// Whether two threads share a core now.
    pub smt: Option<bool>,
    /// How many NUMA nodes are on.
    pub numa_nodes: Option<usize>,
    /// Each of them with its cores.
    pub numa: Option<Vec<Node>>,
    /// Cores that the scheduler leaves alone (`isolcpus`); empty: none.
    pub isolated: Option<String>,
    /// Cores without a tick while they run one task (`nohz_full`); empty: none, or not compiled in.
    pub nohz_full: Option<String>,
    /// Whether a hypervisor is below: then nothing here says what else its cores do.
    #[serde(rename = "virtual")]
    pub is_virtual: Option<bool>,
    /// What this CPU is affected by, and what is done about it.
    pub mitigations: Option<BTreeMap<String, String>>,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    /// Its number.
    pub node: usize,
    /// Its cores, as a list.
    pub cores: Option<String>,
}

impl Cpus {
    pub(crate) fn look(tree: &Tree) -> Cpus {
        let info = tree.text("proc/cpuinfo").unwrap_or_default();
        let allowed = tree.field("proc/self/status", "Cpus_allowed_list");
        let numa = numa(tree);
        Cpus {
            cpu: field(&info, "model name").or_else(|| field(&info, "Hardware")),
            cores: allowed.as_deref().map(|list| cores_in(list).len()),
            cores_online: tree.line(&format!("{CPU}/online")),
            cores_allowed: allowed,
            smt: tree.switch(&format!("{CPU}/smt/active")),
            numa_nodes: numa.as_ref().map(Vec::len),
            numa,
            isolated: tree.line_or_empty(&format!("{CPU}/isolated")),
            nohz_full: nohz_full(tree),
            is_virtual: is_virtual(tree, &info),
            mitigations: mitigations(tree),
        }
    }
}

fn numa(tree: &Tree) -> Option<Vec<Node>> {
    let nodes = cores_in(&tree.line(&format!("{NODE}/online"))?).into_iter();
    let nodes = nodes.map(|node| Node {
        node,
        cores: tree.line(&format!("{NODE}/node{node}/cpulist")),
    });
    Some(nodes.collect())
}

/// A kernel that knows the option and has no such core says `(null)`.
fn nohz_full(tree: &Tree) -> Option<String> {
    // Where CPUs are listed and this file is not, the kernel was built without.
    let isolated = tree.line_or_empty(&format!("{CPU}/isolated"));
    let list = tree.line_or_empty(&format!("{CPU}/nohz_full"));
    let list = list.or(isolated.map(|_| String::new()))?;
    Some(if list == "(null)" {
        String::new()
    } else {
        list
    })
}

fn is_virtual(tree: &Tree, cpuinfo: &str) -> Option<bool> {
    if tree.line("sys/hypervisor/type").is_some() {
        return Some(true);
    }
    // x86 alone has the flag; elsewhere its absence tells nothing.
    let flags = field(cpuinfo, "flags")?;
    Some(flags.split(' ').any(|flag| flag == "hypervisor"))
}

fn mitigations(tree: &Tree) -> Option<BTreeMap<String, String>> {
    let directory = format!("{CPU}/vulnerabilities");
    let told = tree.names(&directory)?.into_iter().filter_map(|name| {
        let what = tree.line(&format!("{directory}/{name}"))?;
        (what != "Not affected").then_some((name, what))
    });
    Some(told.collect())
}
