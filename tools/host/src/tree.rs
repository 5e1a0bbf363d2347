//! How facts are read: small files below a root, and lists of cores.
//!
//! Owns: what counts as told. An empty file tells nothing, unless asked for as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Entries of one directory that are looked at, at most.
const ENTRIES_MAX: usize = 65_536;

/// The files of a host, or of a copy of one.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn at(root: &Path) -> Tree {
        Tree {
            root: root.to_owned(),
        }
    }

    /// All of a file.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// A file of one line, without the blanks around it; `None` of an empty one.
    pub(crate) fn line(&self, path: &str) -> Option<String> {
        let line = self.line_or_empty(path)?;
        (!line.is_empty()).then_some(line)
    }

    /// The same; empty is a fact.
    pub(crate) fn line_or_empty(&self, path: &str) -> Option<String> {
        Some(self.text(path)?.trim().to_owned())
    }

    pub(crate) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.line(path)?.parse().ok()
    }

    /// A switch of the kernel's: `1`, `Y`, or not.
    pub(crate) fn switch(&self, path: &str) -> Option<bool> {
        match self.line(path)?.as_str() {
            "1" | "Y" | "y" => Some(true),
            "0" | "N" | "n" => Some(false),
            _ => None,
        }
    }

    /// The word in brackets, of all that could be chosen.
    pub(crate) fn chosen(&self, path: &str) -> Option<String> {
        let line = self.line(path)?;
        let (_, rest) = line.split_once('[')?;
        Some(rest.split_once(']')?.0.to_owned())
    }

    /// Names in a directory, sorted; `None` where there is none.
    pub(crate) fn names(&self, path: &str) -> Option<Vec<String>> {
        let entries = fs::read_dir(self.root.join(path)).ok()?;
        let names = entries.take(ENTRIES_MAX).flatten();
        let mut names: Vec<_> = names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Some(names)
    }

    /// What a link points at, the last part of it.
    pub(crate) fn linked(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// The rest of the first line that begins with `name` and a colon.
    pub(crate) fn field(&self, path: &str, name: &str) -> Option<String> {
        field(&self.text(path)?, name)
    }
}

pub(crate) fn field(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim_end() == name).then(|| value.trim().to_owned())
    })?;
    (!value.is_empty()).then_some(value)
}

/// The cores of a list such as `0-3,8`; none of what is no list.
pub(crate) fn cores_in(list: &str) -> Vec<usize> {
    let ranges = list.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        // More than any kernel has.
        (last < 65_536).then_some(first..=last)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_ranges_and_single_ones() {
        assert_eq!(cores_in("0-2,8\n"), [0, 1, 2, 8]);
        assert!(cores_in("").is_empty() && cores_in("(null)").is_empty());
        assert!(cores_in("0-99999999999").is_empty());
    }

    #[test]
    fn a_field_is_found_among_others_that_begin_alike() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: AMD EPYC\nflags\t\t:\n";
        assert_eq!(field(cpuinfo, "model name").as_deref(), Some("AMD EPYC"));
        assert_eq!(field(cpuinfo, "flags"), None);
        assert_eq!(field(cpuinfo, "Hardware"), None);
    }
}
