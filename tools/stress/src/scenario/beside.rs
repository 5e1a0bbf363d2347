//! The engine and the bare loop beside each other: one load, carried out by either, on as many threads.
//!
//! Owns the backend of such a scenario and what a run is. Never: judges, or says in which order they run.

use std::time::Duration;

use floor::{FloorReport, FloorRun, Until, Variant};

use super::Stage;
use crate::backend::{Backend, BackendOptions};
use crate::failure::Failure;
use crate::load::{LoadPlan, LoadResult, WayIn};
use crate::measure::CpuTime;
use crate::report::Phase;
use crate::traffic::Traffic;

pub(super) const SUBJECT: &str = "HTTP/1.1 on the shard";
/// Of each thread. Each has one request in flight.
pub(super) const CONNECTIONS: usize = 64;
/// Caches and congestion windows are warm by then, and no connection is being dialled.
const WARMUP: Duration = Duration::from_millis(200);
/// The core that the first shard is pinned to, and so the floor's first thread.
const CORE: usize = 0;

/// Both, and whom they ask.
pub(super) struct Beside<'a> {
    stage: &'a Stage,
    backend: Backend,
    duration: Duration,
}

impl<'a> Beside<'a> {
    /// Starts the backend. Each run will be measured for `duration`.
    pub(super) fn new(stage: &'a Stage, duration: Duration) -> Result<Self, Failure> {
        Ok(Self {
            stage,
            backend: Backend::spawn(&BackendOptions::default())?,
            duration,
        })
    }

    /// One run of the engine with so many shards.
    pub(super) fn engine(
        &mut self,
        shards: usize,
        variant: &'static str,
    ) -> Result<Phase, Failure> {
        let (plan, stage) = (self.plan(shards), self.stage);
        let phase =
            Phase::measure_variant(SUBJECT, variant, plan, &stage.progress, &stage.interrupt);
        // A dead backend explains whatever else went wrong.
        self.backend.check()?;
        phase
    }

    /// One run of the floor with so many threads, which are its own: it pins them.
    pub(super) fn floor(
        &mut self,
        threads: usize,
        variant: &'static str,
    ) -> Result<Phase, Failure> {
        let run = FloorRun {
            address: self.backend.plain,
            connections: CONNECTIONS,
            // As long as what the engine's callers send.
            request: format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", self.backend.plain).into_bytes(),
            response_len: None,
            warmup: WARMUP,
            until: Until::Elapsed(self.duration),
            core: Some(CORE),
            variant: Variant::default(),
        };
        let phase = Phase {
            subject: SUBJECT,
            variant,
            plan: self.plan(threads),
            result: LoadResult::default(),
        };
        let shown = self.stage.progress.phase(
            &format!("{}, counted at its end", phase.title()),
            WARMUP + self.duration,
        );
        let reports = floor::run_on_threads(&run, threads);
        self.backend.check()?;
        let reports = reports.map_err(|e| Failure::Run(format!("the floor could not run: {e}")))?;
        drop(shown);
        let report = FloorReport::sum(&reports);
        let result = LoadResult {
            ok: report.requests,
            elapsed: Duration::from_secs_f64(report.seconds),
            cpu: CpuTime {
                user: Duration::from_micros(report.cpu_user_us),
                system: Duration::from_micros(report.cpu_system_us),
            },
            connections_opened: (CONNECTIONS * threads) as u64,
            ..LoadResult::default()
        };
        Ok(Phase { result, ..phase })
    }

    fn plan(&self, threads: usize) -> LoadPlan {
        LoadPlan {
            url: format!("http://{}/", self.backend.plain),
            connections: CONNECTIONS * threads,
            shards: threads,
            duration: self.duration,
            warmup: WARMUP,
            reuse: true,
            warm: true,
            resume: true,
            rate: None,
            ca: None,
            way: WayIn::Shards,
            traffic: Traffic::default(),
        }
    }
}

/// Microseconds of CPU per request.
pub(super) fn cpu(phase: &Phase) -> f64 {
    let used = phase.result.cpu.user + phase.result.cpu.system;
    used.as_secs_f64() * 1e6 / phase.result.ok.max(1) as f64
}
