//! Many seeds, on some threads.
//!
//! Owns: which seed is next, and the sums. A seed's run never knows of another's.

use crate::coverage::Coverage;
use crate::run::Outcome;
use crate::scenario::Scenario;
use crate::trace::Trace;
use scenarios::Findings;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The sums over many runs.
#[derive(Debug, Default)]
pub struct Sums {
    /// Runs that were over.
    pub runs: u64,
    /// Deliveries and completions.
    pub events: u64,
    /// Virtual seconds.
    pub seconds: f64,
    /// The runs among them in which TLS was spoken.
    pub tls_runs: u64,
    /// How long those took, on all threads together.
    pub tls_took: Duration,
    /// What was met.
    pub coverage: Coverage,
    /// Those that failed, by seed.
    pub failed: Vec<Outcome>,
    /// What a named scenario found, by seed.
    pub findings: BTreeMap<u64, Findings>,
}

impl Sums {
    /// Adds a run, which took so long.
    pub fn add(&mut self, mut outcome: Outcome, took: Duration) {
        self.runs += 1;
        if outcome.tls {
            self.tls_runs += 1;
            self.tls_took += took;
        }
        self.events += outcome.events;
        self.seconds += outcome.lasted.as_secs_f64();
        self.coverage.add(&outcome.coverage);
        if let Some(findings) = outcome.findings.take() {
            self.findings.insert(outcome.seed, findings);
        }
        if outcome.violation.is_some() {
            self.failed.push(outcome);
        }
    }
}

/// Runs the seeds that are `wanted` until all are done or `failures_max` have failed. `failed` is told of
/// each that did.
pub fn run(
    scenario: &Scenario,
    seeds: Range<u64>,
    wanted: impl Fn(u64) -> bool + Sync,
    threads: u64,
    failures_max: u64,
    failed: impl Fn(&Outcome) + Sync,
) -> Sums {
    let next = AtomicU64::new(seeds.start);
    let failures = AtomicU64::new(0);
    let sums = Mutex::new(Sums::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Sums::default();
                while failures.load(Ordering::Relaxed) < failures_max {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if !wanted(seed) {
                        continue;
                    }
                    let begun = Instant::now();
                    let outcome = (scenario.run)(seed, Trace::none());
                    if outcome.violation.is_some() {
                        failures.fetch_add(1, Ordering::Relaxed);
                        failed(&outcome);
                    }
                    own.add(outcome, begun.elapsed());
                }
                let mut all = sums.lock().expect("no thread of ours panics");
                all.runs += own.runs;
                all.events += own.events;
                all.seconds += own.seconds;
                all.tls_runs += own.tls_runs;
                all.tls_took += own.tls_took;
                all.coverage.add(&own.coverage);
                all.failed.append(&mut own.failed);
                all.findings.append(&mut own.findings);
            });
        }
    });
    let mut sums = sums.into_inner().expect("no thread of ours panics");
    sums.failed.sort_by_key(|outcome| outcome.seed);
    sums
}
