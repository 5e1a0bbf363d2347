//! What `find-max` and `curve` may be asked for, and what calls are like, which `run` may be told as well.
//!
//! Owns: their options and defaults. Never: acts.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{certificates, connections, duration, duration_some, rate, shards, url, within};
use crate::arrivals::Arrivals;
use crate::curve::Rates;
use crate::load::WayIn;
use crate::slo::Slo;
use crate::traffic::{self, CallPlan};
use crate::words::{self, Spread};

/// What `find-max` and `curve` load, at each rate.
#[derive(Clone, Debug, Args)]
pub(crate) struct TrialOptions {
    /// What to GET: an http:// or https:// URL
    #[arg(value_parser = url)]
    pub(crate) url: String,
    /// idle_min and connections_max
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    pub(crate) connections: usize,
    /// Callers [default: as many as connections]
    #[arg(long, value_name = "N", value_parser = connections)]
    pub(crate) callers: Option<usize>,
    /// Shards of the engine [default: half of the cores, at least one]
    #[arg(long, value_name = "N", value_parser = shards)]
    pub(crate) shards: Option<usize>,
    /// How long to measure at each rate
    #[arg(long, value_name = "D", default_value = "2s", value_parser = duration_some)]
    pub(crate) duration: Duration,
    /// How long to load before measuring
    #[arg(long, value_name = "D", default_value = "500ms", value_parser = duration)]
    pub(crate) warmup: Duration,
    /// How starts lie within the rate: uniform, poisson, burst:N
    #[arg(long, value_name = "HOW", default_value = "uniform", value_parser = Arrivals::parse)]
    pub(crate) arrivals: Arrivals,
    #[command(flatten)]
    pub(crate) calls: CallOptions,
    /// What random numbers come from
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Trust the certificates in this PEM file instead of the public roots
    #[arg(long, value_name = "FILE", value_parser = certificates)]
    pub(crate) insecure_ca: Option<Box<[u8]>>,
    /// Where the callers run
    #[arg(long, default_value = "shards")]
    pub(crate) from: WayIn,
    /// Write the outcome as JSON to this file; - is standard output
    #[arg(long, value_name = "PATH|-")]
    pub(crate) json: Option<PathBuf>,
}

/// `stress find-max`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FindMaxOptions {
    #[command(flatten)]
    pub(crate) trial: TrialOptions,
    /// What has to be kept to, such as p99<5ms,errors<0.1%; latency counts from the intended start, and without a term for errors there is errors<1%
    #[arg(long, value_name = "TERMS", value_parser = Slo::parse)]
    pub(crate) slo: Slo,
    /// The first rate that is tried
    #[arg(long, value_name = "R", default_value = "1000", value_parser = rate)]
    pub(crate) start: f64,
    /// How close the outcome is
    #[arg(long, value_name = "SHARE%", default_value = "4%", value_parser = precision)]
    pub(crate) precision: f64,
}

/// `stress curve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CurveOptions {
    #[command(flatten)]
    pub(crate) trial: TrialOptions,
    /// Requests per second: 100..10000, or a list 100,200,500
    #[arg(long, value_name = "RATES", value_parser = Rates::parse)]
    pub(crate) rates: Rates,
    /// How many rates there are from the first to the last
    #[arg(long, value_name = "N", default_value = "10", value_parser = steps)]
    pub(crate) steps: usize,
}

/// What the calls of a load are like.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallOptions {
    /// The pause of a caller after each call: 5ms, exp:5ms, lognormal:5ms,0.5, bimodal:1ms,50ms,5%
    #[arg(long, value_name = "SPREAD", default_value = "0s", value_parser = Spread::of_durations)]
    pub(crate) think: Spread,
    /// Ask for responses of this size, by ?size=N: 4KiB, exp:4KiB and so on
    #[arg(long, value_name = "SPREAD", value_parser = Spread::of_sizes)]
    pub(crate) size: Option<Spread>,
    /// Send bodies of this size, up to 1 MiB, in POSTs
    #[arg(long, value_name = "SPREAD", value_parser = traffic::upload)]
    pub(crate) upload: Option<Spread>,
    /// The share of calls that send a body [default: all, with --upload]
    #[arg(long, value_name = "SHARE%", value_parser = words::share, requires = "upload")]
    pub(crate) uploads: Option<f64>,
    /// The share of calls after which their connection is closed
    #[arg(long, value_name = "SHARE%", default_value = "0%", value_parser = words::share)]
    pub(crate) churn: f64,
}

impl CallOptions {
    /// The kinds of calls to `path` that these make; none if they are plain GETs.
    pub(crate) fn kinds(&self, path: &str) -> Vec<CallPlan> {
        let plain = CallPlan {
            size: self.size,
            close: self.churn,
            ..CallPlan::get(path)
        };
        let uploads = match (self.upload, self.uploads) {
            (None, _) if self.size.is_none() && self.churn == 0.0 => return Vec::new(),
            (None, _) => return vec![plain],
            (Some(_), share) => share.unwrap_or(1.0),
        };
        let upload = CallPlan {
            name: "upload".to_owned(),
            upload: self.upload,
            weight: uploads,
            ..plain.clone()
        };
        let rest = CallPlan {
            weight: 1.0 - uploads,
            ..plain
        };
        let kinds = [rest, upload];
        kinds.into_iter().filter(|kind| kind.weight > 0.0).collect()
    }
}

fn precision(text: &str) -> Result<f64, String> {
    let share = words::share(text)?;
    if (0.005..=0.5).contains(&share) {
        Ok(share)
    } else {
        Err("it must lie between 0.5% and 50%".to_owned())
    }
}

fn steps(text: &str) -> Result<usize, String> {
    within(text, 2, 1000).map(|n| n as usize)
}
