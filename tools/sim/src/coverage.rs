//! What a run has met: every transition, every kind of error, every fault in every state.
//!
//! Owns: counts, and the list of what there is to be met. Never: judges; what was never met is told at the
//! end of many runs.

use crate::oracle::State;
use crate::world::{After, AnswerFault, Plan};
use ringpool::simulation::FaultCounts;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts, to be added up over runs.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    transitions: BTreeMap<(&'static str, &'static str), u64>,
    endings: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    /// Which faults befell connections in which states.
    met: BTreeMap<(&'static str, &'static str), u64>,
    /// How many connections were in which state at the last look.
    present: [u32; State::ALL.len()],
}

/// What a connection's slot is before and after.
const FREE: &str = "free";

/// Transitions that there are.
const TRANSITIONS: &[(&str, &str)] = &[
    (FREE, "dialing"),
    ("dialing", "handshaking"),
    ("dialing", "idle"),
    ("dialing", "draining"),
    ("handshaking", "idle"),
    ("handshaking", "draining"),
    ("idle", "leased"),
    ("idle", "draining"),
    ("leased", "idle"),
    ("leased", "draining"),
    ("draining", "closing"),
    ("closing", FREE),
];

/// Endings that there are. Not among them: `timeout_ready`, which is the engine's start and no call's; `config`, which no call meets whose upstream is there;
/// `forbidden`, which is decided before there is anything to simulate.
const ENDINGS: &[&str] = &[
    "ok",
    "given_up",
    "unsupported",
    "request",
    "request_body",
    "resolve",
    "dial",
    "timeout_wait",
    "timeout_dial",
    "timeout_send",
    "timeout_head",
    "timeout_body",
    "tls",
    "closed",
    "protocol",
    "limit",
    "shed",
    "breaker",
    "refused",
    "draining",
];

/// Faults that befall whatever is there, each to be met in every state.
const AMBIENT: &[&str] = &[
    "refuse",
    "swallow",
    "partition",
    "cut_end",
    "cut_reset",
    "outage",
    "name_gone",
    "clock_jump",
    "reconfigured",
    "shard_lost",
    "drain",
];

/// The driver's faults, at the index of their discriminants.
const DRIVER: [&str; 9] = [
    "driver_late",
    "driver_reordered",
    "driver_short_send",
    "driver_more_lost",
    "driver_no_buffers",
    "driver_open_fails",
    "driver_submit_fails",
    "driver_cancel_races",
    "driver_overflow",
];

/// Faults of one answer or one connection, in the state that they say themselves.
const SINGLE: &[&str] = &[
    "answer_silence",
    "answer_cut",
    "answer_garbled",
    "answer_huge_head",
    "answer_interim_flood",
    "answer_excess",
    "answer_silent_end",
    "idle_end",
    "idle_reset",
    "idle_byte",
    "idle_408",
    "idle_answer",
    "caller_gone",
    "slow_reader",
    "tls_cut_end",
    "tls_cut_reset",
    "tls_silence",
    "tls_early_close_notify",
    "tls_alert",
    "tls_garbage",
    "tls_plain_text",
    "tls_unknown_issuer",
    "tls_wrong_name",
    "tls_expired",
    "tls_resumed",
    "tls_rude_end",
    "tls_idle_close_notify",
    "tls_idle_close",
    "tls_idle_end",
    "tls_idle_garbage",
    "tls_key_update",
];

/// The states in which an ambient fault can meet a connection.
const STATES: &[&str] = &[
    "dialing",
    "handshaking",
    "idle",
    "leased",
    "draining",
    "closing",
];

impl Coverage {
    /// A connection was seen to move.
    pub fn moved(&mut self, from: State, to: State) {
        *self
            .transitions
            .entry((from.name(), to.name()))
            .or_default() += 1;
    }

    /// A connection was seen for the first time.
    pub fn appeared(&mut self, state: State) {
        *self.transitions.entry((FREE, state.name())).or_default() += 1;
    }

    /// A connection is there no more.
    pub fn freed(&mut self, from: State) {
        *self.transitions.entry((from.name(), FREE)).or_default() += 1;
    }

