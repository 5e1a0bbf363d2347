//! When connections go, and when they are replaced.

use super::*;

fn idle_limited() -> Limits {
    Limits {
        idle_timeout: Some(100 * MS),
        ..roomy()
    }
}

#[test]
fn idle_ones_expire_from_the_oldest() {
    let mut rig = Rig::with_idle(3, 10, idle_limited());
    let start = rig.now;
    rig.now = start + 60 * MS;
    assert_eq!(rig.checkout(), Some(0));
    rig.released(0);
    assert_eq!(rig.pool.deadline(), Some(start + 100 * MS));
    rig.now = start + 100 * MS;
    assert_eq!(
        rig.tick(),
        [
            Did::Close(2, CloseReason::IdleTimeout),
            Did::Close(1, CloseReason::IdleTimeout)
        ]
    );
    assert_eq!(rig.pool.deadline(), Some(start + 160 * MS));
    assert_eq!(rig.pool.counters().evicted(CloseReason::IdleTimeout), 2);
}

#[test]
fn a_checkout_never_hands_out_what_is_past_a_limit_even_before_the_tick() {
    let mut rig = Rig::with_idle(2, 2, idle_limited());
    rig.now = rig.now + 100 * MS;
    assert_eq!(rig.checkout(), None);
    assert_eq!(
        rig.enqueue(1)[..2],
        [
            Did::Close(1, CloseReason::IdleTimeout),
            Did::Close(0, CloseReason::IdleTimeout)
        ]
    );

    let limits = Limits {
        age_max: Some(100 * MS),
        ..roomy()
    };
    let mut rig = Rig::new(2, limits);
    rig.enqueue(1);
    rig.dialed(0);
    rig.now = ms(80);
    rig.enqueue_fresh(2);
    rig.dialed(1);
    rig.released(1);
    rig.now = ms(74);
    rig.released(0);
    rig.now = ms(100);
    assert_eq!(rig.checkout(), Some(1), "the newest is past its age");
    assert_eq!(rig.checkout(), None);
    assert_eq!(rig.tick(), [Did::Close(0, CloseReason::Age)]);
}

#[test]
fn age_ends_a_lease_only_at_its_release_and_never_all_at_once() {
    let limits = Limits {
        idle_min: 20,
        age_max: Some(1000 * MS),
        ..roomy()
    };
    let mut rig = Rig::new(20, limits);
    rig.tick();
    for member in 0..20 {
        rig.dialed(member);
    }
    assert_eq!(rig.checkout(), Some(19));
    rig.now = ms(749);
    assert_eq!(rig.tick(), []);
    let mut closed_at = Vec::new();
    while rig.pool.census().idle > 0 {
        rig.now = rig.pool.deadline().unwrap();
        let did = rig.tick();
        let closed = did.iter().filter(|did| matches!(did, Did::Close(..)));
        for close in closed {
            assert!(matches!(close, Did::Close(member, CloseReason::Age) if *member != 19));
            closed_at.push(rig.now);
        }
    }
    assert_eq!(closed_at.len(), 19);
    assert!(*closed_at.last().unwrap() <= ms(1000));
    closed_at.dedup();
    assert!(closed_at.len() > 15, "expiries are spread out");
    rig.now = ms(2000);
    rig.tick();
    assert_eq!(rig.pool.census().leased, 1);
    assert_eq!(rig.released(19)[0], Did::Close(19, CloseReason::Age));
}

/// A caller every 10 ms, dials that take 100 ms, and ends of every kind: the successor is there before.
#[test]
fn nobody_meets_a_dial_where_there_is_room_for_a_successor() {
    for uses_max in [None, Some(40), Some(150)] {
        let limits = Limits {
            idle_min: 2,
            uses_max,
            age_max: Some(5000 * MS),
            idle_timeout: Some(2000 * MS),
            ..roomy()
        };
        let mut rig = Rig::new(8, limits);
        let mut dials: Vec<(Time, usize)> = Vec::new();
        let mut closed = 0;
        for step in 0..3000 {
            rig.now = ms(step * 10);
            let mut did = Vec::new();
            while let Some(&(at, member)) = dials.first()
                && at <= rig.now
            {
                dials.remove(0);
                did.extend(rig.dialed(member));
            }
            if rig.pool.deadline().is_some_and(|at| at <= rig.now) {
                did.extend(rig.tick());
            }
            if step >= 20 {
                let member = rig.checkout();
                let member = member.unwrap_or_else(|| panic!("none at {:?}", rig.now));
                rig.now = rig.now + 5 * MS;
                did.extend(rig.released(member));
            }
            for did in did {
                match did {
                    Did::Dial(member) => dials.push((rig.now + 100 * MS, member)),
                    Did::Close(member, _) => {
                        closed += 1;
                        rig.permit_back(member);
                    }
                    other => panic!("nobody waits: {other:?}"),
                }
            }
        }
        assert!(closed > 10, "{closed} with {uses_max:?}");
    }
}

