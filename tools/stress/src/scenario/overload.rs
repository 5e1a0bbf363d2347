//! `overload`: twice what the upstream can serve, in three classes. See [`scenarios::overload`].
//!
//! What it can serve is measured first, by as many callers as there are connections, each with its next request when the last
//! is answered.

use std::time::Duration;

use ringpool::config::{Class, UpstreamConfig};
use scenarios::Shot;
use scenarios::overload::{self, CONNECTIONS, CRITICAL, LASTS, LOAD, SERVICE};

use super::{GRAIN, Scenario, Stage, validate};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Calls, Play, Played};
use crate::failure::Failure;
use crate::load::{LoadPlan, WayIn};
use crate::report::{Phase, Report};
use crate::traffic::Traffic;

pub(super) const SCENARIO: Scenario = Scenario::of(overload::NAME, run);

/// With a connection of their own, calls take equally long: a p99 beyond so many medians is the machine's.
const UNDISTURBED: f64 = 1.5;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        ..BackendOptions::default()
    })?;
    let url = format!("http://{}/", backend.plain);
    let capacity = measure_capacity(&url, stage)?;
    let rate = capacity * LOAD;
    let alone = load(&url, rate * CRITICAL, |_| Class::Critical, stage)?;
    let all = load(&url, rate, overload::class, stage)?;
    backend.check()?;
    let settings = overload::settings(UpstreamConfig::default());
    let mut findings = overload::judge(&alone.evidence, &all.evidence, &settings, capacity);
    for played in [("critical calls alone", &alone), ("all calls", &all)] {
        validate(&mut findings, played, GRAIN, &stage.interrupt);
        findings.invalid.extend(disturbed(played));
    }
    Ok(Report::of_findings(overload::NAME.name, findings))
}

/// Why there is nothing to compare, where calls that had their connection took unlike times.
fn disturbed((what, played): (&str, &Played)) -> Option<String> {
    let shots = &played.evidence.shots;
    let answered = || shots.iter().filter(|shot| shot.is_answered());
    let took = |shot: &Shot| shot.latency().saturating_sub(shot.lag() + shot.sojourn());
    let [median, p99] = [0.5, 0.99].map(|share| scenarios::quantile(answered().map(took), share));
    (p99 > median.mul_f64(UNDISTURBED)).then(|| {
        format!(
            "{what}: from the connection to the answer took {:.1} ms at the 99th percentile and {:.1} at the \
             median: the machine is too busy",
            p99.as_secs_f64() * 1e3,
            median.as_secs_f64() * 1e3,
        )
    })
}

/// In calls a second.
fn measure_capacity(url: &str, stage: &Stage) -> Result<f64, Failure> {
    let plan = LoadPlan {
        url: url.to_owned(),
        connections: CONNECTIONS as usize,
        shards: 1,
        duration: Duration::from_secs(2),
        warmup: Duration::from_millis(200),
        reuse: true,
        warm: true,
        resume: true,
        rate: None,
        ca: None,
        way: WayIn::Anywhere,
        traffic: Traffic::default(),
    };
    let phase = Phase::measure("capacity", plan, &stage.progress, &stage.interrupt)?;
    let capacity = phase.result.throughput().filter(|rate| *rate >= 1.0);
    capacity.ok_or_else(|| Failure::Run("nothing was answered".to_owned()))
}

fn load(url: &str, rate: f64, class: fn(usize) -> Class, stage: &Stage) -> Result<Played, Failure> {
    let play = Play {
        url: url.to_owned(),
        ca: None,
        shards: 1,
        settings: &overload::settings,
        warm: true,
        calls: Calls::Paced { rate, class },
    };
    let shown = stage.progress.phase("overload", LASTS);
    let (played, ()) = drive::play(&play, stage.watched(), |_| {
        drive::wait(LASTS, &stage.interrupt);
    })?;
    drop(shown);
    Ok(played)
}
