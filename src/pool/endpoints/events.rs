//! What happens to endpoints: the set changes, work begins and ends, calls and dials succeed or fail, time
//! goes by.
//!
//! Owns: passing each event to the one endpoint that it is about, and the limit on ejections.
//! Never: chooses an endpoint.

use std::time::Duration;

use super::breaker::Breaker;
use super::{Change, Endpoint, Endpoints, Slot};
use crate::config::{BalanceConfig, BreakerConfig};
use crate::pool::message::EndpointId;
use crate::random::Random;
use crate::time::Time;

impl Slot {
    #[inline]
    pub(in crate::pool) fn began(&mut self, now: Time) {
        self.outstanding += 1;
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.breaker.began(now);
        }
    }

    #[inline]
    fn ended(&mut self, judged: bool) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if judged {
            self.judged = self.judged.saturating_sub(1);
        }
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.breaker.ended(judged);
        }
    }
}

impl Endpoints {
    /// The endpoints are these from now on: those who stay keep their state, newcomers start slowly unless
    /// they are the first. Tells who left.
    pub(in crate::pool) fn set_all(
        &mut self,
        now: Time,
        ids: &[EndpointId],
        balance: &BalanceConfig,
    ) -> Vec<EndpointId> {
        let was_known = self.is_known();
        let mut listed = ids.to_vec();
        listed.sort_unstable();
        listed.dedup();
        let mut left = std::mem::replace(&mut self.listed, listed);
        left.retain(|id| self.listed.binary_search(id).is_err());
        for id in &left {
            self.slots[id.0 as usize].endpoint = None;
        }
        if let Some(last) = self.listed.last() {
            let count = self.slots.len().max(last.0 as usize + 1);
            self.slots.resize_with(count, Slot::default);
        }
        for id in &self.listed {
            self.slots[id.0 as usize].endpoint.get_or_insert_with(|| {
                let mut newcomer = Endpoint::default();
                if was_known {
                    newcomer.load.start_slowly(now, balance);
                }
                newcomer
            });
        }
        self.look_at_all();
        while self.ejected > self.ejected_max()
            && let Some((_, first)) = self.first_ejected()
        {
            self.end_ejection(now, first, balance);
        }
        left
    }

