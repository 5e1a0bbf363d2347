//! Caps hold, whoever takes and gives back, and while they are moved.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

fn quota(max: u32, critical: u32, reserved: u32) -> Quota {
    Quota {
        connections_max: max,
        critical_reserved: critical,
        connections_reserved: reserved,
    }
}

/// An engine of `max` and its upstreams.
fn engine<const N: usize>(max: u32, quotas: [Quota; N]) -> (Arc<Counter>, [Permits; N]) {
    let reserved: u32 = quotas.iter().map(|quota| quota.connections_reserved).sum();
    let engine = Arc::new(Counter::new(max));
    let shared = Arc::new(Counter::new(max - reserved));
    let upstreams = quotas.map(|quota| Permits::with_quota(engine.clone(), shared.clone(), quota));
    (engine, upstreams)
}

/// As many as there are.
fn all(permits: &Permits, tier: Tier) -> Vec<Permit> {
    std::iter::from_fn(|| permits.try_acquire(tier).ok()).collect()
}

#[test]
fn the_tighter_cap_refuses_and_leaves_no_trace() {
    let (upstream, engine) = (Arc::new(Counter::new(2)), Arc::new(Counter::new(1)));
    let permits = Permits::new(upstream.clone(), engine.clone());
    let one = permits.try_acquire(Tier::Open).unwrap();
    let refused = |permits: &Permits| permits.try_acquire(Tier::Open).unwrap_err();
    assert_eq!(refused(&permits), Exhausted::Engine);
    assert_eq!((upstream.in_use(), engine.in_use()), (1, 1));
    engine.set_max(5);
    let two = permits.try_acquire(Tier::Open).unwrap();
    assert_eq!(refused(&permits), Exhausted::Upstream);
    upstream.set_max(1);
    assert_eq!(permits.over(), 1);
    drop(one);
    assert_eq!(refused(&permits), Exhausted::Upstream);
    drop(two);
    assert_eq!((upstream.in_use(), engine.in_use()), (0, 0));
}

#[test]
fn critical_calls_have_their_own() {
    let (_, [users]) = engine(100, [quota(5, 2, 0)]);
    let mut open = all(&users, Tier::Open);
    assert_eq!(open.len(), 3);
    assert!(!users.has_room(Exhausted::Upstream) && users.has_room(Exhausted::Reserved));
    let critical = all(&users, Tier::Reserved);
    assert_eq!(critical.len(), 2);
    let refused = users.try_acquire(Tier::Reserved).unwrap_err();
    assert_eq!(refused, Exhausted::Reserved);
    assert!(!users.has_room(Exhausted::Reserved));
    // One part's is not the other's.
    open.pop();
    assert!(users.try_acquire(Tier::Reserved).is_err());
    assert!(users.has_room(Exhausted::Upstream) && users.has_room(Exhausted::Reserved));
    drop((open, critical));
    assert_eq!(users.upstream().in_use(), 0);
}

#[test]
fn a_reserve_is_left_alone_by_others_and_used_first() {
    let (engine, [users, orders]) = engine(10, [quota(10, 0, 4), quota(10, 0, 0)]);
    let mut taken = all(&orders, Tier::Open);
    assert_eq!(taken.len(), 6);
    assert_eq!(
        orders.try_acquire(Tier::Open).unwrap_err(),
        Exhausted::Engine
    );
    let mut own = all(&users, Tier::Open);
    assert_eq!((own.len(), users.is_borrowing()), (4, false));
    taken.pop();
    own.extend(users.try_acquire(Tier::Open));
    assert!(users.is_borrowing());
    assert_eq!(engine.in_use(), 10);
    // Whichever of its own goes: what was borrowed goes back first.
    drop(own.remove(0));
    assert!(!users.is_borrowing());
    taken.extend(orders.try_acquire(Tier::Open));
    assert_eq!((taken.len(), own.len()), (6, 4));
    drop((taken, own));
    assert_eq!(engine.in_use(), 0);
    assert_eq!(all(&users, Tier::Open).len(), 10);
}

#[test]
fn a_reserve_that_grows_fills_up_as_others_let_go() {
    let (engine, [users, orders]) = engine(4, [quota(4, 0, 0), quota(4, 0, 0)]);
    let mut taken = all(&orders, Tier::Open);
    assert_eq!(taken.len(), 4);
    orders.0.shared.set_max(2);
    users.set_quota(quota(4, 0, 2));
    // Promised, but not there yet: the engine's cap holds.
    assert_eq!(
        users.try_acquire(Tier::Open).unwrap_err(),
        Exhausted::Engine
    );
    taken.pop();
    assert!(orders.try_acquire(Tier::Open).is_err());
    let own = users.try_acquire(Tier::Open).unwrap();
    assert_eq!(engine.in_use(), 4);
    drop((taken, own));
    assert_eq!(all(&orders, Tier::Open).len(), 2);
}

