//! Scenarios that are files: backends started as they say, the load applied, what is expected held against what was found.
//!
//! Owns: the course of such a run, and its findings. Never: a scenario of its own.

use std::borrow::Cow;
use std::time::Instant;

use scenarios::{Bound, Findings};
use serde_json::{Map, Value, json};

use super::Stage;
use crate::backend::{Backend, BackendOptions};
use crate::drive::{self, Apart};
use crate::failure::Failure;
use crate::load::{LoadPlan, LoadResult};
use crate::plan::{self, Expectation, Metric, Mistake, Place, Plan, Upstream};
use crate::report::{self, Phase, Report};
use crate::traffic::{Traffic, UpstreamPlan};

/// The engine's own default, where a file says nothing.
const CONNECTIONS: usize = 128;
/// Rows of the table.
const ROWS: [(&str, &str); 10] = [
    ("answered per second", "rate"),
    ("latency, p50", "p50"),
    ("latency, p99", "p99"),
    ("latency, p99.9", "p99.9"),
    ("latency, longest", "max"),
    ("calls failed", "failed"),
    ("hit rate", "hit_rate"),
    ("dials", "dials"),
    ("checkouts that waited", "waits"),
    ("lag of the tool, p99", "lag"),
];

/// A scenario file that was understood.
pub(crate) struct Planned {
    name: String,
    text: String,
    plan: Plan,
}

/// The load carried out once.
struct Run {
    load: LoadPlan,
    /// The value of the sweep; empty without one.
    variant: String,
    apart: Apart,
}

/// The line of the list; empty if the text is not understood.
pub(super) fn about(text: &str) -> String {
    plan::read(text, &drive::check_setting).map_or_else(|_| String::new(), |plan| plan.about)
}

