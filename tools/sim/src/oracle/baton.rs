//! Invariant 7: no idle connection beside a waiter that could use it, when all shards have come to rest.

/// One upstream at rest, over all shards.
#[derive(Clone, Debug, Default)]
pub struct Starving {
    /// Its name.
    pub name: String,
    /// Shard by shard: idle connections, waiters, dials under way.
    pub shards: Vec<(u32, u32, u32)>,
    /// Idle connections that not everybody may have.
    pub reserved: u32,
    /// Whether a permit is left, of its own and of the engine's.
    pub permit_left: bool,
    /// Whether it may be refusing calls to some of its endpoints.
    pub choosy: bool,
}

/// Whether nobody waits beside what he could have.
pub(super) fn check(upstreams: &[Starving]) -> Result<(), String> {
    for upstream in upstreams {
        let name = &upstream.name;
        for (shard, &(idle, waiters, _)) in upstream.shards.iter().enumerate() {
            if idle > upstream.reserved && waiters > 0 && !upstream.choosy {
                return Err(format!(
                    "{name}: {waiters} wait on shard {shard} beside {idle} idle connections"
                ));
            }
        }
        let idle: u32 = upstream.shards.iter().map(|shard| shard.0).sum();
        for (shard, &(_, waiters, dialing)) in upstream.shards.iter().enumerate() {
            let stuck = waiters > 0 && dialing == 0 && !upstream.permit_left;
            if stuck && idle > upstream.reserved && !upstream.choosy {
                return Err(format!(
                    "{name}: {waiters} wait on shard {shard} for a permit, and {idle} connections \
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
        let starving = Starving {
            name: "up0".into(),
            shards: shards.to_vec(),
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
