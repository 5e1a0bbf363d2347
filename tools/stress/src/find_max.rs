//! `find-max`: the highest rate at which an SLO is kept.
//!
//! Owns: the search. It doubles until a rate breaks the SLO, bisects down to a few hundredths, and confirms the outcome by a longer
//! load; a rate has broken it only if it does so twice, since a single bad moment proves nothing. Never: loads by itself.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::FindMaxOptions;
use crate::failure::{EXIT_MACHINE, EXIT_REQUESTS_FAILED, Failure};
use crate::measure;
use crate::report::{self, Outputs};
use crate::slo::Slo;
use crate::trial::{Stage, Trial};

/// No rate above this is tried.
const RATE_MAX: f64 = 1e7;
/// How often the outcome is lowered where it is not confirmed.
const LOWERED_MAX: usize = 8;
/// So many times as long the outcome is loaded to be confirmed.
const CONFIRMED_BY: u32 = 3;

/// `stress find-max`. Beside what was found, exit code 3 says that the tool was the limit beyond it.
pub(crate) fn run(options: &FindMaxOptions) -> Result<ExitCode, Failure> {
    let outputs = Outputs::of_json(options.trial.json.clone())?;
    measure::raise_descriptor_limit();
    let stage = Stage::of(&options.trial)?;
    let found = find(options, &stage, |line| outputs.say(line))?;
    outputs.say(&found.says(&options.slo));
    outputs.write_json(&found.json(options, &stage))?;
    Ok(match (found.rate, &found.limited) {
        (_, Some(_)) if !found.interrupted => ExitCode::from(EXIT_MACHINE),
        (Some(_), _) => ExitCode::SUCCESS,
        (None, _) => ExitCode::from(EXIT_REQUESTS_FAILED),
    })
}

/// Where the search is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Search {
    /// The next rate to try.
    Try(f64),
    /// This rate is to be confirmed.
    Confirm(f64),
    /// The outcome; `None` if even the lowest rate broke the SLO.
    Found(Option<f64>),
}

/// The search, without the loads.
#[derive(Clone, Debug)]
struct Bisection {
    /// The highest that was kept to, and the lowest that was not.
    kept: Option<f64>,
    broken: Option<f64>,
    precision: f64,
    lowered: usize,
    search: Search,
}

impl Bisection {
    /// Begins at `from`, and ends where both sides are so close, as a fraction of 1.
    fn new(from: f64, precision: f64) -> Self {
        Self {
            kept: None,
            broken: None,
            precision,
            lowered: 0,
            search: Search::Try(from),
        }
    }

    fn search(&self) -> Search {
        self.search
    }

    /// What came of the rate that was to be tried or confirmed.
    fn learn(&mut self, kept: bool) {
        self.search = match (self.search, kept) {
            (Search::Found(_), _) => return,
            (Search::Confirm(rate), true) => Search::Found(Some(rate)),
            (Search::Confirm(rate), false) => {
                self.lowered += 1;
                let next = rate / (1.0 + self.precision);
                if self.lowered > LOWERED_MAX {
                    Search::Found(None)
                } else {
                    Search::Confirm(next)
                }
            }
            (Search::Try(rate), true) => {
                self.kept = Some(rate);
                self.next(rate * 2.0)
            }
            (Search::Try(rate), false) => {
                self.broken = Some(rate);
                self.next(rate / 2.0)
            }
        };
    }

    fn next(&self, otherwise: f64) -> Search {
        match (self.kept, self.broken) {
            (Some(kept), Some(broken)) if broken <= kept * (1.0 + self.precision) => {
                Search::Confirm(kept)
            }
            (Some(kept), Some(broken)) => Search::Try((kept * broken).sqrt()),
            (Some(kept), None) if otherwise > RATE_MAX => Search::Confirm(kept),
            (None, Some(_)) if otherwise < 1.0 => Search::Found(None),
            (_, _) => Search::Try(otherwise),
        }
    }
}

/// What was found.
struct Found {
    rate: Option<f64>,
    /// Every load, with what it broke; nothing if it kept to the SLO.
    trials: Vec<(Trial, Vec<String>)>,
    /// The tool was the limit at this trial: there may be more to the server.
    limited: Option<String>,
    interrupted: bool,
}

