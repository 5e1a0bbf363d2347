//! What is counted at one endpoint.
//!
//! Owns: its figures, as they are told. Never: knows which endpoint it is.

use crate::audit::Closes;
use crate::pool::BreakerState;
use crate::shard::connection::State;
use crate::stats::Durations;

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

impl EndpointFigures {
    /// Leaves what was counted; what was there is there no more.
    pub(crate) fn at_rest(&mut self) {
        self.connections = ConnectionStates::default();
        self.breaker = BreakerFigures::default();
    }

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
