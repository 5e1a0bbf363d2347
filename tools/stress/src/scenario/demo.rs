//! `demo`: what connection reuse is worth on this machine, plain and over TLS.
//!
//! Four phases against a backend of its own. It expects that no request fails; how large the gain
//! is, is the machine's to say.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Scenario, Stage};
use crate::backend::{Backend, BackendOptions};
use crate::failure::Failure;
use crate::load::{LoadPlan, WayIn};
use crate::measure;
use crate::report::{Phase, Report, Verdict, times};
use crate::traffic::Traffic;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "demo",
    about: "with reuse and without, plain and TLS, against a backend of its own",
    run,
};

/// Enough callers to keep a shard busy, few enough that queueing does not hide the handshakes.
const CONNECTIONS: usize = 64;
/// Long enough to dial all connections and to fill the caches.
const WARMUP: Duration = Duration::from_millis(500);

const PLAIN: &str = "plain HTTP";
const TLS: &str = "TLS";

fn run(stage: &Stage) -> Result<Report, Failure> {
    let mut backend = Backend::spawn(&BackendOptions::default())?;
    let plan = |scheme: &str, address: SocketAddr, reuse| LoadPlan {
        url: format!("{scheme}://{address}/"),
        connections: CONNECTIONS,
        shards: measure::shards_default(),
        duration: stage.duration,
        warmup: WARMUP,
        reuse,
        warm: true,
        resume: true,
        rate: None,
        ca: Some(backend.ca.clone()),
        way: WayIn::Shards,
        traffic: Traffic::default(),
    };
    let planned = [
        (PLAIN, "reuse", plan("http", backend.plain, true)),
        (PLAIN, "no reuse", plan("http", backend.plain, false)),
        (TLS, "reuse", plan("https", backend.tls, true)),
        (TLS, "no reuse", plan("https", backend.tls, false)),
    ];
    let mut phases = Vec::with_capacity(planned.len());
    for (subject, variant, plan) in planned {
        if stage.interrupt.requested() {
            break;
        }
        let phase =
            Phase::measure_variant(subject, variant, plan, &stage.progress, &stage.interrupt);
        // A dead backend explains whatever else went wrong, so it is asked after first.
        backend.check()?;
        phases.push(phase?);
    }
    let verdict = Some(judge(&phases));
    Ok(Report {
        scenario: Some(SCENARIO.name),
        phases,
        verdict,
        findings: None,
    })
}

/// What reuse saved, in words and factors.
fn judge(phases: &[Phase]) -> Verdict {
    let mut verdict = Verdict {
        held: phases.iter().all(|phase| phase.result.failed_total() == 0),
        sentences: Vec::new(),
        factors: Vec::new(),
    };
    for group in phases.chunk_by(|a, b| a.subject == b.subject) {
        let [reuse, base] = group else { continue };
        let Some(gain) = Gain::of(reuse, base) else {
            continue;
        };
        verdict.sentences.push(gain.sentence(reuse.subject));
        let key = if reuse.subject == TLS { "tls" } else { "plain" };
        verdict
            .factors
            .push((format!("{key}.throughput_rps"), gain.throughput));
        verdict.factors.push((format!("{key}.p99"), gain.p99));
    }
    verdict
}

/// How many times better it is with reuse than without.
struct Gain {
    throughput: f64,
    p99: f64,
}

impl Gain {
    fn of(reuse: &Phase, base: &Phase) -> Option<Self> {
        let (reuse, base) = (&reuse.result, &base.result);
        let gain = Self {
            throughput: reuse.throughput()? / base.throughput()?,
            p99: base.latency_us(0.99)? / reuse.latency_us(0.99)?,
        };
        (gain.throughput.is_normal() && gain.p99.is_normal()).then_some(gain)
    }

    fn sentence(&self, subject: &str) -> String {
        let throughput = match self.throughput {
            gain if gain >= 1.0 => format!("{} as many requests per second", times(gain)),
            loss => format!("only {} as many requests per second", times(loss)),
        };
        let p99 = match self.p99 {
            gain if gain >= 1.0 => format!("a p99 latency {} lower", times(gain)),
            loss => format!("a p99 latency {} higher", times(1.0 / loss)),
        };
        format!("Over {subject}, reuse gave {throughput}, with {p99}.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::phase;

    #[test]
    fn the_verdict_is_computed_from_both_pairs() {
        let verdict = judge(&[
            phase(PLAIN, "reuse", 1000),
            phase(PLAIN, "no reuse", 100),
            phase(TLS, "reuse", 50),
            phase(TLS, "no reuse", 100),
        ]);
        assert!(verdict.held);
        assert_eq!(
            verdict.sentences[0],
            "Over plain HTTP, reuse gave 10.0× as many requests per second, \
             with a p99 latency 10.0× lower."
        );
        assert_eq!(
            verdict.sentences[1],
            "Over TLS, reuse gave only 0.5× as many requests per second, \
             with a p99 latency 2.0× higher."
        );
        assert_eq!(verdict.factors.len(), 4);
    }

    #[test]
    fn half_a_pair_says_nothing_and_failures_break_it() {
        let mut phases = vec![phase(PLAIN, "reuse", 10)];
        assert!(judge(&phases).sentences.is_empty());
        phases[0].result.failed.insert("reset".to_owned(), 1);
        assert!(!judge(&phases).held);
    }
}
