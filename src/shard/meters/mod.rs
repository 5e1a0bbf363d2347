//! What a shard counts of one upstream, and of each of its endpoints, beside what its pool counts itself.
//!
//! Owns: plain state of one thread, freed with the upstream, and its ceiling. Never: reads a clock; allocates for what was met
//! before; costs more than a few instructions on the way of a request.
//!
//! | what | bytes at most, for each upstream and shard |
//! |---|---|
//! | durations of requests | 200 for each pair of method and outcome, [`SERIES_MAX`] pairs; all further ones share one |
//! | waits, look-ups, look-ups in vain | 200 each |
//! | an endpoint | six times 200 and 350, [`PLACES_MAX`] endpoints; all further ones share one |
//! | one that has left | the same; [`GONE_MAX`] of them, and more where there are fewer endpoints; what left before those shares one |

mod endpoint;
mod requests;

use crate::audit::CloseCause;
use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::pool::{EndpointId, PoolCounters};
use crate::protocol::http1::MethodKind;
use crate::stats::{Durations, TELEMETRY};
use crate::time::Time;
use std::collections::VecDeque;
use std::time::Duration;

pub use endpoint::{BreakerFigures, ConnectionStates, EndpointFigures};
use requests::Requests;
#[cfg(doc)]
use requests::SERIES_MAX;
pub use requests::{Outcome, RequestFigures};

/// Endpoints that are told apart.
pub(crate) const PLACES_MAX: usize = 64;

/// Endpoints that have left and are told apart still, beside as many others as there may be.
pub(crate) const GONE_MAX: usize = 32;

/// One shard's figures of an upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    requests: Requests,
    /// Of those who waited for a connection.
    pub(crate) waits: Durations,
    /// Look-ups that had an answer of use, and those that had none.
    pub(crate) lookups: Durations,
    pub(crate) lookups_in_vain: Durations,
    pub(crate) lookups_failed: u64,
    pub(crate) avoided_by_reuse: u64,
    pub(crate) avoided_by_resumption: u64,
    pub(crate) retries: u64,
    /// Retries that the budget had no room for.
    pub(crate) retries_refused: u64,
    pub(crate) asking: Asking,
    places: Vec<Option<Box<EndpointFigures>>>,
    /// Those that have left, the first one first: what they count goes on if they come back.
    gone: VecDeque<Gone>,
    /// Of all endpoints that are not among those.
    pub(crate) elsewhere: EndpointFigures,
    /// What the pools of lost shards before this one counted, and what reuse avoided there.
    pub(crate) before: PoolCounters,
    avoided_before: u64,
}

/// Those who asked for a connection, as far as their pool does not count them: all but those who got one at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking {
    /// Times that somebody asked who did not get one within the same breath, be it for want of a look at the driver's events.
    pub(crate) asked: u64,
    /// Those of them whom the pool counts as hits: after that look one was free.
    pub(crate) hits_late: u64,
    /// Connections that had gone bad when those looked who got them: they asked again.
    pub(crate) stale: u64,
    /// Who went away.
    pub(crate) cancelled: u64,
    /// Who got an error that is not the pool's own affair.
    pub(crate) failed: u64,
    /// Who was refused because the engine drains, or ends.
    pub(crate) draining: u64,
}

impl Asking {
    fn add(&mut self, others: &Asking) {
        self.asked += others.asked;
        self.hits_late += others.hits_late;
        self.stale += others.stale;
        self.cancelled += others.cancelled;
        self.failed += others.failed;
        self.draining += others.draining;
    }
}

/// An endpoint that has left.
#[derive(Clone, Debug)]
pub(crate) struct Gone {
    pub(crate) address: Endpoint,
    pub(crate) since: Time,
    pub(crate) figures: Box<EndpointFigures>,
}

impl Meters {
    /// A call has ended, so many nanoseconds after it began.
    #[inline]
    pub(crate) fn requested(&mut self, method: MethodKind, outcome: Outcome, nanos: u64) {
        if TELEMETRY {
            self.requests.record((method, outcome), nanos);
        }
    }

    /// A call has ended by an error.
    pub(crate) fn failed(&mut self, method: MethodKind, kind: ErrorKind, nanos: u64) {
        self.requested(method, Outcome::Error(kind.name()), nanos);
    }

    /// A connection to `place` was held for so many nanoseconds.
    #[inline(always)]
    pub(crate) fn held(&mut self, place: Option<EndpointId>, nanos: u64) {
        if !TELEMETRY {
            return;
        }
        match self.met(place) {
            Some(at) => at.hold.record_nanos(nanos),
            None => self.at(place).hold.record_nanos(nanos),
        }
    }

