//! What is shown of a load that runs: one line, or a few on a terminal.
//!
//! Owns the words, and what the last second was like. Never: writes, or reads a clock.

use std::collections::VecDeque;
use std::fmt::Write;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure;
use crate::packed::Packed;
use crate::report::{grouped, percent};
use crate::series::{Counters, PoolState};

/// What percentiles and the hit rate are taken over.
const SECOND: Duration = Duration::from_secs(1);
/// Rates that are kept for the little curve.
const RATES_MAX: usize = 40;
/// Columns of the bar that tells how far it is.
const BAR: usize = 30;
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What came in since the view was drawn last.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ok: u64,
    pub(super) failed: u64,
    pub(super) latencies: Vec<Packed>,
    pub(super) pool: Option<PoolState>,
    pub(super) counters: Counters,
}

/// A load as it stands.
#[derive(Debug)]
pub(super) struct View {
    label: String,
    total: Duration,
    elapsed: Duration,
    /// Requests per second, of the last draws; the newest last.
    rates: VecDeque<f64>,
    failed: u64,
    pool: Option<PoolState>,
    filling: Second,
    /// The last second that is over.
    last: Option<Second>,
}

/// What a second saw.
#[derive(Debug)]
struct Second {
    from: Duration,
    latency: Histogram<u64>,
    counters: Counters,
}

impl Second {
    fn from(from: Duration) -> Self {
        Self {
            from,
            latency: measure::latencies(),
            counters: Counters::default(),
        }
    }
}

impl View {
    /// Of the phase `label`, expected to last `total`.
    pub(super) fn of(label: &str, total: Duration) -> Self {
        Self {
            label: label.to_owned(),
            total,
            elapsed: Duration::ZERO,
            rates: VecDeque::new(),
            failed: 0,
            pool: None,
            filling: Second::from(Duration::ZERO),
            last: None,
        }
    }

    /// It is `elapsed` now.
    pub(super) fn add(&mut self, elapsed: Duration, news: News) {
        let since = (elapsed.saturating_sub(self.elapsed))
            .as_secs_f64()
            .max(1e-6);
        self.elapsed = elapsed;
        if self.rates.len() == RATES_MAX {
            self.rates.pop_front();
        }
        self.rates.push_back(news.ok as f64 / since);
        self.failed += news.failed;
        self.pool = news.pool.or(self.pool);
        self.filling.counters = self.filling.counters.plus(news.counters);
        for latencies in &news.latencies {
            latencies.add_to(&mut self.filling.latency);
        }
        if elapsed.saturating_sub(self.filling.from) >= SECOND {
            let over = std::mem::replace(&mut self.filling, Second::from(elapsed));
            self.last = Some(over);
        }
    }

    /// The last second that has anything to tell, or this one.
    fn second(&self) -> &Second {
        self.last.as_ref().unwrap_or(&self.filling)
    }

    fn rate(&self) -> String {
        grouped(self.rates.back().copied().unwrap_or(0.0).round() as u64)
    }

    fn time(&self) -> String {
        let (elapsed, total) = (self.elapsed.as_secs_f64(), self.total.as_secs_f64());
        format!("{elapsed:.1} s of {total:.1} s")
    }

    /// Percentiles with their names; empty without a request.
    fn percentiles(&self, wanted: &[(&str, f64)]) -> String {
        let latency = &self.second().latency;
        if latency.is_empty() {
            return String::new();
        }
        let at = |(name, quantile): &(&str, f64)| {
            let value = latency.value_at_quantile(*quantile);
            format!("{name} {}", time(value))
        };
        wanted.iter().map(at).collect::<Vec<_>>().join("  ")
    }

    fn hit_rate(&self) -> Option<String> {
        let Counters { hits, misses, .. } = self.second().counters;
        let share = hits as f64 / (hits + misses) as f64;
        (hits + misses > 0).then(|| percent(share))
    }

    /// All of it in one line.
    pub(super) fn line(&self) -> String {
        let mut line = format!(
            "{}  {}  {} requests/s",
            self.label,
            self.time(),
            self.rate()
        );
        let percentiles = self.percentiles(&[("p50", 0.5), ("p99", 0.99)]);
        if !percentiles.is_empty() {
            let _ = write!(line, "  {percentiles}");
        }
        if let Some(pool) = self.pool {
            let _ = write!(line, "  leased {} of {}", pool.leased, pool.connections);
            line.push_str(&unseen(pool));
        }
        if let Some(hit_rate) = self.hit_rate() {
            let _ = write!(line, "  hits {hit_rate}");
        }
        if self.failed > 0 {
            let _ = write!(line, "  {} failed", grouped(self.failed));
        }
        line
    }

