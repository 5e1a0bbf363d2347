//! `spike` and `spike-cold`: a burst of callers where a connection takes 150 ms to make, beside an engine that
//! dials for each of them. See [`scenarios::spike`].
//!
//! The 150 ms are the backend's pause in the TLS handshake. Rounds alternate, so that what else the machine
//! does falls on both.

use std::time::Duration;

use ringpool::config::UpstreamConfig;
use scenarios::spike::{self, CALLERS, CALLERS_COLD, SERVICE, SETUP};
use scenarios::{Evidence, Findings};

use super::{GRAIN, Scenario, Stage, validate};
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Calls, Play, Played};
use crate::failure::Failure;
use crate::report::Report;

pub(super) const WARM: Scenario = Scenario::of(spike::WARM, warm);
pub(super) const COLD: Scenario = Scenario::of(spike::COLD, cold);

/// Odd, so that the median is a round that was run.
const ROUNDS: usize = 5;
/// About how long one takes, for whoever watches.
const ROUND: Duration = Duration::from_secs(1);

fn warm(stage: &Stage) -> Result<Report, Failure> {
    let rounds = Rounds::run(stage, CALLERS, true)?;
    let findings = spike::judge_warm(&rounds.ours(), &rounds.each(), Duration::ZERO, GRAIN);
    Ok(rounds.report(spike::WARM, findings, GRAIN, stage))
}

fn cold(stage: &Stage) -> Result<Report, Failure> {
    let rounds = Rounds::run(stage, CALLERS_COLD, false)?;
    let (ours, each) = (rounds.ours(), rounds.each());
    let findings = spike::judge_cold(&ours, &each, Duration::ZERO, rounds.setup());
    // A crowd is not begun in a moment, and a tenth of a set-up decides nothing.
    Ok(rounds.report(spike::COLD, findings, SETUP / 10, stage))
}

/// What came of the rounds: with the default rule, and with a dial for each.
struct Rounds(Vec<[Played; 2]>);

impl Rounds {
    fn run(stage: &Stage, callers: u32, warm: bool) -> Result<Self, Failure> {
        let mut backend = Backend::spawn(&BackendOptions {
            delay: SERVICE,
            handshake_delay: SETUP,
            ..BackendOptions::default()
        })?;
        let eager = |at| spike::eager(spike::settings(at), callers);
        let shown = stage.progress.phase("spike", ROUND * (2 * ROUNDS as u32));
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            let play = |settings: &dyn Fn(UpstreamConfig) -> UpstreamConfig| {
                let play = Play {
                    url: format!("https://{}/", backend.tls),
                    ca: Some(&backend.ca),
                    shards: 1,
                    settings,
                    warm,
                    calls: Calls::AtOnce(callers),
                };
                drive::play(&play, stage.watched(), |_| ()).map(|(played, ())| played)
            };
            let round = [play(&spike::settings)?, play(&eager)?];
            backend.check()?;
            rounds.push(round);
            if stage.interrupt.requested() {
                break;
            }
        }
        drop(shown);
        Ok(Self(rounds))
    }

    fn ours(&self) -> Vec<Evidence> {
        self.0
            .iter()
            .map(|[ours, _]| ours.evidence.clone())
            .collect()
    }

    fn each(&self) -> Vec<Evidence> {
        self.0
            .iter()
            .map(|[_, each]| each.evidence.clone())
            .collect()
    }

    /// How long a connection took with the default rule: the median of the rounds.
    fn setup(&self) -> Duration {
        let setups = self.0.iter().filter_map(|[ours, _]| ours.setup);
        scenarios::quantile(setups, 0.5)
    }

    fn report(
        &self,
        name: scenarios::Name,
        mut findings: Findings,
        lag_max: Duration,
        stage: &Stage,
    ) -> Report {
        for played in self.0.iter().flatten() {
            validate(
                &mut findings,
                ("a round", played),
                lag_max,
                &stage.interrupt,
            );
        }
        Report::of_findings(name.name, findings)
    }
}
