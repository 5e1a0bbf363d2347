//! A run as it is kept: what the JSON report says of it, and beside that all that is needed to have it back exactly.
//!
//! Owns the key `record` of a run's figures, and how a run is read again. Keys may be added to, never renamed; a change of
//! what one means is a new version. Histograms stand in it as HdrHistogram writes them (V2, compressed, base64), in nanoseconds.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::contacts::Contacts;
use crate::failure::Failure;
use crate::load::{Carried, LoadResult};
use crate::measure::CpuTime;
use crate::member::Member;
use crate::packed::{self, Packed};
use crate::series::{Counters, PoolState, SAMPLES_MAX, Sample, Series};

/// Of the key `record`.
const VERSION: u64 = 2;
/// What came after the window is in the last sample.
const VERSION_LATE_IN_LAST: u64 = 1;

/// A run that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Its phase, or `run`.
    pub(crate) title: String,
    /// Its result, as it was.
    pub(crate) result: LoadResult,
    /// What was asked for, as the report tells it.
    pub(crate) plan: Value,
    /// The command that made it; empty if that is not known.
    pub(crate) command: String,
    /// Where it ran.
    pub(crate) host: Value,
}

/// Why a text is no run that could be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoRun(String);

/// The key `record`.
#[derive(Serialize, Deserialize)]
struct Record {
    version: u64,
    /// Since 1970, UTC.
    #[serde(default)]
    began_ns: Option<u64>,
    elapsed_ns: u64,
    cpu_ns: [u64; 2],
    histograms: BTreeMap<String, String>,
    series: Samples,
}

#[derive(Serialize, Deserialize)]
struct Samples {
    interval_ns: u64,
    samples: Vec<One>,
    /// What came after the window.
    #[serde(default)]
    late: Option<One>,
}

#[derive(Serialize, Deserialize)]
struct One {
    start_ns: u64,
    length_ns: u64,
    ok: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    failed: BTreeMap<String, u64>,
    latency: String,
    pool: Option<PoolState>,
    counters: Counters,
    /// In user space, and in the kernel.
    cpu_ns: [u64; 2],
}

/// The figures of a report that are read back.
#[derive(Deserialize)]
struct Figures {
    requests: Requests,
    pool: Pool,
    handshakes: Handshakes,
    handshake_seconds_avoided: f64,
    connections_opened: u64,
    /// Older reports do not tell them.
    #[serde(default)]
    contacts: Contacts,
    #[serde(default)]
    seed: Option<u64>,
    /// Agents, if there were any.
    #[serde(default)]
    agents: Vec<Member>,
    #[serde(default)]
    invalid: Vec<String>,
    #[serde(default)]
    interrupted: bool,
    record: Record,
    plan: Value,
}

#[derive(Deserialize)]
struct Requests {
    ok: u64,
    errors: BTreeMap<String, u64>,
    /// Older reports do not tell them.
    #[serde(default)]
    ok_in_window: Option<u64>,
    #[serde(default)]
    failed_in_window: Option<u64>,
}

#[derive(Deserialize)]
struct Pool {
    hits: u64,
    misses: u64,
    dials: u64,
    waits: u64,
    evictions: u64,
    steals: u64,
    forwarded: u64,
}

#[derive(Deserialize)]
struct Handshakes {
    full: u64,
    resumed: u64,
}

/// The key `record` of a run's figures.
pub(crate) fn of(result: &LoadResult) -> Value {
    let histograms = [
        ("latency", &result.latency),
        ("service", &result.service),
        ("lag", &result.lag),
    ];
    let record = Record {
        version: VERSION,
        began_ns: result
            .began
            .and_then(|began| began.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(nanoseconds),
        elapsed_ns: nanoseconds(result.elapsed),
        cpu_ns: cpu(result.cpu),
        histograms: histograms
            .map(|(name, histogram)| (name.to_owned(), packed::to_text(histogram)))
            .into(),
        series: Samples {
            interval_ns: nanoseconds(result.series.interval),
            samples: result.series.samples.iter().map(One::of).collect(),
            late: result.series.late.as_ref().map(One::of),
        },
    };
    json!(record)
}

/// A report with a record of four million requests takes some 3 MB.
const FILE_MAX: u64 = 256 << 20;

impl Kept {
    /// Reads a report's file; see [`read`](Self::read).
    pub(crate) fn open(path: &Path, phase: Option<&str>) -> Result<Self, Failure> {
        let text = text_of(path)?;
        Self::read(&text, phase).map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
    }

    /// Reads a report: of a single run, or the phase `phase` of a scenario's.
    pub(crate) fn read(text: &str, phase: Option<&str>) -> Result<Self, NoRun> {
        let mut report: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| NoRun(format!("it is no JSON report: {e}")))?;
        let mut take = |key: &str| report.remove(key).unwrap_or_default();
        let (command, host) = (take("command"), take("host"));
        let interrupted = take("interrupted") == true;
        let figures = match (phase, report.get("phases").and_then(Value::as_object)) {
            (None, None) => Value::Object(report),
            (Some(_), None) => return Err(NoRun("it has no phases".to_owned())),
            (phase, Some(phases)) => {
                let found = phase.and_then(|phase| phases.get(phase));
                found.cloned().ok_or_else(|| {
                    let names: Vec<&str> = phases.keys().map(String::as_str).collect();
                    NoRun(format!("name one of its phases: {}", names.join(", ")))
                })?
            }
        };
        if figures.get("record").is_none() {
            return Err(NoRun(
                "it holds no record of a run; `stress run --json` writes one".to_owned(),
            ));
        }
        let mut figures: Figures =
            serde_json::from_value(figures).map_err(|e| NoRun(e.to_string()))?;
        figures.interrupted |= interrupted;
        Ok(Self {
            title: phase.unwrap_or("run").to_owned(),
            plan: figures.plan.take(),
            result: figures.result()?,
            command: command.as_str().unwrap_or_default().to_owned(),
            host,
        })
    }
}

