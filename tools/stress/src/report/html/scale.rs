//! Where a value stands along an axis, and which values are written beside it.
//!
//! Owns the scales and their ticks, and how figures are written on them. Never: draws.

use std::time::Duration;

/// More ticks than this are not legible on a telephone.
const TICKS_MAX: usize = 6;

/// What the places along an axis mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Equal steps, from 0 to this.
    Linear(f64),
    /// Equal factors, from the first to the second.
    Log(f64, f64),
    /// Quantiles: 0.9, 0.99, 0.999 in equal steps, up to this number of nines.
    Nines(f64),
}

/// A value with its place and its name.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// From 0 to 1.
    pub(super) at: f64,
    pub(super) name: String,
}

impl Scale {
    /// Equal steps that end a little above `max`.
    pub(super) fn up_to(max: f64) -> Self {
        Self::Linear(if max > 0.0 && max.is_finite() {
            max * 1.05
        } else {
            1.0
        })
    }

    /// Equal factors around what lies between `min` and `max`, in whole decades if those are few.
    pub(super) fn around(min: f64, max: f64) -> Self {
        let min = if min > 0.0 { min } else { 1.0 };
        let max = max.max(min * 1.01);
        Self::Log(10_f64.powf(min.log10().floor()), max * 1.2)
    }

    /// Where `value` stands, from 0 to 1; values outside stand at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear(max) => value / max,
            Self::Log(min, max) => (value.max(min) / min).ln() / (max / min).ln(),
            Self::Nines(nines) => -(1.0 - value).max(1e-12).log10() / nines,
        };
        place.clamp(0.0, 1.0)
    }

    /// Ticks at round values.
    pub(super) fn ticks(self, name: fn(f64) -> String) -> Vec<Tick> {
        let values: Vec<f64> = match self {
            Self::Linear(max) => {
                let step = round_step(max / (TICKS_MAX - 1) as f64);
                (0..TICKS_MAX)
                    .map(|i| i as f64 * step)
                    .filter(|value| *value <= max)
                    .collect()
            }
            Self::Log(min, max) => {
                let decades = (max / min).log10().floor() as i32;
                let every = (decades as usize / TICKS_MAX + 1) as i32;
                let tens = (0..=decades).step_by(every as usize);
                let tens = tens.map(|i| min * 10_f64.powi(i));
                if decades >= 2 {
                    tens.collect()
                } else {
                    tens.flat_map(|ten| [1.0, 2.0, 5.0].map(|part| part * ten))
                        .filter(|value| *value <= max)
                        .collect()
                }
            }
            Self::Nines(nines) => (0..=nines.floor() as i32)
                .map(|i| 1.0 - 10_f64.powi(-i))
                .collect(),
        };
        let tick = |value: f64| Tick {
            at: self.place(value),
            name: name(value),
        };
        values.into_iter().map(tick).collect()
    }
}

/// The next of 1, 2 and 5 times a power of ten.
fn round_step(least: f64) -> f64 {
    let ten = 10_f64.powf(least.log10().floor());
    let parts = [1.0, 2.0, 5.0, 10.0];
    let step = parts.iter().map(|part| part * ten);
    step.into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * ten)
}

/// Nanoseconds, as people say them.
pub(super) fn time(nanoseconds: f64) -> String {
    let (value, unit) = match Duration::from_nanos(nanoseconds as u64).as_nanos() {
        0..1_000 => (nanoseconds, "ns"),
        1_000..1_000_000 => (nanoseconds / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    format!("{} {unit}", digits(value))
}

/// Seconds along a run.
pub(super) fn seconds(seconds: f64) -> String {
    format!("{} s", digits(seconds))
}

/// A count or a rate: `950`, `12k`, `1.5M`.
pub(super) fn count(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{}M", digits(v / 1e6)),
        v if v >= 1e4 => format!("{}k", digits(v / 1e3)),
        v => digits(v),
    }
}

/// A quantile as a percentile.
pub(super) fn percentile(quantile: f64) -> String {
    format!("{}%", digits_all(quantile * 100.0))
}

/// Three digits, without zeros at the end.
pub(super) fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    trimmed(format!("{value:.decimals$}"))
}

fn digits_all(value: f64) -> String {
    trimmed(format!("{value:.6}"))
}

fn trimmed(text: String) -> String {
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(scale: Scale, name: fn(f64) -> String) -> Vec<String> {
        scale
            .ticks(name)
            .into_iter()
            .map(|tick| tick.name)
            .collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            names(Scale::up_to(9.5), seconds),
            ["0 s", "2 s", "4 s", "6 s", "8 s"]
        );
        assert_eq!(
            names(Scale::up_to(0.0), count),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        for max in [0.3, 7.0, 64.0, 1234.0, 98_765.0, 3e9] {
            let ticks = Scale::up_to(max).ticks(count);
            assert!((3..=TICKS_MAX).contains(&ticks.len()), "{max}: {ticks:?}");
        }
        for (min, max) in [(1e3, 5e3), (1e3, 1e6), (5.0, 6e10), (3e5, 3e5)] {
            let ticks = Scale::around(min, max).ticks(time);
            assert!((2..=8).contains(&ticks.len()), "{min} {max}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (0.0..=1.0).contains(&tick.at)));
        }
    }

    #[test]
    fn quantiles_stand_by_their_nines() {
        let scale = Scale::Nines(4.0);
        assert_eq!(
            names(scale, percentile),
            ["0%", "90%", "99%", "99.9%", "99.99%"]
        );
        assert!((scale.place(0.99) - 0.5).abs() < 1e-9);
        assert_eq!(scale.place(1.0), 1.0);
    }

    #[test]
    fn figures_read_as_people_say_them() {
        let times = [50.0, 1500.0, 250_000.0, 1.5e7, 2e9].map(time);
        assert_eq!(times, ["50 ns", "1.5 µs", "250 µs", "15 ms", "2 s"]);
        assert_eq!(
            [0.0, 999.0, 12_000.0, 1.5e6].map(count),
            ["0", "999", "12k", "1.5M"]
        );
    }
}
