//! One of several agents that made up a run: where it ran, what it gave, and how well it kept time with the others.
//!
//! Owns what is kept of it beside the sum of all; its keys in JSON are a promise: they may be added to, never renamed. Never: adds up.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::load::LoadResult;
use crate::record::Kept;

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Its address.
    pub(crate) agent: String,
    /// Why its part is missing, if it is.
    pub(crate) lost: Option<String>,
    /// The facts of its host, as it told them.
    pub(crate) host: Value,
    pub(crate) requests: Requests,
    pub(crate) throughput_rps: Option<f64>,
    pub(crate) latency_us: Latency,
    pub(crate) cpu_us_per_request: Option<f64>,
    /// Why its part does not count.
    pub(crate) invalid: Vec<String>,
    /// How wrong what is known of its clock can be: half of the shortest round trip.
    pub(crate) clock_error_us: Option<f64>,
    /// How much later than meant it began; below zero if earlier.
    pub(crate) late_us: Option<f64>,
    /// When its window opened, from the moment at which all were to begin.
    pub(crate) opened_us: Option<f64>,
}

/// What became of its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

/// From the intended start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) max: Option<f64>,
}

/// How it began, by the conductor's clock, in seconds from the moment at which all were to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) clock_error: Duration,
    pub(crate) late: f64,
    pub(crate) opened: f64,
}

impl Member {
    /// One that has reported.
    pub(crate) fn of(agent: &str, kept: &Kept, begun: Begun) -> Self {
        let result = &kept.result;
        Self {
            agent: agent.to_owned(),
            lost: None,
            host: kept.host.clone(),
            requests: Requests {
                ok: result.ok,
                failed: result.failed_total(),
            },
            throughput_rps: result.throughput(),
            latency_us: Latency::of(result),
            cpu_us_per_request: result.us_per_request(result.cpu.user + result.cpu.system),
            invalid: result.invalid.clone(),
            clock_error_us: Some(begun.clock_error.as_secs_f64() * 1e6),
            late_us: Some(begun.late * 1e6),
            opened_us: Some(begun.opened * 1e6),
        }
    }

    /// One that has not.
    pub(crate) fn lost(agent: String, why: String) -> Self {
        Self {
            agent,
            lost: Some(why),
            ..Self::default()
        }
    }

    /// How far apart their windows opened, as far as that is known.
    pub(crate) fn apart(all: &[Self]) -> Duration {
        let opened = || all.iter().filter_map(|member| member.opened_us);
        let first = opened().fold(f64::INFINITY, f64::min);
        let last = opened().fold(f64::NEG_INFINITY, f64::max);
        Duration::try_from_secs_f64((last - first) / 1e6).unwrap_or_default()
    }

    /// The largest error of a clock.
    pub(crate) fn clock_error(all: &[Self]) -> Duration {
        let errors = all.iter().filter_map(|member| member.clock_error_us);
        Duration::try_from_secs_f64(errors.fold(0.0, f64::max) / 1e6).unwrap_or_default()
    }

    /// How well all of them kept time, in a sentence.
    pub(crate) fn together(all: &[Self]) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "{} agents: their windows opened {:.3} ms apart; clocks are known to {:.3} ms.",
            all.len(),
            ms(Self::apart(all)),
            ms(Self::clock_error(all)),
        )
    }
}

impl Latency {
    fn of(result: &LoadResult) -> Self {
        Self {
            p50: result.latency_us(0.5),
            p90: result.latency_us(0.9),
            p99: result.latency_us(0.99),
            p999: result.latency_us(0.999),
            max: result.latency_us(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_apart_they_were_is_told_of_those_that_tell() {
        let member = |opened_us, clock_error_us| Member {
            opened_us,
            clock_error_us,
            ..Member::default()
        };
        let all = [
            member(Some(1500.0), Some(20.0)),
            member(None, None),
            member(Some(-500.0), Some(80.0)),
        ];
        assert_eq!(Member::apart(&all), Duration::from_millis(2));
        assert_eq!(Member::clock_error(&all), Duration::from_micros(80));
        assert_eq!(Member::apart(&all[1..2]), Duration::ZERO);
        assert!(Member::together(&all).contains("2.000 ms apart"));
    }

    #[test]
    fn a_member_comes_back_as_it_went() {
        let member = Member {
            late_us: Some(-3.5),
            host: serde_json::json!({ "kernel": "6.1" }),
            ..Member::lost("h:1".to_owned(), "it went away".to_owned())
        };
        let text = serde_json::to_string(&member).unwrap();
        assert_eq!(serde_json::from_str::<Member>(&text).unwrap(), member);
    }
}
