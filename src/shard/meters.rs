//! What a shard counts of one upstream, and of each of its endpoints, beside what its pool counts itself.
//!
//! Owns: plain state of one thread, freed with the upstream, and its ceiling. Never: reads a clock; allocates for what was met
//! before; costs more than a few instructions on the way of a request.
//!
//! | what | bytes at most, for each upstream and shard |
//! |---|---|
//! | durations of requests | 200 for each pair of method and outcome, [`SERIES_MAX`] pairs; all further ones share one |
//! | waits, look-ups | 200 each |
//! | an endpoint | six times 200 and 350, [`PLACES_MAX`] endpoints; all further ones, and those that have left, share one |

use super::connection::State;
use crate::audit::{CloseCause, Closes};
use crate::error::ErrorKind;
use crate::pool::{BreakerState, EndpointId, PoolCounters};
use crate::protocol::http1::MethodKind;
use crate::stats::{Durations, TELEMETRY};
use std::time::Duration;

/// Pairs of method and outcome that are told apart.
pub(crate) const SERIES_MAX: usize = 24;

/// Endpoints that are told apart.
pub(crate) const PLACES_MAX: usize = 64;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// A response's head came, with this status.
    Status(u16),
    /// None came: the error's kind, as [`ErrorKind::name`] has it.
    Error(&'static str),
    /// Any, of calls that came when there was no room left for another pair of method and outcome.
    Other,
}

/// Calls of one method that ended alike.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestFigures {
    /// The method; `_OTHER` for any but the nine that HTTP knows.
    pub method: &'static str,
    /// How they ended.
    pub outcome: Outcome,
    /// From the turn in which a shard took a call up to the one in which its response's head was there, or its error: over all
    /// attempts, waiting included.
    pub duration: Durations,
}

/// How many connections are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStates {
    /// Looking up a name, or connecting.
    pub dialing: u64,
    /// Connected, and negotiating TLS.
    pub handshaking: u64,
    /// Open and unused.
    pub idle: u64,
    /// In use.
    pub leased: u64,
    /// On their way to being closed: still an open descriptor each.
    pub closing: u64,
}

/// On how many shards an endpoint's breaker is in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerFigures {
    /// Nothing speaks against it.
    pub closed: u64,
    /// It cannot be connected to; what is open still serves.
    pub unreachable: u64,
    /// It gets no calls.
    pub ejected: u64,
    /// It gets a few calls, to see.
    pub half_open: u64,
}

/// What was counted at one endpoint, or at all of them. Without the feature `telemetry` there is nothing in it but what is there now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointFigures {
    /// Connections now.
    pub connections: ConnectionStates,
    /// Attempts to connect.
    pub dials: u64,
    /// Those of them that failed, in the handshake too.
    pub dials_failed: u64,
    /// Connections opened.
    pub opened: u64,
    /// How long connecting took, from the system call to its answer.
    pub connect: Durations,
    /// How long full TLS handshakes took after that.
    pub handshake_full: Durations,
    /// How long resumed ones took.
    pub handshake_resumed: Durations,
    /// How long it took from the beginning of a dial until the connection was open: look-up, endpoints tried in vain and TLS included.
    pub dial: Durations,
    /// How long connections were held by those who got them.
    pub hold: Durations,
    /// How long connections were open that have ended.
    pub lifetime: Durations,
    /// Why those ended.
    pub closed: Closes,
    /// What its breaker says.
    pub breaker: BreakerFigures,
    /// How often it was ejected.
    pub ejections: u64,
}

/// One shard's figures of an upstream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meters {
    requests: Requests,
    /// Of those who waited for a connection.
    pub(crate) waits: Durations,
    pub(crate) lookups: Durations,
    pub(crate) lookups_failed: u64,
    pub(crate) avoided_by_reuse: u64,
    pub(crate) avoided_by_resumption: u64,
    pub(crate) retries: u64,
    /// Retries that the budget had no room for.
    pub(crate) retries_refused: u64,
    /// Waiters who went away, and those who got an error that is not the pool's own affair.
    pub(crate) cancelled: u64,
    pub(crate) failed: u64,
    places: Vec<Option<Box<EndpointFigures>>>,
    /// Of all endpoints that are not among those.
    pub(crate) elsewhere: EndpointFigures,
    /// What the pools of lost shards before this one counted, and what reuse avoided there.
    pub(crate) before: PoolCounters,
    avoided_before: u64,
}

