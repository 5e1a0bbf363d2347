//! Whether a shard waits for a permit, and the news that one came free.
//!
//! The race it exists for: a permit comes back between a shard's vain look for one and its saying that it
//! waits. The shard says so *first* and looks *again*; whoever gives a permit back does that first and
//! reads the word afterwards. Whichever order they interleave in, one of them sees the other.

use crate::sync::{AtomicBool, Ordering, fence};

/// One shard's wait for permits.
#[derive(Default)]
pub(crate) struct Hunger {
    /// The shard starves.
    starving: AtomicBool,
    /// A permit came free that it may be waiting for.
    news: AtomicBool,
}

impl Hunger {
    /// Notes whether the shard waits for a permit. One that begins to must look for a permit once
    /// more after this, or the news of it may have gone to nobody.
    pub(crate) fn set_starving(&self, starving: bool) {
        if self.starving.load(Ordering::Relaxed) != starving {
            self.starving.store(starving, Ordering::Relaxed);
        }
        // Orders the word before the second look; pairs with the one in `announce`.
        fence(Ordering::SeqCst);
    }

    /// A permit came free; whether the shard waits for one, and is to be woken.
    #[must_use = "a shard that waits has to be woken"]
    pub(crate) fn announce(&self) -> bool {
        // Orders the permit's return before the look; pairs with the one in `set_starving`.
        fence(Ordering::SeqCst);
        let starving = self.starving.load(Ordering::Relaxed);
        if starving {
            self.news.store(true, Ordering::SeqCst);
        }
        starving
    }

    /// Whether there is news that the shard has not taken.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(Ordering::Relaxed)
    }

    /// Takes the news, if there is any.
    pub(crate) fn take_news(&self) -> bool {
        self.has_news() && self.news.swap(false, Ordering::SeqCst)
    }
}
