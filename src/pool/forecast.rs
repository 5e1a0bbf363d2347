//! How many connections the next moment is likely to need.
//!
//! Owns: how many checkouts arrive in a second, as two moving averages of a running total.
//! Never: dials, knows a connection, or takes part in a checkout: the total is counted anyway, and is read
//! ten times a second while there is something to follow.
//!
//! Arrivals λ that hold a connection for h each keep λh of them in use on average (Little, 1961). If they
//! come at random the number in use is spread about that as √(λh); `forecast_margin` says how many times
//! that is provided for.
//!
//! One average is fast, so that a step is followed within half a second; the other is slow, so that
//! a gap of a second closes nothing. The greater counts. The fast one sees few arrivals and so is taken
//! for one standard deviation less than it says: one call after a silence is not a flood.

use std::time::Duration;

use crate::config::WarmConfig;
use crate::time::Time;

/// The least time between two looks at the total. Shorter ones would cost wake-ups and count noise.
const WINDOW: Duration = Duration::from_millis(100);

/// The fast average's time constant: 96 % of a step is seen after half a second.
const FAST: f64 = 0.15;

/// The slow average's, in seconds too: half of a rate is forgotten in 3.5 s.
const SLOW: f64 = 5.0;

/// Fewer arrivals a second than this are none. A single one is forgotten after 7 s, 1000 a second
/// after 50 s.
const QUIET: f64 = 0.05;

/// Follows the rate of arrivals. A new one sleeps until [`woken`](Forecast::woken); a pool without a forecast never
/// wakes it, and one whose forecast is turned off begins with a new one.
#[derive(Debug, Default)]
pub(super) struct Forecast {
    /// Since when, and from which total on, arrivals have not been looked at; `None` while quiet.
    from: Option<(Time, u64)>,
    /// Arrivals in a second.
    fast: f64,
    slow: f64,
}

impl Forecast {
    /// How many connections to have, used or not; 0 if there is no forecast, or nothing is known yet.
    pub(super) fn wanted(&self, hold: Option<Duration>, config: &WarmConfig) -> u32 {
        if config.forecast_max == 0 {
            return 0; // Asked at every release: no arithmetic for what is switched off.
        }
        let Some(hold) = hold else { return 0 };
        let mean = self.rate() * hold.as_secs_f64();
        let enough = (mean + config.forecast_margin * mean.sqrt()).ceil();
        // A conversion from a float saturates, and makes no number a zero.
        (enough as u32).min(config.forecast_max)
    }

    /// When to [`observe`](Forecast::observe) again; `None` while all is quiet.
    pub(super) fn next(&self) -> Option<Time> {
        self.from.map(|(since, _)| since + WINDOW)
    }

    /// Looks at the running total of checkouts. To be called at every tick; too early does no harm.
    pub(super) fn observe(&mut self, now: Time, checkouts_total: u64) {
        let Some((since, seen)) = self.from else {
            return;
        };
        let passed = now.since(since);
        if passed < WINDOW {
            return;
        }
        let seconds = passed.as_secs_f64();
        let rate = checkouts_total.saturating_sub(seen) as f64 / seconds;
        self.fast = follow(self.fast, rate, seconds / FAST);
        self.slow = follow(self.slow, rate, seconds / SLOW);
        self.from = Some((now, checkouts_total));
        if rate == 0.0 && self.fast.max(self.slow) < QUIET {
            *self = Forecast::default();
        }
    }

    /// Somebody came, who is in the total already. Begins to observe, unless that is so.
    pub(super) fn woken(&mut self, now: Time, checkouts_total: u64) {
        if self.from.is_none() {
            self.from = Some((now, checkouts_total.saturating_sub(1)));
        }
    }

    /// Arrivals in a second that are to be expected.
    fn rate(&self) -> f64 {
        // An average with time constant τ looks at about 2τ; so many arrivals come at random with a
        // variance as large as their number.
        let chance = (self.fast / (2.0 * FAST)).sqrt();
        self.slow.max(self.fast - chance)
    }
}