    /// A connection to `place` that was open for so long has ended.
    pub(crate) fn closed(&mut self, place: Option<EndpointId>, why: CloseCause, open: Duration) {
        self.note(place, |at| {
            at.closed.count(why);
            at.lifetime.record(open);
        });
    }

    /// Something else has happened at `place`.
    pub(crate) fn note(
        &mut self,
        place: Option<EndpointId>,
        what: impl FnOnce(&mut EndpointFigures),
    ) {
        if TELEMETRY {
            what(self.at(place));
        }
    }

    /// An endpoint that something was counted at already, and that is told apart.
    #[inline]
    fn met(&mut self, place: Option<EndpointId>) -> Option<&mut EndpointFigures> {
        self.places.get_mut(place?.0 as usize)?.as_deref_mut()
    }

    fn at(&mut self, place: Option<EndpointId>) -> &mut EndpointFigures {
        let Some(id) = place.map(|id| id.0 as usize).filter(|id| *id < PLACES_MAX) else {
            return &mut self.elsewhere;
        };
        if self.places.len() <= id || self.places[id].is_none() {
            self.make_place(id);
        }
        self.places[id].as_mut().expect("it was made just now")
    }

    #[cold]
    fn make_place(&mut self, id: usize) {
        if self.places.len() <= id {
            self.places.resize_with(id + 1, || None);
        }
        self.places[id] = Some(Box::default());
    }

    /// The pool, which counts ejections, forgets so many of an endpoint.
    pub(crate) fn keep_ejections(&mut self, id: EndpointId, count: u64) {
        if count > 0 {
            self.note(Some(id), |at| at.ejections += count);
        }
    }

    /// An endpoint has left: its id may go to another one.
    pub(crate) fn leave(&mut self, now: Time, id: EndpointId, address: &Endpoint) {
        let place = self.places.get_mut(id.0 as usize).and_then(Option::take);
        let Some(figures) = place else {
            return;
        };
        let (address, since) = (address.clone(), now);
        self.gone.push_back(Gone {
            address,
            since,
            figures,
        });
        let told = self.places.iter().flatten().count();
        while self.gone.len() > PLACES_MAX + GONE_MAX - told
            && let Some(first) = self.gone.pop_front()
        {
            self.elsewhere.add(&first.figures);
        }
    }

    /// An endpoint has come, or come back.
    pub(crate) fn come(&mut self, id: EndpointId, address: &Endpoint) {
        if (id.0 as usize) < PLACES_MAX
            && let Some(at) = self.gone.iter().position(|gone| gone.address == *address)
            && let Some(gone) = self.gone.remove(at)
        {
            self.at(Some(id)).add(&gone.figures);
        }
    }

    /// Endpoints that have left, and are told apart.
    pub(crate) fn gone(&self) -> &VecDeque<Gone> {
        &self.gone
    }

    /// How many endpoints are told apart, those that have left included.
    pub(crate) fn endpoints(&self) -> usize {
        self.places.len() + self.gone.len()
    }

    /// All of it, of a shard that is lost, for its successor, who knows endpoints by other ids.
    pub(crate) fn bequeath<'a>(
        mut self,
        now: Time,
        counters: &PoolCounters,
        address: impl Fn(EndpointId) -> Option<&'a Endpoint>,
    ) -> Meters {
        for id in (0..self.places.len() as u32).map(EndpointId) {
            match address(id) {
                Some(address) => self.leave(now, id, address),
                None => {
                    if let Some(place) = self.places[id.0 as usize].take() {
                        self.elsewhere.add(&place);
                    }
                }
            }
        }
        self.avoided_before = self.avoided_by_reuse;
        self.before.add(counters);
        self
    }

    /// What reuse avoided since this shard has met the upstream.
    pub(crate) fn avoided_here(&self) -> u64 {
        self.avoided_by_reuse - self.avoided_before
    }

    /// A copy of all but the endpoints that are told apart.
    pub(crate) fn without_places(&self) -> Meters {
        Meters {
            requests: self.requests.clone(),
            waits: self.waits.clone(),
            lookups: self.lookups.clone(),
            lookups_in_vain: self.lookups_in_vain.clone(),
            places: Vec::new(),
            gone: VecDeque::new(),
            elsewhere: self.elsewhere.clone(),
            before: self.before.clone(),
            ..*self
        }
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Endpoints that are told apart.
    pub(crate) fn places(&self) -> impl Iterator<Item = (EndpointId, &EndpointFigures)> {
        let places = (0..).map(EndpointId).zip(&self.places);
        places.filter_map(|(id, place)| Some((id, place.as_deref()?)))
    }

    /// Adds what was counted under the same name before.
    pub(crate) fn add(&mut self, others: &Meters) {
        self.requests.add(&others.requests);
        self.waits.add(&others.waits);
        self.lookups.add(&others.lookups);
        self.lookups_in_vain.add(&others.lookups_in_vain);
        self.lookups_failed += others.lookups_failed;
        self.avoided_by_reuse += others.avoided_by_reuse;
        self.avoided_by_resumption += others.avoided_by_resumption;
        self.retries += others.retries;
        self.retries_refused += others.retries_refused;
        self.asking.add(&others.asking);
        for (_, place) in others.places() {
            self.elsewhere.add(place);
        }
        for gone in &others.gone {
            self.elsewhere.add(&gone.figures);
        }
        self.elsewhere.add(&others.elsewhere);
        self.before.add(&others.before);
    }
}

