//! A hierarchical timer wheel: when which timer fires.
//!
//! Owns: armed timers, in slots by the tick in which they fire. A tick is 2²⁰ ns, about 1.05 ms. Level
//! 0 has a slot for each of the next 64 ticks; a slot of level n spans 64ⁿ ticks, and its timers move
//! down when its time comes: at most once per level. Eight levels cover all 2⁶⁴ ns.
//! Never: fires early, reads a clock, or looks at empty slots one by one.
//!
//! ```text
//! tick, in digits of 6 bits:   … 2 1 0
//! a timer's level is the highest digit in which its tick differs from the current one; there its own
//! digit is the larger one. So the first slot in use of the lowest level in use is the earliest.
//! ```
//! (The idea is Varghese and Lauck's, "Hashed and hierarchical timing wheels", 1987.)

use super::Time;
use crate::slab::{Key, Slab};

/// Nanoseconds in a tick, as a power of two.
const TICK_BITS: u32 = 20;
/// Slots of a level, as a power of two.
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
/// Ticks have 44 bits and one value more (the tick of [`Time::NEVER`], rounded up); 48 fit.
const LEVELS: usize = 8;
/// The list of timers that were due when they were armed.
const DUE: usize = LEVELS * SLOTS;
const LISTS: usize = DUE + 1;

/// No timer: no slab gives out this key.
const NONE: Key = Key::from_parts(u32::MAX, 0);

/// Names an armed timer. Void once the timer has fired or was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey(Key);

/// Timers of one shard, each with a `T` that says what it is for.
#[derive(Debug)]
pub struct Wheel<T: Copy> {
    timers: Slab<Timer<T>>,
    /// The first timer of each list; lists are rings, so that its `prev` is the last one.
    first: Box<[Key; LISTS]>,
    /// For each level, which slots hold timers.
    used: [u64; LEVELS],
    /// The tick up to which all is expired.
    tick: u64,
    /// The latest time that was told; `tick` is its tick.
    now: Time,
}

#[derive(Debug)]
struct Timer<T> {
    what: T,
    tick: u64,
    list: usize,
    prev: Key,
    next: Key,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel whose time begins at `now`.
    pub fn new(now: Time) -> Wheel<T> {
        Wheel {
            timers: Slab::new(),
            first: Box::new([NONE; LISTS]),
            used: [0; LEVELS],
            tick: now.as_nanos() >> TICK_BITS,
            now,
        }
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// A time by which to call [`expire`](Wheel::expire); `None` if no timer is armed. No timer fires
    /// before it. Mostly it is when the next timer fires; for one far away it may be earlier, when
    /// timers move down a level, which makes at most seven calls in vain per timer. A time that has
    /// passed already means at once. Takes constant time.
    pub fn next(&self) -> Option<Time> {
        if self.first[DUE] != NONE {
            return Some(self.now);
        }
        let (_, tick) = self.earliest()?;
        Some(if tick >> (u64::BITS - TICK_BITS) == 0 {
            Time::from_nanos(tick << TICK_BITS)
        } else {
            Time::NEVER
        })
    }

    /// Whether a timer that is said to have fired was armed anew since, by whoever acted on an earlier one of
    /// the same batch: then the new one counts, and this firing is nothing.
    pub fn is_armed_again(&self, kept: Option<(Time, TimerKey)>) -> bool {
        kept.is_some_and(|(_, key)| self.timers.contains(key.0))
    }

    /// Arms a timer for `at`: the first [`expire`](Wheel::expire) more than a tick after `at` fires
    /// it at the latest, and none before `at`. Takes constant time.
    pub fn insert(&mut self, at: Time, what: T) -> TimerKey {
        // Rounded up, so that the tick does not begin before `at`.
        let nanos = at.as_nanos();
        let part = nanos & ((1 << TICK_BITS) - 1);
        let tick = (nanos >> TICK_BITS) + u64::from(part != 0);
        let key = self.timers.insert(Timer {
            what,
            tick,
            list: DUE,
            prev: NONE,
            next: NONE,
        });
        let list = if at <= self.now {
            DUE
        } else {
            self.list_of(tick)
        };
        self.append(list, key);
        TimerKey(key)
    }

    /// Disarms a timer and gives back what it was for; `None` if it has fired or was removed. Takes
    /// constant time.
    pub fn remove(&mut self, key: TimerKey) -> Option<T> {
        let what = self.timers.get(key.0)?.what;
        self.unlink(key.0);
        self.timers.remove(key.0);
        Some(what)
    }

    /// Fires what is due at `now`: appends it to `out`, in the order of ticks, and within a tick in
    /// the order of arming. Timers that were due when armed come first. A `now` before an earlier one
    /// counts as that. The work is bounded by the number of timers that fire or move down, however
    /// much time has gone by.
    pub fn expire(&mut self, now: Time, out: &mut Vec<T>) {
        self.now = self.now.max(now);
        while self.first[DUE] != NONE {
            self.fire(self.first[DUE], out);
        }
        let target = self.now.as_nanos() >> TICK_BITS;
        while let Some((list, tick)) = self.earliest() {
            if tick > target {
                break;
            }
            // The slots before this one are empty, so nothing is skipped.
            self.tick = tick;
            while self.first[list] != NONE {
                let key = self.first[list];
                let at = self.timer(key).tick;
                if at == tick {
                    self.fire(key, out);
                } else {
                    self.unlink(key);
                    self.append(self.list_of(at), key);
                }
            }
        }
        self.tick = target;
    }
}

impl<T: Copy> Wheel<T> {
    /// The slot that comes first, and the tick with which it begins.
    fn earliest(&self) -> Option<(usize, u64)> {
        let level = self.used.iter().position(|&used| used != 0)?;
        let slot = self.used[level].trailing_zeros();
        let shift = level as u32 * SLOT_BITS;
        let above = self.tick >> (shift + SLOT_BITS) << SLOT_BITS;
        let tick = (above | u64::from(slot)) << shift;
        Some((level * SLOTS + slot as usize, tick))
    }

