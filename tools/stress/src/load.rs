//! The boundary between the tool and what drives the engine: what is asked, what came back.
//!
//! `drive` alone knows the engine; everything else in the tool knows these types only.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use hdrhistogram::Histogram;

use crate::contacts::Contacts;
use crate::failure::Failure;
use crate::measure::CpuTime;
use crate::member::Member;
use crate::series::Series;
use crate::traffic::Traffic;

/// One load to apply.
#[derive(Clone, Debug)]
pub(crate) struct LoadPlan {
    /// What to GET; `http` or `https`, already checked.
    pub(crate) url: String,
    /// Callers, `idle_min` and `connections_max`; at least 1.
    pub(crate) connections: usize,
    /// Shards of the engine; at least 1.
    pub(crate) shards: usize,
    /// How long to measure, after the warm-up.
    pub(crate) duration: Duration,
    /// How long to load before; nothing of it is counted.
    pub(crate) warmup: Duration,
    /// Whether a connection may serve more than one request.
    pub(crate) reuse: bool,
    /// Whether all connections are kept, and waited for before the load; without reuse they never are. Else they
    /// come as they are needed, twice as many at most.
    pub(crate) warm: bool,
    /// Whether TLS sessions are resumed.
    pub(crate) resume: bool,
    /// Requests per second over all callers; `None` is a closed loop.
    pub(crate) rate: Option<f64>,
    /// Trust these certificates (PEM) and no others; `None` is the public roots.
    pub(crate) ca: Option<Vec<u8>>,
    /// Where the callers run.
    pub(crate) way: WayIn,
    /// What else there is to say of the load.
    pub(crate) traffic: Traffic,
}

/// The two ways into the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum WayIn {
    /// Tasks on the shards themselves
    #[default]
    Shards,
    /// Another thread, through the engine's handle
    Anywhere,
}

impl WayIn {
    /// As the user writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Anywhere => "anywhere",
        }
    }
}

/// Requests that ended while the window was open, whenever they began: what was carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
}

impl Carried {
    /// One more has ended.
    pub(crate) fn count(&mut self, is_ok: bool) {
        self.ok += u64::from(is_ok);
        self.failed += u64::from(!is_ok);
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            failed: self.failed + other.failed,
        }
    }
}

/// What a load gave. Requests and latencies are those that started in the measured window, however
/// late they ended, and those that outlasted it; other counts cover the window, unless they say the whole load.
#[derive(Clone, Debug)]
pub(crate) struct LoadResult {
    /// Latencies of the requests that succeeded, in nanoseconds; make it with
    /// [`measure::latencies`](crate::measure::latencies). At a fixed rate they count from the
    /// intended start.
    pub(crate) latency: Histogram<u64>,
    /// The same requests, from when each was sent; in a closed loop that is the same.
    pub(crate) service: Histogram<u64>,
    /// How late requests were sent though a caller was free: the tool's own lag. Empty in a closed loop.
    pub(crate) lag: Histogram<u64>,
    /// The window over time; its samples, with what came late, add up to the figures here.
    pub(crate) series: Series,
    /// Where the run's random numbers begin, if it has any.
    pub(crate) seed: Option<u64>,
    /// The agents whose parts these are the sum of, if there were any.
    pub(crate) members: Vec<Member>,
    /// Why the run does not count: the tool, or the machine, was the limit.
    pub(crate) invalid: Vec<String>,
    /// Requests answered with a complete response of a 2xx or 3xx status.
    pub(crate) ok: u64,
    /// All others, by kind of error.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Those that ended within the window; `None` where they are not told apart.
    pub(crate) carried: Option<Carried>,
    /// When the window opened, by the clock on the wall.
    pub(crate) began: Option<SystemTime>,
    /// How long the window really was.
    pub(crate) elapsed: Duration,
    /// CPU time of this process in the window.
    pub(crate) cpu: CpuTime,
    /// Checkouts served by an idle connection.
    pub(crate) hits: u64,
    /// Checkouts that found none.
    pub(crate) misses: u64,
    /// Dials begun.
    pub(crate) dials: u64,
    /// Checkouts that had to queue.
    pub(crate) waits: u64,
    /// Idle connections that were closed.
    pub(crate) evictions: u64,
    /// Calls that another shard ran than the one where they came in.
    pub(crate) steals: u64,
    /// Calls of tasks on a shard that were sent to another one, a home of the upstream.
    pub(crate) forwarded: u64,
    /// Full TLS handshakes, over the whole load, as the connections that they belong to.
    pub(crate) handshakes_full: u64,
    /// Resumed TLS handshakes, over the whole load.
    pub(crate) handshakes_resumed: u64,
    /// Estimated time that reuse and resumption saved, in seconds.
    pub(crate) handshake_seconds_avoided: f64,
    /// Connections opened, from the start of the load, the warm-up included.
    pub(crate) connections_opened: u64,
    /// The engine's dealings with servers, from the start of the load.
    pub(crate) contacts: Contacts,
    /// Whether the user ended it early.
    pub(crate) interrupted: bool,
}

