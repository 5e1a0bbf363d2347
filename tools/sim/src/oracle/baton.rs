//! Invariant 7: no idle connection beside a waiter that could use it, when all shards have come to rest.

/// One upstream at rest, over all shards.
#[derive(Clone, Debug, Default)]
pub struct Starving {
    /// Its name.
    pub name: String,
    /// What there is on each shard.
    pub shards: Vec<Place>,
    /// Idle connections that not everybody may have.
    pub reserved: u32,
    /// Whether a permit is left, of its own and of the engine's, or is about to come back.
    pub permit_left: bool,
    /// Whether it may be refusing calls to some of its endpoints.
    pub choosy: bool,
}

/// One upstream on one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Idle connections.
    pub idle: u32,
    /// Waiters whom any connection would serve.
    pub waiters: u32,
    /// Connections that will be free some time: leased, being dialled, or to be dialled after the pause
    /// that follows a failed dial, for which there was a permit. Whoever has these to wait for need not ask a sibling: a queue that
    /// drains sooner than a dial takes is left to drain.
    pub coming: u32,
}

/// Whether nobody waits beside what he could have.
pub(super) fn check(upstreams: &[Starving]) -> Result<(), String> {
    for upstream in upstreams.iter().filter(|one| !one.choosy) {
        let name = &upstream.name;
        let total: u32 = upstream.shards.iter().map(|place| place.idle).sum();
        for (shard, place) in upstream.shards.iter().enumerate() {
            let Place {
                idle,
                waiters,
                coming,
            } = *place;
            if waiters == 0 {
                continue;
            }
            if idle > upstream.reserved {
                return Err(format!(
                    "{name}: {waiters} wait on shard {shard} beside {idle} idle connections"
                ));
            }
            if coming == 0 && !upstream.permit_left && total > upstream.reserved {
                return Err(format!(
                    "{name}: {waiters} wait on shard {shard} for a permit, and {total} connections \
                     are idle elsewhere"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(shards: &[(u32, u32, u32)], reserved: u32, permit_left: bool) -> bool {
        let shards = shards.iter().map(|&(idle, waiters, coming)| Place {
            idle,
            waiters,
            coming,
        });
        let starving = Starving {
            name: "up0".into(),
            shards: shards.collect(),
            reserved,
            permit_left,
            choosy: false,
        };
        check(&[starving]).is_ok()
    }

    #[test]
    fn a_waiter_beside_an_idle_connection_is_seen() {
        assert!(judged(&[(0, 2, 1), (0, 0, 0)], 0, false));
        assert!(!judged(&[(1, 2, 1)], 0, true));
        assert!(judged(&[(1, 2, 1)], 1, true), "kept for others");
    }

    #[test]
    fn a_waiter_without_a_permit_beside_a_sibling_with_one_to_spare_is_seen() {
        assert!(!judged(&[(0, 1, 0), (1, 0, 0)], 0, false));
        assert!(judged(&[(0, 1, 0), (1, 0, 0)], 0, true));
        assert!(judged(&[(0, 1, 1), (1, 0, 0)], 0, false));
    }
}