/// An average that has moved towards a sample which lasted `constants` of its time constants.
fn follow(average: f64, sample: f64, constants: f64) -> f64 {
    average + (average - sample) * (-constants).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOLD: Option<Duration> = Some(Duration::from_millis(20));

    fn config(forecast_max: u32) -> WarmConfig {
        WarmConfig {
            forecast_max,
            ..WarmConfig::default()
        }
    }

    /// A forecast, and the pool's part: a clock and a total.
    #[derive(Default)]
    struct Rig {
        forecast: Forecast,
        now: Time,
        total: u64,
    }

    impl Rig {
        /// Arrivals at `rate` a second for `seconds`, looked at when the forecast asks for it.
        fn run(&mut self, rate: u64, seconds: f64) {
            let end = self.now + Duration::from_secs_f64(seconds);
            while self.now < end {
                if let Some(between) = 1_000_000_000u64.checked_div(rate) {
                    self.now = self.now + Duration::from_nanos(between);
                    self.total += 1;
                    self.forecast.woken(self.now, self.total);
                } else {
                    self.now = self.forecast.next().unwrap_or(end).max(self.now);
                }
                if self.forecast.next().is_some_and(|at| at <= self.now) {
                    self.forecast.observe(self.now, self.total);
                }
            }
        }

        fn wanted(&self) -> u32 {
            self.forecast.wanted(HOLD, &config(1000))
        }
    }

    #[test]
    fn a_step_is_followed_within_half_a_second() {
        let mut rig = Rig::default();
        rig.run(100, 20.0);
        // 2 + 2 × √2.
        assert_eq!(rig.wanted(), 5);
        rig.run(2000, 0.5);
        assert!(rig.wanted() >= 40, "{}", rig.wanted());
        rig.run(2000, 60.0);
        // 40 + 2 × √40.
        assert_eq!(rig.wanted(), 53);
    }

    #[test]
    fn what_was_needed_is_kept_through_a_gap_and_given_up_after_it() {
        let mut rig = Rig::default();
        rig.run(2000, 20.0);
        rig.run(0, 1.0);
        assert!(rig.wanted() >= 40, "{}", rig.wanted());
        rig.run(0, 20.0);
        assert!((1..6).contains(&rig.wanted()), "{}", rig.wanted());
    }

    #[test]
    fn silence_ends_it_and_one_arrival_begins_it_again() {
        let mut rig = Rig::default();
        assert_eq!(rig.forecast.next(), None);
        rig.run(1000, 5.0);
        rig.run(0, 60.0);
        assert_eq!((rig.wanted(), rig.forecast.next()), (0, None));
        // Others came meanwhile unseen: they say nothing about now.
        rig.total += 1_000_000;
        rig.forecast.woken(rig.now, rig.total);
        assert_eq!(rig.forecast.next(), Some(rig.now + WINDOW));
        rig.run(0, 0.2);
        assert_eq!(rig.wanted(), 1);
        rig.run(0, 8.0);
        assert_eq!((rig.wanted(), rig.forecast.next()), (0, None));
    }

    #[test]
    fn one_call_that_holds_long_is_no_flood() {
        let mut rig = Rig::default();
        rig.forecast.woken(rig.now, 1);
        rig.total = 1;
        rig.run(0, 0.1);
        let hold = Some(Duration::from_secs(1));
        assert!(rig.forecast.wanted(hold, &config(1000)) <= 3);
    }

    #[test]
    fn a_steady_trickle_keeps_it_awake() {
        let mut rig = Rig::default();
        for _ in 0..100 {
            rig.run(1, 1.0);
            assert!(rig.forecast.next().is_some());
        }
        assert_eq!(rig.wanted(), 1);
    }

    #[test]
    fn nothing_is_wanted_without_a_forecast_or_a_hold_time() {
        let mut rig = Rig::default();
        rig.run(1000, 5.0);
        assert_eq!(rig.forecast.wanted(HOLD, &config(0)), 0);
        assert_eq!(rig.forecast.wanted(None, &config(9)), 0);
        assert_eq!(rig.forecast.wanted(HOLD, &config(9)), 9);
    }

    #[test]
    fn a_look_too_early_changes_nothing_and_one_too_late_is_weighed_by_its_length() {
        let mut rig = Rig::default();
        rig.forecast.woken(rig.now, 1);
        rig.forecast.observe(rig.now + WINDOW / 2, 1_000_000);
        assert_eq!(rig.wanted(), 0);
        rig.forecast.observe(rig.now + WINDOW * 600, 6000);
        assert!((99.0..101.0).contains(&rig.forecast.slow));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_the_ceiling_holds_and_silence_ends_it(
            looks in prop::collection::vec((0u64..5_000_000_000, 0u64..1_000_000), 1..100),
            hold in 0u64..100_000_000_000,
            forecast_max in 0u32..500,
            margin in 0.0f64..100.0,
        ) {
            let config = WarmConfig { forecast_margin: margin, ..config(forecast_max) };
            let hold = Some(Duration::from_nanos(hold));
            let mut rig = Rig::default();
            for (pause, came) in looks {
                rig.now = rig.now + Duration::from_nanos(pause);
                rig.total += came;
                rig.forecast.woken(rig.now, rig.total);
                rig.forecast.observe(rig.now, rig.total);
                prop_assert!(rig.forecast.wanted(hold, &config) <= forecast_max);
                prop_assert!(rig.forecast.next().is_some());
            }
            rig.run(0, 120.0);
            prop_assert_eq!(rig.forecast.wanted(hold, &config), 0);
            prop_assert_eq!(rig.forecast.next(), None);
        }
    }
}
