//! Permits: the right to have one connection open, counted over the whole engine.
//!
//! Owns: two counts per upstream (its own, and the engine's, which all upstreams share) and the guard
//! that stands for one of each. A count changes by compare-and-swap when a connection is dialled and when its
//! descriptor is closed; a checkout that hits touches neither.
//! Never: lets a count pass its cap, waits, or wakes anyone. Who starves leaves a need flag.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crossbeam::utils::CachePadded;

/// How many permits are in use, how many there are, and whether somebody starves for one.
#[derive(Debug)]
pub struct Counter {
    count: CachePadded<Count>,
    // On a line of its own: siblings read it every turn, while `count` changes at every dial.
    need: CachePadded<AtomicBool>,
}

#[derive(Debug)]
struct Count {
    in_use: AtomicU32,
    max: AtomicU32,
}

impl Counter {
    /// A counter that allows `max` permits at once.
    pub fn new(max: u32) -> Counter {
        Counter {
            count: CachePadded::new(Count {
                in_use: AtomicU32::new(0),
                max: AtomicU32::new(max),
            }),
            need: CachePadded::new(AtomicBool::new(false)),
        }
    }

    /// How many permits are in use.
    pub fn in_use(&self) -> u32 {
        self.count.in_use.load(Ordering::Relaxed)
    }

    /// How many may be in use.
    pub fn max(&self) -> u32 {
        self.count.max.load(Ordering::Relaxed)
    }

    /// Changes how many may be in use. Below what is in use now, none is revoked, and none given
    /// out until enough have come back.
    #[cfg(test)]
    pub fn set_max(&self, max: u32) {
        self.count.max.store(max, Ordering::Relaxed);
    }

    /// Notes that somebody starves for a permit; true if that was not known yet.
    pub fn set_need(&self) -> bool {
        // Look first: setting a flag that is set already would take the line from its readers.
        !self.need() && !self.need.swap(true, Ordering::AcqRel)
    }

    /// Takes the note away; true for the one caller who did.
    pub fn take_need(&self) -> bool {
        self.need() && self.need.swap(false, Ordering::AcqRel)
    }

    /// Whether somebody starves for a permit.
    pub fn need(&self) -> bool {
        self.need.load(Ordering::Acquire)
    }

    fn acquire(&self) -> bool {
        let mut in_use = self.in_use();
        while in_use < self.max() {
            // Acquire pairs with the release of whoever closed the descriptor counted before.
            match self.count.in_use.compare_exchange_weak(
                in_use,
                in_use + 1,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => in_use = now,
            }
        }
        false
    }

    fn give_back(&self) {
        let before = self.count.in_use.fetch_sub(1, Ordering::Release);
        debug_assert!(before > 0, "a permit came back that was never given");
    }
}

/// Where a pool gets its permits: the upstream's counter and the engine's.
#[derive(Clone, Debug)]
pub struct Permits {
    upstream: Arc<Counter>,
    engine: Arc<Counter>,
}

impl Permits {
    /// Permits that count against both.
    pub fn new(upstream: Arc<Counter>, engine: Arc<Counter>) -> Permits {
        Permits { upstream, engine }
    }

    /// The engine's counter.
    pub fn engine(&self) -> &Arc<Counter> {
        &self.engine
    }

    /// Whether both counters have room just now.
    pub fn has_room(&self) -> bool {
        [&self.upstream, &self.engine]
            .iter()
            .all(|counter| counter.in_use() < counter.max())
    }

    /// One permit, if both counters have room.
    ///
    /// The upstream's is taken first and given back if the engine has none. A sibling that looks in
    /// between may see one permit of the upstream too few; the engine had none for it either.
    ///
    /// # Errors
    /// Which of the two has none left.
    pub fn try_acquire(&self) -> Result<Permit, Exhausted> {
        if !self.upstream.acquire() {
            return Err(Exhausted::Upstream);
        }
        if !self.engine.acquire() {
            self.upstream.give_back();
            return Err(Exhausted::Engine);
        }
        Ok(Permit {
            permits: self.clone(),
        })
    }
}

/// The right to have one connection open. Dropping it, after the descriptor is closed, returns it.
#[must_use = "dropping a permit returns it"]
#[derive(Debug)]
pub struct Permit {
    permits: Permits,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.engine.give_back();
        self.permits.upstream.give_back();
    }
}

/// Which cap stands in the way of another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exhausted {
    /// The upstream's `connections_max`.
    Upstream,
    /// The engine's `connections_max`.
    Engine,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_cap_refuses_and_leaves_no_trace() {
        let (upstream, engine) = (Arc::new(Counter::new(2)), Arc::new(Counter::new(1)));
        let permits = Permits::new(upstream.clone(), engine.clone());
        let one = permits.try_acquire().unwrap();
        assert_eq!(permits.try_acquire().unwrap_err(), Exhausted::Engine);
        assert_eq!((upstream.in_use(), engine.in_use()), (1, 1));
        engine.set_max(5);
        let two = permits.try_acquire().unwrap();
        assert_eq!(permits.try_acquire().unwrap_err(), Exhausted::Upstream);
        upstream.set_max(1);
        drop(one);
        assert_eq!(permits.try_acquire().unwrap_err(), Exhausted::Upstream);
        drop(two);
        assert_eq!((upstream.in_use(), engine.in_use()), (0, 0));
    }

    #[test]
    fn a_need_is_set_once_and_taken_once() {
        let counter = Counter::new(0);
        assert!(!counter.take_need());
        assert!(counter.set_need());
        assert!(!counter.set_need());
        assert!(counter.take_need());
        assert!(!counter.need());
        assert!(counter.set_need());
    }

    #[test]
    fn threads_never_pass_the_cap_together() {
        let counter = Arc::new(Counter::new(3));
        let engine = Arc::new(Counter::new(u32::MAX));
        let held = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let permits = Permits::new(counter.clone(), engine.clone());
                    for _ in 0..2000 {
                        if let Ok(permit) = permits.try_acquire() {
                            assert!(held.fetch_add(1, Ordering::SeqCst) < 3);
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!((counter.in_use(), engine.in_use()), (0, 0));
    }
}