    /// A unit of work begins at `id`: a lease, or a dial.
    pub(in crate::pool) fn began(&mut self, now: Time, id: EndpointId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.began(now);
        }
    }

    /// A unit of work at `id` is over, `judged` before or not.
    #[inline]
    pub(in crate::pool) fn ended(&mut self, id: EndpointId, judged: bool) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.ended(judged);
        }
    }

    /// A call to `id` was answered after `latency`: its verdict. Its end follows, sooner or later.
    #[inline]
    pub(in crate::pool) fn served(
        &mut self,
        now: Time,
        id: EndpointId,
        latency: Duration,
        config: &BreakerConfig,
        balance: &BalanceConfig,
    ) -> Change {
        self.count_verdict(id);
        let several = self.listed.len() > 1;
        let Some(endpoint) = self.find_mut(id) else {
            return Change::None;
        };
        if several {
            endpoint.load.observe(now, latency, balance);
        }
        let change = endpoint.breaker.served(now, config);
        if change != Change::None {
            self.look_at_all();
        }
        change
    }

    /// A call to `id` failed in a way that speaks against it: its verdict. Its end follows.
    pub(in crate::pool) fn faulted(
        &mut self,
        now: Time,
        id: EndpointId,
        config: &BreakerConfig,
        random: &mut Random,
    ) -> Change {
        self.count_verdict(id);
        let may_eject = self.may_eject(config);
        self.judge(id, |breaker| {
            breaker.faulted(now, may_eject, config, random)
        })
    }

    /// A call to `id` that was [`served`](Endpoints::served) has failed before its end.
    pub(in crate::pool) fn recanted(
        &mut self,
        now: Time,
        id: EndpointId,
        config: &BreakerConfig,
        random: &mut Random,
    ) -> Change {
        let may_eject = self.may_eject(config);
        self.judge(id, |breaker| {
            breaker.recanted(now, may_eject, config, random)
        })
    }

    #[inline]
    fn count_verdict(&mut self, id: EndpointId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.judged += 1;
        }
    }

    fn may_eject(&mut self, config: &BreakerConfig) -> bool {
        self.ejected_share_max = config.ejected_share_max;
        self.ejected < self.ejected_max()
    }

    /// A dial to `id` succeeded. Told before [`ended`](Endpoints::ended).
    pub(in crate::pool) fn connected(
        &mut self,
        now: Time,
        id: EndpointId,
        balance: &BalanceConfig,
    ) -> Change {
        let change = self.judge(id, Breaker::connected);
        if change == Change::Restored
            && let Some(endpoint) = self.find_mut(id)
        {
            // What could not be reached has most likely been restarted.
            endpoint.load.start_slowly(now, balance);
        }
        change
    }

    /// A dial to `id` failed. Told before [`ended`](Endpoints::ended).
    pub(in crate::pool) fn connect_failed(
        &mut self,
        now: Time,
        id: EndpointId,
        config: &BreakerConfig,
        backoff_max: Duration,
        random: &mut Random,
    ) -> Change {
        self.judge(id, |breaker| {
            breaker.connect_failed(now, config, backoff_max, random)
        })
    }

    /// An unreachable endpoint whose background dial is due, which is under way from now on: until
    /// `connected`, `connect_failed` or `trial_abandoned` tells its end.
    pub(in crate::pool) fn trial_due(&mut self, now: Time) -> Option<EndpointId> {
        if self.next.is_none_or(|next| now < next) {
            return None;
        }
        let found = self.listed.iter().copied().find(|id| {
            let endpoint = self.slots[id.0 as usize].endpoint.as_mut();
            endpoint.is_some_and(|endpoint| endpoint.breaker.take_dial(now))
        });
        self.look_at_all();
        found
    }

    /// The background dial to `id` did not take place, or was given up: it is due again later.
    pub(in crate::pool) fn trial_abandoned(
        &mut self,
        now: Time,
        id: EndpointId,
        backoff_max: Duration,
        random: &mut Random,
    ) {
        if let Some(endpoint) = self.find_mut(id) {
            endpoint.breaker.dial_abandoned(now, backoff_max, random);
            self.look_at_all();
        }
    }

    /// Nobody has asked for a while: endpoints that cannot be connected to are tried no more in the
    /// background. The next caller's dial finds out; if it fails they are unreachable again.
    pub(in crate::pool) fn forgive(&mut self) {
        for id in self.listed.clone() {
            if let Some(endpoint) = self.find_mut(id) {
                endpoint.breaker.forgive();
            }
        }
        self.look_at_all();
    }

    /// Ends the ejections whose time is over: true if there were any.
    pub(in crate::pool) fn tick(&mut self, now: Time, balance: &BalanceConfig) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        let mut changed = false;
        while let Some((until, id)) = self.first_ejected()
            && until <= now
        {
            self.end_ejection(now, id, balance);
            changed = true;
        }
        changed
    }

    /// Which of the ejected comes back first, and when.
    fn first_ejected(&self) -> Option<(Time, EndpointId)> {
        if self.ejected == 0 {
            return None;
        }
        let until = |&id: &EndpointId| Some((self.find(id)?.breaker.ejected_until()?, id));
        self.listed.iter().filter_map(until).min()
    }

    fn end_ejection(&mut self, now: Time, id: EndpointId, balance: &BalanceConfig) {
        let slot = &mut self.slots[id.0 as usize];
        if let Some(endpoint) = &mut slot.endpoint {
            let unjudged = slot.outstanding.saturating_sub(slot.judged);
            endpoint.breaker.end_ejection(now, unjudged, slot.judged);
            endpoint.load.start_slowly(now, balance);
        }
        self.look_at_all();
    }

    /// How many may be ejected at once: a share of all, but always one.
    fn ejected_max(&self) -> u32 {
        let share = self.ejected_share_max * self.listed.len() as f64;
        (share as u32).max(1)
    }

    fn judge(&mut self, id: EndpointId, verdict: impl FnOnce(&mut Breaker) -> Change) -> Change {
        let Some(endpoint) = self.find_mut(id) else {
            return Change::None;
        };
        let change = verdict(&mut endpoint.breaker);
        endpoint.ejections += u64::from(change == Change::Ejected);
        // Even without a change for the pool, a failed trial moves the next one.
        self.look_at_all();
        change
    }

    /// Renews what is kept about all of them.
    fn look_at_all(&mut self) {
        let breakers = || self.present().map(|endpoint| &endpoint.breaker);
        let ejected = breakers().filter(|breaker| breaker.ejected_until().is_some());
        let (ejected, next) = (
            ejected.count() as u32,
            breakers().filter_map(Breaker::next).min(),
        );
        (self.ejected, self.next) = (ejected, next);
    }
}
