//! Sleeps that are as short as they say: tokio's own are whole milliseconds, and later by one on average.
//!
//! Owns: one timer of the kernel for each thread, and who waits for it. Never: polls, or spins.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The sleepers of one thread. Clones share them.
#[derive(Clone)]
pub(super) struct Naps(Rc<Shared>);

struct Shared {
    timer: TimerFd,
    sleepers: RefCell<Sleepers>,
}

#[derive(Default)]
struct Sleepers {
    /// By when they are due; the number sets those of one instant apart.
    due: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Naps {
    /// Begins to keep time for this thread, within its runtime.
    pub(super) fn start() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        let rings = timer.as_fd().try_clone_to_owned()?;
        let rings = tokio_uring::fs::File::from_std(rings.into());
        let naps = Self(Rc::new(Shared {
            timer,
            sleepers: RefCell::default(),
        }));
        let keeper = naps.clone();
        tokio_uring::spawn(async move { keeper.keep(rings).await });
        Ok(naps)
    }

    /// Sleeps for this long.
    pub(super) fn nap(&self, time: Duration) -> impl Future<Output = ()> + use<> {
        let naps = self.clone();
        async move { naps.nap_until(Instant::now() + time).await }
    }

    /// Sleeps until then.
    fn nap_until(&self, due: Instant) -> impl Future<Output = ()> + use<> {
        let naps = self.clone();
        async move {
            let mut place = Place { naps, key: None };
            poll_fn(|cx| match Instant::now() >= due {
                true => Poll::Ready(()),
                false => {
                    place.take(due, cx.waker());
                    Poll::Pending
                }
            })
            .await;
        }
    }

    async fn keep(&self, rings: tokio_uring::fs::File) {
        let mut count = vec![0; 8];
        loop {
            let (rung, back) = rings.read_at(count, 0).await;
            count = back;
            if rung.is_err() {
                debug_assert!(false, "a timer can be read: {rung:?}");
                return;
            }
            let now = Instant::now();
            let mut sleepers = self.0.sleepers.borrow_mut();
            let later = sleepers.due.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut sleepers.due, later);
            let next = sleepers.due.keys().next().copied();
            drop(sleepers);
            if let Some((next, _)) = next {
                self.set(next);
            }
            due.into_values().for_each(Waker::wake);
        }
    }

    fn set(&self, due: Instant) {
        let left = due.saturating_duration_since(Instant::now());
        // Nothing at all would switch it off.
        let left = TimeSpec::from_duration(left.max(Duration::from_nanos(1)));
        let expiration = Expiration::OneShot(left);
        let set = self.0.timer.set(expiration, TimerSetTimeFlags::empty());
        debug_assert!(
            set.is_ok(),
            "a valid time, on a descriptor of ours: {set:?}"
        );
    }
}

/// One sleeper's entry, taken back on drop.
struct Place {
    naps: Naps,
    key: Option<(Instant, u64)>,
}

impl Place {
    fn take(&mut self, due: Instant, waker: &Waker) {
        let mut sleepers = self.naps.0.sleepers.borrow_mut();
        let key = *self.key.get_or_insert_with(|| {
            sleepers.next += 1;
            (due, sleepers.next)
        });
        sleepers.due.insert(key, waker.clone());
        let first = sleepers.due.keys().next() == Some(&key);
        drop(sleepers);
        if first {
            self.naps.set(due);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.naps.0.sleepers.borrow_mut().due.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleepers_wake_in_the_order_in_which_they_are_due() {
        tokio_uring::start(async {
            let naps = Naps::start().unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            // Far enough away for all to sleep before the first is due, however busy the machine is.
            let begun = Instant::now() + Duration::from_millis(300);
            let tasks: Vec<_> = [3_u64, 1, 2, 0]
                .into_iter()
                .map(|ms| {
                    let (naps, order) = (naps.clone(), Rc::clone(&order));
                    tokio_uring::spawn(async move {
                        let due = begun + Duration::from_millis(ms);
                        naps.nap_until(due).await;
                        assert!(Instant::now() >= due, "never early");
                        order.borrow_mut().push(ms);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [0, 1, 2, 3]);
            assert!(naps.0.sleepers.borrow().due.is_empty());
        });
    }

    #[test]
    fn who_is_dropped_leaves_nothing_behind() {
        tokio_uring::start(async {
            let naps = Naps::start().unwrap();
            let long = naps.nap(Duration::from_secs(3600));
            let timed = tokio::time::timeout(Duration::from_millis(1), long).await;
            assert!(timed.is_err());
            assert!(naps.0.sleepers.borrow().due.is_empty());
            naps.nap(Duration::from_micros(100)).await;
        });
    }
}
