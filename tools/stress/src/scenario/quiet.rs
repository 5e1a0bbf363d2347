//! `quiet`: eight shards, one upstream, and little to do: 100 requests a second from outside. It keeps few connections,
//! on few shards, and nearly every request finds one.

use std::time::Duration;

use ringpool::config::{Class, UpstreamConfig};
use scenarios::{Bound, Findings, Unit};

use super::{GRAIN, Scenario, Stage, validate};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Calls, Play, Played};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "quiet",
    about: "eight shards and 100 requests a second: at most 2 connections, and 99 % of requests find one",
    run,
};

const SHARDS: usize = 8;
const RATE: f64 = 100.0;
const LASTS: Duration = Duration::from_secs(10);
const CONNECTIONS_MAX: u64 = 2;
const HITS_MIN: f64 = 0.99;

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions::default())?;
    let play = Play {
        url: format!("http://{}", backend.plain),
        ca: None,
        shards: SHARDS,
        // Whatever an upstream is by default.
        settings: &|upstream: UpstreamConfig| upstream,
        warm: false,
        calls: Calls::Paced {
            rate: RATE,
            class: |_| Class::Normal,
        },
    };
    let shown = stage.progress.phase("quiet", LASTS);
    let (played, ()) = drive::play(&play, stage.watched(), |_| {
        drive::wait(LASTS, &stage.interrupt);
    })?;
    drop(shown);
    backend.check()?;
    let mut findings = judge(&played);
    validate(
        &mut findings,
        ("calls", &played),
        GRAIN * 4,
        &stage.interrupt,
    );
    Ok(Report::of_findings(SCENARIO.name, findings))
}

fn judge(played: &Played) -> Findings {
    let shots = &played.evidence.shots;
    let answered = shots.iter().filter(|shot| shot.is_answered()).count();
    let mut findings = Findings::new(&["calls"]);
    findings.figure("calls", Unit::Count, &[Some(shots.len() as f64)]);
    findings.must(
        "opened",
        "connections opened",
        Unit::Count,
        played.evidence.opened as f64,
        Bound::AtMost(CONNECTIONS_MAX as f64),
    );
    findings.must(
        "hits",
        "found a connection at once",
        Unit::Share,
        played.hit_rate.unwrap_or(0.0),
        Bound::AtLeast(HITS_MIN),
    );
    findings.must(
        "failed",
        "calls without an answer",
        Unit::Count,
        (shots.len() - answered) as f64,
        Bound::AtMost(0.0),
    );
    findings
}
