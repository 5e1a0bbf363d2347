//! Medians and their spread over rounds.

use serde::Serialize;

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` of nothing. The median of an even number is the mean of the two in the middle.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Spread {
            min,
            median: f64::midpoint(below, above),
            max,
        })
    }
}

/// How one median stands to another; `None` where there is nothing to divide by.
pub(crate) fn ratio(one: Option<Spread>, other: Option<Spread>) -> Option<f64> {
    let (one, other) = (one?.median, other?.median);
    (other > 0.0).then(|| one / other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(figures: &[f64]) -> Option<f64> {
        Spread::of(figures.iter().copied()).map(|spread| spread.median)
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[9.0, 1.0, 5.0, 6.0]), Some(5.5));
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[]), None);
        let spread = Spread::of([2.0, 8.0, 4.0]).unwrap();
        assert_eq!((spread.min, spread.max), (2.0, 8.0));
    }

    #[test]
    fn a_ratio_is_of_medians_and_of_nothing_else() {
        let (low, high) = (Spread::of([1.0, 2.0, 9.0]), Spread::of([4.0]));
        assert_eq!(ratio(low, high), Some(0.5));
        assert_eq!(ratio(low, None), None);
        assert_eq!(ratio(low, Spread::of([0.0])), None);
    }
}
