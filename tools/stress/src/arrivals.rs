//! When calls are meant to begin: at even distances, at random, in bursts; at rates that may rise and fall.
//!
//! Owns: the instants, counted from the beginning of the load. Never: a clock. They depend on the seed alone, so that a run can be
//! repeated start by start.

use std::time::Duration;

use crate::chance::Chance;

/// The largest burst.
const BURST_MAX: u64 = 1_000_000;

/// How starts lie within a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Each as long after the one before.
    #[default]
    Uniform,
    /// Independent of each other: a Poisson process.
    Poisson,
    /// So many at once, as often as the rate says on average.
    Burst(u64),
}

impl Arrivals {
    /// `uniform`, `poisson` or `burst:N`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "uniform" => Ok(Self::Uniform),
            None if text == "poisson" => Ok(Self::Poisson),
            Some(("burst", size)) => {
                let size = size.trim().parse().ok();
                let size = size.filter(|size| (1..=BURST_MAX).contains(size));
                size.map(Self::Burst)
                    .ok_or_else(|| format!("a burst has 1 to {BURST_MAX} calls: burst:50"))
            }
            _ => Err(format!("`{text}` is none of uniform, poisson, burst:N")),
        }
    }

    /// As it is written.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Uniform => "uniform".to_owned(),
            Self::Poisson => "poisson".to_owned(),
            Self::Burst(size) => format!("burst:{size}"),
        }
    }
}

/// A stretch of time in which the rate stays, or goes evenly from one to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) lasts: Duration,
    /// Calls a second at its beginning, and at its end.
    pub(crate) rate: (f64, f64),
    pub(crate) arrivals: Arrivals,
}

/// All starts, one after the other. The last stretch goes on for ever, at the rate of its end.
#[derive(Clone, Debug)]
pub(crate) struct Timetable {
    stretches: Vec<Stretch>,
    chance: Chance,
    /// The part of a call, or of a burst, by which even starts are later than those of whoever shares the rate and comes first.
    offset: f64,
    /// Where the stretch that it has come to begins, and which that is.
    from: Duration,
    at: usize,
    /// How many calls of the stretch are past, by its rate alone; the next start's part of it is in there.
    spent: f64,
    /// How many of its starts have been told.
    told: u64,
}

impl Timetable {
    /// Of at least one stretch.
    pub(crate) fn new(stretches: Vec<Stretch>, seed: u64) -> Self {
        debug_assert!(!stretches.is_empty());
        let mut table = Self {
            stretches,
            chance: Chance::stream(seed, u64::MAX),
            offset: 0.0,
            from: Duration::ZERO,
            at: 0,
            spent: 0.0,
            told: 0,
        };
        table.begin_stretch();
        table
    }

    /// The same, later by a part of the distance between two starts, or two bursts: tables that share a rate fill each other's gaps.
    /// Random starts stay as they are.
    pub(crate) fn later_by(mut self, part: f64) -> Self {
        debug_assert!((0.0..1.0).contains(&part));
        self.offset = part;
        self.begin_stretch();
        self
    }

    /// `rate` calls a second, evenly, for ever.
    pub(crate) fn steady(rate: f64) -> Self {
        let stretch = Stretch {
            lasts: Duration::MAX,
            rate: (rate, rate),
            arrivals: Arrivals::Uniform,
        };
        Self::new(vec![stretch], 0)
    }