impl Default for LoadResult {
    fn default() -> Self {
        Self {
            latency: crate::measure::latencies(),
            service: crate::measure::latencies(),
            lag: crate::measure::latencies(),
            series: Series::default(),
            seed: None,
            members: Vec::new(),
            invalid: Vec::new(),
            ok: 0,
            failed: BTreeMap::new(),
            carried: None,
            began: None,
            elapsed: Duration::ZERO,
            cpu: CpuTime::default(),
            hits: 0,
            misses: 0,
            dials: 0,
            waits: 0,
            evictions: 0,
            steals: 0,
            forwarded: 0,
            handshakes_full: 0,
            handshakes_resumed: 0,
            handshake_seconds_avoided: 0.0,
            connections_opened: 0,
            contacts: Contacts::default(),
            interrupted: false,
        }
    }
}

impl LoadResult {
    /// Failed requests of all kinds.
    pub(crate) fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// What ended within the window; all that is counted where that is not told apart.
    pub(crate) fn carried(&self) -> Carried {
        self.carried.unwrap_or_else(|| Carried {
            ok: self.ok,
            failed: self.failed_total(),
        })
    }

    /// Requests answered within the window per second: what came later was not carried by then. `None` if the window had no length.
    pub(crate) fn throughput(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| self.carried().ok as f64 / seconds)
    }

    /// Latency at a quantile (1.0 is the maximum) in microseconds; `None` without a sample.
    pub(crate) fn latency_us(&self, quantile: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| {
            self.latency
                .value_at_quantile(quantile)
                .min(self.latency.max()) as f64
                / 1e3
        })
    }

    /// `time` of the window shared out over all requests that ended in it, in microseconds; `None` without any.
    pub(crate) fn us_per_request(&self, time: Duration) -> Option<f64> {
        let carried = self.carried();
        let requests = carried.ok + carried.failed;
        (requests > 0).then(|| time.as_secs_f64() * 1e6 / requests as f64)
    }

    /// Share of checkouts served by an idle connection; `None` without a checkout.
    pub(crate) fn hit_rate(&self) -> Option<f64> {
        let checkouts = self.hits + self.misses;
        (checkouts > 0).then(|| self.hits as f64 / checkouts as f64)
    }
}

/// Why a load could not be applied at all. Requests that fail are not errors here.
#[derive(Debug)]
pub(crate) enum DriveError {
    /// The machine lacks what the engine needs.
    Machine {
        /// What is missing or forbidden.
        cause: String,
        /// What the user can do about it.
        remedy: String,
    },
    /// The plan cannot be carried out: a server that cannot be reached, a bad certificate.
    Plan(String),
}

impl DriveError {
    /// The plan cannot be carried out for this reason.
    pub(crate) fn broken(cause: impl Into<Box<dyn Error>>) -> Self {
        Self::Plan(whole_story(&*cause.into()))
    }
}

/// What an error says, and what each that is behind it adds to that.
fn whole_story(error: &dyn Error) -> String {
    let mut story = error.to_string();
    let mut behind = error.source();
    while let Some(cause) = behind {
        let said = cause.to_string();
        if !story.contains(&said) {
            story = format!("{story}: {said}");
        }
        behind = cause.source();
    }
    story
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine { cause, .. } => f.write_str(cause),
            Self::Plan(cause) => f.write_str(cause),
        }
    }
}

impl Error for DriveError {}

impl From<DriveError> for Failure {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Machine { cause, remedy } => Self::Machine { cause, remedy },
            DriveError::Plan(cause) => Self::Run(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure;

    #[test]
    fn nothing_measured_gives_no_figure() {
        let empty = LoadResult::default();
        assert_eq!(empty.throughput(), None);
        assert_eq!(empty.latency_us(0.99), None);
        assert_eq!(empty.us_per_request(Duration::from_secs(1)), None);
        assert_eq!(empty.hit_rate(), None);
    }

    #[test]
    fn what_is_behind_an_error_is_told_once() {
        #[derive(Debug)]
        struct Layer(&'static str, Option<Box<Layer>>);
        impl fmt::Display for Layer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Layer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                self.1.as_deref().map(|layer| layer as _)
            }
        }
        let inner = Layer("refused", None);
        let middle = Layer("cannot connect: refused", Some(Box::new(inner)));
        let outer = Layer("no endpoint is worth a call", Some(Box::new(middle)));
        assert_eq!(
            DriveError::broken(outer).to_string(),
            "no endpoint is worth a call: cannot connect: refused"
        );
    }

    #[test]
    fn figures_come_from_the_counts() {
        let mut result = LoadResult {
            ok: 300,
            elapsed: Duration::from_secs(2),
            ..Default::default()
        };
        result.failed.insert("refused".into(), 60);
        result.failed.insert("timed_out".into(), 40);
        (result.hits, result.misses) = (3, 1);
        measure::record(&mut result.latency, Duration::from_micros(250));
        assert_eq!(result.failed_total(), 100);
        assert_eq!(result.throughput(), Some(150.0));
        assert_eq!(result.us_per_request(Duration::from_millis(2)), Some(5.0));
        assert_eq!(result.hit_rate(), Some(0.75));
        assert!((result.latency_us(1.0).unwrap() - 250.0).abs() < 0.5);
        // Half of the answers came after the window, and all failures.
        result.carried = Some(Carried { ok: 150, failed: 0 });
        assert_eq!(result.throughput(), Some(75.0));
        assert_eq!(result.us_per_request(Duration::from_millis(3)), Some(20.0));
    }
}
