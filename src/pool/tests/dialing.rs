//! When dials begin, and what their failures do.

use super::*;

#[test]
fn an_empty_pool_dials_for_the_first_waiter_and_doubles_from_there() {
    let mut rig = Rig::new(1000, roomy());
    assert_eq!(rig.enqueue(0), [Did::Dial(0)]);
    for waiter in 1..100 {
        assert_eq!(rig.enqueue(waiter), []);
    }
    // Nothing is ever released, so the hold time stays unknown: 1, 2, 4, 8 in flight.
    let (mut from, mut flying) = (0, 1);
    for _ in 0..4 {
        for member in from..from + flying {
            rig.dialed(member);
        }
        from += flying;
        flying *= 2;
        assert_eq!(rig.pool.census().dialing as usize, flying);
    }
}

#[test]
fn dials_in_flight_never_exceed_their_cap_or_what_is_waited_for() {
    let limits = Limits {
        dials_max: 3,
        idle_min: 2,
        ..roomy()
    };
    let mut rig = Rig::new(1000, limits);
    assert_eq!(rig.tick(), [Did::Dial(0), Did::Dial(1)]);
    assert_eq!(rig.enqueue(1), [], "a dial for warmth covers the waiter");
    assert_eq!(rig.enqueue_fresh(2), [], "this one too");
    assert_eq!(rig.enqueue_fresh(3), [Did::Dial(2)]);
    assert_eq!(rig.enqueue_fresh(4), [], "no more at once");
    assert_eq!(rig.pool.deadline(), None, "a dial that ends will decide");
    assert_eq!(rig.dialed(2), [Did::Grant(2, 2, false), Did::Dial(3)]);
    assert_eq!(rig.dialed(0), [Did::Grant(1, 0, false)]);
    assert_eq!(rig.census(), [0, 2, 2, 2]);
}

#[test]
fn a_queue_that_drains_sooner_than_a_dial_takes_opens_nothing() {
    let mut rig = Rig::new(10, roomy());
    rig.enqueue(0);
    rig.now = ms(150);
    rig.dialed(0);
    rig.now = ms(152);
    rig.released(0);
    rig.checkout();
    // 2 ms of hold, 150 ms of dial: 75 may wait on one connection, not 76.
    for waiter in 1..=75 {
        assert_eq!(rig.enqueue(waiter), []);
    }
    assert_eq!(rig.enqueue(76), [Did::Dial(1)]);
    assert_eq!(rig.enqueue(77), [], "the dial under way counts");
}

#[test]
fn a_queue_that_stands_still_leads_to_another_dial() {
    let mut rig = Rig::new(10, roomy());
    rig.enqueue(0);
    rig.now = ms(20);
    rig.dialed(0);
    rig.now = ms(21);
    rig.released(0);
    rig.checkout();
    // The average hold says that this one comes back in a millisecond. It does not.
    assert_eq!(rig.enqueue(1), []);
    rig.enqueue(2);
    rig.enqueue(3);
    rig.enqueue(4);
    assert_eq!(rig.pool.deadline(), Some(ms(41)));
    rig.now = ms(41);
    assert_eq!(rig.tick(), [Did::Dial(1)]);
    assert_eq!(rig.pool.deadline(), Some(ms(61)));
    rig.now = ms(61);
    assert_eq!(rig.tick(), [Did::Dial(2)]);
    rig.now = ms(81);
    assert_eq!(rig.tick(), [Did::Dial(3), Did::Dial(4)]);
    assert_eq!(rig.pool.deadline(), None, "each waiter has a dial now");
}

#[test]
fn one_failed_dial_fails_one_waiter_and_the_others_wait_out_the_back_off() {
    let mut rig = Rig::new(10, roomy());
    rig.enqueue(1);
    rig.enqueue(2);
    rig.enqueue(3);
    assert_eq!(rig.failed(0), [Did::Fail(1, Refusal::DialFailed)]);
    let mut pause = 10 * MS;
    for failure in 1..12 {
        let again = rig.pool.deadline().unwrap();
        let waited = again.since(rig.now);
        assert!(waited >= pause / 2 && waited <= pause, "half to full");
        assert_eq!(rig.enqueue(100 + failure), [], "no dial before that");
        rig.now = again;
        assert_eq!(rig.tick(), [Did::Dial(failure as usize)], "one on trial");
        assert_eq!(rig.failed(failure as usize).len(), 1);
        pause = (pause * 2).min(500 * MS);
    }
    rig.now = rig.pool.deadline().unwrap();
    rig.tick();
    rig.dialed(12);
    rig.closed(12);
    assert_eq!(rig.pool.census().dialing, 1, "a success forgives");
    assert_eq!(rig.pool.counters().dials_failed, 12);
}

