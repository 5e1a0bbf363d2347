//! How many seeds it takes until a canary is found.
//!
//! Owns: which seeds are tried. Never: takes for a find a simulator that dies, or a seed that fails without the
//! canary, too.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// So many seeds are tried in a window before it is given up.
pub const SEEDS_MAX: u64 = 10_000;

/// No window takes longer than this, unless something spins.
const WINDOW_MAX: Duration = Duration::from_secs(600);

/// What came of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Find {
    /// Found with the so-manieth seed.
    After {
        /// How many seeds it took.
        seeds: u64,
        /// Which of the invariants was violated.
        invariant: String,
        /// What was seen.
        what: String,
    },
    /// Not found by any of them.
    Never,
}

/// What came of all windows of one canary.
#[derive(Clone, Debug, Default)]
pub struct Hunt {
    /// Window by window.
    pub finds: Vec<Find>,
}

impl Hunt {
    /// Runs `simulator` on so many windows of seeds that have none in common. `fails` says whether a
    /// seed does so anyway.
    ///
    /// # Errors
    /// What went wrong, other than what is to go wrong.
    pub fn run(
        simulator: &Path,
        report: &Path,
        windows: u64,
        fails: impl Fn(u64) -> bool,
    ) -> Result<Hunt, String> {
        let look = |window: u64| -> Result<Find, String> {
            let begin = window * SEEDS_MAX;
            let end = begin + SEEDS_MAX;
            let mut next = begin;
            while let Some((seed, invariant, what)) = first_failure(simulator, report, next..end)? {
                if !fails(seed) {
                    return Ok(Find::After {
                        seeds: seed - begin + 1,
                        invariant,
                        what,
                    });
                }
                next = seed + 1;
            }
            Ok(Find::Never)
        };
        Ok(Hunt {
            finds: (0..windows).map(look).collect::<Result<_, _>>()?,
        })
    }

    /// How many seeds the first window took.
    pub fn first(&self) -> Option<u64> {
        match self.finds.first()? {
            Find::After { seeds, .. } => Some(*seeds),
            Find::Never => None,
        }
    }

    /// How many the window in the middle took.
    pub fn median(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.finds.iter().map(Find::seeds).collect();
        all.sort_unstable();
        let middle = all.get(all.len() / 2).copied()?;
        (middle < u64::MAX).then_some(middle)
    }

    /// In how many windows it was found.
    pub fn found(&self) -> usize {
        let found = self.finds.iter();
        found.filter(|find| **find != Find::Never).count()
    }

    /// Which invariants were seen violated, and how often.
    pub fn invariants(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for find in &self.finds {
            if let Find::After { invariant, .. } = find {
                *counts.entry(invariant.as_str()).or_default() += 1;
            }
        }
        counts
    }
}

impl Find {
    fn seeds(&self) -> u64 {
        match self {
            Find::After { seeds, .. } => *seeds,
            Find::Never => u64::MAX,
        }
    }
}

/// A seed that failed, which of the invariants it violated, and what was seen.
type Failure = (u64, String, String);

fn first_failure(
    simulator: &Path,
    report: &Path,
    seeds: Range<u64>,
) -> Result<Option<Failure>, String> {
    let child = Command::new(simulator)
        .args(["--from", &seeds.start.to_string()])
        .args(["--seeds", &(seeds.end - seeds.start).to_string()])
        .arg("--json")
        .arg(report)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| format!("its simulator cannot be run: {error}"))?;
    let ended = wait(&mut child).map_err(|error| format!("its simulator is lost: {error}"))?;
    if !matches!(ended.code(), Some(0 | 1)) {
        return Err(format!("its simulator died, or had to be ended: {ended}"));
    }
    let text = std::fs::read(report);
    let text = text.map_err(|error| format!("its simulator told nothing: {error}"))?;
    let value: Value = serde_json::from_slice(&text)
        .map_err(|error| format!("its simulator's report: {error}"))?;
    read(&value).ok_or_else(|| "its simulator's report makes no sense".to_owned())
}

/// Waits for the end of a simulator. A bug can make it spin where no oracle looks: then it is ended.
fn wait(child: &mut Child) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(ended) = child.try_wait()? {
            return Ok(ended);
        }
        if begun.elapsed() > WINDOW_MAX {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn read(report: &Value) -> Option<Option<Failure>> {
    let Some(failed) = report["failed"].as_array()?.first() else {
        return Some(None);
    };
    Some(Some((
        failed["seed"].as_u64()?,
        failed["invariant"].as_str()?.to_owned(),
        failed["what"].as_str()?.to_owned(),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seeds: u64) -> Find {
        Find::After {
            seeds,
            invariant: "Baton".into(),
            what: String::new(),
        }
    }

    #[test]
    fn a_window_without_a_find_is_the_longest() {
        let hunt = |finds: &[Find]| Hunt {
            finds: finds.to_vec(),
        };
        let all = hunt(&[after(7), Find::Never, after(3)]);
        assert_eq!(
            (all.first(), all.median(), all.found()),
            (Some(7), Some(7), 2)
        );
        let most = hunt(&[Find::Never, Find::Never, after(3)]);
        assert_eq!((most.first(), most.median(), most.found()), (None, None, 1));
        assert_eq!(all.invariants()["Baton"], 2);
    }

    #[test]
    fn a_report_is_read_as_it_is_written() {
        let report = serde_json::json!({
            "failed": [{"seed": 105, "invariant": "Caps", "what": "too many"}],
        });
        let (seed, invariant, _) = read(&report).unwrap().unwrap();
        assert_eq!((seed, invariant.as_str()), (105, "Caps"));
        assert_eq!(read(&serde_json::json!({"failed": []})), Some(None));
        assert_eq!(read(&serde_json::json!({})), None);
    }
}
