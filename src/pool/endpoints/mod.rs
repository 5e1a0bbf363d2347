//! An upstream's endpoints as one pool sees them: which may be dialled and used, and which is to be next.
//!
//! Owns: the set, each one's breaker and load, and the limit on how many are ejected at once.
//! Never: knows connections or addresses, or dials; it is told what happened, and asked.
//!
//! | file | concept |
//! |---|---|
//! | `events` | what happens to them |
//! | `breaker` | one endpoint's states |
//! | `redial` | the dials that try it while unreachable |
//! | `trials` | its work while half-open |
//! | `window` | how many of its recent calls failed |
//! | `balance` | the better one of two |
//!
//! What every call does (`began`, `served`, `ended`, `choose_grant`) is a few comparisons and additions while there
//! is one endpoint, and allocates nothing however many there are. Whatever needs a look at all of them
//! happens when one changes its state, and its result is kept.

mod balance;
mod breaker;
mod events;
mod redial;
#[cfg(test)]
mod tests;
mod trials;
mod window;

use std::time::Duration;

use super::message::EndpointId;
use crate::config::{BalanceConfig, BreakerConfig};
use crate::random::Random;
use crate::time::Time;
use balance::Load;
use breaker::Breaker;
pub use breaker::BreakerState;

/// Endpoints are looked for at random so often before those that fit are counted.
const PROBES: u32 = 2;

/// What an event changed for the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// It may not be used: its idle connections are to be closed.
    Ejected,
    /// It may be used again, or dialled again, or without the limit on trials.
    Restored,
    /// It became unreachable: only what is open still serves.
    Lost,
}

/// The endpoints of one pool. `now` must never run backwards.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// By id.
    slots: Vec<Slot>,
    /// The present ones, sorted.
    listed: Vec<EndpointId>,
    /// How many of them are ejected.
    ejected: u32,
    /// When the first of them needs `tick` or `trial_due`.
    next: Option<Time>,
    /// As it was at the last ejection, for when the set shrinks.
    ejected_share_max: f64,
}

/// The place of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Leases and dials under way. Counted for endpoints that have left, too: they may come back first.
    outstanding: u32,
    /// Those of the leases that had their verdict already.
    judged: u32,
    /// None: not present.
    endpoint: Option<Endpoint>,
}

#[derive(Debug, Default)]
struct Endpoint {
    breaker: Breaker,
    load: Load,
    /// How often it was ejected.
    ejections: u64,
}

impl Endpoints {
    pub(super) fn new() -> Endpoints {
        Endpoints {
            slots: Vec::new(),
            listed: Vec::new(),
            ejected: 0,
            next: None,
            ejected_share_max: 1.0,
        }
    }

    // What holds now.

