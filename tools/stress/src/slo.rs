//! What a load has to keep to: `p99<5ms,errors<0.1%`.
//!
//! Owns: the grammar, and whether a result keeps to it. Latencies count from the intended start. Calls that fail are in no
//! percentile: so there is always a term for errors, [`ERRORS_MAX`] where none is written, or else a server would keep to it by
//! failing. Never: loads anything.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::LoadResult;
use crate::{measure, words};

/// The share of requests that may fail where nothing is said of errors.
const ERRORS_MAX: f64 = 0.01;

/// All terms; each has to be kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slo(Vec<Term>);

/// One of them.
#[derive(Clone, Debug, PartialEq)]
enum Term {
    /// The latency at this quantile, or the mean, is below.
    Latency(Latency, Duration),
    /// The share of requests that fail is below; of nothing, there are none.
    Errors(f64),
}

/// Of all latencies, this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Latency {
    Mean,
    /// As a fraction of 1; the maximum is 1.
    Quantile(f64),
}

impl Slo {
    /// Terms with commas between them: `p50`, `p99.9`, `max` or `mean`, `<`, a duration; `errors`, `<`, a share.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut terms, mut wrong) = (Vec::new(), Vec::new());
        for term in text.split(',') {
            match Term::parse(term.trim()) {
                Ok(term) => terms.push(term),
                Err(error) => wrong.push(error),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        if !terms.iter().any(|term| matches!(term, Term::Errors(_))) {
            terms.push(Term::Errors(ERRORS_MAX));
        }
        Ok(Self(terms))
    }

    /// The terms that `result` breaks, in words; none if it keeps to all.
    pub(crate) fn broken(&self, result: &LoadResult) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|term| term.broken(result))
            .collect()
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let (what, bound) = text
            .split_once('<')
            .ok_or_else(|| format!("`{text}` is no term such as p99<5ms or errors<0.1%"))?;
        let bound = bound.trim_start_matches('=');
        match what.trim() {
            "errors" => words::share(bound).map(Self::Errors),
            what => {
                let latency = Latency::parse(what)
                    .ok_or_else(|| format!("`{what}` is none of p0 to p100, max, mean, errors"))?;
                let most = measure::limit_of_latency(words::duration(bound)?)?;
                Ok(Self::Latency(latency, most))
            }
        }
    }

    fn broken(&self, result: &LoadResult) -> Option<String> {
        match self {
            Self::Latency(latency, most) => {
                let found = latency.of(&result.latency);
                match found {
                    Some(found) if found <= *most => None,
                    Some(found) => Some(format!("{latency} {:.2} ms", found.as_secs_f64() * 1e3)),
                    None => Some("nothing was answered".to_owned()),
                }
            }
            Self::Errors(most) => {
                let share = errors(result);
                (share > *most).then(|| format!("errors {:.3}%", share * 100.0))
            }
        }
    }
}

/// The share of requests that failed.
pub(crate) fn errors(result: &LoadResult) -> f64 {
    let failed = result.failed_total() as f64;
    failed / (failed + result.ok as f64).max(1.0)
}

impl Latency {
    /// `p50`, `p99.9`, `max`, `mean`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "mean" => Some(Self::Mean),
            "max" => Some(Self::Quantile(1.0)),
            _ => {
                let percent: f64 = text.strip_prefix('p')?.parse().ok()?;
                let known = (0.0..=100.0).contains(&percent);
                known.then_some(Self::Quantile(percent / 100.0))
            }
        }
    }

    /// Of what was answered; `None` if nothing was.
    pub(crate) fn of(self, histogram: &Histogram<u64>) -> Option<Duration> {
        if histogram.is_empty() {
            return None;
        }
        Some(Duration::from_nanos(match self {
            Self::Mean => histogram.mean() as u64,
            Self::Quantile(quantile) => histogram.value_at_quantile(quantile).min(histogram.max()),
        }))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::Quantile(1.0) => f.write_str("max"),
            // 0.999 × 100 is not quite 99.9.
            Self::Quantile(quantile) => write!(f, "p{}", (quantile * 1e8).round() / 1e6),
        }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, term) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str(",")?;
            }
            match term {
                Term::Latency(latency, most) => {
                    write!(f, "{latency}<{}", humantime::format_duration(*most))?;
                }
                Term::Errors(most) => write!(f, "errors<{}%", most * 100.0)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::record;

    #[test]
    fn terms_are_read_and_all_that_is_wrong_is_told() {
        let slo = Slo::parse("p99.9<5ms, errors<0.1%, max<1s,mean<=2ms").unwrap();
        assert_eq!(slo.to_string(), "p99.9<5ms,errors<0.1%,max<1s,mean<2ms");
        let wrong = Slo::parse("p101<5ms,errors<1,p99").unwrap_err();
        for part in ["p101", "share", "`p99`"] {
            assert!(wrong.contains(part), "{wrong}");
        }
        assert!(Slo::parse("").is_err());
        let endless = Slo::parse("p99<1m").unwrap_err();
        assert!(endless.contains("known up to 1m"), "{endless}");
        let unsaid = Slo::parse("p99<5ms").unwrap();
        assert_eq!(unsaid.to_string(), "p99<5ms,errors<1%");
    }

    #[test]
    fn a_result_keeps_to_it_or_not() {
        let mut result = LoadResult::default();
        let slo = Slo::parse("p50<5ms,errors<10%").unwrap();
        assert_eq!(slo.broken(&result), ["nothing was answered"]);
        for ms in [1, 2, 90] {
            record(&mut result.latency, Duration::from_millis(ms));
            result.ok += 1;
        }
        assert!(slo.broken(&result).is_empty());
        result.failed.insert("closed".to_owned(), 1);
        assert_eq!(slo.broken(&result), ["errors 25.000%"]);
        let silent = Slo::parse("p50<5ms").unwrap();
        assert_eq!(silent.broken(&result), ["errors 25.000%"], "unsaid as well");
        result.failed.clear();
        let tail = Slo::parse("max<50ms").unwrap();
        assert!(tail.broken(&result)[0].starts_with("max 90."));
    }
}