/// Durations by method and outcome.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    series: Vec<RequestSeries>,
    /// Which was met last: mostly it is met again.
    last: usize,
    other: Durations,
}

type Pair = (MethodKind, Outcome);

#[derive(Clone, Debug)]
struct RequestSeries {
    pair: Pair,
    duration: Durations,
}

impl Requests {
    #[inline]
    fn record(&mut self, pair: Pair, nanos: u64) {
        match self.series.get_mut(self.last) {
            Some(series) if series.pair == pair => series.duration.record_nanos(nanos),
            _ => self.find(pair).record_nanos(nanos),
        }
    }

    #[inline(never)]
    fn find(&mut self, pair: Pair) -> &mut Durations {
        let found = self.series.iter().position(|series| series.pair == pair);
        let Some(at) = found.or_else(|| {
            let has_room = self.series.len() < SERIES_MAX;
            has_room.then(|| {
                let duration = Durations::default();
                self.series.push(RequestSeries { pair, duration });
                self.series.len() - 1
            })
        }) else {
            return &mut self.other;
        };
        self.last = at;
        &mut self.series[at].duration
    }

    fn add(&mut self, others: &Requests) {
        for series in &others.series {
            self.find(series.pair).add(&series.duration);
        }
        self.other.add(&others.other);
    }

    /// What is told of them.
    pub(crate) fn told(&self) -> Vec<RequestFigures> {
        let all = self.series.iter().map(|series| RequestFigures {
            method: series.pair.0.name(),
            outcome: series.pair.1,
            duration: series.duration.clone(),
        });
        let other = (!self.other.is_empty()).then(|| RequestFigures {
            method: MethodKind::Other.name(),
            outcome: Outcome::Other,
            duration: self.other.clone(),
        });
        all.chain(other).collect()
    }
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
    #[inline]
    pub(crate) fn held(&mut self, place: Option<EndpointId>, nanos: u64) {
        if TELEMETRY {
            self.at(place).hold.record_nanos(nanos);
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

    #[inline]
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

    /// Endpoints of which `left` is true are not told apart any more: their ids may go to others.
    pub(crate) fn forget(&mut self, left: impl Fn(EndpointId) -> bool) {
        for (id, place) in (0..).map(EndpointId).zip(&mut self.places) {
            if left(id)
                && let Some(gone) = place.take()
            {
                self.elsewhere.add(&gone);
            }
        }
    }

    /// All of it, of a shard that is lost, for its successor, who knows endpoints by other ids.
    pub(crate) fn bequeath(mut self, counters: &PoolCounters) -> Meters {
        self.forget(|_| true);
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
            places: Vec::new(),
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
        self.lookups_failed += others.lookups_failed;
        self.avoided_by_reuse += others.avoided_by_reuse;
        self.avoided_by_resumption += others.avoided_by_resumption;
        self.retries += others.retries;
        self.retries_refused += others.retries_refused;
        self.cancelled += others.cancelled;
        self.failed += others.failed;
        for (_, place) in others.places() {
            self.elsewhere.add(place);
        }
        self.elsewhere.add(&others.elsewhere);
        self.before.add(&others.before);
    }
}

impl EndpointFigures {
    pub(crate) fn add(&mut self, others: &EndpointFigures) {
        self.connections.add(&others.connections);
        self.dials += others.dials;
        self.dials_failed += others.dials_failed;
        self.opened += others.opened;
        self.connect.add(&others.connect);
        self.handshake_full.add(&others.handshake_full);
        self.handshake_resumed.add(&others.handshake_resumed);
        self.dial.add(&others.dial);
        self.hold.add(&others.hold);
        self.lifetime.add(&others.lifetime);
        self.closed.add(&others.closed);
        self.breaker.add(&others.breaker);
        self.ejections += others.ejections;
    }
}

impl ConnectionStates {
    pub(crate) fn count(&mut self, state: State) {
        let count = match state {
            State::Dialing => &mut self.dialing,
            State::Handshaking => &mut self.handshaking,
            State::Idle => &mut self.idle,
            State::Leased => &mut self.leased,
            State::Draining | State::Closing => &mut self.closing,
        };
        *count += 1;
    }

    fn add(&mut self, others: &ConnectionStates) {
        self.dialing += others.dialing;
        self.handshaking += others.handshaking;
        self.idle += others.idle;
        self.leased += others.leased;
        self.closing += others.closing;
    }

    /// Each state's name in metrics, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("dialing", self.dialing),
            ("handshaking", self.handshaking),
            ("idle", self.idle),
            ("leased", self.leased),
            ("closing", self.closing),
        ]
        .into_iter()
    }
}