    /// The next start; the same until it has been passed. `None` if there is never one again.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        loop {
            let stretch = self.stretches[self.at];
            let last = self.at + 1 == self.stretches.len();
            let within = stretch.reached(self.spent, last);
            match within {
                Some(within) => return Some(self.from.saturating_add(within)),
                None if last => return None,
                None => {
                    self.from += stretch.lasts;
                    self.at += 1;
                    self.begin_stretch();
                }
            }
        }
    }

    /// That one has been dealt with.
    pub(crate) fn pass(&mut self) {
        self.told += 1;
        self.advance();
    }

    /// Passes all starts before `end`, and says about how many they were: exactly, but for random ones.
    pub(crate) fn skip(&mut self, end: Duration) -> u64 {
        let mut skipped = 0;
        while self.next().is_some_and(|next| next < end) {
            let last = self.at + 1 == self.stretches.len();
            let stretch = self.stretches[self.at];
            let until = end.saturating_sub(self.from);
            let until = if last {
                until
            } else {
                until.min(stretch.lasts)
            };
            let before = (stretch.calls(until) - self.spent).ceil().max(1.0) as u64;
            match stretch.arrivals {
                Arrivals::Uniform | Arrivals::Poisson => {
                    skipped += before;
                    self.told += before;
                    self.spent += before as f64;
                }
                Arrivals::Burst(size) => {
                    let left = size - self.told % size;
                    skipped += left;
                    self.told += left;
                    self.spent = self.told as f64 + self.offset * size as f64;
                }
            }
        }
        skipped
    }

    fn begin_stretch(&mut self) {
        self.told = 0;
        self.spent = match self.stretches[self.at].arrivals {
            Arrivals::Uniform => self.offset,
            Arrivals::Poisson => self.chance.exponential(),
            Arrivals::Burst(size) => self.offset * size as f64,
        };
    }

    fn advance(&mut self) {
        match self.stretches[self.at].arrivals {
            // Counted, not added up: no error of rounding grows.
            Arrivals::Uniform => self.spent = self.told as f64 + self.offset,
            Arrivals::Poisson => self.spent += self.chance.exponential(),
            Arrivals::Burst(size) => {
                self.spent = (self.told / size * size) as f64 + self.offset * size as f64;
            }
        }
    }
}

impl Stretch {
    /// How many calls it has had after `time`.
    fn calls(&self, time: Duration) -> f64 {
        let (first, last) = self.rate;
        if first == last {
            return first * time.as_secs_f64();
        }
        let whole = self.lasts.as_secs_f64();
        let within = time.as_secs_f64().min(whole);
        let beyond = time.as_secs_f64() - within;
        within * (first + (last - first) * within / whole / 2.0) + last * beyond
    }

