//! The word between senders and a shard that is about to sleep.

use super::{Bed, in_every_order};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// However many send, and whenever: a shard that sleeps is woken, for loom finds a thread that nobody
/// wakes; and every message is taken.
pub fn nobody_sleeps_over_mail() {
    in_every_order(|| {
        let bed = Arc::new(Bed::new());
        let queued = Arc::new(AtomicU32::new(0));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (bed, queued) = (bed.clone(), queued.clone());
                thread::spawn(move || {
                    queued.fetch_add(1, Ordering::Release);
                    bed.parker.wake();
                })
            })
            .collect();
        let mut taken = 0;
        while taken < 2 {
            let some = queued.swap(0, Ordering::Acquire);
            taken += some;
            if some == 0 {
                bed.sleep_unless(|| queued.load(Ordering::Acquire) > 0);
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(taken, 2);
    });
}

/// Of several who find a shard asleep, one pays for waking it.
pub fn a_sleeper_is_signalled_once() {
    in_every_order(|| {
        let bed = Arc::new(Bed::new());
        bed.parker.announce_sleep();
        let wake = |bed: Arc<Bed>| thread::spawn(move || bed.parker.wake());
        let wakers = [wake(bed.clone()), wake(bed.clone())];
        let woke = wakers.map(|waker| waker.join().unwrap());
        assert_eq!(woke.iter().filter(|&&woke| woke).count(), 1);
    });
}