#[test]
fn uses_are_grants_and_the_last_one_closes_at_release() {
    let limits = Limits {
        uses_max: Some(2),
        ..roomy()
    };
    let mut rig = Rig::new(1, limits);
    rig.enqueue(1);
    rig.dialed(0);
    rig.enqueue(2);
    assert_eq!(rig.released(0), [Did::Grant(2, 0, true)]);
    rig.enqueue(3);
    assert_eq!(rig.released(0)[0], Did::Close(0, CloseReason::Uses));
    assert_eq!(rig.permit_back(0), [Did::Dial(1)]);
    assert_eq!(rig.dialed(1), [Did::Grant(3, 1, false)]);
}

#[test]
fn a_warm_floor_is_kept_refilled_and_counts_leased_ones() {
    let limits = Limits {
        idle_min: 3,
        ..idle_limited()
    };
    let mut rig = Rig::new(3, limits);
    assert_eq!(rig.pool.deadline(), Some(Time::ZERO));
    assert!(!rig.pool.is_vacant());
    assert_eq!(rig.tick(), [Did::Dial(0), Did::Dial(1), Did::Dial(2)]);
    assert_eq!(rig.pool.deadline(), None);
    for member in 0..3 {
        assert_eq!(rig.dialed(member), []);
    }
    // All leased: none idle, and still no more is opened.
    while rig.checkout().is_some() {}
    assert_eq!(rig.tick(), []);
    assert_eq!(rig.closed(1), [], "its permit is not back yet");
    assert_eq!(rig.permit_back(1), [Did::Dial(3)]);
    rig.released(0);
    rig.now = ms(100);
    assert_eq!(rig.tick(), [Did::Close(0, CloseReason::IdleTimeout)]);
    assert_eq!(rig.permit_back(0), [Did::Dial(4)]);
    assert_eq!(rig.pool.counters().dials_warm, 5);
}

#[test]
fn a_connection_given_up_is_not_dialled_again_at_once() {
    let limits = Limits {
        idle_min: 2,
        ..roomy()
    };
    let mut rig = Rig::new(2, limits);
    rig.tick();
    rig.dialed(0);
    rig.dialed(1);
    assert_eq!(
        rig.handle(Input::GiveUp),
        [Did::Close(0, CloseReason::Capacity)]
    );
    assert_eq!(rig.permit_back(0), [], "the sibling comes first");
    let again = rig.pool.deadline().unwrap();
    assert_eq!(again, ms(500));
    rig.now = again;
    assert_eq!(rig.tick(), [Did::Dial(2)]);
}

#[test]
fn warmth_without_a_permit_starves_nobody_and_tries_again_later() {
    let limits = Limits {
        idle_min: 2,
        ..roomy()
    };
    let mut rig = Rig::new(1, limits);
    assert_eq!(rig.tick(), [Did::Dial(0)]);
    rig.dialed(0);
    assert_eq!(rig.pool.deadline(), Some(ms(500)));
    rig.upstream.set_max(2);
    assert_eq!(rig.handle(Input::Capacity), [Did::Dial(1)]);
}

#[test]
fn renewed_members_go_one_after_the_other_and_the_first_at_once() {
    let within = Some(400 * MS);
    let mut rig = Rig::with_idle(4, 10, roomy());
    let used = rig.checkout().expect("four are idle");
    rig.now = rig.now + 10 * MS;
    rig.released(used);
    let begun = rig.now;
    let did = rig.handle(Input::Configure {
        limits: roomy().into(),
        renew_within: within,
    });
    // The one used last would have been granted next.
    assert_eq!(did, [Did::Close(used, CloseReason::Reconfigured)]);
    for gone in 1..4 {
        rig.now = begun + 100 * MS * gone;
        let did = rig.tick();
        assert!(
            matches!(did[..], [Did::Close(_, CloseReason::Reconfigured)]),
            "one in each quarter of the time: {did:?}"
        );
    }
    assert_eq!(rig.census(), [0; 4]);
}

#[test]
fn a_renewed_member_is_granted_if_nothing_newer_is_free() {
    let limits = Limits {
        idle_min: 2,
        ..roomy()
    };
    let mut rig = Rig::with_idle(2, 10, limits.clone());
    let old = rig.checkout().expect("two are idle");
    let did = rig.handle(Input::Configure {
        limits: limits.into(),
        renew_within: Some(1000 * MS),
    });
    assert_eq!(
        did,
        [Did::Dial(2)],
        "the one in use goes first, at its release"
    );
    assert_eq!(
        rig.released(old),
        [Did::Close(old, CloseReason::Reconfigured)]
    );
    assert_eq!(rig.dialed(2), []);
    // The other one from before is used last, and is not the next one for that.
    assert_eq!(rig.checkout(), Some(2));
    let other = rig.checkout().expect("one is left");
    assert_eq!(rig.released(2), []);
    assert_eq!(rig.released(other), []);
    assert_eq!(rig.checkout(), Some(2));
}

