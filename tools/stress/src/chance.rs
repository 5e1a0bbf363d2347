//! Seeded random numbers: the same seed gives the same run, on every machine and with every version.
//!
//! Owns: the generator (SplitMix64) and what is drawn from it directly. Never: a seed of its own making.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    #[cfg(test)]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream number `stream` of this seed: streams with neighbouring numbers have nothing in common.
    pub(crate) fn stream(seed: u64, stream: u64) -> Self {
        let mut parent = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        Self(parent.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0, which may come, to 1, which may not.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something happens that does in this share of cases.
    pub(crate) fn strikes(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Exponentially distributed, with mean 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normally distributed, with mean 0 and deviation 1 (Box and Muller, 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    fn mean(draw: impl FnMut() -> f64) -> f64 {
        std::iter::repeat_with(draw).take(DRAWS).sum::<f64>() / DRAWS as f64
    }

    #[test]
    fn a_seed_gives_one_stream_and_streams_differ() {
        let draw = |mut chance: Chance| [chance.next(), chance.next(), chance.next()];
        assert_eq!(draw(Chance::new(7)), draw(Chance::new(7)));
        assert_eq!(draw(Chance::stream(7, 1)), draw(Chance::stream(7, 1)));
        assert_ne!(draw(Chance::stream(7, 1)), draw(Chance::stream(7, 2)));
        assert_ne!(draw(Chance::stream(7, 0)), draw(Chance::stream(8, 0)));
    }

    #[test]
    fn what_is_drawn_has_the_moments_that_it_should() {
        let mut chance = Chance::new(1);
        assert!((mean(|| chance.unit()) - 0.5).abs() < 0.005);
        assert!((mean(|| chance.exponential()) - 1.0).abs() < 0.01);
        assert!(mean(|| chance.normal()).abs() < 0.01);
        assert!((mean(|| chance.normal().powi(2)) - 1.0).abs() < 0.02);
        let share = mean(|| f64::from(u8::from(chance.strikes(0.1))));
        assert!((share - 0.1).abs() < 0.005, "{share}");
    }
}
