//! One load at one rate, of a series of them.
//!
//! Owns: what `find-max` and `curve` have in common: the plan but for its rate, and a line of their tables. Never: decides on a rate.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::{self, TrialOptions};
use crate::drive;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::load::{LoadPlan, LoadResult};
use crate::measure;
use crate::progress::Progress;
use crate::report::grouped;
use crate::slo::{self, Latency};
use crate::traffic::Traffic;

/// Quantiles that tables have a column for.
const COLUMNS: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// What can be loaded at any rate.
pub(crate) struct Stage {
    plan: LoadPlan,
    progress: Progress,
    pub(crate) interrupt: Interrupt,
}

/// What came of a rate.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// Requests a second that were meant to begin.
    pub(crate) rate: f64,
    pub(crate) result: LoadResult,
}

impl Stage {
    pub(crate) fn of(options: &TrialOptions) -> Result<Self, Failure> {
        let traffic = Traffic {
            seed: options.seed,
            arrivals: options.arrivals,
            callers: options.callers,
            think: options.calls.think,
            calls: options.calls.kinds(&cli::path_of(&options.url)),
            ..Traffic::default()
        };
        let plan = LoadPlan {
            url: options.url.clone(),
            connections: options.connections,
            shards: options.shards.unwrap_or_else(measure::shards_default),
            duration: options.duration,
            warmup: options.warmup,
            reuse: true,
            warm: true,
            resume: true,
            rate: None,
            ca: options.insecure_ca.clone().map(Vec::from),
            way: options.from,
            traffic,
        };
        Ok(Self {
            plan,
            progress: Progress::on_stderr(),
            interrupt: Interrupt::install()?,
        })
    }

    /// Loads at this rate, for so many times the usual duration.
    pub(crate) fn try_rate(&self, rate: f64, times: u32) -> Result<Trial, Failure> {
        let plan = LoadPlan {
            rate: Some(rate),
            duration: self.plan.duration * times,
            ..self.plan.clone()
        };
        let label = format!("{} requests/s", grouped(rate.round() as u64));
        let shown = self.progress.phase(&label, plan.warmup + plan.duration);
        let result = drive::run(&plan, &self.progress, &self.interrupt)?;
        drop(shown);
        Ok(Trial { rate, result })
    }

    /// What is the same for all rates.
    pub(crate) fn json(&self) -> Value {
        json!({
            "url": self.plan.url,
            "connections": self.plan.connections,
            "callers": self.plan.traffic.callers.unwrap_or(self.plan.connections),
            "shards": self.plan.shards,
            "duration_seconds": self.plan.duration.as_secs_f64(),
            "warmup_seconds": self.plan.warmup.as_secs_f64(),
            "arrivals": self.plan.traffic.arrivals.name(),
            "seed": self.plan.traffic.seed,
            "from": self.plan.way.name(),
        })
    }
}

impl Trial {
    /// Why it does not count, if it does not.
    pub(crate) fn invalid(&self) -> Option<&str> {
        self.result.invalid.first().map(String::as_str)
    }

    /// A line of the table.
    pub(crate) fn line(&self, verdict: &str) -> String {
        let mut line = format!(
            "{:>12} {:>12}",
            grouped(self.rate.round() as u64),
            grouped(self.result.throughput().unwrap_or(0.0).round() as u64),
        );
        for (_, quantile) in COLUMNS {
            let latency = Latency::Quantile(quantile).of(&self.result.latency);
            line.push_str(&format!("{:>11}", latency.map_or("-".to_owned(), millis)));
        }
        let lag = Duration::from_nanos(self.result.lag.value_at_quantile(0.99));
        line.push_str(&format!(
            "{:>9.3}%{:>11}  {verdict}",
            slo::errors(&self.result) * 100.0,
            millis(lag)
        ));
        line.trim_end().to_owned()
    }

    /// The table's head.
    pub(crate) fn head() -> String {
        let mut head = format!("{:>12} {:>12}", "requests/s", "answered/s");
        for (name, _) in COLUMNS {
            head.push_str(&format!("{name:>11}"));
        }
        head.push_str(&format!("{:>10}{:>11}", "errors", "lag p99"));
        head
    }

    pub(crate) fn json(&self) -> Value {
        let latencies = COLUMNS.iter().map(|(name, quantile)| {
            let latency = Latency::Quantile(*quantile).of(&self.result.latency);
            (
                (*name).to_owned(),
                json!(latency.map(|latency| latency.as_secs_f64() * 1e6)),
            )
        });
        let lag = self.result.lag.value_at_quantile(0.99) as f64 / 1e3;
        json!({
            "rate": self.rate,
            "answered_per_second": self.result.throughput(),
            "latency_us": serde_json::Map::from_iter(latencies),
            "errors": self.result.failed,
            "error_share": slo::errors(&self.result),
            "hit_rate": self.result.hit_rate(),
            "lag_p99_us": lag,
            "invalid": self.result.invalid,
        })
    }
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
