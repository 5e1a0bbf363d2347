//! When endpoints are given up, and how they come back.

use super::*;

#[test]
fn an_ejected_endpoint_is_left_alone_and_comes_back_through_trials() {
    let mut rig = Rig::new(2);
    rig.eject(1);
    assert_eq!(rig.endpoints.ejected(), 1);
    assert!(!rig.may_serve(1) && rig.dialable());
    for _ in 0..50 {
        assert_eq!(rig.choose_dial(&[]), Some(0));
        assert_eq!(rig.choose_grant(|_| true), Some(0));
    }
    assert_eq!(rig.choose_dial(&[0]), None);
    assert!(!rig.tick());

    rig.wait();
    assert!(rig.tick() && !rig.tick());
    assert_eq!((rig.endpoints.ejected(), rig.endpoints.next()), (0, None));
    for _ in 0..3 {
        assert_eq!(rig.choose_dial(&[0]), Some(1));
        rig.began(1);
    }
    assert!(!rig.may_serve(1), "three trials are under way");
    assert_eq!(rig.choose_dial(&[0]), None);
    rig.ended(1);
    assert!(rig.may_serve(1), "one was cancelled");
    rig.began(1);
    let changes = [1, 1, 1].map(|id| {
        let change = rig.served(id, MS);
        rig.ended(id);
        change
    });
    assert_eq!(changes, [Change::None, Change::None, Change::Restored]);
}

#[test]
fn ejections_grow_with_jitter_up_to_the_longest_and_are_forgotten() {
    let lengths = |seed| {
        let mut rig = Rig::new(1);
        rig.random = Random::new(seed);
        rig.eject(0);
        let mut lengths = vec![rig.wait()];
        for _ in 0..9 {
            assert!(rig.tick());
            assert_eq!(
                rig.call(0, false),
                Change::Ejected,
                "one failed trial is enough"
            );
            lengths.push(rig.wait());
        }
        lengths
    };
    let (one, other) = (lengths(1), lengths(2));
    assert_ne!(one, other);
    for lengths in [one, other] {
        for (past, length) in lengths.iter().enumerate() {
            let full = (5 * SECOND * (1 << past)).min(300 * SECOND);
            assert!(*length <= full && *length >= full / 2, "{lengths:?}");
        }
    }

    let mut rig = Rig::new(1);
    for (pause, longest) in [(0, 5), (299, 10), (300, 5)] {
        rig.now = rig.now + pause * SECOND;
        rig.eject(0);
        let length = rig.wait();
        let full = longest * SECOND;
        assert!(
            length <= full && length >= full / 2,
            "{length:?} after {pause} s"
        );
        rig.tick();
        while rig.call(0, true) != Change::Restored {}
    }
}

#[test]
fn a_share_of_failures_ejects_too() {
    let mut rig = Rig::new(1);
    for _ in 0..9 {
        assert_eq!(rig.call(0, true), Change::None);
        assert_eq!(rig.call(0, false), Change::None);
    }
    rig.call(0, true);
    assert_eq!(rig.call(0, false), Change::Ejected, "10 of 20");
}

#[test]
fn no_more_are_ejected_than_the_share_allows_also_when_the_set_shrinks() {
    let mut rig = Rig::new(5);
    rig.eject(0);
    rig.eject(1);
    for _ in 0..50 {
        assert_eq!(rig.call(2, false), Change::None);
    }
    assert_eq!(rig.endpoints.ejected(), 2);
    assert_eq!(rig.set(3), [EndpointId(3), EndpointId(4)]);
    assert_eq!(rig.endpoints.ejected(), 1);
    assert!(rig.may_serve(0) ^ rig.may_serve(1));
    rig.wait();
    assert!(rig.tick());
    assert_eq!(rig.call(2, false), Change::Ejected, "there is room now");
}

#[test]
fn old_calls_that_fail_late_do_not_eject_again() {
    let mut rig = Rig::new(1);
    (0..100).for_each(|_| rig.began(0));
    rig.eject(0);
    rig.wait();
    rig.tick();
    // The endpoint has recovered; the calls that hung time out.
    rig.began(0);
    for _ in 0..100 {
        assert_eq!(rig.faulted(0), Change::None);
        rig.ended(0);
    }
    assert_eq!(rig.faulted(0), Change::Ejected, "this was the trial");
}

/// Good heads, and bodies that break off: no success, neither in a row nor among many.
#[test]
fn what_breaks_off_was_no_success() {
    let broken = |rig: &mut Rig| {
        rig.began(0);
        rig.served(0, MS);
        let change = rig.recanted(0);
        rig.ended(0);
        change
    };
    let mut rig = Rig::new(1);
    let changes = [(); 5].map(|()| broken(&mut rig));
    assert_eq!(changes[3..], [Change::None, Change::Ejected]);

    let mut rig = Rig::new(1);
    for _ in 0..3 {
        (0..4).for_each(|_| assert_eq!(broken(&mut rig), Change::None));
        (0..2).for_each(|_| assert_eq!(rig.call(0, true), Change::None));
    }
    assert_eq!(broken(&mut rig), Change::None, "12 of 19");
    assert_eq!(broken(&mut rig), Change::Ejected, "14 of 20");
}

