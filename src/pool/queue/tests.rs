//! Tests of the queue: by hand, and against a list that is searched from end to end.

use proptest::prelude::*;

use super::*;

fn id(n: u32) -> WaiterId {
    WaiterId(Key::from_parts(n, 1))
}

fn at(nanos: u64) -> Time {
    Time::from_nanos(nanos)
}

/// Joins without a deadline; waiter n comes at moment n.
fn join(queue: &mut Queue, n: u32, class: Class, fresh: bool) {
    queue.push(at(u64::from(n)), id(n), class, Time::NEVER, fresh);
}

#[test]
fn lines_share_one_order_of_arrival() {
    let mut queue = Queue::default();
    for n in 0..6 {
        join(&mut queue, n, Class::Normal, n % 2 == 0);
    }
    let first = |queue: &mut Queue| queue.pop_first().map(|left| left.id);
    assert!(queue.first_is_fresh());
    let plain = Left {
        id: id(1),
        class: Class::Normal,
        since: at(1),
        fresh: false,
    };
    assert_eq!(queue.pop_plain(Who::Anyone), Some(plain));
    assert_eq!(first(&mut queue), Some(id(0)));
    assert_eq!(first(&mut queue), Some(id(2)));
    assert!(!queue.first_is_fresh());
    assert!(queue.cancel(id(3)));
    assert!(!queue.cancel(id(3)), "it is gone");
    assert_eq!(first(&mut queue), Some(id(4)));
    assert_eq!(first(&mut queue), Some(id(5)));
    assert_eq!(first(&mut queue), None);
    assert!(queue.is_empty());
}

#[test]
fn a_higher_class_comes_first_whenever_it_came() {
    let mut queue = Queue::default();
    join(&mut queue, 0, Class::Sheddable, false);
    join(&mut queue, 1, Class::Normal, true);
    join(&mut queue, 2, Class::Critical, true);
    join(&mut queue, 3, Class::Critical, false);
    join(&mut queue, 4, Class::Normal, false);
    assert_eq!(queue.critical_len(), 2);
    assert_eq!(queue.oldest(Class::Normal), Some(at(1)));
    assert!(queue.first_is_fresh());
    assert_eq!(queue.pop_plain(Who::Anyone).map(|l| l.id), Some(id(3)));
    assert!(!queue.has_plain(Who::Critical) && queue.has_plain(Who::Anyone));
    assert_eq!(queue.pop_plain(Who::Critical), None);
    assert_eq!(queue.pop_fresh(Who::Critical).map(|l| l.id), Some(id(2)));
    assert_eq!(queue.pop_fresh(Who::Critical), None);
    for n in [1, 4, 0] {
        assert_eq!(queue.pop_first().map(|left| left.id), Some(id(n)));
    }
}

#[test]
fn room_is_made_by_the_newest_of_those_who_matter_least() {
    let mut queue = Queue::default();
    join(&mut queue, 0, Class::Sheddable, true);
    join(&mut queue, 1, Class::Sheddable, false);
    join(&mut queue, 2, Class::Normal, false);
    join(&mut queue, 3, Class::Critical, false);
    let mut displaced = |by| queue.displace(by).map(|left| left.id);
    assert_eq!(displaced(Class::Sheddable), None);
    assert_eq!(displaced(Class::Critical), Some(id(1)));
    assert_eq!(displaced(Class::Normal), Some(id(0)));
    assert_eq!(displaced(Class::Normal), None, "its own kind stays");
    assert_eq!(displaced(Class::Critical), Some(id(2)));
    assert_eq!(displaced(Class::Critical), None);
}

#[test]
fn deadlines_come_in_their_own_order_and_skip_who_left() {
    let mut queue = Queue::default();
    for n in 0..4 {
        let deadline = at(100 - u64::from(n));
        queue.push(
            Time::ZERO,
            id(n),
            Class::ALL[n as usize % 3],
            deadline,
            false,
        );
    }
    let late = |queue: &mut Queue, now| queue.pop_late(at(now)).map(|left| left.id);
    assert_eq!(queue.next_deadline(), Some(at(97)));
    assert!(queue.cancel(id(3)));
    assert_eq!(queue.next_deadline(), Some(at(98)));
    assert_eq!(late(&mut queue, 97), None);
    assert_eq!(late(&mut queue, 99), Some(id(2)));
    assert_eq!(late(&mut queue, 99), Some(id(1)));
    assert_eq!(late(&mut queue, 99), None);
    assert_eq!(queue.pop_plain(Who::Anyone).map(|l| l.id), Some(id(0)));
    assert_eq!(queue.next_deadline(), None);
}

#[test]
fn those_who_left_take_no_room_for_long() {
    let mut queue = Queue::default();
    queue.push(Time::ZERO, id(0), Class::Normal, at(1), false);
    for n in 1..10_000 {
        let deadline = at(1_000_000 + u64::from(n));
        queue.push(Time::ZERO, id(n), Class::Critical, deadline, false);
        assert!(queue.cancel(id(n)));
    }
    assert_eq!(queue.len(), 1);
    assert!(queue.deadlines.len() < 64);
    assert!(queue.by_id.len() == 1);
}