impl Planned {
    /// Reads the `text` that was found at `place`, or tells all that is wrong with it, a line each.
    pub(super) fn read(name: &str, place: &str, text: &str) -> Result<Self, Failure> {
        let wrong = |mistakes: Vec<Mistake>| {
            let lines = mistakes
                .iter()
                .map(|mistake| format!("\n{place}:{mistake}"));
            Failure::Usage(format!(
                "{} in a scenario file:{}",
                mistakes_in_words(mistakes.len()),
                lines.collect::<String>()
            ))
        };
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            plan: plan::read(text, &drive::check_setting).map_err(wrong)?,
        })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Runs it, once for each value of its sweep.
    pub(super) fn run(&self, stage: &Stage) -> Result<Report, Failure> {
        let plan = &self.plan;
        report::write(
            std::io::stderr(),
            &format!(
                "{}: {}\nexpected: {}\n",
                self.name, plan.about, plan.expects
            ),
        )?;
        let mut runs = Vec::new();
        let values = plan.sweep.as_ref().map_or(1, |sweep| sweep.values.len());
        for at in 0..values {
            runs.push(self.load(plan.sweep.as_ref().map(|_| at), stage)?);
            if stage.interrupt.requested() {
                break;
            }
        }
        let mut findings = match (&plan.sweep, runs.as_slice()) {
            (None, [run]) => self.tell(&run.apart),
            (sweep, runs) => {
                let name = |at| sweep.as_ref().map(|sweep| sweep.name(at));
                let names = (0..runs.len()).filter_map(name).collect();
                let results: Vec<_> = runs.iter().map(|run| &run.apart.whole).collect();
                table(names, &results)
            }
        };
        for (at, run) in runs.iter().enumerate() {
            self.judge(&mut findings, plan.sweep.as_ref().map(|_| at), &run.apart);
        }
        if stage.interrupt.requested() {
            findings.invalid.push("interrupted".to_owned());
        }
        // A process runs one scenario: its names may live as long.
        let name: &'static str = self.name.clone().leak();
        let phases = runs.into_iter().map(|run| Phase {
            subject: name,
            variant: run.variant.leak(),
            plan: run.load,
            result: run.apart.whole,
        });
        Ok(Report {
            phases: phases.collect(),
            ..Report::of_findings(name, findings)
        })
    }

    fn load(&self, at: Option<usize>, stage: &Stage) -> Result<Run, Failure> {
        let plan = &self.plan;
        let mut backends = Vec::new();
        let mut upstreams = Vec::new();
        for upstream in &plan.upstreams {
            upstreams.push(start(upstream, plan.seed, &mut backends)?);
        }
        let mut own = upstreams.remove(0);
        if let (Some(at), Some(sweep)) = (at, &plan.sweep) {
            own.settings
                .insert(sweep.key.clone(), sweep.values[at].clone());
        }
        let most = own.settings.get("connections_max").and_then(Value::as_u64);
        let load = LoadPlan {
            url: own.url,
            connections: most.map_or(CONNECTIONS, |most| most as usize),
            shards: plan.shards,
            duration: plan.lasts(),
            warmup: plan.warmup,
            reuse: true,
            warm: !plan.cold,
            resume: true,
            rate: None,
            ca: own.ca,
            way: plan.way,
            traffic: Traffic {
                seed: plan.seed,
                callers: Some(self.callers()),
                think: plan.think,
                calls: plan.calls.clone(),
                others: upstreams,
                phases: plan.phases.clone(),
                settings: Some(own.settings),
                ..Traffic::default()
            },
        };
        let variant = at.zip(plan.sweep.as_ref());
        let variant = variant.map(|(at, sweep)| format!("{} {}", sweep.key, sweep.name(at)));
        let variant = variant.unwrap_or_default();
        let label = match variant.as_str() {
            "" => self.name.clone(),
            variant => format!("{}, {variant}", self.name),
        };
        let shown = stage.progress.phase(&label, load.warmup + load.duration);
        let mut told = Ok(());
        let apart = drive::run_apart(&load, &stage.progress, &stage.interrupt, || {
            told = backends.iter_mut().try_for_each(Backend::begin);
            Ok(Instant::now())
        })?;
        told?;
        drop(shown);
        backends.iter_mut().try_for_each(Backend::check)?;
        Ok(Run {
            load,
            variant,
            apart,
        })
    }

    /// As many as the busiest phase has; where the load goes by the clock, as many as the file says.
    fn callers(&self) -> usize {
        let phases = self.plan.phases.iter().map(|phase| match phase.load {
            crate::traffic::PhaseLoad::Callers(callers) => Some(callers),
            crate::traffic::PhaseLoad::Rate(..) => None,
        });
        let most: Option<Vec<usize>> = phases.collect();
        let most = most.map(|callers| callers.into_iter().max().unwrap_or(1).max(1));
        most.unwrap_or(self.plan.callers)
    }

    fn tell(&self, apart: &Apart) -> Findings {
        let mut names: Vec<String> = self
            .plan
            .phases
            .iter()
            .map(|one| one.name.clone())
            .collect();
        let mut results: Vec<&LoadResult> = apart.phases.iter().collect();
        if results.len() > 1 {
            names.push("whole".to_owned());
            results.push(&apart.whole);
        }
        table(names, &results)
    }

    fn judge(&self, findings: &mut Findings, at: Option<usize>, apart: &Apart) {
        let expected = self.plan.expectations.iter();
        for one in expected.filter(|one| one.at.is_none() || one.at == at) {
            let of = |phase: Option<usize>| part(apart, phase, one.call);
            let value = of(one.phase).and_then(|result| one.metric.of(result));
            let bound = one.bound(|phase| of(Some(phase)).and_then(|result| one.metric.of(result)));
            let (key, says) = self.words(one, at);
            findings.must(
                key,
                says,
                one.metric.unit(),
                // What is not there keeps to nothing.
                value.unwrap_or(f64::NAN),
                bound.unwrap_or(Bound::AtMost(f64::NAN)),
            );
        }
        let value = at.zip(self.plan.sweep.as_ref());
        let value = value.map(|(at, sweep)| format!("{} {}: ", sweep.key, sweep.name(at)));
        let whys = apart.whole.invalid.iter();
        let whys = whys.map(|why| format!("{}{why}", value.as_deref().unwrap_or_default()));
        findings.invalid.extend(whys);
    }

    /// An expectation's key, and what it says.
    fn words(&self, one: &Expectation, at: Option<usize>) -> (String, String) {
        let (mut key, mut says) = (one.name.clone(), one.name.clone());
        if let Some(call) = one.call.map(|call| &self.plan.calls[call].name) {
            key.push_str(&format!("/{call}"));
            says.push_str(&format!(" of {call}"));
        }
        if let Some(phase) = one.phase.map(|phase| &self.plan.phases[phase].name) {
            key.push_str(&format!("@{phase}"));
            says.push_str(&format!(" in {phase}"));
        }
        if let Some((at, sweep)) = at.zip(self.plan.sweep.as_ref()) {
            key.push_str(&format!("={}", sweep.name(at)));
            says.push_str(&format!(" where {} is {}", sweep.key, sweep.name(at)));
        }
        if let Some(why) = &one.why {
            says.push_str(&format!(" ({why})"));
        }
        (key, says)
    }
}