#[test]
fn a_quota_that_shrinks_revokes_nothing_and_gives_nothing_out() {
    let (_, [users]) = engine(100, [quota(6, 0, 0)]);
    let mut open = all(&users, Tier::Open);
    users.set_quota(quota(6, 2, 0));
    // Two of the open ones stand where the critical ones are to be.
    assert_eq!(users.over(), 2);
    assert!(users.try_acquire(Tier::Reserved).is_err());
    users.set_quota(quota(4, 2, 0));
    assert_eq!(users.over(), 4);
    open.truncate(4);
    assert_eq!(users.over(), 2);
    assert!(users.try_acquire(Tier::Open).is_err());
    open.truncate(2);
    assert_eq!(users.over(), 0);
    assert!(users.try_acquire(Tier::Open).is_err());
    assert_eq!(all(&users, Tier::Reserved).len(), 2);
}

/// Descriptors take their time to close, and every shard looks.
#[test]
fn no_more_are_claimed_than_have_to_go() {
    let (_, [users]) = engine(100, [quota(8, 2, 0)]);
    let mut open = all(&users, Tier::Open);
    let reserved = all(&users, Tier::Reserved);
    users.set_quota(quota(7, 2, 0));
    assert!(users.claim_over(Tier::Open));
    assert!(!users.claim_over(Tier::Open) && !users.claim_over(Tier::Reserved));
    assert_eq!((users.over(), users.upstream().over()), (0, 1));
    users.set_quota(quota(4, 3, 0));
    // Four too many in all, but five of the open ones: one is on its way.
    assert_eq!(users.over(), 4);
    let claimed = (0..9).filter(|_| users.claim_over(Tier::Open)).count();
    assert_eq!((claimed, users.over()), (4, 0));
    assert!(!users.claim_over(Tier::Reserved));
    users.unclaim(Tier::Open);
    assert!(users.claim_over(Tier::Open));
    for mut permit in open.drain(..5) {
        permit.leave();
    }
    assert_eq!((users.over(), users.upstream().over()), (0, 0));
    drop((open, reserved));
    assert_eq!(users.upstream().in_use(), 0);
}

#[test]
fn a_need_is_answered_once_and_goes_with_the_last_who_has_it() {
    let counter = Counter::new(0);
    assert!(!counter.take_need());
    counter.begin_need();
    counter.begin_need();
    assert!(counter.need());
    assert!(counter.take_need());
    assert!(!counter.take_need());
    counter.repeat_need();
    counter.end_need();
    assert!(counter.need(), "one of them starves still");
    counter.end_need();
    assert!(!counter.need(), "both have gone");
    counter.repeat_need();
    assert!(!counter.need(), "nobody repeats it");
    counter.begin_need();
    assert!(counter.take_need());
    counter.end_need();
    assert!(!counter.need());
}

/// Takes and gives back on four threads, while `meanwhile` changes the caps; `check` sees every permit taken.
fn race(upstreams: &[Permits; 2], check: impl Fn() + Sync, meanwhile: impl Fn(u32)) {
    let done = AtomicBool::new(false);
    let mine = |n: usize| (&upstreams[n % 2], [Tier::Open, Tier::Reserved][n / 2 % 2]);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (permits, tier) = mine(n);
            let (done, check) = (&done, &check);
            scope.spawn(move || {
                let mut held = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    held.extend(permits.try_acquire(tier));
                    check();
                    if held.len() > n + 1 {
                        held.clear();
                    }
                }
            });
        }
        for round in 0..2000 {
            meanwhile(round);
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn threads_never_pass_a_cap_together() {
    let (engine, upstreams) = engine(6, [quota(4, 1, 2), quota(5, 2, 1)]);
    let peak = AtomicU32::new(0);
    race(
        &upstreams,
        || {
            assert!(engine.in_use() <= 6);
            for (permits, max) in upstreams.iter().zip([4, 5]) {
                assert!(permits.upstream().in_use() <= max);
            }
            peak.fetch_max(engine.in_use(), Ordering::Relaxed);
        },
        |_| {},
    );
    assert!(peak.load(Ordering::Relaxed) > 0, "nobody took any");
    assert_eq!(engine.in_use(), 0);
    assert_eq!(all(&upstreams[0], Tier::Open).len(), 3, "nothing is lost");
    assert!(upstreams.iter().all(|permits| !permits.is_borrowing()));
}

#[test]
fn the_whole_holds_while_its_parts_are_moved() {
    let (engine, upstreams) = engine(6, [quota(4, 1, 2), quota(4, 2, 1)]);
    race(
        &upstreams,
        || {
            assert!(engine.in_use() <= 6);
            assert!(
                upstreams
                    .iter()
                    .all(|permits| permits.upstream().in_use() <= 4)
            );
        },
        |round| {
            let reserved = round % 4;
            upstreams[0].set_quota(quota(4, round % 3, reserved));
            upstreams[0].0.shared.set_max(6 - 1 - reserved);
        },
    );
    assert_eq!(engine.in_use(), 0);
    for permits in &upstreams {
        let counts = &*permits.0;
        let parts = [
            &counts.open,
            &counts.critical,
            &counts.reserve,
            &counts.borrowed,
        ];
        assert!(parts.iter().all(|part| part.in_use() == 0));
        assert_eq!(counts.shared.in_use(), 0);
    }
}
