//! What one shard says about one upstream: how many calls of others it could begin.
//!
//! Owns: two words, on a line of their own. Never: a promise. What was free may be taken when a call gets
//! there; then it waits there, or moves on.
//!
//! The race it exists for: a shard offers a call while a sibling's connection comes free. The one offers
//! *first* and reads the words afterwards; the other says *first* that it has room and looks for offers
//! afterwards. Each has a fence in between: whichever order they interleave in, one of them sees the other.

use crate::config::Class;
use crate::pool;
use crate::sync::{AtomicBool, AtomicU32, Ordering, fence};

/// One shard's word on one upstream.
pub(crate) struct Room {
    /// See [`Free::word`].
    free: AtomicU32,
    /// The shard has been told to look for offers, and has not looked yet.
    told: AtomicBool,
}

/// How many calls a shard could begin now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Free {
    /// Of any class.
    pub(crate) open: u16,
    /// Of class `Critical`, beside those.
    pub(crate) reserved: u16,
}

impl Free {
    pub(crate) fn for_class(self, class: Class) -> bool {
        match class {
            Class::Critical => self != Free::default(),
            Class::Normal | Class::Sheddable => self.open > 0,
        }
    }

    /// What a pool has.
    pub(crate) fn of_pool(room: pool::Room) -> Free {
        let few = |count| u16::try_from(count).unwrap_or(u16::MAX);
        Free {
            open: few(room.open),
            reserved: few(room.reserved),
        }
    }

    fn word(self) -> u32 {
        u32::from(self.open) | u32::from(self.reserved) << 16
    }

    fn of(word: u32) -> Free {
        Free {
            open: word as u16,
            reserved: (word >> 16) as u16,
        }
    }
}

impl Room {
    pub(crate) fn new() -> Room {
        Room {
            free: AtomicU32::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// The shard says what it has; it alone does. One that has more than before must look for offers
    /// after this.
    pub(crate) fn announce(&self, free: Free) {
        self.free.store(free.word(), Ordering::Relaxed);
        // Orders the announcement before the look for offers; pairs with the one in `offered`.
        fence(Ordering::SeqCst);
    }

    /// The shard says how much is left of the room that it has announced, and not more than nothing: nobody has to
    /// look for what others offer because of that.
    pub(crate) fn correct(&self, free: Free) {
        self.free.store(free.word(), Ordering::Relaxed);
    }

    /// To be called between an offer and the look at siblings' words.
    pub(crate) fn offered() {
        fence(Ordering::SeqCst);
    }

    /// What the shard has said.
    pub(crate) fn free(&self) -> Free {
        Free::of(self.free.load(Ordering::Relaxed))
    }

    /// Whether the shard has to be told to look; true for the first who finds so.
    pub(crate) fn tell(&self) -> bool {
        !self.told.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::AcqRel)
    }

    /// The shard is about to look: whoever offers after this has to tell it anew.
    pub(crate) fn hear(&self) {
        self.told.store(false, Ordering::Relaxed);
        // Orders that before the look; pairs with the one in `offered`.
        fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_announced_is_read_class_by_class() {
        let room = Room::new();
        for class in Class::ALL {
            assert!(!room.free().for_class(class));
        }
        room.announce(Free {
            open: 0,
            reserved: 2,
        });
        assert!(room.free().for_class(Class::Critical));
        assert!(!room.free().for_class(Class::Normal));
        let free = Free {
            open: u16::MAX,
            reserved: 0,
        };
        room.announce(free);
        assert_eq!(room.free(), free);
        assert!(room.free().for_class(Class::Sheddable));
    }

    #[test]
    fn it_is_told_once_until_it_has_heard() {
        let room = Room::new();
        assert!(room.tell());
        assert!(!room.tell());
        room.hear();
        assert!(room.tell());
    }
}
