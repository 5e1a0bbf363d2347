//! What a scenario file expects: a metric of a run, or of a part of it, and what is allowed.
//!
//! Owns: the metrics' names, how their values are written, and how they are taken from a result. Never: loads, or decides what holds:
//! that is `scenarios::Findings`.

use std::time::Duration;

use scenarios::{Bound, Unit};

use crate::load::LoadResult;
use crate::slo::{self, Latency};
use crate::{measure, words};

/// What calls fail by, as reports name it: a kind that nobody knows would never fail. The engine's, then the tool's own.
pub(crate) const KINDS: [&str; 26] = [
    "config",
    "unsupported",
    "request",
    "request_body",
    "resolve",
    "dial",
    "tls",
    "timeout_wait",
    "timeout_dial",
    "timeout_send",
    "timeout_head",
    "timeout_body",
    "timeout_ready",
    "closed",
    "protocol",
    "limit",
    "shed",
    "breaker",
    "refused",
    "forbidden",
    "draining",
    "status_4xx",
    "status_5xx",
    "status_other",
    "unfinished",
    "not_started",
];

/// Something that can be expected of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Metric {
    /// From the intended start.
    Latency(Latency),
    /// From the send.
    Sent(Latency),
    /// The tool's own lag, at p99.
    Lag,
    /// Answers a second.
    Rate,
    /// The share of requests that fail.
    Errors,
    /// How many fail; of one kind, if one is named.
    Failed(Option<String>),
    /// The share of checkouts that find an idle connection.
    HitRate,
    /// What the engine counts.
    Count(Count),
}

/// A count of the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Dials,
    Waits,
    Evictions,
    /// Connections made since the engine started.
    Opened,
    /// Handshakes since the engine started.
    HandshakesFull,
    HandshakesResumed,
}

/// An expectation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    pub(crate) metric: Metric,
    /// As it is written.
    pub(crate) name: String,
    /// Of this phase; else of the whole run.
    pub(crate) phase: Option<usize>,
    /// Of this kind of call; else of all.
    pub(crate) call: Option<usize>,
    /// Where the sweep has this value, by its number; else everywhere.
    pub(crate) at: Option<usize>,
    pub(crate) least: Option<Limit>,
    pub(crate) most: Option<Limit>,
    /// Why, in the author's words.
    pub(crate) why: Option<String>,
}

/// What a value is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    Is(f64),
    /// So many times what it is in this phase.
    Times(f64, usize),
}

impl Metric {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let count = |count| Ok(Self::Count(count));
        if let Some(kind) = text.strip_prefix("failed.") {
            if !KINDS.contains(&kind) {
                let known = KINDS.join(", ");
                return Err(format!("nothing fails by `{kind}`; kinds are {known}"));
            }
            return Ok(Self::Failed(Some(kind.to_owned())));
        }
        if let Some(latency) = text.strip_prefix("sent.").and_then(Latency::parse) {
            return Ok(Self::Sent(latency));
        }
        match text {
            "lag" => Ok(Self::Lag),
            "rate" => Ok(Self::Rate),
            "errors" => Ok(Self::Errors),
            "failed" => Ok(Self::Failed(None)),
            "hit_rate" => Ok(Self::HitRate),
            "dials" => count(Count::Dials),
            "waits" => count(Count::Waits),
            "evictions" => count(Count::Evictions),
            "opened" => count(Count::Opened),
            "handshakes_full" => count(Count::HandshakesFull),
            "handshakes_resumed" => count(Count::HandshakesResumed),
            _ => Latency::parse(text).map(Self::Latency).ok_or_else(|| {
                format!(
                    "`{text}` is no metric: p0 to p100, max, mean, the same after `sent.`, lag, rate, errors, failed, \
                     failed.KIND, hit_rate, dials, waits, evictions, opened, handshakes_full, handshakes_resumed"
                )
            }),
        }
    }

    /// Whether only the engine knows it, and so not for a kind of call.
    pub(crate) fn is_the_engines(&self) -> bool {
        matches!(self, Self::HitRate | Self::Count(_))
    }

    pub(crate) fn unit(&self) -> Unit {
        match self {
            Self::Latency(_) | Self::Sent(_) | Self::Lag => Unit::Millis,
            Self::Errors | Self::HitRate => Unit::Share,
            Self::Rate | Self::Failed(_) | Self::Count(_) => Unit::Count,
        }
    }

    /// A limit as it is written for this metric: `5ms`, `0.1%`, `100`; or `2x PHASE`, which `phase` knows the number of.
    pub(crate) fn limit(
        &self,
        text: &str,
        phase: impl Fn(&str) -> Option<usize>,
    ) -> Result<Limit, String> {
        if let Some((factor, name)) = text.split_once("x ") {
            let factor = factor.trim().parse::<f64>().ok();
            let factor = factor.filter(|factor| factor.is_finite() && *factor >= 0.0);
            let factor =
                factor.ok_or_else(|| format!("`{text}` is no multiple such as 2x before"))?;
            let name = name.trim();
            let phase = phase(name).ok_or_else(|| format!("there is no phase `{name}`"))?;
            return Ok(Limit::Times(factor, phase));
        }
        let value = match self.unit() {
            Unit::Millis => measure::limit_of_latency(words::duration(text)?)?.as_secs_f64() * 1e3,
            Unit::Share => words::share(text)?,
            Unit::Count | Unit::Micros | Unit::Times => {
                let number = text.trim().parse::<f64>().ok();
                let number = number.filter(|number| number.is_finite() && *number >= 0.0);
                number.ok_or_else(|| format!("`{text}` is no number"))?
            }
        };
        Ok(Limit::Is(value))
    }

    /// Its value, in its unit; `None` if there is none, such as a latency of nothing.
    pub(crate) fn of(&self, result: &LoadResult) -> Option<f64> {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        match self {
            Self::Latency(latency) => latency.of(&result.latency).map(millis),
            Self::Sent(latency) => latency.of(&result.service).map(millis),
            Self::Lag => Latency::Quantile(0.99).of(&result.lag).map(millis),
            Self::Rate => result.throughput(),
            Self::Errors => Some(slo::errors(result)),
            Self::Failed(None) => Some(result.failed_total() as f64),
            Self::Failed(Some(kind)) => Some(result.failed.get(kind).copied().unwrap_or(0) as f64),
            Self::HitRate => result.hit_rate(),
            Self::Count(count) => Some(match count {
                Count::Dials => result.dials,
                Count::Waits => result.waits,
                Count::Evictions => result.evictions,
                Count::Opened => result.connections_opened,
                Count::HandshakesFull => result.handshakes_full,
                Count::HandshakesResumed => result.handshakes_resumed,
            } as f64),
        }
    }
}

