//! A slab whose keys carry a generation.
//!
//! Owns: slots, and the generation of each. A key that outlived its value finds nothing, so that an
//! event that comes late for a slot's former tenant cannot reach the new one.
//! Never: shrinks while in use, or hands out a slot twice.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

/// Generations have 24 bits, because a driver's token has room for 24.
const GENERATION_MASK: u32 = (1 << 24) - 1;

/// Which tenant of a slot, 24 bits and a mark above them: so that none is zero, and an `Option<Key>` takes no more
/// room than a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Generation(NonZeroU32);

impl Generation {
    /// Keeps the lower 24 bits.
    const fn new(number: u32) -> Generation {
        let marked = (number & GENERATION_MASK) | (GENERATION_MASK + 1);
        Generation(NonZeroU32::new(marked).expect("the mark is set"))
    }

    const fn number(self) -> u32 {
        self.0.get() & GENERATION_MASK
    }

    /// That of the next tenant. 0 is skipped when it wraps, so that no valid key is all zeroes.
    const fn next(self) -> Generation {
        match (self.number() + 1) & GENERATION_MASK {
            0 => Generation::new(1),
            next => Generation::new(next),
        }
    }
}

/// Names one value of a [`Slab`]: a slot and the generation of its tenant. In one word, which is written, read and compared
/// as one; by slot first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(NonZeroU64);

impl Key {
    /// Puts a key together from its parts; `generation` keeps its lower 24 bits.
    pub const fn from_parts(index: u32, generation: u32) -> Key {
        Key::new(index, Generation::new(generation))
    }

    #[inline]
    const fn new(index: u32, generation: Generation) -> Key {
        let word = (index as u64) << 32 | generation.0.get() as u64;
        Key(NonZeroU64::new(word).expect("no generation is zero"))
    }

    /// The key as a number, for [`of_word`](Key::of_word).
    #[inline]
    pub const fn word(self) -> u64 {
        self.0.get()
    }

    /// The key whose [`word`](Key::word) this is.
    #[inline]
    pub const fn of_word(word: u64) -> Key {
        Key::from_parts((word >> 32) as u32, word as u32)
    }

    /// The slot's index.
    #[inline]
    pub const fn index(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// The tenant's generation, 24 bits.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.0.get() as u32 & GENERATION_MASK
    }

    /// Whether it names the tenant of that generation, in its slot.
    #[inline]
    const fn is_of(self, generation: Generation) -> bool {
        self.0.get() as u32 == generation.0.get()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.index(), self.generation())
    }
}

#[derive(Debug)]
enum Slot<T> {
    Vacant { generation: Generation, next: u32 },
    Occupied { generation: Generation, value: T },
}

/// No next vacant slot.
const NONE: u32 = u32::MAX;

/// A growing array of slots, reused last in, first out. All operations take constant time.
#[derive(Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    vacant: u32,
    len: usize,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> Slab<T> {
    /// An empty slab; allocates nothing.
    pub const fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            vacant: NONE,
            len: 0,
        }
    }

    /// How many values it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many slots it has, vacant ones included.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `key` still names a value.
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// The value that `key` names, if it is still there.
    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index() as usize) {
            Some(Slot::Occupied { generation, value }) if key.is_of(*generation) => Some(value),
            _ => None,
        }
    }

    /// The value that `key` names, to change it.
    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index() as usize) {
            Some(Slot::Occupied { generation, value }) if key.is_of(*generation) => Some(value),
            _ => None,
        }
    }

    /// Every key and its value, in the order of slots.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.iter_within(0, usize::MAX)
    }

    /// As [`iter`](Slab::iter), of so many slots from the one with index `first` on, vacant ones counted.
    pub fn iter_within(&self, first: usize, slots: usize) -> impl Iterator<Item = (Key, &T)> {
        let slots = self.slots.iter().skip(first).take(slots);
        (first as u32..)
            .zip(slots)
            .filter_map(|(index, slot)| match slot {
                Slot::Occupied { generation, value } => Some((Key::new(index, *generation), value)),
                Slot::Vacant { .. } => None,
            })
    }

    /// Puts `value` in a slot and names it.
    ///
    /// # Panics
    /// If 2³² − 1 slots are in use.
    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// As [`insert`](Slab::insert), for a value that has to know its own key.
    pub fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Key {
        self.len += 1;
        if self.vacant == NONE {
            let index = u32::try_from(self.slots.len()).expect("a slab has under 2^32 slots");
            assert!(index != NONE, "a slab has under 2^32 - 1 slots");
            let generation = Generation::new(1);
            let key = Key::new(index, generation);
            let value = make(key);
            self.slots.push(Slot::Occupied { generation, value });
            return key;
        }
        let index = self.vacant;
        let slot = &mut self.slots[index as usize];
        let Slot::Vacant { generation, next } = *slot else {
            unreachable!("the list of vacant slots names an occupied one");
        };
        self.vacant = next;
        let key = Key::new(index, generation);
        *slot = Slot::Occupied {
            generation,
            value: make(key),
        };
        key
    }

    /// Takes the value that `key` names out, and makes the key void.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        if !self.contains(key) {
            return None;
        }
        let vacated = Slot::Vacant {
            generation: Generation::new(key.generation()).next(),
            next: self.vacant,
        };
        self.vacant = key.index();
        self.len -= 1;
        match std::mem::replace(&mut self.slots[key.index() as usize], vacated) {
            Slot::Occupied { value, .. } => Some(value),
            Slot::Vacant { .. } => unreachable!("checked above"),
        }
    }
}

#[cfg(test)]
mod tests;
