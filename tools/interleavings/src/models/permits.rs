//! Permits, the need for one, and the news that one came free.

use super::{Bed, in_every_order};
use crate::hunger::Hunger;
use crate::permit::{Counter, Exhausted, Permits, Quota, Tier};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

fn permits(max: u32, reserved: u32) -> (Permits, std::sync::Arc<Counter>) {
    let quota = Quota {
        connections_max: max,
        critical_reserved: 0,
        connections_reserved: reserved,
    };
    let shared = std::sync::Arc::new(Counter::new(max - reserved));
    let engine = std::sync::Arc::new(Counter::new(max));
    (Permits::with_quota(engine, shared.clone(), quota), shared)
}

/// Two shards that dial and close: never more open than the cap says, and all counts at zero at the end,
/// those of reserve and shared part too.
pub fn a_cap_holds_at_every_instant() {
    in_every_order(|| {
        let (permits, shared) = permits(2, 1);
        let open = Arc::new(AtomicU32::new(0));
        let shard = |permits: Permits, open: Arc<AtomicU32>| {
            thread::spawn(move || {
                let held = permits.try_acquire(Tier::Open);
                if held.is_ok() {
                    assert!(open.fetch_add(1, Ordering::Relaxed) < 2, "over the cap");
                    open.fetch_sub(1, Ordering::Relaxed);
                }
            })
        };
        let held = permits.try_acquire(Tier::Open);
        open.fetch_add(1, Ordering::Relaxed);
        let others = [0; 2].map(|_| shard(permits.clone(), open.clone()));
        open.fetch_sub(1, Ordering::Relaxed);
        drop(held);
        for other in others {
            other.join().unwrap();
        }
        let left = [permits.upstream(), permits.engine(), &shared].map(|count| count.in_use());
        assert_eq!(left, [0, 0, 0]);
        assert!(!permits.is_borrowing());
    });
}

/// A shard that finds no permit and goes to sleep learns of the one that comes back, whenever that is.
pub fn who_starves_learns_of_a_permit() {
    in_every_order(|| {
        let (permits, _) = permits(1, 0);
        let held = permits.try_acquire(Tier::Open).unwrap();
        let shard = Arc::new((Bed::new(), Hunger::default()));
        let owner = {
            let shard = shard.clone();
            thread::spawn(move || {
                drop(held);
                if shard.1.announce() {
                    shard.0.parker.wake();
                }
            })
        };
        let (bed, hunger) = &*shard;
        while permits.try_acquire(Tier::Open).is_err() {
            hunger.set_starving(true);
            // What came back before the word was said was announced to nobody.
            if permits.has_room(Exhausted::Upstream) {
                hunger.set_starving(false);
                continue;
            }
            while !hunger.take_news() {
                bed.sleep_unless(|| hunger.has_news());
            }
            hunger.set_starving(false);
        }
        owner.join().unwrap();
    });
}

/// Of several siblings that see a need one answers it; when nobody starves any more none is left to be
/// answered.
pub fn a_need_is_answered_once_and_ends_with_who_had_it() {
    in_every_order(|| {
        let counter = Arc::new(Counter::new(1));
        counter.begin_need();
        let sibling = |counter: Arc<Counter>| thread::spawn(move || counter.take_need());
        let siblings = [sibling(counter.clone()), sibling(counter.clone())];
        let answered = siblings.map(|sibling| sibling.join().unwrap());
        assert_eq!(answered.iter().filter(|&&answered| answered).count(), 1);
        let ending = {
            let counter = counter.clone();
            thread::spawn(move || counter.end_need())
        };
        counter.begin_need();
        ending.join().unwrap();
        assert!(counter.need(), "the second one has not been answered");
        counter.end_need();
        assert!(!counter.need());
    });
}
