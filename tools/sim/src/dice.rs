//! The simulator's own random numbers: repeatable, and not the engine's.
//!
//! Owns: one word of state. Never: reads anything from outside; the same seed throws the same dice.

use std::time::Duration;

/// A seeded source of choices.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of one seed for one purpose: what one purpose throws changes nothing for another.
    pub fn new(seed: u64, purpose: &str) -> Dice {
        let mut state = seed ^ 0x6a09_e667_f3bc_c908;
        for byte in purpose.bytes() {
            state = mix(state ^ u64::from(byte));
        }
        Dice(state)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xa076_1d64_78bd_642f);
        mix(self.0)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0, "nothing is below zero");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `least` to `most`, both included.
    pub fn within(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// As [`within`](Dice::within), small numbers as likely as large ones in their order of magnitude.
    pub fn magnitude(&mut self, least: u64, most: u64) -> u64 {
        let (low, high) = (bits_of(least), bits_of(most));
        let top = 1u64 << self.within(low, high);
        self.within(top / 2, top.saturating_sub(1))
            .clamp(least, most)
    }

    /// A duration from `least` to `most` milliseconds, by magnitude, with a part below a millisecond.
    pub fn millis(&mut self, least: u64, most: u64) -> Duration {
        let whole = self.magnitude(least, most);
        Duration::from_millis(whole) + Duration::from_micros(self.below(1000))
    }

    /// True this many times out of 1024.
    pub fn chance(&mut self, of_1024: u16) -> bool {
        self.below(1024) < u64::from(of_1024)
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// An index, by weight. At least one weight is not zero.
    pub fn weighed(&mut self, weights: &[u16]) -> usize {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut left = self.below(total);
        for (index, &weight) in weights.iter().enumerate() {
            if left < u64::from(weight) {
                return index;
            }
            left -= u64::from(weight);
        }
        unreachable!("the weights add up to their total")
    }

    /// Puts these in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

fn bits_of(n: u64) -> u64 {
    u64::from(u64::BITS - n.leading_zeros())
}

/// The finisher of MurmurHash3 in Stafford's variant 13.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_and_bounds_hold() {
        let (mut a, mut b) = (Dice::new(7, "load"), Dice::new(7, "load"));
        let mut other = Dice::new(7, "world");
        assert_ne!(a.bits(), other.bits());
        b.bits();
        for _ in 0..2000 {
            assert_eq!(a.bits(), b.bits());
            let n = a.magnitude(3, 1000);
            assert!((3..=1000).contains(&n));
            assert_eq!(a.weighed(&[0, 5, 0]), 1);
            b.magnitude(3, 1000);
            b.weighed(&[0, 5, 0]);
        }
        let mut items = [1, 2, 3, 4, 5];
        a.shuffle(&mut items);
        items.sort_unstable();
        assert_eq!(items, [1, 2, 3, 4, 5]);
    }
}
