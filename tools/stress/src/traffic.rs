//! What a load consists of beyond its plainest form: calls of several kinds, phases, pauses, upstreams.
//!
//! Owns: the words, and the defaults that make them say nothing. Never: how it is carried out.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::arrivals::{Arrivals, Stretch};
use crate::words::Spread;

/// The largest body that is sent.
pub(crate) const UPLOAD_MAX: u64 = 1 << 20;

/// The sizes of bodies to send. More than is sent is refused rather than cut: only the rare far end of a spread is.
pub(crate) fn upload(text: &str) -> Result<Spread, String> {
    let spread = Spread::of_sizes(text)?;
    let size = match spread {
        Spread::Fixed(size) | Spread::Exponential(size) | Spread::LogNormal(size, _) => size,
        Spread::Bimodal(one, other, _) => one.max(other),
    };
    match size > UPLOAD_MAX as f64 {
        true => Err("no more than 1 MiB is sent".to_owned()),
        false => Ok(spread),
    }
}

/// The load of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Traffic {
    /// What random numbers come from.
    pub(crate) seed: u64,
    /// How starts lie within the plan's rate.
    pub(crate) arrivals: Arrivals,
    /// Where several share a rate: the part of the distance between two even starts by which this one's are later.
    pub(crate) offset: f64,
    /// Callers, if not as many as connections.
    pub(crate) callers: Option<usize>,
    /// The pause of a caller after each of its calls.
    pub(crate) think: Spread,
    /// What is called; nothing stands for a GET of the plan's URL.
    pub(crate) calls: Vec<CallPlan>,
    /// Upstreams beside that of the plan's URL.
    pub(crate) others: Vec<UpstreamPlan>,
    /// What comes one after the other; nothing stands for the plan's rate, for its duration.
    pub(crate) phases: Vec<PhasePlan>,
    /// The engine's settings of the upstream of the plan's URL, instead of what the plan makes of its connections.
    pub(crate) settings: Option<Map<String, Value>>,
}

/// An upstream, and the engine's settings of it.
#[derive(Clone, Debug)]
pub(crate) struct UpstreamPlan {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Trust these certificates (PEM) and no others; `None` is the public roots.
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) settings: Map<String, Value>,
}

/// One kind of call.
#[derive(Clone, Debug)]
pub(crate) struct CallPlan {
    pub(crate) name: String,
    /// 0 is the plan's URL, others follow in their order.
    pub(crate) upstream: usize,
    /// How often it is called, beside the weights of the others.
    pub(crate) weight: f64,
    pub(crate) path: String,
    /// Asks for a response of so many bytes, by `?size=N`.
    pub(crate) size: Option<Spread>,
    /// Sends a body of so many bytes, in a POST.
    pub(crate) upload: Option<Spread>,
    /// The share of calls after which their connection is closed.
    pub(crate) close: f64,
    pub(crate) class: CallClass,
}

/// How much a call matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CallClass {
    /// As the upstream's settings say.
    #[default]
    Unsaid,
    Critical,
    Normal,
    Sheddable,
}

/// One phase.
#[derive(Clone, Debug)]
pub(crate) struct PhasePlan {
    pub(crate) name: String,
    pub(crate) lasts: Duration,
    pub(crate) load: PhaseLoad,
}

/// How much is asked in a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PhaseLoad {
    /// So many callers, each with its next call when the last has ended.
    Callers(usize),
    /// Calls a second, at the beginning and at the end.
    Rate(f64, f64, Arrivals),
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            seed: 1,
            arrivals: Arrivals::Uniform,
            offset: 0.0,
            callers: None,
            think: Spread::ZERO,
            calls: Vec::new(),
            others: Vec::new(),
            phases: Vec::new(),
            settings: None,
        }
    }
}

impl Traffic {
    /// Whether anything is left to chance.
    pub(crate) fn is_random(&self) -> bool {
        let random = |arrivals: &Arrivals| *arrivals == Arrivals::Poisson;
        let phase =
            |phase: &PhasePlan| matches!(phase.load, PhaseLoad::Rate(_, _, a) if random(&a));
        !self.calls.is_empty()
            || !matches!(self.think, Spread::Fixed(_))
            || random(&self.arrivals)
            || self.phases.iter().any(phase)
    }
}

impl PhasePlan {
    /// Its stretch of the timetable; `None` in a closed loop.
    pub(crate) fn stretch(&self) -> Option<Stretch> {
        match self.load {
            PhaseLoad::Callers(_) => None,
            PhaseLoad::Rate(first, last, arrivals) => Some(Stretch {
                lasts: self.lasts,
                rate: (first, last),
                arrivals,
            }),
        }
    }
}

impl CallPlan {
    /// A GET of `path` at the plan's upstream.
    pub(crate) fn get(path: &str) -> Self {
        Self {
            name: "call".to_owned(),
            upstream: 0,
            weight: 1.0,
            path: path.to_owned(),
            size: None,
            upload: None,
            close: 0.0,
            class: CallClass::Unsaid,
        }
    }
}

impl CallClass {
    /// As it is written in scenario files.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "critical" => Ok(Self::Critical),
            "normal" => Ok(Self::Normal),
            "sheddable" => Ok(Self::Sheddable),
            _ => Err(format!("`{text}` is none of critical, normal, sheddable")),
        }
    }
}