    /// The slot for a tick after the current one; the current one itself belongs to no slot.
    fn list_of(&self, tick: u64) -> usize {
        debug_assert!(tick > self.tick, "a tick that is over has no slot");
        let level = (tick ^ self.tick).ilog2() / SLOT_BITS;
        let slot = (tick >> (level * SLOT_BITS)) as usize % SLOTS;
        level as usize * SLOTS + slot
    }

    fn fire(&mut self, key: Key, out: &mut Vec<T>) {
        out.extend(self.remove(TimerKey(key)));
    }

    fn append(&mut self, list: usize, key: Key) {
        let first = self.first[list];
        let (prev, next) = if first == NONE {
            self.first[list] = key;
            if list != DUE {
                self.used[list / SLOTS] |= 1 << (list % SLOTS);
            }
            (key, key)
        } else {
            let last = self.timer(first).prev;
            self.timer(last).next = key;
            self.timer(first).prev = key;
            (last, first)
        };
        let timer = self.timer(key);
        (timer.list, timer.prev, timer.next) = (list, prev, next);
    }

    fn unlink(&mut self, key: Key) {
        let timer = self.timer(key);
        let (list, prev, next) = (timer.list, timer.prev, timer.next);
        if next == key {
            self.first[list] = NONE;
            if list != DUE {
                self.used[list / SLOTS] &= !(1 << (list % SLOTS));
            }
            return;
        }
        self.timer(prev).next = next;
        self.timer(next).prev = prev;
        if self.first[list] == key {
            self.first[list] = next;
        }
    }