impl BreakerFigures {
    pub(crate) fn count(&mut self, state: BreakerState) {
        let count = match state {
            BreakerState::Closed => &mut self.closed,
            BreakerState::Unreachable => &mut self.unreachable,
            BreakerState::Ejected => &mut self.ejected,
            BreakerState::HalfOpen => &mut self.half_open,
        };
        *count += 1;
    }

    fn add(&mut self, others: &BreakerFigures) {
        self.closed += others.closed;
        self.unreachable += others.unreachable;
        self.ejected += others.ejected;
        self.half_open += others.half_open;
    }

    /// Each state's name in metrics, with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("closed", self.closed),
            ("unreachable", self.unreachable),
            ("ejected", self.ejected),
            ("half_open", self.half_open),
        ]
        .into_iter()
    }
}

#[cfg(all(test, feature = "telemetry"))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn size(of: &Meters) -> usize {
        // What is on the heap, as it is at most: one for each duration that there can be.
        let places = of.places().count() * (size_of::<EndpointFigures>() + 6 * Durations::SIZE_MAX);
        let series = of.requests.series.capacity() * size_of::<RequestSeries>();
        let series = series + of.requests.series.len() * Durations::SIZE_MAX;
        let vectors = of.places.capacity() * size_of::<usize>();
        size_of::<Meters>() + places + series + vectors + (6 + 3) * Durations::SIZE_MAX
    }

    #[test]
    fn whatever_is_met_memory_has_a_ceiling_and_nothing_is_lost() {
        let mut meters = Meters::default();
        for nth in 0..10_000 {
            let status = 200 + (nth % 700) as u16;
            meters.requested(MethodKind::Get, Outcome::Status(status), 1_000_000);
            meters.held(Some(EndpointId(nth % 1000)), MS.as_nanos() as u64);
        }
        assert_eq!(meters.requests.series.len(), SERIES_MAX);
        assert_eq!(meters.places().count(), PLACES_MAX);
        let told = meters.requests.told();
        let requests: u64 = told.iter().map(|one| one.duration.count()).sum();
        let held: u64 = meters.places().map(|(_, at)| at.hold.count()).sum();
        assert_eq!(
            (requests, held + meters.elsewhere.hold.count()),
            (10_000, 10_000)
        );
        assert!(size(&meters) < 120 * 1024, "{} bytes", size(&meters));
        let mut usual = Meters::default();
        usual.requested(MethodKind::Get, Outcome::Status(200), 1_000_000);
        usual.held(Some(EndpointId(0)), MS.as_nanos() as u64);
        assert!(size(&usual) < 6 * 1024, "{} bytes", size(&usual));
    }

    #[test]
    fn an_endpoint_that_leaves_counts_among_the_others() {
        let mut meters = Meters::default();
        meters.held(Some(EndpointId(0)), MS.as_nanos() as u64);
        meters.held(Some(EndpointId(1)), MS.as_nanos() as u64);
        meters.forget(|id| id == EndpointId(1));
        assert_eq!(meters.places().count(), 1);
        assert_eq!(meters.elsewhere.hold.count(), 1);
        let counters = PoolCounters {
            hits: 3,
            ..PoolCounters::default()
        };
        let left = meters.bequeath(&counters);
        assert_eq!((left.places().count(), left.elsewhere.hold.count()), (0, 2));
        assert_eq!(left.before.hits, 3);
    }
}
