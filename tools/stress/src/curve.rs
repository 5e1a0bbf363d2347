//! `curve`: latency against rate.
//!
//! Owns: which rates, and their table. Never: judges; a rate that does not count says so.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::CurveOptions;
use crate::failure::{EXIT_MACHINE, Failure};
use crate::measure;
use crate::report::{self, Outputs};
use crate::trial::{Stage, Trial};

/// The most rates of one curve.
const RATES_MAX: usize = 1000;

/// Rates to go through: `100..10000` in steps that multiply, or a list `100,200,500`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rates {
    Between(f64, f64),
    Each(Vec<f64>),
}

impl Rates {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rate = |text: &str| crate::cli::rate(text.trim()).map_err(|e| format!("`{text}`: {e}"));
        if let Some((from, to)) = text.split_once("..") {
            let (from, to) = (rate(from)?, rate(to)?);
            return if from < to {
                Ok(Self::Between(from, to))
            } else {
                Err(format!("`{text}` goes from high to low"))
            };
        }
        let rates: Result<Vec<f64>, String> = text.split(',').map(rate).collect();
        let rates = rates?;
        if rates.len() > RATES_MAX {
            return Err(format!("more than {RATES_MAX} rates"));
        }
        Ok(Self::Each(rates))
    }

    /// One after the other; in `steps` of them where only the ends are given.
    fn all(&self, steps: usize) -> Vec<f64> {
        match self {
            Self::Each(rates) => rates.clone(),
            Self::Between(from, to) => {
                let last = steps.max(2) - 1;
                let at = |step: usize| from * (to / from).powf(step as f64 / last as f64);
                (0..=last).map(at).collect()
            }
        }
    }
}

/// `stress curve`. Exit code 3 says that at some rate the tool was the limit; one that was interrupted has the rates until then.
pub(crate) fn run(options: &CurveOptions) -> Result<ExitCode, Failure> {
    let outputs = Outputs::of_json(options.trial.json.clone())?;
    measure::raise_descriptor_limit();
    let stage = Stage::of(&options.trial)?;
    let trials = draw(options, &stage, |line| outputs.say(line))?;
    if stage.interrupt.requested() {
        outputs.say("interrupted: the rates above are those that were loaded until then");
    }
    outputs.write_json(&json(&trials, &stage))?;
    let invalid = trials.iter().any(|trial| trial.invalid().is_some());
    Ok(stage.interrupt.exit_or(match invalid {
        true => ExitCode::from(EXIT_MACHINE),
        false => ExitCode::SUCCESS,
    }))
}

/// Loads at each rate; `told` gets a line for each.
fn draw(
    options: &CurveOptions,
    stage: &Stage,
    mut told: impl FnMut(&str),
) -> Result<Vec<Trial>, Failure> {
    let mut trials = Vec::new();
    told(&Trial::head());
    for rate in options.rates.all(options.steps) {
        let trial = stage.try_rate(rate, 1)?;
        if stage.interrupt.requested() {
            break;
        }
        let verdict = trial.invalid().map(|invalid| format!("INVALID: {invalid}"));
        told(&trial.line(verdict.as_deref().unwrap_or_default()));
        trials.push(trial);
    }
    Ok(trials)
}

/// The curve for programs.
fn json(trials: &[Trial], stage: &Stage) -> Value {
    json!({
        "command": report::command(),
        "plan": stage.json(),
        "rates": trials.iter().map(Trial::json).collect::<Vec<_>>(),
        "interrupted": stage.interrupt.requested(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_given_one_by_one_or_by_their_ends() {
        assert_eq!(Rates::parse("100, 200").unwrap().all(9), [100.0, 200.0]);
        let rates = Rates::parse("100..10000").unwrap().all(5);
        let rounded: Vec<f64> = rates.iter().map(|rate| rate.round()).collect();
        assert_eq!(rounded, [100.0, 316.0, 1000.0, 3162.0, 10_000.0]);
        for bad in ["", "5..2", "1,x", "0..5", "1.."] {
            assert!(Rates::parse(bad).is_err(), "{bad}");
        }
    }
}