/// What a file holds, up to a bound.
pub(crate) fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX).read_to_string(&mut text))
        .map_err(|e| Failure::Usage(format!("{}: cannot read it: {e}", path.display())))?;
    Ok(text)
}

impl Figures {
    fn result(self) -> Result<LoadResult, NoRun> {
        let record = self.record;
        if ![VERSION_LATE_IN_LAST, VERSION].contains(&record.version) {
            let version = record.version;
            return Err(NoRun(format!("version {version} of records is unknown")));
        }
        if record.series.samples.len() > SAMPLES_MAX + 1 {
            return Err(NoRun("it has too many samples".to_owned()));
        }
        let histogram = |name: &str| {
            let text = record.histograms.get(name).map_or("", String::as_str);
            packed::from_text(text).map_err(|e| NoRun(format!("{name}: {e}")))
        };
        let samples: Result<Vec<Sample>, NoRun> =
            record.series.samples.into_iter().map(One::read).collect();
        Ok(LoadResult {
            latency: histogram("latency")?,
            service: histogram("service")?,
            lag: histogram("lag")?,
            series: Series {
                interval: Duration::from_nanos(record.series.interval_ns),
                samples: samples?,
                late: record.series.late.map(One::read).transpose()?,
            },
            seed: self.seed,
            members: self.agents,
            invalid: self.invalid,
            ok: self.requests.ok,
            failed: self.requests.errors,
            carried: self
                .requests
                .ok_in_window
                .zip(self.requests.failed_in_window)
                .map(|(ok, failed)| Carried { ok, failed }),
            began: record
                .began_ns
                .map(|ns| SystemTime::UNIX_EPOCH + Duration::from_nanos(ns)),
            elapsed: Duration::from_nanos(record.elapsed_ns),
            cpu: cpu_time(record.cpu_ns),
            hits: self.pool.hits,
            misses: self.pool.misses,
            dials: self.pool.dials,
            waits: self.pool.waits,
            evictions: self.pool.evictions,
            steals: self.pool.steals,
            forwarded: self.pool.forwarded,
            handshakes_full: self.handshakes.full,
            handshakes_resumed: self.handshakes.resumed,
            handshake_seconds_avoided: self.handshake_seconds_avoided,
            connections_opened: self.connections_opened,
            contacts: self.contacts,
            interrupted: self.interrupted,
        })
    }
}

impl One {
    fn of(sample: &Sample) -> Self {
        Self {
            start_ns: nanoseconds(sample.start),
            length_ns: nanoseconds(sample.length),
            ok: sample.ok,
            failed: sample.failed.clone(),
            latency: sample.latency.to_text(),
            pool: sample.pool,
            counters: sample.counters,
            cpu_ns: cpu(sample.cpu),
        }
    }

    fn read(self) -> Result<Sample, NoRun> {
        Ok(Sample {
            start: Duration::from_nanos(self.start_ns),
            length: Duration::from_nanos(self.length_ns),
            ok: self.ok,
            failed: self.failed,
            latency: Packed::from_text(&self.latency)
                .map_err(|e| NoRun(format!("latency of a sample: {e}")))?,
            pool: self.pool,
            counters: self.counters,
            cpu: cpu_time(self.cpu_ns),
        })
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn cpu(time: CpuTime) -> [u64; 2] {
    [nanoseconds(time.user), nanoseconds(time.system)]
}

fn cpu_time([user, system]: [u64; 2]) -> CpuTime {
    CpuTime {
        user: Duration::from_nanos(user),
        system: Duration::from_nanos(system),
    }
}

impl fmt::Display for NoRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoRun {}