#[derive(Clone, Debug)]
enum Op {
    Push {
        class: Class,
        patience: u64,
        fresh: bool,
    },
    Cancel(u32),
    Plain(Who),
    Fresh(Who),
    First,
    Late,
    Displace(Class),
    OldestOf(Class),
}

fn op() -> impl Strategy<Value = Op> {
    let class = || prop::sample::select(&Class::ALL[..]);
    let who = || prop::sample::select(&[Who::Anyone, Who::Critical][..]);
    prop_oneof![
        8 => (class(), 1u64..40, any::<bool>())
            .prop_map(|(class, patience, fresh)| Op::Push { class, patience, fresh }),
        1 => (0u32..200).prop_map(Op::Cancel),
        1 => who().prop_map(Op::Plain),
        1 => who().prop_map(Op::Fresh),
        1 => Just(Op::First),
        1 => Just(Op::Late),
        1 => class().prop_map(Op::Displace),
        1 => class().prop_map(Op::OldestOf),
    ]
}

/// Everyone who waits, in the order of arrival, with deadlines.
type Model = Vec<(Left, Time)>;

/// Takes the first by class and arrival among those who `may` leave.
fn first(model: &mut Model, may: impl Fn(&Left) -> bool) -> Option<Left> {
    let candidates = model.iter().enumerate().filter(|(_, (left, _))| may(left));
    let (place, _) = candidates.min_by_key(|(place, (left, _))| (left.class, *place))?;
    Some(model.remove(place).0)
}

fn newest_below(model: &mut Model, by: Class) -> Option<Left> {
    let candidates = model.iter().enumerate().filter(|(_, (l, _))| l.class > by);
    let (place, _) = candidates.max_by_key(|(place, (left, _))| (left.class, *place))?;
    Some(model.remove(place).0)
}

fn check(queue: &Queue, model: &Model) {
    let count = |may: fn(&Left) -> bool| model.iter().filter(|(l, _)| may(l)).count() as u32;
    assert_eq!(queue.len(), count(|_| true));
    assert_eq!(queue.is_empty(), model.is_empty());
    assert_eq!(queue.plain_len(), count(|left| !left.fresh));
    assert_eq!(queue.fresh_len(), count(|left| left.fresh));
    assert_eq!(
        queue.critical_len(),
        count(|left| left.class == Class::Critical)
    );
    assert_eq!(
        queue.next_deadline(),
        model.iter().map(|(_, deadline)| *deadline).min()
    );
    for class in Class::ALL {
        let of_class = model.iter().find(|(left, _)| left.class == class);
        assert_eq!(queue.oldest(class), of_class.map(|(left, _)| left.since));
    }
    let head = first(&mut model.clone(), |_| true);
    assert_eq!(queue.first_is_fresh(), head.is_some_and(|left| left.fresh));
    for who in [Who::Anyone, Who::Critical] {
        let plain = first(&mut model.clone(), |left| !left.fresh && is(who, left));
        assert_eq!(queue.has_plain(who), plain.is_some());
    }
}

fn is(who: Who, left: &Left) -> bool {
    match who {
        Who::Anyone => true,
        Who::Critical => left.class == Class::Critical,
    }
}

/// One of those late by `now` and earliest, as the queue chose it: among equal deadlines it is free.
fn late(model: &mut Model, now: Time, chosen: Option<Left>) -> Option<Left> {
    let earliest = model.iter().map(|(_, deadline)| *deadline).min()?;
    if earliest > now {
        return None;
    }
    let is_chosen =
        |(left, deadline): &(Left, Time)| Some(*left) == chosen && *deadline == earliest;
    let place = model.iter().position(is_chosen).expect("the earliest one");
    Some(model.remove(place).0)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_agrees_with_a_list(ops in prop::collection::vec(op(), 1..200)) {
        let mut queue = Queue::default();
        let mut model = Model::new();
        for (n, op) in (0u32..).zip(ops) {
            let now = at(u64::from(n));
            let (found, expected) = match op {
                Op::Push { class, patience, fresh } => {
                    let deadline = at(u64::from(n) + patience);
                    queue.push(now, id(n), class, deadline, fresh);
                    model.push((Left { id: id(n), class, since: now, fresh }, deadline));
                    (None, None)
                }
                Op::Cancel(n) => {
                    let left = first(&mut model, |left| left.id == id(n));
                    prop_assert_eq!(queue.cancel(id(n)), left.is_some());
                    (None, None)
                }
                Op::Plain(who) => (
                    queue.pop_plain(who),
                    first(&mut model, |left| !left.fresh && is(who, left)),
                ),
                Op::Fresh(who) => (
                    queue.pop_fresh(who),
                    first(&mut model, |left| left.fresh && is(who, left)),
                ),
                Op::First => (queue.pop_first(), first(&mut model, |_| true)),
                Op::Late => {
                    let found = queue.pop_late(now);
                    (found, late(&mut model, now, found))
                }
                Op::Displace(by) => (queue.displace(by), newest_below(&mut model, by)),
                Op::OldestOf(class) => (
                    queue.pop_oldest_of(class),
                    first(&mut model, |left| left.class == class),
                ),
            };
            prop_assert_eq!(found, expected);
            check(&queue, &model);
        }
    }
}
