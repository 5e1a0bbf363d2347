//! Quantities as people write them: durations, shares, sizes, and how any of them is spread.
//!
//! Owns: the one grammar that the command line and scenario files share. Never: what a quantity is for.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;

/// No duration may exceed this, so that no instant computed from one overflows.
pub(crate) const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The widest lognormal: beyond it, one draw in a thousand is more than a million medians.
const SIGMA_MAX: f64 = 4.0;

/// Such as `50s`, `200ms` or `1m 30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let duration = match text.trim() {
        "0" => Ok(Duration::ZERO),
        text => humantime::parse_duration(text),
    };
    let duration = duration.map_err(|e| format!("`{text}` is no duration such as 5ms: {e}"))?;
    if duration > DURATION_MAX {
        return Err("more than a week".to_owned());
    }
    Ok(duration)
}

/// Such as `0.1%`, up to `100%`; as a fraction of 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').map(str::trim);
    let number = number.and_then(|number| number.parse::<f64>().ok());
    match number {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        Some(_) => Err(format!("`{text}` does not lie between 0% and 100%")),
        None => Err(format!("`{text}` is no share such as 0.1%")),
    }
}

/// Such as `13`, `4KiB` or `1MB`, in bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("`{text}` is no size such as 4KiB")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("`{text}` is no size such as 4KiB"))?;
    let bytes = number.checked_mul(factor);
    bytes
        .filter(|bytes| *bytes <= crate::backend::BODY_MAX)
        .ok_or_else(|| format!("`{text}` is more than 1 TiB"))
}

/// How a quantity is spread over requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Spread {
    /// Always the same.
    Fixed(f64),
    /// Exponentially, with this mean.
    Exponential(f64),
    /// Lognormally: the median, and the deviation of the logarithm.
    LogNormal(f64, f64),
    /// The first, or in so large a share of cases the second.
    Bimodal(f64, f64, f64),
}

impl Spread {
    pub(crate) const ZERO: Self = Self::Fixed(0.0);

    /// Of durations, in seconds: `5ms`, `fixed:5ms`, `exp:5ms`, `lognormal:5ms,0.5` or `bimodal:1ms,50ms,5%`.
    pub(crate) fn of_durations(text: &str) -> Result<Self, String> {
        Self::parse(text, |text| duration(text).map(|time| time.as_secs_f64()))
    }

    /// Of sizes, in bytes: the same with sizes such as `4KiB`.
    pub(crate) fn of_sizes(text: &str) -> Result<Self, String> {
        Self::parse(text, |text| size(text).map(|bytes| bytes as f64))
    }

    fn parse(text: &str, unit: impl Fn(&str) -> Result<f64, String>) -> Result<Self, String> {
        let Some((kind, values)) = text.split_once(':') else {
            return unit(text).map(Self::Fixed);
        };
        let values: Vec<&str> = values.split(',').collect();
        match (kind.trim(), values.as_slice()) {
            ("fixed", [value]) => unit(value).map(Self::Fixed),
            ("exp", [mean]) => unit(mean).map(Self::Exponential),
            ("lognormal", [median, sigma]) => {
                let sigma = sigma.trim().parse::<f64>().ok();
                let sigma = sigma.filter(|sigma| (0.0..=SIGMA_MAX).contains(sigma));
                let sigma = sigma.ok_or_else(|| {
                    format!("the deviation of a lognormal lies between 0 and {SIGMA_MAX}")
                })?;
                Ok(Self::LogNormal(unit(median)?, sigma))
            }
            ("bimodal", [one, other, often]) => {
                Ok(Self::Bimodal(unit(one)?, unit(other)?, share(often)?))
            }
            ("fixed" | "exp" | "lognormal" | "bimodal", _) => Err(format!(
                "`{kind}` has other values: fixed:V, exp:MEAN, lognormal:MEDIAN,SIGMA, bimodal:V,W,SHARE%"
            )),
            _ => Err(format!(
                "`{kind}` is no distribution: fixed, exp, lognormal, bimodal"
            )),
        }
    }

    /// One of them.
    pub(crate) fn draw(&self, chance: &mut Chance) -> f64 {
        match *self {
            Self::Fixed(value) => value,
            Self::Exponential(mean) => mean * chance.exponential(),
            Self::LogNormal(median, sigma) => median * (sigma * chance.normal()).exp(),
            Self::Bimodal(one, other, often) => match chance.strikes(often) {
                true => other,
                false => one,
            },
        }
    }

    /// One of them, where they are durations.
    pub(crate) fn draw_duration(&self, chance: &mut Chance) -> Duration {
        Duration::from_secs_f64(self.draw(chance).min(DURATION_MAX.as_secs_f64()))
    }

    /// Whether it is nothing, always.
    pub(crate) fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl fmt::Display for Spread {
    /// In seconds or bytes, whichever they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(value) => write!(f, "fixed:{value}"),
            Self::Exponential(mean) => write!(f, "exp:{mean}"),
            Self::LogNormal(median, sigma) => write!(f, "lognormal:{median},{sigma}"),
            Self::Bimodal(one, other, often) => {
                write!(f, "bimodal:{one},{other},{}%", often * 100.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units() {
        assert_eq!(duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(share("0.1%"), Ok(0.001));
        assert_eq!((size("13"), size("4KiB")), (Ok(13), Ok(4096)));
        for bad in ["", "5", "x", "8days"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["0.1", "101%", "-1%", "%", "nan%"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        for bad in ["", "4k", "-1", "2048GiB", "99999999999999999999"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn spreads_are_read_and_refused() {
        let of = Spread::of_durations;
        assert_eq!(of("5ms"), Ok(Spread::Fixed(0.005)));
        assert_eq!(of("fixed:5ms"), Ok(Spread::Fixed(0.005)));
        assert_eq!(of("exp:5ms"), Ok(Spread::Exponential(0.005)));
        assert_eq!(of("lognormal:5ms,0.5"), Ok(Spread::LogNormal(0.005, 0.5)));
        assert_eq!(
            of("bimodal:1ms,50ms,5%"),
            Ok(Spread::Bimodal(0.001, 0.05, 0.05))
        );
        assert_eq!(
            Spread::of_sizes("exp:4KiB"),
            Ok(Spread::Exponential(4096.0))
        );
        for bad in [
            "normal:5ms",
            "exp",
            "exp:",
            "exp:5ms,1",
            "lognormal:5ms",
            "lognormal:5ms,9",
            "bimodal:1ms,2ms,5",
        ] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_drawn_has_the_mean_that_was_asked_for() {
        let mean = |spread: Spread| {
            let mut chance = Chance::new(3);
            let sum: f64 = (0..100_000).map(|_| spread.draw(&mut chance)).sum();
            sum / 100_000.0
        };
        let near = |value: f64, expected: f64| {
            assert!((value / expected - 1.0).abs() < 0.03, "{value}");
        };
        near(mean(Spread::Fixed(2.0)), 2.0);
        near(mean(Spread::Exponential(2.0)), 2.0);
        near(mean(Spread::LogNormal(2.0, 0.5)), 2.0 * (0.125_f64).exp());
        near(mean(Spread::Bimodal(1.0, 50.0, 0.1)), 5.9);
    }
}
