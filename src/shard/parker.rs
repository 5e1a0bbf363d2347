//! The word that says whether a shard sleeps, so that nobody pays for waking one that is awake.
//!
//! The race it exists for: a message is queued between the shard's last look at its queues and its
//! falling asleep. The shard announces sleep *first* and looks *again*; the sender queues first and
//! reads the word afterwards. Whichever order they interleave in, one of them sees the other.

use crate::driver::Signal;
use crate::sync::{AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const RUNNING: u8 = 0;
const SLEEPING: u8 = 1;
const NOTIFIED: u8 = 2;

/// One shard's sleep: its thread parks, any thread unparks it.
#[derive(Default)]
pub(crate) struct Parker {
    state: AtomicU8,
    /// Locked by whoever ends a sleep, which costs a system call anyway, and when the driver changes.
    signal: Mutex<Option<Arc<dyn Signal>>>,
}

impl Parker {
    /// Says how to end the sleep of the shard's driver, of its next driver, or of its thread while it
    /// has none. Before that, nothing sleeps.
    pub(crate) fn set_signal(&self, signal: Arc<dyn Signal>) {
        *self.signal() = Some(signal);
        // Whatever slept before with another driver sleeps no more.
        self.woken();
    }

    /// Nothing will ever sleep here again: whoever still holds a handle keeps no descriptor of the
    /// driver's open.
    pub(crate) fn clear_signal(&self) {
        *self.signal() = None;
    }

    fn signal(&self) -> MutexGuard<'_, Option<Arc<dyn Signal>>> {
        // It is a single store that is locked.
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shard is about to sleep. It must look at its queues once more after this and, if there
    /// is something, not sleep but call [`woken`](Parker::woken).
    pub(crate) fn announce_sleep(&self) {
        self.state.store(SLEEPING, Ordering::Relaxed);
        // Orders the announcement before the second look at the queues; pairs with the one in `wake`.
        fence(Ordering::SeqCst);
    }

    /// The shard runs again.
    pub(crate) fn woken(&self) {
        self.state.store(RUNNING, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Something was queued for the shard. Costs a system call only if it sleeps and nobody else
    /// has woken it yet; returns whether it did.
    pub(crate) fn wake(&self) -> bool {
        // Orders the queueing before the look at the word; pairs with the one in `announce_sleep`.
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) != SLEEPING {
            return false;
        }
        let was =
            self.state
                .compare_exchange(SLEEPING, NOTIFIED, Ordering::AcqRel, Ordering::Relaxed);
        if was.is_err() {
            return false;
        }
        // Away from the lock.
        let signal = self.signal().clone();
        if let Some(signal) = signal {
            signal.signal();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Signal for Count {
        fn signal(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn only_a_sleeper_is_signalled_and_only_once() {
        let count = Arc::new(Count::default());
        let parker = Parker::default();
        parker.set_signal(count.clone());
        assert!(!parker.wake());
        parker.announce_sleep();
        assert!(parker.wake());
        assert!(!parker.wake());
        parker.woken();
        assert!(!parker.wake());
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
    }
}
