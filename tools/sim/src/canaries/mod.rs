//! Known bugs, each built into a copy of the product to see that the simulator finds it.
//!
//! Owns: what is asked of every canary. Never: changes the workspace, or says that all is well where
//! a canary does not apply, compile or get found.
//!
//! | module | concept |
//! |---|---|
//! | `patch` | a bug as a patch |
//! | `scratch` | the copy that it is built in |
//! | `hunt` | how many seeds it takes |

mod hunt;
mod patch;
mod scratch;

pub use hunt::{Find, Hunt, SEEDS_MAX};
pub use patch::{Canary, Misfit};

use crate::scenario::SCENARIOS;
use crate::trace::Trace;
use scratch::Scratch;
use std::fmt::Write;
use std::io;

/// The most seeds that a canary may take in the middle of several windows.
pub const MEDIAN_MAX: u64 = 100;

/// What came of one canary.
#[derive(Debug)]
pub struct Verdict {
    /// Which.
    pub name: String,
    /// What it does.
    pub about: String,
    /// What the simulator made of it, or why there was nothing to be made of it.
    pub hunt: Result<Hunt, String>,
}

impl Verdict {
    /// What is wrong, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let name = &self.name;
        let hunt = match &self.hunt {
            Ok(hunt) => hunt,
            Err(what) => return Some(format!("canary {name}: {what}")),
        };
        let (found, windows) = (hunt.found(), hunt.finds.len());
        if found < windows {
            return Some(format!(
                "canary {name}: found in {found} of {windows} windows of {SEEDS_MAX} seeds"
            ));
        }
        let median = hunt.median().filter(|&median| median >= MEDIAN_MAX)?;
        Some(format!(
            "canary {name}: takes {median} seeds, more than {MEDIAN_MAX}"
        ))
    }
}

/// All canaries, by name, or the one that is wanted.
///
/// # Errors
/// If there is no such canary, or one cannot be read.
pub fn all(wanted: Option<&str>) -> io::Result<Vec<Canary>> {
    let directory = scratch::workspace().join("tools/sim/canaries");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        let Some(name) = name.filter(|_| path.extension().is_some_and(|end| end == "patch")) else {
            continue;
        };
        if wanted.is_none_or(|wanted| wanted == name) {
            let text = std::fs::read_to_string(&path)?;
            found.push(Canary::parse(name, &text).map_err(io::Error::other)?);
        }
    }
    if found.is_empty() {
        let what = format!("there is no canary {:?}", wanted.unwrap_or("at all"));
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Whether every one of them applies and compiles; tells all that do not.
pub fn check(canaries: &[Canary]) -> Vec<String> {
    let scratch = Scratch::new();
    let complaints = canaries.iter().filter_map(|canary| {
        let checked = prepare(&scratch, canary).and_then(|()| scratch.check());
        let what = checked.err()?;
        Some(format!("canary {}: {what}", canary.name))
    });
    complaints.collect()
}

/// Builds each and looks for it in so many windows of seeds; `tell` hears of each at once.
pub fn hunt(canaries: &[Canary], windows: u64, mut tell: impl FnMut(&Verdict)) -> Vec<Verdict> {
    let scratch = Scratch::new();
    let mut verdicts = Vec::new();
    for canary in canaries {
        let hunt = prepare(&scratch, canary)
            .and_then(|()| scratch.build())
            .and_then(|()| {
                let report = scratch.file("report.json");
                Hunt::run(&scratch.simulator(), &report, windows, fails)
            });
        let verdict = Verdict {
            name: canary.name.clone(),
            about: canary.about.clone(),
            hunt,
        };
        tell(&verdict);
        verdicts.push(verdict);
    }
    verdicts
}

/// Whether a seed fails without any canary.
fn fails(seed: u64) -> bool {
    let outcome = (SCENARIOS[0].run)(seed, Trace::none());
    outcome.violation.is_some()
}

fn prepare(scratch: &Scratch, canary: &Canary) -> Result<(), String> {
    let product =
        scratch::product().map_err(|error| format!("the product cannot be read: {error}"))?;
    let changed = canary.apply(&product).map_err(|misfit| misfit.what)?;
    let written = scratch.write(&changed);
    written.map_err(|error| format!("the copy cannot be written: {error}"))
}

/// The head of the table.
pub fn head() -> String {
    format!(
        "{:28} {:>7} {:>7} {:>7}  seen as",
        "canary", "first", "median", "found"
    )
}

/// A line of the table.
pub fn row(verdict: &Verdict) -> String {
    let mut line = format!("{:28}", verdict.name);
    match &verdict.hunt {
        Err(_) => line.push_str(" of no use"),
        Ok(hunt) => {
            for count in [hunt.first(), hunt.median()] {
                let text = count.map_or_else(|| "never".to_owned(), |count| count.to_string());
                let _ = write!(line, " {text:>7}");
            }
            let found = format!("{}/{}", hunt.found(), hunt.finds.len());
            let _ = write!(line, " {found:>7} ");
            for (invariant, times) in hunt.invariants() {
                let _ = write!(line, " {invariant} {times}×");
            }
        }
    }
    line
}

/// All of it, for programs.
pub fn json(verdicts: &[Verdict], windows: u64) -> String {
    let each = verdicts.iter().map(|verdict| {
        let mut report = serde_json::json!({
            "name": verdict.name,
            "about": verdict.about,
            "complaint": verdict.complaint(),
        });
        if let Ok(hunt) = &verdict.hunt {
            let finds = hunt.finds.iter().map(|find| match find {
                Find::After {
                    seeds,
                    invariant,
                    what,
                } => serde_json::json!({ "seeds": seeds, "invariant": invariant, "what": what }),
                Find::Never => serde_json::Value::Null,
            });
            report["first"] = hunt.first().into();
            report["median"] = hunt.median().into();
            report["windows"] = finds.collect();
        }
        report
    });
    let report = serde_json::json!({
        "windows": windows,
        "seeds_max": SEEDS_MAX,
        "median_max": MEDIAN_MAX,
        "canaries": each.collect::<Vec<_>>(),
        "host": host::Host::look().json(),
    });
    format!("{report:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_canary_applies() {
        let canaries = all(None).unwrap();
        assert!(canaries.len() >= 12, "only {} canaries", canaries.len());
        let product = scratch::product().unwrap();
        let misfits = canaries.iter().filter_map(|one| one.apply(&product).err());
        let misfits: Vec<String> = misfits.map(|misfit| misfit.to_string()).collect();
        assert!(misfits.is_empty(), "{misfits:#?}");
    }

    #[test]
    fn a_canary_that_is_missed_or_takes_long_is_complained_of() {
        let verdict = |finds: &[u64]| Verdict {
            name: "it".into(),
            about: String::new(),
            hunt: Ok(Hunt {
                finds: finds
                    .iter()
                    .map(|&seeds| match seeds {
                        0 => Find::Never,
                        seeds => Find::After {
                            seeds,
                            invariant: "Caps".into(),
                            what: String::new(),
                        },
                    })
                    .collect(),
            }),
        };
        assert_eq!(verdict(&[1, 99, 5000]).complaint(), None);
        assert!(verdict(&[1, 100, 5000]).complaint().is_some());
        assert!(verdict(&[1, 2, 0]).complaint().is_some());
        assert!(row(&verdict(&[1, 2, 0])).contains("2/3"));
    }
}