    fn timer(&mut self, key: Key) -> &mut Timer<T> {
        self.timers.get_mut(key).expect("a linked timer is armed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    const TICK: u64 = 1 << TICK_BITS;

    fn expired(wheel: &mut Wheel<u32>, nanos: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.expire(Time::from_nanos(nanos), &mut out);
        out
    }

    /// Follows `next` until the wheel is empty, and returns when each timer fired and how many calls
    /// of `expire` it took.
    fn follow(wheel: &mut Wheel<u32>) -> (Vec<(u32, Time)>, usize) {
        let (mut fired, mut calls) = (Vec::new(), 0);
        while let Some(next) = wheel.next() {
            let mut out = Vec::new();
            wheel.expire(next, &mut out);
            fired.extend(out.into_iter().map(|what| (what, next)));
            calls += 1;
            assert!(calls < 1000, "following next() ends");
        }
        (fired, calls)
    }

    #[test]
    fn a_timer_fires_in_its_tick_and_not_before() {
        for start in [0, 1, TICK - 1, 63 * TICK + 5, 4095 * TICK, 1 << 57] {
            for after in [
                1,
                TICK - 1,
                TICK,
                TICK + 1,
                63 * TICK,
                64 * TICK,
                65 * TICK,
                5000 * TICK,
            ] {
                let mut wheel = Wheel::new(Time::from_nanos(start));
                let at = start + after;
                wheel.insert(Time::from_nanos(at), 1);
                assert!(expired(&mut wheel, at - 1).is_empty(), "{start} + {after}");
                assert_eq!(expired(&mut wheel, at + TICK - 1), [1], "{start} + {after}");
                assert!(wheel.is_empty());
                assert_eq!(wheel.next(), None);
            }
        }
    }

    #[test]
    fn what_is_due_when_armed_fires_at_the_next_call() {
        let start = Time::from_nanos(10 * TICK + 7);
        let mut wheel = Wheel::new(start);
        wheel.insert(start, 1);
        wheel.insert(Time::ZERO, 2);
        assert_eq!(wheel.next(), Some(start));
        assert_eq!(expired(&mut wheel, start.as_nanos()), [1, 2]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn next_leads_to_every_timer_in_few_calls() {
        let mut wheel = Wheel::new(Time::from_nanos(12345));
        let delays = [1, 70, 5_000, 300_000, 86_400_000, 366 * 86_400_000];
        for (what, delay) in (0..).zip(delays) {
            let at = Time::from_nanos(12345) + Duration::from_millis(delay);
            wheel.insert(at, what);
        }
        let (fired, calls) = follow(&mut wheel);
        assert!(calls <= delays.len() * LEVELS, "{calls} calls");
        for ((what, when), (n, delay)) in fired.into_iter().zip((0..).zip(delays)) {
            let at = Time::from_nanos(12345) + Duration::from_millis(delay);
            assert_eq!(what, n);
            assert!(
                when >= at && when.since(at) < Duration::from_nanos(TICK),
                "{what}"
            );
        }
    }

    #[test]
    fn never_is_as_good_as_its_name() {
        let mut wheel = Wheel::new(Time::ZERO);
        let key = wheel.insert(Time::NEVER, 1);
        assert!(expired(&mut wheel, u64::MAX - TICK).is_empty());
        assert_eq!(wheel.next(), Some(Time::NEVER));
        assert_eq!(wheel.remove(key), Some(1));
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_jump_fires_everything_in_order() {
        let mut wheel = Wheel::new(Time::ZERO);
        for what in (0..2000).rev() {
            wheel.insert(Time::from_nanos(u64::from(what) * 97 * TICK + 1), what);
        }
        let all: Vec<u32> = (0..2000).collect();
        assert_eq!(expired(&mut wheel, u64::MAX / 2), all);
        // Time does not go back.
        wheel.insert(Time::from_nanos(5), 7);
        assert_eq!(expired(&mut wheel, 0), [7]);
    }

    #[test]
    fn a_void_key_removes_nothing() {
        let mut wheel = Wheel::new(Time::ZERO);
        let fired = wheel.insert(Time::from_nanos(TICK), 1);
        assert_eq!(expired(&mut wheel, TICK), [1]);
        let armed = wheel.insert(Time::from_nanos(9 * TICK), 2);
        assert_eq!(wheel.remove(fired), None);
        assert_eq!(wheel.remove(armed), Some(2));
        assert_eq!(wheel.remove(armed), None);
        assert!(wheel.used.iter().all(|&used| used == 0));
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Arm so many nanoseconds from now (or before now).
        Insert(i64),
        Remove(prop::sample::Index),
        Advance(u64),
        /// Go to what `next` says.
        Follow,
    }

    fn step() -> impl Strategy<Value = Step> {
        let nanos = || (0u32..45, 0u64..4096).prop_map(|(bits, n)| n << bits >> 6);
        prop_oneof![
            4 => nanos().prop_map(|n| Step::Insert(n as i64)),
            1 => (0i64..5000).prop_map(|n| Step::Insert(-n)),
            2 => any::<prop::sample::Index>().prop_map(Step::Remove),
            2 => nanos().prop_map(Step::Advance),
            2 => Just(Step::Follow),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_sorted_map_does(
            start in 0u64..1 << 40,
            steps in prop::collection::vec(step(), 1..120),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(Time::from_nanos(start));
            // By tick, or zero if due when armed; then in the order of arming.
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            for (n, step) in (0u32..).zip(steps) {
                match step {
                    Step::Insert(after) => {
                        let at = now.saturating_add_signed(after);
                        let tick = if at <= now { 0 } else { at.div_ceil(TICK) };
                        let key = wheel.insert(Time::from_nanos(at), n);
                        keys.push((key, (tick, n)));
                        model.insert((tick, n), at);
                        prop_assert!(wheel.next().is_some());
                    }
                    Step::Remove(index) if !keys.is_empty() => {
                        let (key, place) = keys[index.index(keys.len())];
                        let expected = model.remove(&place).map(|_| place.1);
                        prop_assert_eq!(wheel.remove(key), expected);
                    }
                    Step::Remove(_) => {}
                    Step::Advance(_) | Step::Follow => {
                        let next = wheel.next().map(Time::as_nanos);
                        now = match step {
                            Step::Advance(by) => now + by,
                            _ => next.unwrap_or(now).max(now),
                        };
                        let later = model.split_off(&(now / TICK + 1, 0));
                        let due: Vec<u32> = model.keys().map(|&(_, n)| n).collect();
                        prop_assert!(model.values().all(|&at| at <= now), "nothing early");
                        prop_assert!(due.is_empty() || next.is_some_and(|next| next <= now));
                        model = later;
                        prop_assert_eq!(expired(&mut wheel, now), due);
                        // What next() says lies ahead, or a loop that follows it would spin.
                        if let Some(next) = wheel.next() {
                            prop_assert!(next.as_nanos() > now);
                        }
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
            let left: Vec<u32> = model.keys().map(|&(_, n)| n).collect();
            prop_assert_eq!(follow(&mut wheel).0.len(), left.len());
        }
    }
}
