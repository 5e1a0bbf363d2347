//! What is known of the host: a figure without it cannot be judged.

use crate::process;
use serde::Serialize;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// The facts that every report carries; what cannot be read is `None`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Host {
    kernel: Option<String>,
    cpu: Option<String>,
    /// The frequency governor of the client's core.
    governor: Option<String>,
    /// Cores that the tool may use.
    cores: usize,
    pub(crate) client_core: usize,
    pub(crate) backend_core: usize,
    /// Runnable tasks at the start, averaged over a minute: more than none is other work beside.
    load_before: Option<f64>,
    /// UTC, ISO 8601.
    date: String,
}

impl Host {
    pub(crate) fn look(client_core: usize, backend_core: usize) -> Host {
        let governor = format!("/sys/devices/system/cpu/cpu{client_core}/cpufreq/scaling_governor");
        let load = line("/proc/loadavg");
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Host {
            kernel: line("/proc/sys/kernel/osrelease"),
            cpu: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|all| model(&all)),
            governor: line(&governor),
            cores: process::cores_allowed().len(),
            client_core,
            backend_core,
            load_before: load.and_then(|load| load.split(' ').next()?.parse().ok()),
            date: date(now.map_or(0, |since| since.as_secs())),
        }
    }

    /// One line for the table.
    pub(crate) fn summary(&self) -> String {
        let known = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "unknown".to_owned());
        format!(
            "Linux {}, {}, governor {}, {} cores; client on core {}, backend on core {}; {}",
            known(&self.kernel),
            known(&self.cpu),
            known(&self.governor),
            self.cores,
            self.client_core,
            self.backend_core,
            self.date,
        )
    }
}

fn line(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn model(cpuinfo: &str) -> Option<String> {
    let (_, name) = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?
        .split_once(':')?;
    Some(name.trim().to_owned())
}

/// Seconds since 1970 as a date and time, after Howard Hinnant's `civil_from_days`.
fn date(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(date(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(date(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn a_model_is_found_among_other_facts() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n";
        assert_eq!(model(cpuinfo).as_deref(), Some("AMD EPYC"));
        assert_eq!(model("Hardware\t: x\n"), None);
    }
}
