//! `outage`: the backend is killed under load and started again on the same ports ten seconds later. See
//! [`scenarios::outage`].

use std::time::{Duration, Instant};

use ringpool::config::Class;
use scenarios::outage::{self, AFTER, BEFORE, Course, DOWN, RATE, SERVICE};

use super::{GRAIN, Scenario, Stage, validate};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Calls, Play};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const SCENARIO: Scenario = Scenario::of(outage::NAME, run);

fn run(stage: &Stage) -> Result<Report, Failure> {
    let backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        ..BackendOptions::default()
    })?;
    let play = Play {
        url: format!("http://{}/", backend.plain),
        ca: None,
        shards: 1,
        settings: &outage::settings,
        warm: true,
        calls: Calls::Paced {
            rate: RATE,
            class: |_| Class::Normal,
        },
    };
    let shown = stage.progress.phase("outage", BEFORE + DOWN + AFTER);
    let (played, befallen) = drive::play(&play, stage.watched(), |begun| {
        befall(backend, begun, stage)
    })?;
    drop(shown);
    // Until here the backend lived, for the last answers.
    let (course, mut backend) = befallen?;
    backend.check()?;
    let settings = outage::settings(ringpool::config::UpstreamConfig::default());
    let mut findings = outage::judge(&played.evidence, course, &settings, GRAIN);
    validate(
        &mut findings,
        ("the load", &played),
        // Refusals count from the intended start, too: lag must not use up what they may take.
        GRAIN / 2,
        &stage.interrupt,
    );
    Ok(Report::of_findings(outage::NAME.name, findings))
}

/// Kills the backend and starts it again: when that was, counted from the beginning, and the new one.
fn befall(backend: Backend, begun: Instant, stage: &Stage) -> Result<(Course, Backend), Failure> {
    let until = |at: Duration| {
        let left = at.saturating_sub(begun.elapsed());
        drive::wait(left, &stage.interrupt);
        begun.elapsed()
    };
    let at = Some((backend.plain, backend.tls));
    let down = until(BEFORE);
    drop(backend);
    until(down + DOWN);
    let backend = Backend::spawn(&BackendOptions {
        delay: SERVICE,
        at,
        ..BackendOptions::default()
    })?;
    let up = begun.elapsed();
    let end = until(up + AFTER);
    let course = Course {
        down,
        up,
        end,
        shards: 1,
    };
    Ok((course, backend))
}
