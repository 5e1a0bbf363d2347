//! An upstream's homes: the shards that calls for it go to from elsewhere.
//!
//! Owns: the set, which every thread may read and every shard may change. Never: decides who is in it;
//! each shard does, by its [`Watch`] or another home's, and those that keep connections warm always are.
//!
//! One bit per shard, in as few words as that takes. A reader may see one change and not yet another;
//! whatever it sees are shards that were homes a moment ago, which serve a call as well as any.

mod watch;

pub(super) use watch::{Seen, Standing, Step, Watch};

use crate::config::SharingConfig;
use crate::random::Random;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// The homes of one upstream.
pub(crate) struct Homes {
    /// All shards, by preference.
    order: Box<[usize]>,
    /// A bit for each shard that is a home.
    words: Box<[AtomicU64]>,
    /// How many homes there are. Raised before a bit is set, so that `max` holds.
    count: AtomicUsize,
    /// So many of the preferred shards are homes whatever happens.
    always: AtomicUsize,
    /// The most homes, unless more are always.
    max: AtomicUsize,
    /// A shard whose loop is further behind is saturated; in nanoseconds.
    lag_max: AtomicU64,
    /// How many calls a second one home did when it was last found saturated; 0 if none ever was.
    capacity: AtomicU32,
}

impl Homes {
    /// With the first `always` of `order` as homes; one at least.
    pub(crate) fn new(order: Vec<usize>, always: usize, config: &SharingConfig) -> Homes {
        let words = order.len().div_ceil(64);
        let homes = Homes {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            order: order.into(),
            count: AtomicUsize::new(0),
            always: AtomicUsize::new(0),
            max: AtomicUsize::new(0),
            lag_max: AtomicU64::new(0),
            capacity: AtomicU32::new(0),
        };
        homes.configure(always, config);
        homes
    }

    /// Other settings. Homes that are too many now leave when they next look.
    pub(crate) fn configure(&self, always: usize, config: &SharingConfig) {
        let always = always.clamp(1, self.order.len());
        let max = config.homes_max.map_or(usize::MAX, |max| max as usize);
        let lag = u64::try_from(config.lag_max.as_nanos()).unwrap_or(u64::MAX);
        self.lag_max.store(lag, Ordering::Relaxed);
        self.always.store(always, Ordering::Relaxed);
        self.max.store(max.max(always), Ordering::Relaxed);
        for &shard in &self.order[..always] {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.set(shard);
        }
    }

    /// The shard preferred over all others; always a home.
    pub(crate) fn first(&self) -> usize {
        self.order[0]
    }

    /// All shards, the preferred ones first.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The place of a shard in the order of preference.
    pub(crate) fn place(&self, shard: usize) -> usize {
        let place = self.order.iter().position(|&other| other == shard);
        place.expect("a shard of this engine")
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        self.order.len()
    }