/// Searches; `told` gets a line for each load.
fn find(
    options: &FindMaxOptions,
    stage: &Stage,
    mut told: impl FnMut(&str),
) -> Result<Found, Failure> {
    let mut search = Bisection::new(options.start, options.precision);
    let mut found = Found {
        rate: None,
        trials: Vec::new(),
        limited: None,
        interrupted: false,
    };
    told(&Trial::head());
    loop {
        let (rate, times) = match search.search() {
            Search::Try(rate) => (rate, 1),
            Search::Confirm(rate) => (rate, CONFIRMED_BY),
            Search::Found(rate) => {
                found.rate = rate;
                return Ok(found);
            }
        };
        let kept = try_twice(rate, times, &options.slo, stage, &mut found, &mut told)?;
        if stage.interrupt.requested() {
            found.interrupted = true;
            return Ok(found);
        }
        search.learn(kept);
    }
}

/// Whether the SLO is kept, the second time if not the first. A load in which the tool was the limit counts as one that
/// broke it: at that rate this tool, here, cannot say.
fn try_twice(
    rate: f64,
    times: u32,
    slo: &Slo,
    stage: &Stage,
    found: &mut Found,
    told: &mut impl FnMut(&str),
) -> Result<bool, Failure> {
    let mut limit = None;
    for attempt in 0..2 {
        let trial = stage.try_rate(rate, times)?;
        if stage.interrupt.requested() {
            return Ok(false);
        }
        let mut broken = slo.broken(&trial.result);
        let invalid = trial.invalid().map(str::to_owned);
        // Of two attempts one that counts decides why the rate was not kept to.
        if attempt == 0 || limit.is_some() {
            limit.clone_from(&invalid);
        }
        broken.extend(invalid.map(|invalid| format!("INVALID: {invalid}")));
        let verdict = match (broken.is_empty(), times) {
            (true, 1) => "kept".to_owned(),
            (true, _) => "confirmed".to_owned(),
            (false, _) => format!("broken: {}", broken.join(", ")),
        };
        told(&trial.line(&verdict));
        let kept = broken.is_empty();
        found.trials.push((trial, broken));
        if kept {
            return Ok(true);
        }
    }
    // Rates that are not kept to come lower and lower: the last of them lies next to the outcome.
    found.limited = limit;
    Ok(false)
}

impl Found {
    fn json(&self, options: &FindMaxOptions, stage: &Stage) -> Value {
        let trials = self.trials.iter().map(|(trial, broken)| {
            let mut json = trial.json();
            json["broken"] = json!(broken);
            json
        });
        json!({
            "command": report::command(),
            "slo": options.slo.to_string(),
            "plan": stage.json(),
            "rate": self.rate,
            "limited_by_tool": self.limited,
            "interrupted": self.interrupted,
            "trials": trials.collect::<Vec<_>>(),
        })
    }

    /// In words.
    fn says(&self, slo: &Slo) -> String {
        match (self.rate, &self.limited) {
            _ if self.interrupted => "interrupted before anything was found".to_owned(),
            (Some(rate), None) => format!("{rate:.0} requests/s keep to {slo}"),
            (Some(rate), Some(limit)) => {
                format!("{rate:.0} requests/s keep to {slo}; beyond that {limit}")
            }
            (None, _) => format!("no rate keeps to {slo}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where everything up to `most` is kept to, and what is confirmed up to `confirmed`.
    fn search(from: f64, most: f64, confirmed: f64) -> (Option<f64>, usize) {
        let mut search = Bisection::new(from, 0.04);
        for steps in 0..1000 {
            match search.search() {
                Search::Try(rate) => search.learn(rate <= most),
                Search::Confirm(rate) => search.learn(rate <= confirmed),
                Search::Found(rate) => return (rate, steps),
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn it_ends_close_below_the_limit_wherever_it_begins() {
        for from in [1.0, 100.0, 3_000.0, 80_000.0] {
            for most in [2.0, 777.0, 3_333.0, 50_000.0] {
                let (found, steps) = search(from, most, most);
                let found = found.expect("there is one");
                assert!(
                    (most / 1.05..=most).contains(&found),
                    "{from} {most} {found}"
                );
                assert!(steps < 40, "{steps}");
            }
        }
    }

    #[test]
    fn what_is_not_confirmed_is_lowered_and_nothing_is_found_where_there_is_nothing() {
        let (found, _) = search(100.0, 1000.0, 900.0);
        assert!((850.0..=900.0).contains(&found.unwrap()), "{found:?}");
        assert_eq!(search(100.0, 0.0, 0.0).0, None);
        assert_eq!(search(100.0, 1000.0, 0.0).0, None);
        assert!(search(100.0, 1e12, 1e12).0.unwrap() > RATE_MAX / 2.0);
    }
}