    /// All of it as lines for a terminal; `colour` allows its attributes.
    pub(super) fn lines(&self, colour: bool) -> Vec<String> {
        let paint = |code: &str, text: &str| match colour {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let done = (self.elapsed.as_secs_f64() / self.total.as_secs_f64().max(1e-6)).min(1.0);
        let done = (done * BAR as f64).round() as usize;
        let bar = "━".repeat(done) + &"╌".repeat(BAR - done);
        let percentiles =
            self.percentiles(&[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)]);
        let pool = self.pool.map_or_else(String::new, |pool| {
            let hits = self
                .hit_rate()
                .map_or(String::new(), |rate| format!("   hits {rate}"));
            format!(
                "{} leased, {} idle, {} dialing, {} waiting{hits}{}",
                pool.leased,
                pool.idle,
                pool.dialing,
                pool.waiters,
                unseen(pool)
            )
        });
        let or_none = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        let errors = grouped(self.failed);
        let errors = if self.failed > 0 {
            paint("31", &errors)
        } else {
            errors
        };
        vec![
            format!(
                "{}  {}  {}",
                paint("1", &self.label),
                self.time(),
                paint("36", &bar)
            ),
            format!(
                "  requests/s  {:>11}  {}",
                self.rate(),
                paint("36", &self.curve())
            ),
            format!("  latency     {}", or_none(percentiles)),
            format!("  pool        {}", or_none(pool)),
            format!("  failed      {errors}"),
        ]
    }

    /// The rates as a little curve.
    fn curve(&self) -> String {
        let most = self.rates.iter().copied().fold(0.0, f64::max);
        let step = |rate: &f64| {
            let part = if most > 0.0 { rate / most } else { 0.0 };
            STEPS[((part * 7.0).round() as usize).min(7)]
        };
        self.rates.iter().map(step).collect()
    }
}

fn time(nanoseconds: u64) -> String {
    let us = nanoseconds as f64 / 1e3;
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.1} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// Shards of which these figures are not what they are now.
fn unseen(pool: PoolState) -> String {
    match pool.unseen() {
        0 => String::new(),
        some => format!("  ({some} shards unseen)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn news(ok: u64, failed: u64, latency: u64) -> News {
        let mut histogram = measure::latencies();
        histogram.record_n(latency, ok).unwrap();
        News {
            ok,
            failed,
            latencies: vec![Packed::of(&histogram)],
            pool: Some(PoolState {
                idle: 61,
                leased: 3,
                waiters: 2,
                connections: 64,
                ..PoolState::default()
            }),
            counters: Counters {
                hits: ok - 1,
                misses: 1,
                ..Counters::default()
            },
        }
    }

    #[test]
    fn the_line_tells_all_that_is_known() {
        let mut view = View::of("TLS, reuse", ms(3500));
        view.add(
            ms(1240),
            News {
                ok: 122_469,
                ..News::default()
            },
        );
        assert_eq!(view.line(), "TLS, reuse  1.2 s of 3.5 s  98,765 requests/s");
        view.add(ms(2240), news(20_000, 1200, 250_000));
        assert_eq!(
            view.line(),
            "TLS, reuse  2.2 s of 3.5 s  20,000 requests/s  p50 250 µs  p99 250 µs  leased 3 of 64  hits 99.99 %  1,200 failed"
        );
    }

    #[test]
    fn percentiles_are_the_last_seconds() {
        let mut view = View::of("run", ms(10_000));
        view.add(ms(500), news(100, 0, 1_000_000));
        assert!(
            view.line().contains("p50 1.0 ms"),
            "this second, while there is no other"
        );
        view.add(ms(1000), news(100, 0, 1_000_000));
        view.add(ms(1500), news(100, 0, 9_000_000));
        assert!(view.line().contains("p99 1.0 ms"), "{}", view.line());
        view.add(ms(2000), news(100, 0, 9_000_000));
        assert!(view.line().contains("p99 9.0 ms"), "{}", view.line());
    }

    #[test]
    fn a_terminal_has_as_many_lines_always_and_colour_changes_no_text() {
        let mut view = View::of("run", ms(1000));
        let empty = view.lines(false);
        view.add(ms(1500), news(1000, 5, 1000));
        let (plain, mut coloured) = (view.lines(false), view.lines(true).join("\n"));
        assert_eq!(empty.len(), plain.len());
        assert!(
            plain.iter().all(|line| line.chars().count() < 80),
            "{plain:#?}"
        );
        assert!(
            plain[3].contains("3 leased, 61 idle, 0 dialing, 2 waiting"),
            "{plain:#?}"
        );
        for code in ["\x1b[0m", "\x1b[1m", "\x1b[36m", "\x1b[31m"] {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(coloured, plain.join("\n"));
    }
}
