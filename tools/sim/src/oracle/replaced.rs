//! What was made under settings that have been replaced goes within a bound, whoever uses it.

use super::states::Slots;
use std::time::Duration;

/// A connection that is to be gone by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replaced {
    shard: usize,
    slot: u32,
    generation: u32,
    by: Duration,
}

/// A connection as a look names it: shard, slot, generation.
pub type Named = (usize, u32, u32);

/// How late a timer may be.
const TICKS: Duration = Duration::from_millis(5);

impl Replaced {
    pub(super) fn new((shard, slot, generation): Named, by: Duration) -> Replaced {
        Replaced {
            shard,
            slot,
            generation,
            by,
        }
    }

    pub(super) fn is_on(&self, shard: usize) -> bool {
        self.shard == shard
    }

    /// The clock has jumped: nobody could turn meanwhile.
    pub(super) fn excuse(&mut self, time: Duration) {
        self.by += time;
    }
}

/// Whether all are gone that should be; those that have been looked at are not any more.
pub(super) fn check(
    replaced: &mut Vec<Replaced>,
    slots: &[Slots],
    now: Duration,
) -> Result<(), String> {
    let mut verdict = Ok(());
    replaced.retain(|one| {
        let Replaced {
            shard,
            slot,
            generation,
            by,
        } = *one;
        let due = now > by + TICKS;
        if due && slots[shard].serves(slot, generation) {
            verdict = Err(format!(
                "slot {slot}#{generation} of shard {shard} was made under settings that were replaced, \
                 and should be closed since {by:?}"
            ));
        }
        !due
    });
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::census::tests::connection;
    use super::*;
    use crate::coverage::Coverage;
    use ringpool::simulation::{ConnectionLook, Look};

    fn judged(connection: ConnectionLook, now: u64) -> bool {
        let mut slots = Slots::default();
        let look = Look {
            connections: vec![connection],
            ..Look::default()
        };
        slots.moved(&look, &mut Coverage::default()).unwrap();
        let mut replaced = vec![Replaced::new((0, 0, 1), Duration::from_secs(5))];
        check(&mut replaced, &[slots], Duration::from_secs(now)).is_ok()
    }

    #[test]
    fn what_outlives_its_bound_is_seen() {
        assert!(judged(connection("leased"), 5) && !judged(connection("leased"), 6));
        assert!(!judged(connection("idle"), 6));
        assert!(judged(connection("draining"), 6));
        let cut = ConnectionLook {
            cut: true,
            ..connection("leased")
        };
        assert!(judged(cut, 6));
        let tenant = ConnectionLook {
            generation: 2,
            ..connection("leased")
        };
        assert!(judged(tenant, 6));
    }
}
