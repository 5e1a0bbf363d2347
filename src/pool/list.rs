//! A doubly linked list threaded through a slab's values.
//!
//! Owns: the ends and the length; the links live in the values.
//! Never: allocates, or searches. Every operation takes constant time.

use crate::slab::{Key, Slab};

/// A value's neighbours in its list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    newer: Option<Key>,
    older: Option<Key>,
}

/// A value that can be in one list at a time.
pub(super) trait Linked {
    fn links_mut(&mut self) -> &mut Links;
}

/// A list ordered by the moment of insertion.
#[derive(Debug, Default)]
pub(super) struct List {
    oldest: Option<Key>,
    newest: Option<Key>,
    len: u32,
}

impl List {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<Key> {
        self.oldest
    }

    pub(super) fn newest(&self) -> Option<Key> {
        self.newest
    }

    /// Adds `key`, which is in no list, at the newest end.
    pub(super) fn push<T: Linked>(&mut self, slab: &mut Slab<T>, key: Key) {
        let older = self.newest.replace(key);
        match older {
            Some(older) => links(slab, older).newer = Some(key),
            None => self.oldest = Some(key),
        }
        *links(slab, key) = Links { newer: None, older };
        self.len += 1;
    }

    /// Takes `key`, which is in this list, out of it.
    pub(super) fn unlink<T: Linked>(&mut self, slab: &mut Slab<T>, key: Key) {
        let Links { newer, older } = std::mem::take(links(slab, key));
        match newer {
            Some(newer) => links(slab, newer).older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => links(slab, older).newer = newer,
            None => self.oldest = newer,
        }
        self.len -= 1;
    }
}

fn links<T: Linked>(slab: &mut Slab<T>, key: Key) -> &mut Links {
    slab.get_mut(key)
        .expect("a list names values that exist")
        .links_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Bead(Links);

    impl Linked for Bead {
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn order(list: &List, slab: &Slab<Bead>) -> Vec<u32> {
        let mut at = list.newest();
        let mut order = Vec::new();
        while let Some(key) = at {
            order.push(key.index());
            at = slab.get(key).unwrap().0.older;
        }
        order
    }

    #[test]
    fn any_value_leaves_and_the_rest_stay_in_order() {
        let mut slab = Slab::new();
        let mut list = List::default();
        let keys: Vec<Key> = (0..5).map(|_| slab.insert(Bead::default())).collect();
        for &key in &keys {
            list.push(&mut slab, key);
        }
        assert_eq!(order(&list, &slab), [4, 3, 2, 1, 0]);
        list.unlink(&mut slab, keys[2]);
        list.unlink(&mut slab, keys[4]);
        list.unlink(&mut slab, keys[0]);
        assert_eq!(order(&list, &slab), [3, 1]);
        assert_eq!(list.oldest(), Some(keys[1]));
        list.push(&mut slab, keys[0]);
        assert_eq!(order(&list, &slab), [0, 3, 1]);
        for key in [keys[1], keys[0], keys[3]] {
            list.unlink(&mut slab, key);
        }
        assert_eq!((list.len(), list.oldest(), list.newest()), (0, None, None));
    }
}
