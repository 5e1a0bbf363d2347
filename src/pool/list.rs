//! A doubly linked list threaded through a slab's values.
//!
//! Owns: the ends and the length; the links live in the values. A value that is in several lists at a
//! time has links for each, told apart by a marker type.
//! Never: allocates, or searches. Every operation takes constant time.

use crate::slab::{Key, Slab};
use std::marker::PhantomData;

/// A value's neighbours in its list.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Links {
    newer: Option<Key>,
    older: Option<Key>,
}

/// A value that can be in one list of the kind `Of` at a time.
pub(super) trait Linked<Of = ()> {
    fn links(&self) -> &Links;
    fn links_mut(&mut self) -> &mut Links;
}

/// A list ordered by the moment of insertion, but for what was put behind all others.
#[derive(Debug)]
pub(super) struct List<Of = ()> {
    oldest: Option<Key>,
    newest: Option<Key>,
    len: u32,
    of: PhantomData<Of>,
}

impl<Of> Default for List<Of> {
    fn default() -> List<Of> {
        List {
            oldest: None,
            newest: None,
            len: 0,
            of: PhantomData,
        }
    }
}

impl<Of> List<Of> {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<Key> {
        self.oldest
    }

    pub(super) fn newest(&self) -> Option<Key> {
        self.newest
    }

    /// The neighbour that was inserted before `key`.
    pub(super) fn before<T: Linked<Of>>(&self, slab: &Slab<T>, key: Key) -> Option<Key> {
        slab.get(key).and_then(|value| value.links().older)
    }

    /// The neighbour that was inserted after `key`.
    pub(super) fn after<T: Linked<Of>>(&self, slab: &Slab<T>, key: Key) -> Option<Key> {
        slab.get(key).and_then(|value| value.links().newer)
    }

    /// Adds `key`, which is in no list, at the newest end.
    #[inline]
    pub(super) fn push<T: Linked<Of>>(&mut self, slab: &mut Slab<T>, key: Key) {
        let older = self.newest.replace(key);
        match older {
            Some(older) => links::<Of, T>(slab, older).newer = Some(key),
            None => self.oldest = Some(key),
        }
        *links::<Of, T>(slab, key) = Links { newer: None, older };
        self.len += 1;
    }

    /// Adds `key`, which is in no list, at the oldest end: behind all others.
    pub(super) fn push_back<T: Linked<Of>>(&mut self, slab: &mut Slab<T>, key: Key) {
        let newer = self.oldest.replace(key);
        match newer {
            Some(newer) => links::<Of, T>(slab, newer).older = Some(key),
            None => self.newest = Some(key),
        }
        *links::<Of, T>(slab, key) = Links { newer, older: None };
        self.len += 1;
    }

    /// Takes `key`, which is in this list, out of it.
    #[inline]
    pub(super) fn unlink<T: Linked<Of>>(&mut self, slab: &mut Slab<T>, key: Key) {
        let Links { newer, older } = std::mem::take(links::<Of, T>(slab, key));
        match newer {
            Some(newer) => links::<Of, T>(slab, newer).older = older,
            None => self.newest = older,
        }
        match older {
            Some(older) => links::<Of, T>(slab, older).newer = newer,
            None => self.oldest = newer,
        }
        self.len -= 1;
    }
}

#[inline]
fn links<Of, T: Linked<Of>>(slab: &mut Slab<T>, key: Key) -> &mut Links {
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
        fn links(&self) -> &Links {
            &self.0
        }
        fn links_mut(&mut self) -> &mut Links {
            &mut self.0
        }
    }

    fn order(list: &List, slab: &Slab<Bead>) -> Vec<u32> {
        let mut at = list.newest();
        let mut order = Vec::new();
        while let Some(key) = at {
            order.push(key.index());
            at = list.before(slab, key);
        }
        order
    }

    #[test]
    fn any_value_leaves_and_the_rest_stay_in_order() {
        let mut slab = Slab::new();
        let mut list: List = List::default();
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
        list.push_back(&mut slab, keys[4]);
        assert_eq!(order(&list, &slab), [0, 3, 1, 4]);
        list.unlink(&mut slab, keys[4]);
        assert_eq!(list.oldest(), Some(keys[1]));
        for key in [keys[1], keys[0], keys[3]] {
            list.unlink(&mut slab, key);
        }
        assert_eq!((list.len(), list.oldest(), list.newest()), (0, None, None));
        list.push_back(&mut slab, keys[1]);
        let one = Some(keys[1]);
        assert_eq!((list.len(), list.oldest(), list.newest()), (1, one, one));
    }
}
