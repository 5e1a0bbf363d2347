//! Invariant 5: a connection goes back to the pool only if request and response are complete, no byte is
//! left over and no close has been seen.

use super::State;
use super::facts::Arrival;
use ringpool::simulation::Look;

/// Whether a connection could still be used. `known` says whether the server's farewell was sure to be
/// known when the call began.
pub(super) fn check(arrival: &Arrival, known: bool) -> Result<(), String> {
    if !known {
        return Ok(());
    }
    Err(format!(
        "request {} went out on connection {}, of no use since {:?}",
        arrival.nonce,
        arrival.connection,
        arrival.spoiled.unwrap_or_default()
    ))
}

/// Whether what is at rest is clean. No server here speaks before it is spoken to.
pub(super) fn check_rest(look: &Look) -> Result<(), String> {
    let idle = |state| State::named(state) == Some(State::Idle);
    let mut connections = look.connections.iter();
    match connections.find(|one| one.unclean && idle(one.state)) {
        Some(one) => Err(format!("slot {} is idle, and not clean", one.slot)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::tests::arrival;
    use super::super::census::tests::connection;
    use super::*;
    use ringpool::simulation::ConnectionLook;

    #[test]
    fn what_is_known_to_be_spoiled_is_not_used() {
        assert!(check(&arrival(0), false).is_ok());
        assert!(check(&arrival(0), true).is_err());
    }

    #[test]
    fn what_is_left_over_on_an_idle_connection_is_seen() {
        let judged = |state| {
            let unclean = ConnectionLook {
                unclean: true,
                ..connection(state)
            };
            let look = Look {
                connections: vec![unclean],
                ..Look::default()
            };
            check_rest(&look).is_ok()
        };
        assert!(judged("leased") && !judged("idle"));
    }
}
