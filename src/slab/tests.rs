//! The slab: by hand, and against a list of all keys there ever were.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn a_key_outlives_its_value_and_finds_nothing() {
    let mut slab = Slab::new();
    let old = slab.insert("old");
    assert_eq!(slab.remove(old), Some("old"));
    let new = slab.insert("new");
    assert_eq!(old.index(), new.index());
    assert_eq!(slab.get(old), None);
    assert_eq!(slab.remove(old), None);
    assert_eq!(slab.get(new), Some(&"new"));
    assert_eq!(slab.len(), 1);
}

#[test]
fn slots_are_reused_last_in_first_out() {
    let mut slab = Slab::new();
    let keys: Vec<Key> = (0..4).map(|n| slab.insert(n)).collect();
    slab.remove(keys[1]);
    slab.remove(keys[3]);
    assert_eq!(slab.insert(10).index(), 3);
    assert_eq!(slab.insert(11).index(), 1);
    assert_eq!(slab.insert(12).index(), 4);
}

#[test]
fn a_generation_wraps_without_becoming_zero() {
    let mut slab = Slab::new();
    let key = slab.insert(());
    slab.remove(key);
    slab.slots[0] = Slot::Vacant {
        generation: Generation::new(GENERATION_MASK),
        next: NONE,
    };
    let last = slab.insert(());
    assert_eq!(last.generation(), GENERATION_MASK);
    slab.remove(last);
    assert_eq!(slab.insert(()).generation(), 1);
}

/// One thing that is done to a slab. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Insert,
    /// The value of a key that is good.
    Remove(usize),
    /// Any key there ever was.
    RemoveAny(usize),
    Change(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Insert),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::RemoveAny),
        2 => any::<usize>().prop_map(Step::Change),
    ]
}

/// All keys that a slab has named values by, and the values of those that are good.
#[derive(Default)]
struct Model {
    issued: Vec<(Key, Option<u32>)>,
    peak: usize,
}

impl Model {
    fn alive(&self) -> Vec<usize> {
        let all = self.issued.iter().enumerate();
        all.filter(|(_, (_, value))| value.is_some())
            .map(|(at, _)| at)
            .collect()
    }

    fn step(&mut self, slab: &mut Slab<u32>, step: Step, value: u32) {
        let alive = self.alive();
        match step {
            Step::Insert => {
                let key = slab.insert_with(|_| value);
                assert!(self.issued.iter().all(|(other, _)| *other != key));
                assert_ne!((key.index(), key.generation()), (0, 0));
                self.issued.push((key, Some(value)));
                self.peak = self.peak.max(alive.len() + 1);
            }
            Step::Remove(n) if !alive.is_empty() => self.remove(slab, alive[n % alive.len()]),
            Step::RemoveAny(n) if !self.issued.is_empty() => {
                self.remove(slab, n % self.issued.len());
            }
            Step::Change(n) if !self.issued.is_empty() => {
                let at = n % self.issued.len();
                let (key, expected) = &mut self.issued[at];
                let found = slab.get_mut(*key);
                assert_eq!(found.as_deref(), expected.as_ref());
                if let (Some(found), Some(expected)) = (found, expected) {
                    (*found, *expected) = (value, value);
                }
            }
            Step::Remove(_) | Step::RemoveAny(_) | Step::Change(_) => {}
        }
    }

    fn remove(&mut self, slab: &mut Slab<u32>, at: usize) {
        let (key, value) = &mut self.issued[at];
        assert_eq!(slab.remove(*key), value.take());
    }

    fn check(&self, slab: &Slab<u32>) {
        let mut expected: Vec<(Key, u32)> = self
            .issued
            .iter()
            .filter_map(|&(key, value)| Some((key, value?)))
            .collect();
        expected.sort_by_key(|(key, _)| key.index());
        let found: Vec<(Key, u32)> = slab.iter().map(|(key, &value)| (key, value)).collect();
        assert_eq!(found, expected);
        assert_eq!(slab.len(), expected.len());
        assert_eq!(slab.is_empty(), expected.is_empty());
        let slots: HashSet<u32> = expected.iter().map(|(key, _)| key.index()).collect();
        assert_eq!(slots.len(), expected.len(), "a slot has one tenant");
        assert!(slab.slots.len() <= self.peak, "vacant slots are used first");
        for &(key, value) in &self.issued {
            assert_eq!(slab.get(key).copied(), value);
            assert_eq!(slab.contains(key), value.is_some());
        }
    }
}

proptest! {
    /// Whatever is done: a key finds its own value or nothing, and no key is ever handed out twice.
    #[test]
    fn keys_find_their_own_value_or_nothing(steps in prop::collection::vec(step(), 0..200)) {
        let (mut slab, mut model) = (Slab::new(), Model::default());
        for (step, value) in steps.into_iter().zip(0..) {
            model.step(&mut slab, step, value);
            model.check(&slab);
        }
    }

    /// The same where slots have had nearly all tenants that a generation can tell apart.
    #[test]
    fn and_so_they_do_where_generations_wrap(
        ages in prop::collection::vec(GENERATION_MASK - 4..=GENERATION_MASK, 1..4),
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let mut slab = Slab::new();
        for (at, &generation) in (0..).zip(&ages) {
            let next = slab.vacant;
            let generation = Generation::new(generation);
            slab.slots.push(Slot::Vacant { generation, next });
            slab.vacant = at;
        }
        let mut model = Model { peak: ages.len(), ..Model::default() };
        for (step, value) in steps.into_iter().zip(0..) {
            model.step(&mut slab, step, value);
            model.check(&slab);
        }
    }
}