    /// How many homes there are.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn contains(&self, shard: usize) -> bool {
        self.words[shard / 64].load(Ordering::Relaxed) & bit(shard) != 0
    }

    /// Whether it is a home whatever happens.
    pub(super) fn is_always(&self, shard: usize) -> bool {
        self.place(shard) < self.always.load(Ordering::Relaxed)
    }

    /// Whether there are more than there may be.
    pub(super) fn are_too_many(&self) -> bool {
        self.len() > self.max.load(Ordering::Relaxed)
    }

    /// Of two homes picked by chance the one with less to do (Mitzenmacher, "The power of two choices",
    /// 2001). `depth`: how much that is; `None` for one that is not to be picked.
    pub(crate) fn pick(
        &self,
        mut random: impl FnMut() -> Random,
        depth: impl Fn(usize) -> Option<usize>,
    ) -> Option<usize> {
        let homes = self.members();
        if homes <= 1 {
            return depth(self.first()).map(|_| self.first());
        }
        let mut random = random();
        let one = random.below(homes.into()) as u32;
        let two = random.below((homes - 1).into()) as u32;
        // Never the same one twice.
        let two = two + u32::from(two >= one);
        let look = |n| {
            let home = self.nth(n);
            depth(home).map(|depth| (home, depth))
        };
        match (look(one), look(two)) {
            (Some((one, at_one)), Some((two, at_two))) => {
                Some(if at_two < at_one { two } else { one })
            }
            (one, two) => one.or(two).map(|(home, _)| home),
        }
    }

    /// Makes a shard a home, if there may be one more; whether it is one now.
    pub(super) fn join(&self, shard: usize) -> bool {
        if self.contains(shard) {
            return true;
        }
        let max = self.max.load(Ordering::Relaxed);
        let more = |count| (count < max).then_some(count + 1);
        let room = self
            .count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        if room.is_err() {
            return false;
        }
        self.set(shard);
        true
    }

    /// Makes the next shard in the order of preference a home, if there may be one more and `suits`;
    /// which one that is.
    pub(super) fn invite(&self, suits: impl Fn(usize) -> bool) -> Option<usize> {
        let candidate = |shard: &&usize| !self.contains(**shard) && suits(**shard);
        let shard = *self.order.iter().find(candidate)?;
        self.join(shard).then_some(shard)
    }

    /// A home no more, unless it is always one.
    pub(super) fn leave(&self, shard: usize) {
        if self.is_always(shard) {
            return;
        }
        let before = self.words[shard / 64].fetch_and(!bit(shard), Ordering::Relaxed);
        if before & bit(shard) != 0 {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How far behind a shard's loop may be before it is saturated.
    pub(super) fn lag_max(&self) -> Duration {
        Duration::from_nanos(self.lag_max.load(Ordering::Relaxed))
    }

    /// What one home can do, in calls a second, as far as is known.
    pub(super) fn capacity(&self) -> Option<u32> {
        Some(self.capacity.load(Ordering::Relaxed)).filter(|&capacity| capacity > 0)
    }

    /// A home that does so many calls a second is saturated.
    pub(super) fn set_capacity(&self, calls_per_second: u32) {
        self.capacity.store(calls_per_second, Ordering::Relaxed);
    }

    /// Sets a bit that was counted already.
    fn set(&self, shard: usize) {
        let before = self.words[shard / 64].fetch_or(bit(shard), Ordering::Relaxed);
        if before & bit(shard) != 0 {
            // Somebody else was quicker, and counted it too.
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn members(&self) -> u32 {
        let words = self.words.iter();
        words
            .map(|word| word.load(Ordering::Relaxed).count_ones())
            .sum()
    }

    /// The `n`th home, counted from 0; the first of all if meanwhile there are fewer.
    fn nth(&self, mut n: u32) -> usize {
        for (index, word) in self.words.iter().enumerate() {
            let mut word = word.load(Ordering::Relaxed);
            let ones = word.count_ones();
            if n >= ones {
                n -= ones;
                continue;
            }
            for _ in 0..n {
                word &= word - 1;
            }
            return index * 64 + word.trailing_zeros() as usize;
        }
        self.first()
    }
}

fn bit(shard: usize) -> u64 {
    1 << (shard % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn homes(shards: usize, always: usize, max: usize) -> Homes {
        // Any order will do: here the last shard is preferred.
        Homes::new((0..shards).rev().collect(), always, &at_most(max))
    }

    fn at_most(homes: usize) -> SharingConfig {
        SharingConfig {
            homes_max: Some(homes as u32),
            ..SharingConfig::default()
        }
    }

    fn members(homes: &Homes) -> Vec<usize> {
        let shards = 0..homes.shards();
        let members: Vec<usize> = shards.filter(|&shard| homes.contains(shard)).collect();
        assert_eq!(members.len(), homes.len());
        members
    }

    #[test]
    fn they_join_and_leave_within_bounds() {
        let homes = homes(130, 2, 4);
        assert_eq!(members(&homes), [128, 129]);
        assert!(homes.join(5) && homes.join(5));
        assert_eq!(homes.invite(|shard| shard != 127), Some(126));
        assert!(!homes.join(7), "four are the most");
        assert_eq!(homes.invite(|_| true), None);
        assert_eq!(members(&homes), [5, 126, 128, 129]);
        homes.leave(5);
        homes.leave(5);
        homes.leave(129);
        assert_eq!(members(&homes), [126, 128, 129]);
    }

    #[test]
    fn other_settings_hold_at_once_or_at_the_next_look() {
        let homes = homes(4, 1, 4);
        assert!(homes.join(0) && homes.join(1));
        homes.configure(2, &at_most(2));
        assert_eq!(members(&homes), [0, 1, 2, 3]);
        assert!(homes.are_too_many());
        homes.leave(0);
        homes.leave(1);
        assert!(!homes.are_too_many());
        homes.leave(2);
        assert_eq!(members(&homes), [2, 3], "these are homes always");
        homes.configure(9, &at_most(1));
        assert_eq!(members(&homes), [0, 1, 2, 3], "all there are");
    }

    #[test]
    fn every_home_is_picked_and_the_shallower_of_two() {
        let homes = homes(100, 3, 100);
        homes.join(0);
        let mut picked = [0; 100];
        for seed in 0..4000 {
            let home = homes.pick(|| Random::new(seed), |_| Some(1));
            picked[home.expect("all may be picked")] += 1;
        }
        for home in [0, 97, 98, 99] {
            assert!(picked[home] > 800, "{home}: {}", picked[home]);
        }
        let deep = |shard| (shard != 97).then_some(usize::from(shard != 98));
        let picked = (0..100).map(|seed| homes.pick(|| Random::new(seed), deep));
        let picked: Vec<Option<usize>> = picked.collect();
        let shallow = picked.iter().filter(|&&home| home == Some(98)).count();
        assert!(shallow > 40, "{shallow}");
        assert!(!picked.contains(&Some(97)) && !picked.contains(&None));
    }

    #[test]
    fn threads_that_change_it_leave_the_count_right() {
        let homes = homes(64, 1, 20);
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let homes = &homes;
                scope.spawn(move || {
                    let mut random = Random::new(thread);
                    for _ in 0..2000 {
                        let shard = random.below(64) as usize;
                        match random.below(3) {
                            0 => drop(homes.invite(|other| other != shard)),
                            1 => drop(homes.join(shard)),
                            _ => homes.leave(shard),
                        }
                        assert!(homes.members() <= 20);
                    }
                });
            }
        });
        members(&homes);
    }
}
