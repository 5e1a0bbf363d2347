//! How fast cores run, and how deep they sleep: what makes two runs differ most on a quiet machine.

use crate::tree::{Tree, cores_in};
use serde::Serialize;

const CPU: &str = "sys/devices/system/cpu";

/// Frequency and idle states, of the cores that this process may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Power {
    /// The frequency governor; several, separated by commas, where cores differ.
    pub governor: Option<String>,
    /// Who sets frequencies, such as `intel_pstate`, `amd-pstate-epp`, `acpi-cpufreq`.
    pub frequency_driver: Option<String>,
    /// What the driver prefers: `performance` to `power`.
    pub energy_preference: Option<String>,
    /// The lowest and the highest frequency that is allowed, in kHz.
    pub frequency_khz: Option<[u64; 2]>,
    /// Whether cores may run above their nominal frequency.
    pub boost: Option<bool>,
    /// Who chooses idle states; `none`: nobody does.
    pub idle_driver: Option<String>,
    /// By which rule.
    pub idle_governor: Option<String>,
    /// The idle states that are not switched off, the deepest last.
    pub idle_states: Option<Vec<String>>,
}

impl Power {
    pub(crate) fn look(tree: &Tree) -> Power {
        let allowed = tree.field("proc/self/status", "Cpus_allowed_list");
        let cores = cores_in(&allowed.unwrap_or_default());
        let of_cores = |file: &str| {
            let told = cores
                .iter()
                .filter_map(|core| tree.line(&format!("{CPU}/cpu{core}/cpufreq/{file}")));
            distinct(told)
        };
        let range = |core: &usize| {
            let end = |end| tree.number(&format!("{CPU}/cpu{core}/cpufreq/scaling_{end}_freq"));
            Some([end("min")?, end("max")?])
        };
        Power {
            governor: of_cores("scaling_governor"),
            frequency_driver: of_cores("scaling_driver"),
            energy_preference: of_cores("energy_performance_preference"),
            frequency_khz: cores.first().and_then(range),
            boost: boost(tree),
            idle_driver: tree.line(&format!("{CPU}/cpuidle/current_driver")),
            idle_governor: tree
                .line(&format!("{CPU}/cpuidle/current_governor"))
                .or_else(|| tree.line(&format!("{CPU}/cpuidle/current_governor_ro"))),
            idle_states: cores.first().and_then(|core| idle_states(tree, *core)),
        }
    }
}

/// What was told, each once.
fn distinct(told: impl Iterator<Item = String>) -> Option<String> {
    let mut told: Vec<_> = told.collect();
    told.sort();
    told.dedup();
    (!told.is_empty()).then(|| told.join(","))
}

fn boost(tree: &Tree) -> Option<bool> {
    let intel = tree.switch(&format!("{CPU}/intel_pstate/no_turbo"));
    let intel = intel.map(|is_off| !is_off);
    intel.or_else(|| tree.switch(&format!("{CPU}/cpufreq/boost")))
}

fn idle_states(tree: &Tree, core: usize) -> Option<Vec<String>> {
    let directory = format!("{CPU}/cpu{core}/cpuidle");
    let mut states: Vec<(u32, String)> = tree
        .names(&directory)?
        .into_iter()
        .filter_map(|state| {
            let depth = state.strip_prefix("state")?.parse().ok()?;
            let is_off = tree.switch(&format!("{directory}/{state}/disable"));
            let name = tree.line(&format!("{directory}/{state}/name"))?;
            (is_off != Some(true)).then_some((depth, name))
        })
        .collect();
    states.sort();
    Some(states.into_iter().map(|(_, name)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_that_differ_are_told_apart() {
        let told = ["powersave", "performance", "powersave"].map(str::to_owned);
        let governor = distinct(told.into_iter());
        assert_eq!(governor.as_deref(), Some("performance,powersave"));
        assert_eq!(distinct(std::iter::empty()), None);
    }
}
