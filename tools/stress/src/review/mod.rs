//! `stress review`: what a run says of its pool's settings, as advice with its reason.
//!
//! Owns what is shown. Rules are in `rules`, what they go by in `facts`. Never: advises without a figure.

mod exposition;
mod facts;
mod rules;

use std::fmt::Write;
use std::io;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::ReviewOptions;
use crate::failure::Failure;
use crate::record::{self, Kept};
use crate::report;
use facts::Facts;

/// One piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    /// Which rule, for programs.
    pub(crate) rule: &'static str,
    /// Whether something should be changed; else it is only good to know.
    pub(crate) change: bool,
    /// What to do, or what is so.
    pub(crate) says: String,
    /// The figures that it goes by.
    pub(crate) reason: String,
}

/// Reviews what the file holds.
pub(crate) fn run(options: &ReviewOptions) -> Result<ExitCode, Failure> {
    let advice = advice(options)?;
    if options.json {
        let told: Vec<_> = advice
            .iter()
            .map(|one| {
                json!({
                    "rule": one.rule,
                    "change": one.change,
                    "says": one.says,
                    "reason": one.reason,
                })
            })
            .collect();
        report::write(io::stdout(), &format!("{:#}\n", json!({ "advice": told })))?;
    } else {
        report::write(io::stdout(), &text(&advice))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Of a run that was kept, or of each upstream of a scrape.
fn advice(options: &ReviewOptions) -> Result<Vec<Advice>, Failure> {
    let text = record::text_of(&options.run)?;
    let failed = |why: String| Failure::Usage(format!("{}: {why}", options.run.display()));
    if text.trim_start().starts_with('{') {
        let kept = Kept::read(&text, options.phase.as_deref());
        let kept = kept.map_err(|e| failed(e.to_string()))?;
        return Ok(rules::all(&Facts::of(&kept)));
    }
    let scrape = exposition::read(&text).map_err(|exposition::NoMetrics| {
        failed("it is neither a run that was kept nor metrics of ringpool's pools".to_owned())
    })?;
    let of_upstreams = scrape.upstreams.iter().flat_map(|(name, facts)| {
        let named = move |one: Advice| Advice {
            says: format!("{name}: {}", one.says),
            ..one
        };
        rules::all(facts).into_iter().map(named)
    });
    let mut all = rules::all(&scrape.engine);
    all.extend(of_upstreams);
    Ok(all)
}

fn text(advice: &[Advice]) -> String {
    if advice.is_empty() {
        return "Nothing stands out.\n".to_owned();
    }
    let mut text = String::new();
    for one in advice {
        let mark = if one.change { "change" } else { "note" };
        let _ = writeln!(
            text,
            "{mark:<7} {}\n{:<7} because {}",
            one.says, "", one.reason
        );
    }
    text
}

#[cfg(test)]
mod tests;