/// A stream without end is on trial for as long as its head takes.
#[test]
fn a_trial_is_over_with_its_verdict() {
    let mut rig = Rig::new(1);
    rig.began(0);
    rig.served(0, MS);
    rig.eject(0);
    rig.wait();
    rig.tick();
    let mut restored = Change::None;
    for _ in 0..3 {
        assert!(rig.may_serve(0) && restored == Change::None);
        rig.began(0);
        restored = rig.served(0, MS);
    }
    assert_eq!(restored, Change::Restored);

    rig.eject(0);
    rig.wait();
    rig.tick();
    rig.began(0);
    rig.served(0, MS);
    assert_eq!(rig.recanted(0), Change::None, "it may be an old one's");
    (0..4).for_each(|_| rig.ended(0));
    assert_eq!(rig.recanted(0), Change::Ejected);
}

#[test]
fn trials_that_never_end_let_others_in_after_a_while() {
    let mut rig = Rig::new(1);
    rig.eject(0);
    rig.wait();
    rig.tick();
    (0..3).for_each(|_| rig.began(0));
    assert!(!rig.may_serve(0) && rig.endpoints.is_open(rig.now, &rig.config));
    assert!(rig.endpoints.retry_after(rig.now) > Duration::ZERO);
    for _ in 0..2 {
        rig.now = rig.now + 5 * SECOND;
        assert!(rig.may_serve(0) && rig.dialable());
        assert_eq!(rig.call(0, true), Change::None);
    }
    rig.now = rig.now + 5 * SECOND;
    assert_eq!(rig.call(0, true), Change::Restored);
}

#[test]
fn an_unreachable_endpoint_is_dialled_one_at_a_time_in_the_background() {
    let mut rig = Rig::new(1);
    let changes = [(); 5].map(|()| rig.connect_failed(0));
    assert_eq!(changes[3..], [Change::None, Change::Lost]);
    assert!(rig.may_serve(0) && !rig.dialable());
    assert!(rig.endpoints.is_open(rig.now, &rig.config));
    assert_eq!(rig.connect_failed(0), Change::None, "begun before");
    assert_eq!(rig.endpoints.trial_due(rig.now), None);

    for ends in [Rig::connect_failed, |rig: &mut Rig, id| {
        rig.trial_abandoned(id);
        Change::None
    }] {
        let hint = rig.endpoints.retry_after(rig.now);
        let pause = rig.wait();
        assert!(pause == hint && pause <= SECOND && pause >= SECOND / 2);
        assert!(!rig.tick());
        assert_eq!(rig.endpoints.trial_due(rig.now), Some(EndpointId(0)));
        assert_eq!(rig.endpoints.trial_due(rig.now), None);
        assert_eq!(rig.endpoints.next(), None);
        assert_eq!(ends(&mut rig, 0), Change::None);
    }
    rig.wait();
    assert_eq!(rig.endpoints.trial_due(rig.now), Some(EndpointId(0)));
    assert_eq!(rig.connected(0), Change::Restored);
    assert!(rig.dialable() && rig.endpoints.next().is_none());
    assert_eq!(rig.endpoints.retry_after(rig.now), Duration::ZERO);
}

#[test]
fn who_leaves_is_forgotten_but_for_the_work_under_way() {
    let mut rig = Rig::new(2);
    rig.began(1);
    rig.eject(1);
    assert_eq!(rig.set(1), [EndpointId(1)]);
    assert!(!rig.endpoints.contains(EndpointId(1)) && !rig.may_serve(1));
    assert_eq!((rig.endpoints.len(), rig.endpoints.ejected()), (1, 0));
    assert_eq!(rig.endpoints.next(), None);
    assert_eq!(rig.faulted(1), Change::None);
    assert_eq!(rig.set(2), []);
    assert!(rig.may_serve(1));
    assert_eq!(rig.endpoints.slots[1].outstanding, 1);
    rig.ended(1);
    rig.ended(1);
    assert_eq!(rig.endpoints.slots[1].outstanding, 0);
}

#[test]
fn nothing_known_and_nothing_enabled() {
    let mut rig = Rig::new(0);
    assert!(!rig.endpoints.is_known() && rig.dialable() && !rig.may_serve(0));
    assert_eq!(
        (rig.choose_dial(&[]), rig.choose_grant(|_| true)),
        (None, None)
    );
    assert_eq!(
        (rig.call(7, false), rig.connect_failed(7)),
        (Change::None, Change::None)
    );
    assert_eq!(rig.endpoints.retry_after(rig.now), Duration::ZERO);

    rig.set(1);
    rig.config.enabled = false;
    for _ in 0..100 {
        assert_eq!(rig.call(0, false), Change::None);
        assert_eq!(rig.connect_failed(0), Change::None);
    }
    assert!(rig.may_serve(0) && rig.choose_dial(&[]) == Some(0));

    rig.config.enabled = true;
    rig.eject(0);
    rig.config.enabled = false;
    assert!(rig.may_serve(0) && rig.dialable(), "at once");
    assert_eq!(rig.call(0, true), Change::Restored);
    assert_eq!(rig.endpoints.next(), None);
}
