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
    /// Whether calls that wait on one shard may run on another; `None`: that has changed, or will.
    pub steals: Option<bool>,
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
    /// Those whom only a newly dialled one would.
    pub fresh: u32,
    /// Those whose calls a sibling may run.
    pub movable: u32,
    /// Connections that will be free some time: leased, being dialled, or to be dialled after the pause
    /// that follows a failed dial, for which there was a permit. Whoever has these to wait for need not ask a sibling: a queue that
    /// drains sooner than a dial takes is left to drain.
    pub coming: u32,
}

/// Whether nobody waits beside what he could have.
pub(super) fn check(upstreams: &[Starving]) -> Result<(), String> {
    for upstream in upstreams.iter().filter(|one| !one.choosy) {
        for shard in 0..upstream.shards.len() {
            upstream.check(shard)?;
        }
    }
    Ok(())
}

impl Starving {
    fn check(&self, shard: usize) -> Result<(), String> {
        let name = &self.name;
        let place = self.shards[shard];
        let spare = |place: &Place| place.idle > self.reserved;
        if place.waiters > 0 && spare(&place) {
            let Place { idle, waiters, .. } = place;
            return Err(format!(
                "{name}: {waiters} wait on shard {shard} beside {idle} idle connections"
            ));
        }
        // Whoever has room and nobody to serve takes what others have to wait with.
        let mut siblings = self.shards.iter().enumerate();
        let taker = siblings
            .find(|(at, one)| *at != shard && spare(one) && one.waiters == 0 && one.fresh == 0);
        if let (Some(true), 1.., Some((at, one))) = (self.steals, place.movable, taker) {
            return Err(format!(
                "{name}: {} calls wait on shard {shard}, and {} connections are idle on shard {at}",
                place.movable, one.idle
            ));
        }
        let staying = match self.steals {
            Some(true) | None => place.waiters - place.movable,
            Some(false) => place.waiters,
        };
        let total: u32 = self.shards.iter().map(|place| place.idle).sum();
        if staying > 0 && place.coming == 0 && !self.permit_left && total > self.reserved {
            return Err(format!(
                "{name}: {staying} wait on shard {shard} for a permit, and {total} connections are idle \
                 elsewhere"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(shards: &[(u32, u32, u32)], reserved: u32, permit_left: bool) -> bool {
        let shards = shards.iter().map(|&(idle, waiters, coming)| Place {
            idle,
            waiters,
            coming,
            ..Place::default()
        });
        let starving = Starving {
            name: "up0".into(),
            shards: shards.collect(),
            reserved,
            permit_left,
            choosy: false,
            steals: Some(false),
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
    fn a_call_that_waits_beside_a_sibling_with_room_is_seen() {
        let judged = |shards: [Place; 2], steals| {
            let starving = Starving {
                name: "up0".into(),
                shards: shards.to_vec(),
                permit_left: true,
                steals: Some(steals),
                ..Starving::default()
            };
            check(&[starving]).is_ok()
        };
        let waits = |waiters, movable| Place {
            waiters,
            movable,
            coming: 1,
            ..Place::default()
        };
        let idles = |idle, fresh| Place {
            idle,
            fresh,
            ..Place::default()
        };
        assert!(!judged([waits(2, 1), idles(1, 0)], true));
        assert!(judged([waits(2, 1), idles(1, 0)], false));
        assert!(judged([waits(2, 0), idles(1, 0)], true), "it stays");
        assert!(judged([waits(2, 1), idles(1, 1)], true), "kept for its own");
        assert!(judged([waits(2, 1), waits(1, 1)], true));
    }

    #[test]
    fn a_waiter_without_a_permit_beside_a_sibling_with_one_to_spare_is_seen() {
        assert!(!judged(&[(0, 1, 0), (1, 0, 0)], 0, false));
        assert!(judged(&[(0, 1, 0), (1, 0, 0)], 0, true));
        assert!(judged(&[(0, 1, 1), (1, 0, 0)], 0, false));
    }
}
