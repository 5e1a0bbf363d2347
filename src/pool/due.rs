//! Moments at which something about a slab's value is due, earliest first.
//!
//! Owns: a heap of moments and keys, cleaned lazily: an entry whose value is gone is garbage, and
//! garbage is swept away before it outnumbers the rest.
//! Never: scans on a query, or grows beyond twice what is live and a small constant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slab::Key;
use crate::time::Time;

/// This much garbage is not worth a sweep.
const GARBAGE_FREE: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Due {
    heap: BinaryHeap<Reverse<(Time, Key)>>,
}

impl Due {
    /// Notes that `key` is due at `at`. What is never due takes no room.
    pub(super) fn push(&mut self, at: Time, key: Key) {
        if at != Time::NEVER {
            self.heap.push(Reverse((at, key)));
        }
    }

    /// The earliest moment.
    pub(super) fn next(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest key that is due by `now`; its value may be gone.
    pub(super) fn pop(&mut self, now: Time) -> Option<Key> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// To be called after a value has gone: keeps the earliest entry a live one, so that
    /// [`next`](Due::next) tells no moment for nothing, and keeps garbage bounded.
    pub(super) fn tidy(&mut self, live: usize, is_live: impl Fn(Key) -> bool) {
        while let Some(Reverse((_, key))) = self.heap.peek() {
            if is_live(*key) {
                break;
            }
            self.heap.pop();
        }
        if self.heap.len() > 2 * live + GARBAGE_FREE {
            self.heap.retain(|Reverse((_, key))| is_live(*key));
        }
    }

    pub(super) fn clear(&mut self) {
        self.heap.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

/// The earliest of moments that may not come. A loop, which is unrolled: a pool asks at every release, where
/// chained iterators show.
#[inline]
pub(super) fn earliest<const N: usize>(moments: [Option<Time>; N]) -> Option<Time> {
    let mut earliest: Option<Time> = None;
    for moment in moments {
        if let Some(at) = moment
            && earliest.is_none_or(|known| at < known)
        {
            earliest = moment;
        }
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_earliest_is_the_least_that_is_there(
            moments in prop::array::uniform6(prop::option::of(prop_oneof![0u64..5, Just(u64::MAX)]))
        ) {
            let moments = moments.map(|moment| moment.map(Time::from_nanos));
            prop_assert_eq!(earliest(moments), moments.into_iter().flatten().min());
        }
    }

    fn key(index: u32) -> Key {
        Key::from_parts(index, 1)
    }

    #[test]
    fn garbage_leaves_the_top_and_stays_bounded() {
        let mut due = Due::default();
        for n in 0..1000 {
            due.push(Time::from_nanos(n), key(n as u32));
        }
        due.push(Time::NEVER, key(5000));
        due.tidy(1, |k| k == key(700));
        assert_eq!(due.next(), Some(Time::from_nanos(700)));
        assert!(due.len() <= 2 + GARBAGE_FREE);
        assert_eq!(due.pop(Time::from_nanos(699)), None);
        assert_eq!(due.pop(Time::from_nanos(700)), Some(key(700)));
        due.tidy(0, |_| false);
        assert_eq!(due.next(), None);
    }
}