#[test]
fn new_limits_hold_at_once() {
    let mut rig = Rig::with_idle(3, 10, roomy());
    rig.checkout();
    rig.now = rig.now + 200 * MS;
    // Past both the idle limit and the number of uses, but only since now.
    let strict = Limits {
        idle_timeout: Some(100 * MS),
        age_max: Some(10_000 * MS),
        uses_max: Some(1),
        ..roomy()
    };
    let did = rig.handle(Input::Configure {
        limits: strict.into(),
        renew_within: None,
    });
    assert_eq!(
        did,
        [
            Did::Close(1, CloseReason::Reconfigured),
            Did::Close(2, CloseReason::Reconfigured)
        ]
    );
    assert!(rig.pool.deadline().unwrap() < rig.now + 10_000 * MS);
    assert_eq!(rig.released(0), [Did::Close(0, CloseReason::Uses)]);
    let warm = Limits {
        idle_min: 2,
        ..roomy()
    };
    assert_eq!(
        rig.handle(Input::Configure {
            limits: warm.into(),
            renew_within: None
        }),
        [Did::Dial(3), Did::Dial(4)]
    );
}

#[test]
fn a_peer_that_is_trusted_no_longer_is_left_in_time() {
    let trusted = |seconds: u64| Opened {
        trusted_until: Time::ZERO + Duration::from_secs(seconds),
        ..opened(0)
    };
    let mut rig = Rig::new(1, roomy());
    rig.enqueue(1);
    rig.dialed_as(0, trusted(100));
    assert_eq!(rig.released(0), []);
    // Up to a quarter earlier, and never later.
    let at = rig.pool.deadline().expect("its end");
    assert!(
        at >= Time::ZERO + Duration::from_secs(75) && at <= Time::ZERO + Duration::from_secs(100)
    );
    rig.now = at;
    assert_eq!(rig.tick(), [Did::Close(0, CloseReason::Trust)]);

    // Whichever ends first, whatever the limits become.
    let aged = |age_max| Limits { age_max, ..roomy() };
    let mut rig = Rig::new(1, aged(Some(Duration::from_secs(10))));
    rig.enqueue(1);
    rig.dialed_as(0, trusted(100));
    rig.released(0);
    rig.handle(Input::Configure {
        limits: aged(None).into(),
        renew_within: None,
    });
    rig.now = Time::ZERO + Duration::from_secs(100);
    assert_eq!(rig.tick(), [Did::Close(0, CloseReason::Trust)]);

    let mut rig = Rig::new(1, aged(Some(Duration::from_secs(10))));
    rig.enqueue(1);
    rig.dialed_as(0, trusted(100));
    rig.released(0);
    rig.now = Time::ZERO + Duration::from_secs(10);
    assert_eq!(rig.tick(), [Did::Close(0, CloseReason::Age)]);
}

#[test]
fn a_lease_may_outlast_the_trust_but_its_connection_goes_then() {
    let mut rig = Rig::new(2, roomy());
    rig.enqueue(1);
    rig.dialed_as(
        0,
        Opened {
            trusted_until: ms(50),
            ..opened(0)
        },
    );
    rig.now = ms(60);
    rig.tick();
    assert_eq!(rig.released(0), [Did::Close(0, CloseReason::Trust)]);
}

#[test]
fn what_was_being_dialled_under_replaced_settings_serves_once_behind_all_others() {
    let replaced = |member| Opened {
        replaced: true,
        ..opened(member)
    };
    let mut rig = Rig::new(3, roomy());
    rig.enqueue(1);
    assert_eq!(rig.dialed_as(0, replaced(0)), [Did::Grant(1, 0, false)]);
    assert_eq!(rig.released(0), [Did::Close(0, CloseReason::Reconfigured)]);
    // With nobody waiting it goes at once.
    rig.enqueue(2);
    rig.cancel(2);
    rig.dialed_as(1, replaced(1));
    assert_eq!(rig.tick(), [Did::Close(1, CloseReason::Reconfigured)]);
}

#[test]
fn lives_that_trust_makes_short_have_no_more_successors_than_others() {
    let limits = Limits {
        idle_min: 10,
        age_max: Some(Duration::from_secs(3600)),
        ..roomy()
    };
    let mut rig = Rig::new(100, limits);
    let short = Time::ZERO + Duration::from_secs(4);
    let mut dialed = 0;
    while rig.now < short {
        rig.tick();
        while dialed < rig.members.len() {
            let trusted_until = short;
            rig.dialed_as(
                dialed,
                Opened {
                    trusted_until,
                    ..opened(dialed)
                },
            );
            dialed += 1;
        }
        rig.now = rig.now + 10 * MS;
    }
    // Each has a successor, and the late ones' successors, whose lives are shorter, have a few more.
    assert!(dialed <= 50, "{dialed}");
}