fn mistakes_in_words(count: usize) -> String {
    match count {
        1 => "one mistake".to_owned(),
        count => format!("{count} mistakes"),
    }
}

/// The result of a part of the load.
fn part(apart: &Apart, phase: Option<usize>, call: Option<usize>) -> Option<&LoadResult> {
    match (phase, call) {
        (None, None) => Some(&apart.whole),
        (Some(phase), None) => apart.phases.get(phase),
        (None, Some(call)) => apart.calls.get(call).map(|(whole, _)| whole),
        (Some(phase), Some(call)) => apart.calls.get(call)?.1.get(phase),
    }
}

/// The figures of some results, a column each.
fn table(names: Vec<String>, results: &[&LoadResult]) -> Findings {
    let mut findings = Findings {
        columns: names.into_iter().map(Cow::Owned).collect(),
        ..Findings::default()
    };
    for (says, metric) in ROWS {
        let Ok(metric) = Metric::parse(metric) else {
            debug_assert!(false, "{metric} is a metric");
            continue;
        };
        let values: Vec<_> = results.iter().map(|result| metric.of(result)).collect();
        findings.figure(says, metric.unit(), &values);
    }
    findings
}

/// Starts the backends of an upstream.
fn start(
    upstream: &Upstream,
    seed: u64,
    backends: &mut Vec<Backend>,
) -> Result<UpstreamPlan, Failure> {
    let mut settings: Map<String, Value> = upstream.pool.clone();
    let (url, ca) = match &upstream.place {
        Place::Url(url) => (url.clone(), None),
        Place::Backends {
            tls,
            backends: plans,
        } => {
            let (mut addresses, mut authorities) = (Vec::new(), Vec::new());
            for plan in plans {
                let mut options = plan.options.clone();
                if !options.iter().any(|option| option.starts_with("--seed=")) {
                    options.push(format!(
                        "--seed={}",
                        seed.wrapping_add(backends.len() as u64)
                    ));
                }
                let backend = Backend::spawn(&BackendOptions {
                    handshake_delay: plan.handshake_delay,
                    options,
                    ..BackendOptions::default()
                })?;
                addresses.push(if *tls { backend.tls } else { backend.plain });
                authorities.extend_from_slice(&backend.ca);
                backends.push(backend);
            }
            if addresses.len() > 1 {
                let all = addresses.iter().map(ToString::to_string);
                settings.insert("endpoints".to_owned(), json!(all.collect::<Vec<_>>()));
            }
            let scheme = if *tls { "https" } else { "http" };
            let url = format!("{scheme}://{}/", addresses[0]);
            (url, tls.then_some(authorities))
        }
    };
    Ok(UpstreamPlan {
        name: upstream.name.clone(),
        url,
        ca,
        settings,
    })
}
