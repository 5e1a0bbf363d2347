//! Invariant 2, first half: a connection is in one state, and moves as the design's table says.
//!
//! The table is written down here once more, on purpose: the engine's own is what is being judged.

use crate::coverage::Coverage;
use ringpool::Endpoint;
use ringpool::simulation::{ConnectionLook, Look};
use std::collections::BTreeMap;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Being connected.
    Dialing,
    /// Negotiating TLS.
    Handshaking,
    /// Anyone's.
    Idle,
    /// Somebody's.
    Leased,
    /// Given up.
    Draining,
    /// Being closed.
    Closing,
}

impl State {
    /// All of them.
    pub const ALL: [State; 6] = [
        State::Dialing,
        State::Handshaking,
        State::Idle,
        State::Leased,
        State::Draining,
        State::Closing,
    ];

    /// By its name in a look.
    pub fn named(name: &str) -> Option<State> {
        match name {
            "dialing" => Some(State::Dialing),
            "handshaking" => Some(State::Handshaking),
            "idle" => Some(State::Idle),
            "leased" => Some(State::Leased),
            "draining" => Some(State::Draining),
            "closing" => Some(State::Closing),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            State::Dialing => "dialing",
            State::Handshaking => "handshaking",
            State::Idle => "idle",
            State::Leased => "leased",
            State::Draining => "draining",
            State::Closing => "closing",
        }
    }

    /// Whether `later` may be seen a turn after this: a turn can take several steps. A connection is made,
    /// then serves by turns, then ends, and goes back in none of that.
    fn may_lead_to(self, later: State) -> bool {
        use State::{Closing, Dialing, Draining, Handshaking, Idle, Leased};
        match self {
            Dialing => true,
            Handshaking => !matches!(later, Dialing),
            Idle | Leased => !matches!(later, Dialing | Handshaking),
            Draining => matches!(later, Draining | Closing),
            Closing => matches!(later, Closing),
        }
    }
}

/// What was seen of one shard's connections last.
#[derive(Default)]
pub(super) struct Slots(BTreeMap<u32, Seen>);

struct Seen {
    generation: u32,
    state: State,
    upstream: u64,
    endpoint: Option<Endpoint>,
    uses: u64,
    cut: bool,
}

impl Slots {
    /// Whether this connection is there, and anybody's or somebody's.
    pub(super) fn serves(&self, slot: u32, generation: u32) -> bool {
        self.0.get(&slot).is_some_and(|seen| {
            let open = matches!(seen.state, State::Idle | State::Leased);
            seen.generation == generation && open && !seen.cut
        })
    }

    /// Whether every connection has moved as it may since the last look.
    pub(super) fn moved(&mut self, look: &Look, coverage: &mut Coverage) -> Result<(), String> {
        let mut verdict = Ok(());
        for connection in &look.connections {
            let Some(state) = State::named(connection.state) else {
                return Err(format!("a connection is {:?}", connection.state));
            };
            if let Err(what) = self.one(connection, state, coverage) {
                verdict = Err(what);
            }
        }
        // Both are in the order of slots.
        let mut there = look.connections.iter().peekable();
        self.0.retain(|slot, seen| {
            while there.next_if(|one| one.slot < *slot).is_some() {}
            let stays = there.peek().is_some_and(|one| one.slot == *slot);
            if !stays {
                coverage.freed(seen.state);
            }
            stays
        });
        verdict
    }

    fn one(
        &mut self,
        connection: &ConnectionLook,
        state: State,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let now = Seen {
            generation: connection.generation,
            state,
            upstream: connection.upstream,
            endpoint: connection.endpoint.clone(),
            uses: connection.uses,
            cut: connection.cut,
        };
        let slot = connection.slot;
        let before = self.0.insert(slot, now);
        let Some(before) = before.filter(|before| before.generation == connection.generation)
        else {
            coverage.appeared(state);
            return Ok(());
        };
        if before.state != state {
            coverage.moved(before.state, state);
            if !before.state.may_lead_to(state) {
                let (from, to) = (before.state.name(), state.name());
                return Err(format!("slot {slot} went from {from} to {to}"));
            }
        }
        if before.upstream != connection.upstream {
            return Err(format!("slot {slot} changed its upstream"));
        }
        let opened = before.state > State::Handshaking;
        if opened && before.endpoint != connection.endpoint {
            return Err(format!("slot {slot} changed its endpoint"));
        }
        // A grant that is given up unused does not count.
        if before.uses > connection.uses + 1 {
            return Err(format!("slot {slot} was used less than before"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::census::tests::connection;
    use super::*;
    use std::slice::from_ref;

    fn seen(looks: &[&[ConnectionLook]]) -> bool {
        let mut slots = Slots::default();
        let mut coverage = Coverage::default();
        looks.iter().all(|connections| {
            let look = Look {
                connections: connections.to_vec(),
                ..Look::default()
            };
            slots.moved(&look, &mut coverage).is_ok()
        })
    }

    #[test]
    fn connections_move_as_the_table_says() {
        let idle = connection("idle");
        assert!(seen(&[
            &[connection("dialing")],
            &[connection("leased")],
            from_ref(&idle)
        ]));
        assert!(!seen(&[from_ref(&idle), &[connection("dialing")]]));
        assert!(!seen(&[&[connection("closing")], from_ref(&idle)]));
        assert!(!seen(&[&[connection("probing")]]));
        let tenant = ConnectionLook {
            generation: 2,
            ..connection("dialing")
        };
        assert!(seen(&[&[connection("closing")], &[tenant]]));
    }

    #[test]
    fn what_a_connection_is_does_not_change() {
        let idle = connection("idle");
        let other = ConnectionLook {
            upstream: 9,
            ..idle.clone()
        };
        assert!(!seen(&[from_ref(&idle), &[other]]));
        let moved = ConnectionLook {
            endpoint: None,
            ..idle.clone()
        };
        assert!(!seen(&[from_ref(&idle), &[moved]]));
        let less = ConnectionLook {
            uses: 1,
            ..idle.clone()
        };
        assert!(!seen(&[&[idle], &[less]]));
    }
}