/// Siblings hear of it while the pause lasts, not after it.
#[test]
fn who_waits_out_a_pause_without_a_permit_asks_for_one() {
    let mut rig = Rig::new(1, roomy());
    assert_eq!(rig.enqueue(1), [Did::Dial(0)]);
    assert_eq!(rig.enqueue(2), []);
    assert_eq!(rig.failed(0), [Did::Fail(1, Refusal::DialFailed)]);
    let siblings = rig.pool.permits.try_acquire(Tier::Open).ok();
    assert!(siblings.is_some());
    assert_eq!(rig.enqueue(3), [Did::Starving(Exhausted::Upstream)]);
    drop(siblings);
    let back = rig.handle(Input::Capacity);
    assert_eq!(back, [], "there is one, and the pause goes on");
    rig.now = rig.pool.deadline().expect("the pause ends");
    assert_eq!(rig.tick(), [Did::Dial(1)]);
}

/// Until it is judged, a failed dial is followed by a pause, whichever endpoint it went to; an endpoint that
/// was judged holds up no dial to another one.
#[test]
fn an_unreachable_endpoint_makes_nobody_wait_for_another() {
    let mut rig = Rig::new(1000, roomy());
    let (bad, good) = (EndpointId(0), EndpointId(1));
    rig.handle(Input::Endpoints(vec![bad, good]));
    let mut failed = 0;
    for waiter in 0..200 {
        let begun = rig.enqueue_fresh(waiter);
        assert_eq!(begun, [Did::Dial(waiter as usize)], "{failed} failed");
        let id = rig.members[waiter as usize].0;
        match rig.pool.choose_endpoint(rig.now, id, &[]) {
            Some(endpoint) if endpoint == bad => {
                failed += 1;
                rig.failed(waiter as usize);
                assert!(failed <= 5, "it is unreachable by now");
                if failed < 5 {
                    assert!(rig.pool.dialing.is_pausing(rig.now));
                    rig.now = rig.now + 1000 * MS;
                } else {
                    assert!(!rig.pool.dialing.is_pausing(rig.now));
                }
            }
            _ => drop(rig.dialed(waiter as usize)),
        }
    }
    assert_eq!(failed, 5);
}

#[test]
fn a_failed_dial_fails_nobody_whom_another_connection_may_serve() {
    let mut rig = Rig::with_idle(1, 10, roomy());
    rig.checkout();
    assert_eq!(rig.enqueue_fresh(1), [Did::Dial(1)]);
    assert_eq!(rig.enqueue_fresh(2), [Did::Dial(2)]);
    rig.enqueue(3);
    assert_eq!(rig.failed(1), [], "another dial is under way");
    assert_eq!(
        rig.failed(2),
        [Did::Fail(1, Refusal::DialFailed)],
        "no release serves a fresh one"
    );
    assert_eq!(rig.released(0), [Did::Grant(3, 0, true)]);
}

#[test]
fn dials_that_fail_together_lengthen_the_pause_once() {
    let limits = Limits {
        idle_min: 8,
        ..roomy()
    };
    let mut rig = Rig::new(8, limits);
    assert_eq!(rig.tick().len(), 8);
    rig.now = ms(3);
    for member in 0..8 {
        assert_eq!(rig.failed(member), []);
    }
    let again = rig.pool.deadline().unwrap();
    assert!(again <= ms(13));
    rig.now = again;
    assert_eq!(rig.tick(), [Did::Dial(8)], "one on trial");
    assert_eq!(rig.dialed(8).len(), 7);
}

#[test]
fn a_pool_is_not_vacant_before_its_back_off_has_passed() {
    let mut rig = Rig::new(1, roomy());
    rig.enqueue(1);
    rig.failed(0);
    assert!(!rig.pool.is_vacant());
    rig.now = rig.pool.deadline().unwrap();
    assert_eq!(rig.tick(), []);
    assert!(rig.pool.is_vacant());
}

#[test]
fn starving_is_said_once_and_again_when_capacity_was_taken() {
    let mut rig = Rig::new(0, roomy());
    let starving = [Did::Starving(Exhausted::Upstream)];
    assert_eq!(rig.enqueue(1), starving);
    assert_eq!(rig.enqueue(2), []);
    assert_eq!(rig.handle(Input::Capacity), starving);
    rig.now = rig.pool.deadline().unwrap();
    assert_eq!(rig.tick(), starving, "nothing has moved");
    rig.upstream.set_max(1);
    rig.engine.set_max(0);
    assert_eq!(
        rig.handle(Input::Capacity),
        [Did::Starving(Exhausted::Engine)]
    );
    rig.engine.set_max(5);
    rig.now = rig.pool.deadline().unwrap();
    assert_eq!(rig.tick()[0], Did::Dial(0), "tried again by itself");
    assert_eq!(rig.upstream.in_use(), 1);
}

#[test]
fn closing_a_dial_under_way_frees_its_place() {
    let mut rig = Rig::new(5, roomy());
    rig.enqueue(1);
    assert_eq!(rig.closed(0), [Did::Dial(1)]);
    assert_eq!(rig.pool.counters().dials_failed, 0);
}
