//! Keys in the order in which they came, but for what was put behind all others.
//!
//! Owns: the order. Each key has a *place* in it, which its value keeps and leaves by. One that leaves from between
//! others leaves a gap; gaps are closed before they outnumber the rest by more than a few, and there is none at the newest end.
//! Never: searches. What comes and goes at the newest end, as an idle connection does, touches nothing but that end.

use crate::slab::Key;

/// So many gaps are not worth closing.
const GAPS_FREE: usize = 32;

/// Where a key stands; means nothing once that has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place(u32);

#[derive(Debug, Default)]
pub(super) struct Row {
    /// From the oldest to the newest. Plain, not a ring: what is done at each checkout and release is done at its end.
    keys: Vec<Option<Key>>,
    /// The index of the oldest; gaps alone before it.
    oldest: usize,
    /// The place at index 0; the others follow.
    first: u32,
    len: u32,
}

impl Row {
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<Key> {
        self.keys.get(self.oldest).copied().flatten()
    }

    #[inline]
    pub(super) fn newest(&self) -> Option<Key> {
        self.keys.last().copied().flatten()
    }

    /// The one that came before the one at `place`.
    pub(super) fn before(&self, place: Place) -> Option<Key> {
        let mut older = self.keys[..self.index(place)].iter().rev();
        older.find_map(|key| *key)
    }

    /// The one that came after the one at `place`.
    pub(super) fn after(&self, place: Place) -> Option<Key> {
        let mut newer = self.keys[self.index(place) + 1..].iter();
        newer.find_map(|key| *key)
    }

    /// Adds `key` at the newest end.
    #[inline]
    pub(super) fn push(&mut self, key: Key) -> Place {
        let place = self.first.wrapping_add(self.keys.len() as u32);
        self.keys.push(Some(key));
        self.len += 1;
        Place(place)
    }

    /// Adds `key` at the oldest end: behind all others.
    pub(super) fn push_back(&mut self, key: Key) -> Place {
        if self.oldest == 0 {
            let more = self.keys.len() + 1;
            self.keys.splice(..0, std::iter::repeat_n(None, more));
            self.oldest = more;
            self.first = self.first.wrapping_sub(more as u32);
        }
        self.oldest -= 1;
        self.keys[self.oldest] = Some(key);
        self.len += 1;
        Place(self.first.wrapping_add(self.oldest as u32))
    }

    /// Takes out what stands at `place`. `moved` is told of new places, if others have some then.
    #[inline]
    pub(super) fn remove(&mut self, place: Place, moved: impl FnMut(Key, Place)) {
        self.len -= 1;
        let index = self.index(place);
        if index + 1 == self.keys.len() {
            self.keys.pop();
            while let Some(None) = self.keys.last() {
                self.keys.pop();
            }
            self.oldest = self.oldest.min(self.keys.len());
        } else {
            self.leave_gap(index);
        }
        if self.keys.len() > 2 * self.len as usize + GAPS_FREE {
            self.close_gaps(moved);
        }
    }

    /// One leaves that is not the newest.
    fn leave_gap(&mut self, index: usize) {
        self.keys[index] = None;
        while let Some(None) = self.keys.get(self.oldest) {
            self.oldest += 1;
        }
    }

    #[cold]
    fn close_gaps(&mut self, mut moved: impl FnMut(Key, Place)) {
        self.keys.retain(Option::is_some);
        self.oldest = 0;
        let mut place = self.first;
        for key in self.keys.iter().flatten() {
            moved(*key, Place(place));
            place = place.wrapping_add(1);
        }
    }

    #[inline]
    fn index(&self, place: Place) -> usize {
        place.0.wrapping_sub(self.first) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A row, and the same as a plain list.
    #[derive(Default)]
    struct Both {
        row: Row,
        places: BTreeMap<Key, Place>,
        plain: Vec<Key>,
    }

    impl Both {
        fn push(&mut self, key: Key, behind: bool) {
            let place = if behind {
                self.plain.insert(0, key);
                self.row.push_back(key)
            } else {
                self.plain.push(key);
                self.row.push(key)
            };
            self.places.insert(key, place);
        }

        fn remove(&mut self, nth: usize) {
            let key = self.plain.remove(nth);
            let place = self.places.remove(&key).unwrap();
            let places = &mut self.places;
            self.row.remove(place, |key, place| {
                places.insert(key, place).expect("it stands there");
            });
        }

        fn check(&self) {
            assert_eq!(self.row.len() as usize, self.plain.len());
            // Twice that for a moment, when one was put behind all others.
            assert!(self.row.keys.len() <= 4 * self.plain.len() + 2 * GAPS_FREE + 1);
            let mut at = self.row.oldest();
            let mut forth = Vec::new();
            while let Some(key) = at {
                forth.push(key);
                at = self.row.after(self.places[&key]);
            }
            let mut at = self.row.newest();
            let mut back = Vec::new();
            while let Some(key) = at {
                back.push(key);
                at = self.row.before(self.places[&key]);
            }
            back.reverse();
            assert_eq!((&forth, &back), (&self.plain, &self.plain));
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        PushBehind,
        Remove(usize),
        RemoveNewest,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => Just(Step::Push),
            1 => Just(Step::PushBehind),
            3 => any::<usize>().prop_map(Step::Remove),
            2 => Just(Step::RemoveNewest),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_list(steps in prop::collection::vec(step(), 0..400)) {
            let mut both = Both::default();
            for (n, step) in (0..).zip(steps) {
                match step {
                    Step::Push => both.push(Key::from_parts(n, 1), false),
                    Step::PushBehind => both.push(Key::from_parts(n, 1), true),
                    Step::Remove(_) | Step::RemoveNewest if both.plain.is_empty() => {}
                    Step::Remove(nth) => both.remove(nth % both.plain.len()),
                    Step::RemoveNewest => both.remove(both.plain.len() - 1),
                }
                both.check();
            }
        }
    }

    #[test]
    fn gaps_are_closed() {
        let mut both = Both::default();
        for n in 0..200 {
            both.push(Key::from_parts(n, 1), false);
        }
        for _ in 0..190 {
            both.remove(both.plain.len() / 2);
            both.check();
        }
    }
}
