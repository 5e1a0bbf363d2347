//! `find-max`: the highest rate at which an SLO is kept.
//!
//! Owns: what a load has to come to for its rate to be kept (the SLO, and that it could go on: `behind`), and what is told of the
//! outcome. A rate has broken the SLO only if it does so twice, since a single bad moment proves nothing. `search` has which rate comes
//! next. Never: loads by itself.

mod behind;
mod search;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::FindMaxOptions;
use crate::failure::{EXIT_MACHINE, EXIT_REQUESTS_FAILED, Failure};
use crate::measure;
use crate::report::{self, Outputs};
use crate::slo::Slo;
use crate::trial::{Stage, Trial};
use search::{Next, RATE_MAX, RATE_MIN, Search};

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
    Ok(stage.interrupt.exit_or(match (found.rate, &found.limited) {
        (_, Some(_)) => ExitCode::from(EXIT_MACHINE),
        (Some(_), None) => ExitCode::SUCCESS,
        (None, None) => ExitCode::from(EXIT_REQUESTS_FAILED),
    }))
}

/// What was found.
#[derive(Default)]
struct Found {
    /// The highest that was confirmed.
    rate: Option<f64>,
    /// The highest that was kept to so far, where the user ended the search before any was confirmed.
    unconfirmed: Option<f64>,
    /// No rate was broken, up to the highest that is tried.
    endless: bool,
    /// Every load, with what it broke; nothing if it kept to the SLO.
    trials: Vec<(Trial, Vec<String>)>,
    /// The tool was the limit at the lowest rate that was not kept to: there may be more to the server.
    limited: Option<String>,
    interrupted: bool,
}

/// Searches; `told` gets a line for each load.
fn find(
    options: &FindMaxOptions,
    stage: &Stage,
    mut told: impl FnMut(&str),
) -> Result<Found, Failure> {
    let mut search = Search::new(options.start, options.precision);
    let mut found = Found::default();
    told(&format!("searched: the highest rate with {}", options.slo));
    told(&Trial::head());
    loop {
        let (rate, times) = match search.next() {
            Next::Try(rate) => (rate, 1),
            Next::Confirm(rate) => (rate, CONFIRMED_BY),
            Next::Found(rate) => {
                found.rate = rate;
                found.endless = !search.has_broken();
                return Ok(found);
            }
        };
        let kept = try_twice(rate, times, &options.slo, stage, &mut found, &mut told)?;
        if stage.interrupt.requested() {
            found.interrupted = true;
            match search.best() {
                Some((rate, true)) => found.rate = Some(rate),
                Some((rate, false)) => found.unconfirmed = Some(rate),
                None => {}
            }
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
        broken.extend(behind::broken(&trial.result));
        let invalid = trial.invalid().map(str::to_owned);
        // Of two attempts one that counts decides why the rate was not kept to.
        if attempt == 0 || limit.is_some() {
            limit.clone_from(&invalid);
        }
        broken.extend(invalid.map(|invalid| format!("INVALID: {invalid}")));
        let verdict = match (broken.is_empty(), times) {
            (true, 1) => "kept".to_owned(),
            (true, _) => "confirmed".to_owned(),
            (false, 1) => format!("broken: {}", broken.join(", ")),
            (false, _) => format!("not confirmed: {}", broken.join(", ")),
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
            "unconfirmed_rate": self.unconfirmed,
            "beyond_what_is_tried": self.endless,
            "limited_by_tool": self.limited,
            "interrupted": self.interrupted,
            "trials": trials.collect::<Vec<_>>(),
        })
    }

    /// In words.
    fn says(&self, slo: &Slo) -> String {
        let beyond = match (&self.limited, self.endless) {
            (Some(why), _) => {
                format!("\nBeyond that the tool was the limit, not the server: {why}")
            }
            (None, true) => format!("\nNo rate above {RATE_MAX:.0} is tried."),
            (None, false) => String::new(),
        };
        match (self.interrupted, self.rate, self.unconfirmed) {
            (true, Some(rate), _) => {
                format!("interrupted: {rate:.0} requests/s keep to {slo}, and maybe more")
            }
            (true, None, Some(rate)) => format!(
                "interrupted: {rate:.0} requests/s kept to {slo} so far, by a short load that was not confirmed"
            ),
            (true, None, None) => "interrupted before any rate was found".to_owned(),
            (false, Some(rate), _) => format!("{rate:.0} requests/s keep to {slo}{beyond}"),
            (false, None, _) => match &self.limited {
                Some(why) => format!(
                    "nothing is known: the tool was the limit at every rate down to {RATE_MIN:.0} request/s: {why}"
                ),
                None => {
                    let broken = self.trials.last().map(|(_, broken)| broken.join(", "));
                    format!(
                        "no rate keeps to {slo}: at {RATE_MIN:.0} request/s there is {}",
                        broken.unwrap_or_default()
                    )
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_says_who_was_the_limit() {
        let slo = Slo::parse("p99<5ms").unwrap();
        let says = |found: &Found| found.says(&slo);
        let mut found = Found {
            rate: Some(2954.0),
            ..Found::default()
        };
        assert_eq!(says(&found), "2954 requests/s keep to p99<5ms,errors<1%");
        found.limited = Some("the tool was late".to_owned());
        let limited = says(&found);
        assert!(limited.contains("the tool was the limit, not the server: the tool was late"));
        found.rate = None;
        assert!(says(&found).starts_with("nothing is known"));
        found.limited = None;
        assert!(says(&found).starts_with("no rate keeps to"));
        let endless = Found {
            rate: Some(RATE_MAX),
            endless: true,
            ..Found::default()
        };
        assert!(says(&endless).contains("No rate above 10000000"));
    }

    #[test]
    fn what_was_interrupted_tells_what_it_has() {
        let slo = Slo::parse("p99<5ms,errors<5%").unwrap();
        let mut found = Found {
            interrupted: true,
            ..Found::default()
        };
        assert!(found.says(&slo).contains("before any rate"));
        found.unconfirmed = Some(800.0);
        let said = found.says(&slo);
        assert!(
            said.contains("800") && said.contains("not confirmed") && said.contains("errors<5%")
        );
    }
}