    /// Whether there is any.
    pub(super) fn is_known(&self) -> bool {
        !self.listed.is_empty()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    /// The only one, if there is one alone.
    #[inline]
    pub(super) fn only(&self) -> Option<EndpointId> {
        match self.listed[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The only one, to begin work at, if its open connections may be used now.
    #[inline]
    pub(super) fn only_serving(
        &mut self,
        now: Time,
        config: &BreakerConfig,
    ) -> Option<(EndpointId, &mut Slot)> {
        let id = self.only()?;
        let slot = self.slots.get_mut(id.0 as usize)?;
        let endpoint = slot.endpoint.as_ref()?;
        endpoint
            .breaker
            .may_serve(now, config)
            .then_some((id, slot))
    }

    pub(super) fn contains(&self, id: EndpointId) -> bool {
        self.find(id).is_some()
    }

    /// Whether a regular dial may go anywhere now. While none is known, nothing speaks against one.
    pub(super) fn dialable(&self, now: Time, config: &BreakerConfig) -> bool {
        !self.is_known() || self.listed.iter().any(|&id| self.may_dial(now, id, config))
    }

    /// Each endpoint, what its breaker says, and how often it was ejected.
    pub(super) fn told(&self) -> impl Iterator<Item = (EndpointId, BreakerState, u64)> {
        self.listed.iter().filter_map(|&id| {
            let endpoint = self.find(id)?;
            Some((id, endpoint.breaker.state(), endpoint.ejections))
        })
    }

    /// Whether the open connections of `id` may be used now.
    #[inline]
    pub(super) fn may_serve(&self, now: Time, id: EndpointId, config: &BreakerConfig) -> bool {
        self.find(id)
            .is_some_and(|endpoint| endpoint.breaker.may_serve(now, config))
    }

    /// Whether connections to some of them may not be used, or not all at once.
    #[cfg(feature = "simulation")]
    pub(super) fn is_choosy(&self) -> bool {
        self.present()
            .any(|endpoint| !endpoint.breaker.is_trusted())
    }

    /// Whether the half-open ones know of as much work as there is: else they could be stuck.
    #[cfg(feature = "simulation")]
    pub(super) fn trials_add_up(&self) -> bool {
        self.slots.iter().all(|slot| {
            let known = slot
                .endpoint
                .as_ref()
                .and_then(|one| one.breaker.unjudged());
            let unjudged = slot.outstanding.saturating_sub(slot.judged);
            known.is_none_or(|known| known == unjudged)
        })
    }

    /// Whether some are known and none of them may be dialled now.
    pub(super) fn is_open(&self, now: Time, config: &BreakerConfig) -> bool {
        !self.dialable(now, config)
    }

    /// After how long one of them may be of use again, at the earliest: zero if one is already.
    pub(super) fn retry_after(&self, now: Time) -> Duration {
        let waits = self.present().map(|end| end.breaker.retry_after(now));
        waits.min().unwrap_or_default()
    }

    /// When [`trial_due`](Endpoints::trial_due) or [`tick`](Endpoints::tick) has something to do.
    #[inline]
    pub(super) fn next(&self) -> Option<Time> {
        self.next
    }

    /// How many are ejected. Half-open ones are not.
    pub(super) fn ejected(&self) -> u32 {
        self.ejected
    }

    // Choices.

    /// Where to dial, other than where it was `tried` already. A half-open endpoint's trial is taken by
    /// [`began`](Endpoints::began).
    pub(super) fn choose_dial(
        &self,
        now: Time,
        tried: &[EndpointId],
        config: &BreakerConfig,
        balance: &BalanceConfig,
        random: &mut Random,
    ) -> Option<EndpointId> {
        let fits = |id| !tried.contains(&id) && self.may_dial(now, id, config);
        self.choose(now, fits, balance, random)
    }

    /// Whose free connection to use.
    #[inline]
    pub(super) fn choose_grant(
        &self,
        now: Time,
        has_free: impl Fn(EndpointId) -> bool,
        config: &BreakerConfig,
        balance: &BalanceConfig,
        random: &mut Random,
    ) -> Option<EndpointId> {
        let fits = |id| self.may_serve(now, id, config) && has_free(id);
        self.choose(now, fits, balance, random)
    }

    /// The better of two picked by chance among those that fit.
    #[inline]
    fn choose(
        &self,
        now: Time,
        fits: impl Fn(EndpointId) -> bool,
        balance: &BalanceConfig,
        random: &mut Random,
    ) -> Option<EndpointId> {
        if let Some(only) = self.only() {
            return fits(only).then_some(only);
        }
        let first = self.pick(&fits, random)?;
        let Some(second) = self.pick(|id| id != first && fits(id), random) else {
            return Some(first);
        };
        let of = |id: EndpointId| {
            let slot = &self.slots[id.0 as usize];
            let endpoint = slot.endpoint.as_ref().expect("what is listed is present");
            (&endpoint.load, slot.outstanding)
        };
        let takes_first = balance::prefers_first(now, of(first), of(second), balance, random);
        Some(if takes_first { first } else { second })
    }

    /// Any that fits, each as likely as the other.
    fn pick(&self, fits: impl Fn(EndpointId) -> bool, random: &mut Random) -> Option<EndpointId> {
        if self.listed.is_empty() {
            return None;
        }
        for _ in 0..PROBES {
            let id = self.listed[random.below(self.listed.len() as u64) as usize];
            if fits(id) {
                return Some(id);
            }
        }
        let mut fitting = self.listed.iter().copied().filter(|&id| fits(id));
        let count = fitting.clone().count();
        fitting.nth(random.below(count as u64) as usize)
    }

    // Helpers.

    #[inline]
    fn find(&self, id: EndpointId) -> Option<&Endpoint> {
        self.slots.get(id.0 as usize)?.endpoint.as_ref()
    }

    #[inline]
    fn find_mut(&mut self, id: EndpointId) -> Option<&mut Endpoint> {
        self.slots.get_mut(id.0 as usize)?.endpoint.as_mut()
    }

    fn present(&self) -> impl Iterator<Item = &Endpoint> {
        self.listed.iter().filter_map(|&id| self.find(id))
    }

    /// Whether a regular dial may go to `id` now.
    pub(super) fn may_dial(&self, now: Time, id: EndpointId, config: &BreakerConfig) -> bool {
        self.find(id)
            .is_some_and(|endpoint| endpoint.breaker.may_dial(now, config))
    }
}