    /// A call ended like this.
    pub fn ended(&mut self, how: &'static str) {
        *self.endings.entry(how).or_default() += 1;
    }

    /// This many connections are in each state now.
    pub fn present(&mut self, counts: [u32; State::ALL.len()]) {
        self.present = counts;
    }

    /// A fault befell whatever there is.
    pub fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
        for state in State::ALL {
            let count = u64::from(self.present[state as usize]);
            if count > 0 {
                *self.met.entry((name, state.name())).or_default() += count;
            }
        }
    }

    /// A shard's driver did these things in its last turn.
    pub fn driver_faults(&mut self, before: &FaultCounts, now: &FaultCounts) {
        for (index, name) in DRIVER.iter().enumerate() {
            if now[index] > before[index] {
                self.fault(name);
            }
        }
    }

    /// A server answered like this.
    pub fn answered(&mut self, plan: &Plan) {
        let name = match (plan.fault, plan.after) {
            (None, After::Stay | After::Close) => return,
            (None, After::SilentEnd) => "answer_silent_end",
            (None, After::Excess) => "answer_excess",
            (Some(AnswerFault::Silence), _) => "answer_silence",
            (Some(AnswerFault::Cut(..)), _) => "answer_cut",
            (Some(AnswerFault::Garbled(_)), _) => "answer_garbled",
            (Some(AnswerFault::HugeHead(_)), _) => "answer_huge_head",
            (Some(AnswerFault::InterimFlood), _) => "answer_interim_flood",
        };
        self.fault(name);
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Coverage) {
        add(&mut self.transitions, &other.transitions);
        add(&mut self.endings, &other.endings);
        add(&mut self.faults, &other.faults);
        add(&mut self.met, &other.met);
    }

    /// What there is and was never met.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for pair in TRANSITIONS {
            if !self.transitions.contains_key(pair) {
                missing.push(format!("transition {} → {}", pair.0, pair.1));
            }
        }
        for ending in ENDINGS {
            if !self.endings.contains_key(ending) {
                missing.push(format!("ending {ending}"));
            }
        }
        for fault in AMBIENT.iter().chain(&DRIVER) {
            for state in STATES {
                if !self.met.contains_key(&(*fault, *state)) {
                    missing.push(format!("{fault} while {state}"));
                }
            }
        }
        for fault in SINGLE {
            if !self.faults.contains_key(fault) {
                missing.push((*fault).to_owned());
            }
        }
        missing
    }

    /// As a table.
    pub fn table(&self) -> String {
        let mut text = String::from("transitions\n");
        for ((from, to), count) in &self.transitions {
            row(&mut text, &format!("{from} → {to}"), &[*count]);
        }
        text.push_str("endings\n");
        for (ending, count) in &self.endings {
            row(&mut text, ending, &[*count]);
        }
        let _ = writeln!(text, "faults, and connections present by state");
        let _ = writeln!(text, "  {:32} {:>12}{}", "", "times", heads());
        for (fault, count) in &self.faults {
            let counts = STATES.iter().map(|&state| self.met.get(&(*fault, state)));
            let mut numbers = vec![*count];
            numbers.extend(counts.map(|count| count.copied().unwrap_or(0)));
            row(&mut text, fault, &numbers);
        }
        text
    }
}

fn heads() -> String {
    STATES.iter().map(|state| format!(" {state:>11}")).collect()
}

fn row(text: &mut String, name: &str, numbers: &[u64]) {
    let _ = write!(text, "  {name:32}");
    for number in numbers {
        let _ = write!(text, " {number:>11}");
    }
    text.push('\n');
}

fn add<K: Ord + Copy>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(*key).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_met_is_told() {
        let mut coverage = Coverage::default();
        let all = coverage.missing().len();
        coverage.ended("ok");
        coverage.present([1, 0, 1, 0, 0, 0]);
        coverage.fault("partition");
        assert_eq!(coverage.missing().len(), all - 3);
        assert!(coverage.table().contains("partition"));
    }
}