impl Expectation {
    /// The bound that it comes to, where `value` tells the metric in a phase; `None` if that is not known.
    pub(crate) fn bound(&self, value: impl Fn(usize) -> Option<f64>) -> Option<Bound> {
        let limit = |limit: Limit| match limit {
            Limit::Is(limit) => Some(limit),
            Limit::Times(factor, phase) => value(phase).map(|value| factor * value),
        };
        match (self.least, self.most) {
            (Some(least), Some(most)) => Some(Bound::Within(limit(least)?, limit(most)?)),
            (Some(least), None) => limit(least).map(Bound::AtLeast),
            (None, Some(most)) => limit(most).map(Bound::AtMost),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::record;

    #[test]
    fn metrics_and_their_limits_are_read() {
        let limit = |metric: &str, text: &str| {
            let known = |name: &str| (name == "before").then_some(3);
            Metric::parse(metric).unwrap().limit(text, known)
        };
        assert_eq!(limit("p99.9", "5ms"), Ok(Limit::Is(5.0)));
        assert_eq!(limit("errors", "0.1%"), Ok(Limit::Is(0.001)));
        assert_eq!(limit("dials", "64"), Ok(Limit::Is(64.0)));
        assert_eq!(limit("sent.mean", "2x before"), Ok(Limit::Times(2.0, 3)));
        for (metric, text) in [
            ("p99", "5"),
            ("errors", "1"),
            ("dials", "5ms"),
            ("p50", "2x after"),
            ("max", "60s"),
        ] {
            assert!(limit(metric, text).is_err(), "{metric} {text}");
        }
        for bad in [
            "",
            "p101",
            "failures",
            "sent.dials",
            "failed.",
            "failed.timeout",
        ] {
            assert!(Metric::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_are_taken_from_results() {
        let mut result = LoadResult::default();
        let of = |metric: &str, result: &LoadResult| Metric::parse(metric).unwrap().of(result);
        assert_eq!(of("p99", &result), None);
        record(&mut result.latency, Duration::from_millis(4));
        result.ok = 3;
        result.failed.insert("closed".to_owned(), 1);
        (result.hits, result.misses) = (1, 3);
        assert!((of("max", &result).unwrap() - 4.0).abs() < 0.01);
        assert_eq!(of("errors", &result), Some(0.25));
        assert_eq!(of("failed.closed", &result), Some(1.0));
        assert_eq!(of("failed.dial", &result), Some(0.0));
        assert_eq!(of("hit_rate", &result), Some(0.25));
    }
}
