//! How much worse a run may be: `p99:+5%,throughput:-3%`.
//!
//! Owns how limits are written. Never: applies them.

use super::metric::{METRICS, Metric};

/// A change that must not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limit {
    pub(crate) metric: Metric,
    /// As a share of the first run's value, or of all requests for `errors`; its sign tells which side is forbidden.
    pub(crate) change: f64,
}

impl Limit {
    /// Reads one or more, separated by commas.
    pub(crate) fn all(text: &str) -> Result<Vec<Self>, String> {
        text.split(',').map(|one| Self::one(one.trim())).collect()
    }

    fn one(text: &str) -> Result<Self, String> {
        let (name, change) = text
            .split_once(':')
            .ok_or_else(|| format!("`{text}` is no limit; one is written like p99:+5%"))?;
        let metric = METRICS.into_iter().find(|metric| metric.key() == name);
        let metric = metric.ok_or_else(|| {
            let names = METRICS.map(Metric::key).join(", ");
            format!("`{name}` is not compared; those that are: {names}")
        })?;
        let number = change
            .strip_suffix('%')
            .ok_or_else(|| format!("`{change}` does not end in %"))?;
        if !number.starts_with(['+', '-']) {
            return Err(format!("`{change}` does not begin with + or -"));
        }
        let percent: f64 = number
            .parse()
            .map_err(|_| format!("`{number}` is no number"))?;
        if !percent.is_finite() || percent.abs() > 10_000.0 {
            return Err(format!("`{change}` is too large"));
        }
        Ok(Self {
            metric,
            change: percent / 100.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        let limits = Limit::all("p99:+5%, throughput:-2.5%,errors:+0.1%").unwrap();
        let read: Vec<_> = limits.iter().map(|l| (l.metric.key(), l.change)).collect();
        assert_eq!(
            read,
            [("p99", 0.05), ("throughput", -0.025), ("errors", 0.001)]
        );
    }

    #[test]
    fn what_is_none_is_refused_with_what_is() {
        for (bad, why) in [
            ("", "no limit"),
            ("p99", "p99:+5%"),
            ("p98:+5%", "p50, p90, p99, p999"),
            ("p99:5%", "+ or -"),
            ("p99:+5", "%"),
            ("p99:+x%", "no number"),
            ("p99:+NaN%", "too large"),
            ("p99:+1e9%", "too large"),
        ] {
            let error = Limit::all(bad).expect_err(bad);
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
