//! The mean of what paired rounds gave, and how sure it is.
//!
//! Owns the interval, and the median for whoever shows one. Never: knows what was measured. Factors are averaged as logarithms, since a round that is
//! twice as dear and one that is half as dear are equally far off.

/// A geometric mean of factors, and between which two the true one lies with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) mean: f64,
    pub(super) high: f64,
}

impl Interval {
    /// Of one factor per round, by Student's distribution; `None` of fewer than two.
    pub(super) fn of(factors: &[f64]) -> Option<Self> {
        let rounds = factors.len();
        let logs = factors.iter().map(|factor| factor.ln());
        let mean = logs.clone().sum::<f64>() / rounds as f64;
        let squares: f64 = logs.map(|log| (log - mean).powi(2)).sum();
        let freedom = rounds.checked_sub(1).filter(|freedom| *freedom > 0)?;
        let error = (squares / freedom as f64 / rounds as f64).sqrt();
        let half = student(freedom) * error;
        Some(Self {
            low: (mean - half).exp(),
            mean: mean.exp(),
            high: (mean + half).exp(),
        })
    }
}

/// The 0.975 quantile of Student's distribution with so many degrees of freedom.
fn student(freedom: usize) -> f64 {
    const FIRST: [f64; 10] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    ];
    // The beginning of its expansion around the normal one: right to three digits from eleven on.
    let expansion = |n: f64| 1.95996 + 2.37227 / n + 2.82250 / (n * n) + 2.55585 / (n * n * n);
    let known = FIRST.get(freedom.saturating_sub(1)).copied();
    known.unwrap_or_else(|| expansion(freedom as f64))
}

/// The value in the middle; the greater of the two, if two are.
pub(super) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantiles_are_those_of_the_tables() {
        for (freedom, value) in [
            (1, 12.706),
            (11, 2.201),
            (30, 2.042),
            (60, 2.000),
            (120, 1.980),
        ] {
            assert!((student(freedom) - value).abs() < 0.001, "{freedom}");
        }
    }

    #[test]
    fn rounds_that_agree_are_surer_than_rounds_that_do_not() {
        let sure = Interval::of(&[1.02, 1.03, 1.02, 1.03]).unwrap();
        assert!(sure.low > 1.01 && sure.high < 1.04 && (sure.mean - 1.025).abs() < 1e-3);
        let torn = Interval::of(&[2.0, 0.5, 2.0, 0.5]).unwrap();
        assert!((torn.mean - 1.0).abs() < 1e-9 && torn.low < 0.5 && torn.high > 2.0);
        assert_eq!(Interval::of(&[1.0]), None);
        assert_eq!(Interval::of(&[]), None);
    }
}
