//! Invariant 2, second half: counters equal a census of the slab.

use super::State;
use ringpool::simulation::{Look, UpstreamLook};

/// Whether the figures of every upstream are those of its connections.
pub(super) fn check(look: &Look) -> Result<(), String> {
    for upstream in &look.upstreams {
        let mut counts = [0; State::ALL.len()];
        let its = look.connections.iter();
        for one in its.filter(|one| one.upstream == upstream.id && !one.cut) {
            if let Some(state) = State::named(one.state) {
                counts[state as usize] += 1;
            }
        }
        let count = |state: State| counts[state as usize];
        let dialing = count(State::Dialing) + count(State::Handshaking);
        let counted = [
            ("idle", upstream.idle, count(State::Idle)),
            ("leased", upstream.leased, count(State::Leased)),
            ("dialing", upstream.dialing, dialing),
        ];
        for (name, told, found) in counted {
            if told != found {
                return Err(format!(
                    "{} tells of {told} {name} connections and has {found}",
                    upstream.name
                ));
            }
        }
    }
    let adrift = |one: &&UpstreamLook| one.in_progress != one.unanswered as i64;
    if let Some(adrift) = look.upstreams.iter().find(adrift) {
        return Err(format!(
            "{} counts {} who asked for a connection and were not answered, and has {}",
            adrift.name, adrift.in_progress, adrift.unanswered
        ));
    }
    if let Some(adrift) = look.upstreams.iter().find(|one| one.trials_adrift) {
        return Err(format!(
            "{} has an endpoint on trial that counts other work than there is",
            adrift.name
        ));
    }
    let told: u32 = look.upstreams.iter().map(|upstream| upstream.waiters).sum();
    if told as usize > look.waiters {
        return Err(format!(
            "the queues hold {told} waiters and the shard knows {}",
            look.waiters
        ));
    }
    for connection in &look.connections {
        // Who holds one that was cut off has no socket any more.
        if !connection.has_permit && !connection.cut {
            return Err(format!("slot {} has no permit", connection.slot));
        }
        let known = look
            .upstreams
            .iter()
            .any(|one| one.id == connection.upstream);
        if !known {
            return Err(format!("slot {} belongs to no upstream", connection.slot));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ringpool::simulation::ConnectionLook;
    use std::net::SocketAddr;

    pub(in crate::oracle) fn connection(state: &'static str) -> ConnectionLook {
        ConnectionLook {
            state,
            upstream: 1,
            generation: 1,
            uses: 3,
            streams_max: 1,
            has_permit: true,
            endpoint: Some(SocketAddr::from(([10, 0, 0, 1], 80)).into()),
            ..ConnectionLook::default()
        }
    }

    pub(in crate::oracle) fn upstream() -> UpstreamLook {
        UpstreamLook {
            id: 1,
            name: "up0".into(),
            ..UpstreamLook::default()
        }
    }

    fn look() -> Look {
        Look {
            connections: [
                "idle",
                "leased",
                "leased",
                "handshaking",
                "dialing",
                "closing",
            ]
            .map(connection)
            .to_vec(),
            upstreams: vec![UpstreamLook {
                idle: 1,
                leased: 2,
                dialing: 2,
                waiters: 3,
                ..upstream()
            }],
            waiters: 3,
            ..Look::default()
        }
    }

    #[test]
    fn figures_that_drift_are_seen() {
        check(&look()).unwrap();
        let drifts: [fn(&mut Look); 8] = [
            |look| look.upstreams[0].idle += 1,
            |look| look.upstreams[0].leased -= 1,
            |look| look.upstreams[0].dialing += 1,
            |look| look.waiters = 2,
            |look| look.upstreams[0].trials_adrift = true,
            |look| look.upstreams[0].in_progress += 1,
            |look| look.connections[0].has_permit = false,
            |look| look.connections[5].upstream = 7,
        ];
        for drift in drifts {
            let mut drifted = look();
            drift(&mut drifted);
            assert!(check(&drifted).is_err());
        }
    }
}
