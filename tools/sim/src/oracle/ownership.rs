//! Invariant 1, as far as a look shows it: stream counts within the peer's limit, and a lease on every
//! connection that carries any. That two never speak on one HTTP/1.1 connection at once the servers tell.

use super::State;
use ringpool::simulation::Look;

/// Whether nobody has more than he may.
pub(super) fn check(look: &Look) -> Result<(), String> {
    for connection in &look.connections {
        let slot = connection.slot;
        let leased = State::named(connection.state) == Some(State::Leased);
        // A peer may lower its limit below what is under way: then nothing is added.
        if connection.streams > connection.streams_max.max(1) && connection.streams_max > 0 {
            return Err(format!(
                "slot {slot} carries {} streams of at most {}",
                connection.streams, connection.streams_max
            ));
        }
        if State::named(connection.state) == Some(State::Idle) && connection.streams > 0 {
            return Err(format!("slot {slot} is idle and carries streams"));
        }
        if leased && connection.uses == 0 {
            return Err(format!("slot {slot} is leased and was never granted"));
        }
    }
    let mut slots: Vec<u32> = look.connections.iter().map(|one| one.slot).collect();
    slots.sort_unstable();
    match slots.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("slot {} has two tenants", pair[0])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::census::tests::connection;
    use super::*;
    use ringpool::simulation::ConnectionLook;

    fn judged(connections: &[ConnectionLook]) -> bool {
        let look = Look {
            connections: connections.to_vec(),
            ..Look::default()
        };
        check(&look).is_ok()
    }

    #[test]
    fn more_than_one_may_have_is_seen() {
        let leased = ConnectionLook {
            streams: 1,
            ..connection("leased")
        };
        assert!(judged(std::slice::from_ref(&leased)));
        let two = ConnectionLook {
            streams: 2,
            ..leased.clone()
        };
        assert!(!judged(&[two]));
        let unasked = ConnectionLook {
            streams: 1,
            ..connection("idle")
        };
        assert!(!judged(&[unasked]));
        assert!(!judged(&[leased.clone(), leased]));
    }
}
