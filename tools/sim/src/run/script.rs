//! A run in which calls and troubles are given, and what is seen of it is kept.
//!
//! Owns: what a script is, and its evidence. Never: judges it.

use super::Run;
use crate::load::{Load, Order};
use crate::world::{Trouble, Troubles};
use scenarios::Sample;
use std::time::Duration;

/// What happens, and when.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Calls, in the order of time.
    pub calls: Vec<(Duration, Order)>,
    /// What befalls servers.
    pub troubles: Vec<(Duration, Trouble)>,
}

/// Dials that were begun for the last calls are over by then.
const SETTLES: Duration = Duration::from_millis(500);

impl Run {
    /// Lets `script` decide instead of chance.
    pub(super) fn follow(&mut self, script: Script) {
        self.scripted = true;
        self.losses.clear();
        self.load = Load::scripted(&self.stage, script.calls);
        self.troubles = Troubles::given(self.stage.knobs.seed, &script.troubles);
    }

    /// All calls have been begun: lets them end, and notes what there was.
    pub(super) fn conclude(&mut self) {
        while !self.is_over() && self.load.under_way() > 0 {
            if !self.round(false) {
                self.pass(None);
            }
        }
        self.settle(SETTLES);
        let servers = 0..self.world.servers();
        let accepted = servers.map(|server| {
            let endpoint = self.world.endpoint(server);
            self.network.connections_accepted(endpoint) as u64
        });
        self.seen.opened = accepted.sum();
        self.seen.shots = self.load.journal();
        self.scripted = false;
    }

    /// Notes the engine's counts, if they have changed.
    pub(super) fn count_dials(&mut self) {
        let mut sample = Sample {
            at: self.network.now(),
            ..Sample::default()
        };
        for upstream in self.looks.iter().flat_map(|look| &look.upstreams) {
            sample.dials += upstream.counters.dials;
            sample.flying += u64::from(upstream.dialing);
            sample.open += u64::from(upstream.idle + upstream.leased);
        }
        let last = self.seen.samples.last().copied().unwrap_or_default();
        let counts = |sample: Sample| (sample.dials, sample.flying, sample.open);
        if counts(last) != counts(sample) {
            self.seen.samples.push(sample);
        }
    }
}