    /// When it has had so many; `None` if that is not within it.
    fn reached(&self, calls: f64, goes_on: bool) -> Option<Duration> {
        let (first, last) = self.rate;
        let whole = self.lasts.as_secs_f64();
        let all = whole * (first + last) / 2.0;
        let seconds = if first == last {
            calls / first
        } else if calls < all {
            let growth = (last - first) / whole;
            // In this form nothing cancels out where the growth is small.
            2.0 * calls / (first + (first * first + 2.0 * growth * calls).max(0.0).sqrt())
        } else {
            whole + (calls - all) / last
        };
        // At a rate that only begins to grow the first call is at its beginning; at none there is no call: that is NaN.
        let seconds = if calls == 0.0 && first + last > 0.0 {
            0.0
        } else {
            seconds
        };
        let within = seconds.is_finite() && (goes_on || seconds < whole);
        within.then(|| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(seconds: u64, rate: (f64, f64), arrivals: Arrivals) -> Stretch {
        Stretch {
            lasts: Duration::from_secs(seconds),
            rate,
            arrivals,
        }
    }

    fn starts(table: &mut Timetable, end: f64) -> Vec<f64> {
        let mut starts = Vec::new();
        while let Some(next) = table.next().filter(|next| next.as_secs_f64() < end) {
            starts.push(next.as_secs_f64());
            table.pass();
        }
        starts
    }

    #[test]
    fn arrivals_are_read() {
        assert_eq!(Arrivals::parse("poisson"), Ok(Arrivals::Poisson));
        assert_eq!(Arrivals::parse("burst:50"), Ok(Arrivals::Burst(50)));
        for arrivals in [Arrivals::Uniform, Arrivals::Poisson, Arrivals::Burst(7)] {
            assert_eq!(Arrivals::parse(&arrivals.name()), Ok(arrivals));
        }
        for bad in ["", "burst", "burst:0", "burst:x", "poisson:1"] {
            assert!(Arrivals::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn even_starts_lie_on_a_grid() {
        let table = &mut Timetable::steady(1000.0);
        let starts = starts(table, 3600.0);
        assert_eq!(starts.len(), 3_600_000);
        assert!((starts[3_599_999] - 3599.999).abs() < 1e-6);
    }

    #[test]
    fn a_ramp_has_as_many_starts_as_its_mean_rate_and_goes_on_at_its_end() {
        for (first, last) in [(100.0, 300.0), (300.0, 100.0), (0.0, 400.0), (400.0, 0.0)] {
            let ramp = stretch(10, (first, last), Arrivals::Uniform);
            let after = stretch(1, (50.0, 50.0), Arrivals::Uniform);
            let all = starts(&mut Timetable::new(vec![ramp, after], 0), 11.0);
            assert!(all.is_sorted());
            assert_eq!(all.len(), 2050, "{first} to {last}");
            let half = all.iter().filter(|start| **start < 5.0).count() as f64;
            let expected = 5.0 * (0.75 * first + 0.25 * last);
            assert!((half - expected).abs() <= 1.0, "{half} {expected}");
            assert_eq!(
                starts(&mut Timetable::new(vec![ramp], 0), 12.0).len() as f64,
                2000.0 + 2.0 * last
            );
        }
    }

    #[test]
    fn random_starts_are_as_many_as_they_should_and_scatter_as_they_should() {
        let poisson = || Timetable::new(vec![stretch(1, (1000.0, 1000.0), Arrivals::Poisson)], 7);
        let all = starts(&mut poisson(), 100.0);
        assert_eq!(all, starts(&mut poisson(), 100.0), "the seed decides");
        assert!((all.len() as f64 - 1e5).abs() < 5.0 * 1e5_f64.sqrt());
        let gaps: Vec<f64> = all.windows(2).map(|two| two[1] - two[0]).collect();
        let longer = gaps.iter().filter(|gap| **gap > 0.001).count() as f64;
        let share = longer / gaps.len() as f64;
        assert!((share - (-1.0_f64).exp()).abs() < 0.01, "{share}");
    }

    #[test]
    fn bursts_come_at_once() {
        let burst = stretch(10, (100.0, 100.0), Arrivals::Burst(50));
        let all = starts(&mut Timetable::new(vec![burst], 0), 1.2);
        assert_eq!(all.len(), 150);
        assert_eq!((all[0], all[49], all[50], all[149]), (0.0, 0.0, 0.5, 1.0));
    }

    #[test]
    fn tables_that_share_a_rate_fill_each_others_gaps() {
        let together = |arrivals| {
            let tables = (0..3).map(|nth| {
                let table = Timetable::new(vec![stretch(10, (100.0, 100.0), arrivals)], 0);
                starts(&mut table.later_by(f64::from(nth) / 3.0), 2.0)
            });
            let mut all: Vec<f64> = tables.flatten().collect();
            all.sort_unstable_by(f64::total_cmp);
            all
        };
        let is_at = |start: &f64, expected: f64| (start - expected).abs() < 1e-6;
        let all = together(Arrivals::Uniform);
        assert_eq!(all.len(), 600);
        for (nth, start) in all.iter().enumerate() {
            assert!(is_at(start, nth as f64 / 300.0), "{nth}: {start}");
        }
        let all = together(Arrivals::Burst(50));
        assert_eq!(all.len(), 600);
        for (nth, start) in all.iter().enumerate() {
            assert!(is_at(start, (nth / 50) as f64 / 6.0), "{nth}: {start}");
        }
    }

    #[test]
    fn what_is_skipped_is_counted() {
        for arrivals in [Arrivals::Uniform, Arrivals::Burst(10)] {
            let stretches = vec![
                stretch(2, (100.0, 300.0), arrivals),
                stretch(1, (100.0, 100.0), arrivals),
            ];
            for later in [0.0, 0.4] {
                let new = || Timetable::new(stretches.clone(), 0).later_by(later);
                let table = &mut new();
                let before = starts(table, 1.0).len() as u64;
                let skipped = table.skip(Duration::from_millis(2500));
                let whole = starts(&mut new(), 2.5).len() as u64;
                assert_eq!(before + skipped, whole, "{arrivals:?}");
                assert!(table.next() >= Some(Duration::from_millis(2500)));
            }
        }
    }

    #[test]
    fn where_nothing_is_asked_for_the_next_stretch_is_waited_for() {
        let silence = stretch(5, (0.0, 0.0), Arrivals::Uniform);
        let after = stretch(5, (10.0, 10.0), Arrivals::Uniform);
        let mut table = Timetable::new(vec![silence, after], 0);
        assert_eq!(table.next(), Some(Duration::from_secs(5)));
        assert_eq!(Timetable::new(vec![silence], 0).next(), None);
    }
}
