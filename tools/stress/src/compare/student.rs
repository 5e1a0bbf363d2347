//! Student's t distribution, for whole degrees of freedom.
//!
//! Owns its closed form (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4), and its inverse.

/// How likely it is that |T| is at most `t`, with `freedom` degrees of freedom.
pub(super) fn within(t: f64, freedom: usize) -> f64 {
    debug_assert!(freedom > 0 && t >= 0.0);
    if t.is_infinite() {
        return 1.0;
    }
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    if freedom == 1 {
        return angle / std::f64::consts::FRAC_PI_2;
    }
    // Odd: 1 + 2/3 cos² + 2·4/(3·5) cos⁴ + …; even: 1 + 1/2 cos² + 1·3/(2·4) cos⁴ + …; up to cos^(freedom - 3), or - 2.
    let odd = freedom % 2;
    let (mut term, mut sum) = (1.0, 1.0);
    let terms = (freedom - 2 - odd) / 2;
    for nth in 1..=terms {
        let lower = (2 * nth - 1 + odd) as f64;
        term *= lower / (lower + 1.0) * cos * cos;
        sum += term;
    }
    if odd == 1 {
        (angle + sin * cos * sum) / std::f64::consts::FRAC_PI_2
    } else {
        sin * sum
    }
}

/// The `t` that |T| exceeds with the probability `error`.
pub(super) fn critical(error: f64, freedom: usize) -> f64 {
    debug_assert!(error > 0.0 && error < 1.0);
    let (mut low, mut high) = (0.0, 1.0);
    while 1.0 - within(high, freedom) > error && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if 1.0 - within(middle, freedom) > error {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_tables() {
        for (error, freedom, expected) in [
            (0.05, 1, 12.706),
            (0.05, 2, 4.303),
            (0.05, 3, 3.182),
            (0.05, 4, 2.776),
            (0.05, 9, 2.262),
            (0.01, 9, 3.250),
            (0.001, 9, 4.781),
            (0.01, 10, 3.169),
            (0.001, 30, 3.646),
            (0.05, 200, 1.972),
        ] {
            let found = critical(error, freedom);
            assert!(
                (found - expected).abs() < 6e-4,
                "{error} {freedom}: {found}"
            );
        }
        assert_eq!(within(0.0, 7), 0.0);
        assert_eq!(within(f64::INFINITY, 7), 1.0);
    }
}
