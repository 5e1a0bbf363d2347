//! Invariant 5: a connection goes back to the pool only if request and response are complete, no byte is
//! left over and no close has been seen.

use super::facts::Arrival;

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

#[cfg(test)]
mod tests {
    use super::super::calls::tests::arrival;
    use super::*;

    #[test]
    fn what_is_known_to_be_spoiled_is_not_used() {
        assert!(check(&arrival(0), false).is_ok());
        assert!(check(&arrival(0), true).is_err());
    }
}
