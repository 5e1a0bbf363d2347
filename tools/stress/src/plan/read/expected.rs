//! The part of a scenario file that is held against what is found: its sweep, and its expectations.
//!
//! Owns: the keys of `[sweep]` and `[[expect]]`. Never: evaluates one.

use super::super::Sweep;
use super::super::expect::{Expectation, Limit, Metric};
use super::super::keys::Keys;
use super::{PARTS_MAX, Reader, some};
use crate::traffic::{CallPlan, PhasePlan};

impl<'a> Reader<'a> {
    pub(super) fn sweep(&self, mut keys: Keys<'a>) -> Option<Sweep> {
        let key = keys.text("key", some);
        let values = keys.list("values");
        if key.is_none() && !keys.has("key") {
            keys.wrong("[sweep] names no `key` of [pool]");
        }
        if values.is_empty() || values.len() > PARTS_MAX {
            keys.wrong(format!("[sweep] has 1 to {PARTS_MAX} `values`"));
        }
        let key = key.unwrap_or_default();
        for (span, value) in values.iter().filter(|_| !key.is_empty()) {
            if let Err(error) = self.setting(&key, value) {
                self.book.wrong(span.clone(), format!("[sweep]: {error}"));
            }
        }
        keys.finish();
        let values = values.into_iter().map(|(_, value)| value);
        Some(Sweep {
            key,
            values: values.collect(),
        })
    }

    pub(super) fn expect(&self, mut keys: Keys<'a>, named: &Named<'_>) -> Option<Expectation> {
        let mut name = String::new();
        let metric = keys.text("metric", |text| {
            text.clone_into(&mut name);
            Metric::parse(text)
        });
        if metric.is_none() && !keys.has("metric") {
            keys.wrong("[[expect]] names no `metric`");
        }
        let phase = keys.text("phase", |name| named.phase(name));
        let call = keys.text("call", |name| named.call(name));
        let at = keys.word("at", |name| named.at(name));
        let why = keys.text("why", some);
        if !keys.has("at_least") && !keys.has("at_most") {
            keys.wrong("[[expect]] says neither `at_least` nor `at_most`");
        }
        let expectation = metric.map(|metric| {
            if call.is_some() && metric.is_the_engines() {
                keys.wrong(format!(
                    "`{name}` is the engine's: it is not known by calls"
                ));
            }
            let limit = |text: &str| metric.limit(text, |name| named.phase(name).ok());
            let [least, most] = ["at_least", "at_most"].map(|key| keys.word(key, limit));
            if let (Some(Limit::Is(least)), Some(Limit::Is(most))) = (least, most)
                && least > most
            {
                keys.wrong("nothing is `at_least` more than it is `at_most`");
            }
            let itself = |limit| matches!(limit, Some(Limit::Times(_, of)) if Some(of) == phase);
            if itself(least) || itself(most) {
                keys.wrong(format!("`{name}` of a phase is compared with itself"));
            }
            Expectation {
                least,
                most,
                metric: metric.clone(),
                name,
                phase,
                call,
                at,
                why,
            }
        });
        if expectation.is_none() {
            // Unknown keys are to be told all the same.
            let _ = (keys.has("at_least"), keys.has("at_most"));
        }
        keys.finish();
        expectation
    }
}

/// What expectations can speak of.
pub(super) struct Named<'a> {
    pub(super) phases: &'a [PhasePlan],
    pub(super) calls: &'a [CallPlan],
    pub(super) sweep: Option<&'a Sweep>,
}

impl Named<'_> {
    fn phase(&self, name: &str) -> Result<usize, String> {
        let found = self.phases.iter().position(|phase| phase.name == name);
        found.ok_or_else(|| format!("there is no phase `{name}`"))
    }

    fn call(&self, name: &str) -> Result<usize, String> {
        let found = self.calls.iter().position(|call| call.name == name);
        found.ok_or_else(|| format!("there is no call `{name}`"))
    }

    fn at(&self, name: &str) -> Result<usize, String> {
        let sweep = self.sweep.ok_or("there is no [sweep]")?;
        let found = (0..sweep.values.len()).find(|at| sweep.name(*at) == name);
        found.ok_or_else(|| format!("the sweep has no value {name}"))
    }
}
