//! A connection that comes free and goes to one who waits elsewhere.

use super::*;
use crate::pool::ComesFree;

impl Rig {
    fn next_for(&mut self, member: usize) -> Option<(Class, Time)> {
        self.pool.next_for(self.now, self.members[member].0)
    }

    fn hand_on(&mut self, member: usize, comes: ComesFree) {
        let id = self.members[member].0;
        let grant = self.pool.hand_on(self.now, id, comes);
        assert_eq!((grant.member, grant.conn), (id, conn(member)));
        self.granted.insert(id, self.now);
    }
}

const RELEASED: ComesFree = ComesFree::Released { held: MS };

#[test]
fn a_lease_goes_on_without_a_moment_in_between() {
    let mut rig = Rig::with_idle(1, 1, roomy());
    rig.checkout();
    assert_eq!(rig.next_for(0), None, "nobody waits");
    rig.now = ms(3);
    rig.enqueue(1);
    rig.now = ms(5);
    assert_eq!(rig.next_for(0), Some((Class::Normal, ms(3))));
    rig.hand_on(0, RELEASED);
    assert_eq!(rig.census(), [0, 1, 0, 1], "in use, and somebody waits");
    assert_eq!(rig.released(0), [Did::Grant(1, 0, true)]);
}

#[test]
fn whoever_it_was_dialled_for_gets_another_one() {
    let mut rig = Rig::new(2, roomy());
    assert_eq!(rig.enqueue(1), [Did::Dial(0)]);
    assert_eq!(rig.next_for(0), Some((Class::Normal, Time::ZERO)));
    rig.hand_on(0, ComesFree::Dialed(opened(0)));
    assert_eq!(rig.pool.deadline(), Some(Time::ZERO), "due at once");
    assert_eq!(rig.tick(), [Did::Dial(1)]);
    assert_eq!(rig.dialed(1), [Did::Grant(1, 1, false)]);
}

#[test]
fn a_connection_made_for_one_who_wants_a_new_one_is_theirs() {
    let mut rig = Rig::new(2, roomy());
    assert_eq!(rig.enqueue_fresh(1), [Did::Dial(0)]);
    rig.enqueue(2);
    assert_eq!(rig.next_for(0), None);
}

#[test]
fn one_whose_permit_somebody_here_has_waited_for_longest_is_not_given_on() {
    let mut rig = Rig::with_idle(1, 1, roomy());
    rig.checkout();
    rig.enqueue_fresh(1);
    rig.now = ms(1);
    rig.enqueue(2);
    assert_eq!(rig.next_for(0), None);
    assert_eq!(rig.released(0), [Did::Close(0, CloseReason::Capacity)]);
}

#[test]
fn what_is_to_go_goes() {
    let limits = Limits {
        uses_max: Some(2),
        ..roomy()
    };
    let mut rig = Rig::with_idle(1, 1, limits);
    rig.checkout();
    rig.enqueue(1);
    assert_eq!(rig.next_for(0), None, "it was used twice");
    assert_eq!(rig.released(0)[0], Did::Close(0, CloseReason::Uses));
}
