//! What this process may have of the kernel.

use crate::tree::Tree;
use serde::Serialize;

/// Limits of this process, and of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Open descriptors (`ulimit -n`).
    pub descriptors: Option<Limit>,
    /// Bytes of locked memory (`ulimit -l`).
    pub memlock: Option<Limit>,
    /// The sysctl `fs.nr_open`: the most that a limit on descriptors may be raised to.
    pub descriptors_max: Option<u64>,
    /// The sysctl `fs.file-max`: open files of all processes.
    pub files_max: Option<u64>,
}

/// A soft limit and the hard one that it may be raised to; null: unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// What holds.
    pub soft: Option<u64>,
    /// What it may be raised to.
    pub hard: Option<u64>,
}

impl Limits {
    pub(crate) fn look(tree: &Tree) -> Limits {
        let limits = tree.text("proc/self/limits").unwrap_or_default();
        Limits {
            descriptors: limit(&limits, "Max open files"),
            memlock: limit(&limits, "Max locked memory"),
            descriptors_max: tree.number("proc/sys/fs/nr_open"),
            files_max: tree.number("proc/sys/fs/file-max"),
        }
    }
}

fn limit(limits: &str, name: &str) -> Option<Limit> {
    let mut ends = limits
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace();
    let mut end = || match ends.next()? {
        "unlimited" => Some(None),
        number => number.parse().ok().map(Some),
    };
    Some(Limit {
        soft: end()?,
        hard: end()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_or_none() {
        let table = "Limit                     Soft Limit           Hard Limit           Units\n\
                     Max open files            1024                 1048576              files\n\
                     Max locked memory         8388608              unlimited            bytes\n";
        let files = limit(table, "Max open files");
        let expected = Limit {
            soft: Some(1024),
            hard: Some(1_048_576),
        };
        assert_eq!(files, Some(expected));
        assert_eq!(limit(table, "Max locked memory").unwrap().hard, None);
        assert_eq!(limit(table, "Max processes"), None);
    }
}