#[cfg(all(test, feature = "telemetry"))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn size(of: &Meters) -> usize {
        // What is on the heap, as it is at most: one for each duration that there can be.
        let each = size_of::<EndpointFigures>() + 6 * Durations::SIZE_MAX;
        let places = (of.places().count() + of.gone.len()) * each;
        let vectors = of.places.capacity() * size_of::<usize>();
        let vectors = vectors + of.gone.capacity() * size_of::<Gone>();
        let (_, requests) = of.requests.size();
        size_of::<Meters>() + places + requests + vectors + (6 + 3) * Durations::SIZE_MAX
    }

    fn address(nth: u32) -> Endpoint {
        Endpoint::Inet(([10, 0, (nth >> 8) as u8, nth as u8], 80).into())
    }

    #[test]
    fn whatever_is_met_memory_has_a_ceiling_and_nothing_is_lost() {
        let mut meters = Meters::default();
        for nth in 0..10_000 {
            let status = 200 + (nth % 700) as u16;
            meters.requested(MethodKind::Get, Outcome::Status(status), 1_000_000);
            meters.held(Some(EndpointId(nth % 1000)), MS.as_nanos() as u64);
            if nth % 10 == 0 {
                let id = EndpointId(nth % 1000);
                meters.leave(Time::ZERO, id, &address(nth));
            }
        }
        for id in 0..1000 {
            meters.held(Some(EndpointId(id)), MS.as_nanos() as u64);
        }
        assert_eq!(meters.requests.size().0, requests::SERIES_MAX);
        assert_eq!(meters.places().count(), PLACES_MAX);
        let told = meters.requests.told();
        let requests: u64 = told.iter().map(|one| one.duration.count()).sum();
        let held: u64 = meters.places().map(|(_, at)| at.hold.count()).sum();
        let gone: u64 = (meters.gone.iter().map(|gone| gone.figures.hold.count())).sum();
        assert_eq!(
            (requests, held + gone + meters.elsewhere.hold.count()),
            (10_000, 11_000)
        );
        assert!(size(&meters) < 180 * 1024, "{} bytes", size(&meters));
        let mut usual = Meters::default();
        usual.requested(MethodKind::Get, Outcome::Status(200), 1_000_000);
        usual.held(Some(EndpointId(0)), MS.as_nanos() as u64);
        assert!(size(&usual) < 6 * 1024, "{} bytes", size(&usual));
    }

    #[test]
    fn an_endpoint_that_comes_back_goes_on_with_what_it_had() {
        let mut meters = Meters::default();
        meters.held(Some(EndpointId(0)), MS.as_nanos() as u64);
        meters.held(Some(EndpointId(1)), MS.as_nanos() as u64);
        meters.keep_ejections(EndpointId(1), 2);
        meters.leave(Time::ZERO, EndpointId(1), &address(1));
        assert_eq!((meters.places().count(), meters.gone.len()), (1, 1));
        meters.come(EndpointId(3), &address(2));
        meters.come(EndpointId(2), &address(1));
        meters.held(Some(EndpointId(2)), MS.as_nanos() as u64);
        let back = meters.places().find(|(id, _)| *id == EndpointId(2));
        let back = back.map(|(_, at)| (at.hold.count(), at.ejections));
        assert_eq!((back, meters.gone.len()), (Some((2, 2)), 0));
    }

    #[test]
    fn a_lost_shard_leaves_what_it_counted_by_address() {
        let mut meters = Meters::default();
        for id in 0..3 {
            meters.held(Some(EndpointId(id)), MS.as_nanos() as u64);
        }
        let counters = PoolCounters {
            hits: 3,
            ..PoolCounters::default()
        };
        let known = [address(0), address(1)];
        let left = meters.bequeath(Time::ZERO, &counters, |id| known.get(id.0 as usize));
        assert_eq!((left.places().count(), left.gone.len()), (0, 2));
        assert_eq!((left.elsewhere.hold.count(), left.before.hits), (1, 3));
    }
}
