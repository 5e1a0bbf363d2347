//! The search for the highest rate, without the loads.
//!
//! Owns which rate comes next. It doubles until a rate is broken and bisects, all by short loads; then the highest that was kept is to
//! be confirmed by a long one. What is not confirmed counts as broken: the search goes down from there in steps that double, and
//! bisects back up to the lowest that is broken, by long loads. It ends without a rate only if the lowest of all is broken. Never: loads.

/// No rate above this is tried.
pub(super) const RATE_MAX: f64 = 1e7;
/// And none below this.
pub(super) const RATE_MIN: f64 = 1.0;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// Try this rate.
    Try(f64),
    /// Confirm this one.
    Confirm(f64),
    /// It is over: the highest that was confirmed; `None` if even the lowest was broken.
    Found(Option<f64>),
}

/// Where the search is.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// The highest that was kept to by a short load, and the lowest that was broken by any.
    kept: Option<f64>,
    broken: Option<f64>,
    /// The highest that was kept to by a long load.
    confirmed: Option<f64>,
    /// How close the outcome is, as a fraction of 1.
    precision: f64,
    /// The exponent of the next step down from what was not confirmed.
    step: i32,
    next: Next,
}

impl Search {
    pub(super) fn new(from: f64, precision: f64) -> Self {
        Self {
            kept: None,
            broken: None,
            confirmed: None,
            precision,
            step: 1,
            next: Next::Try(from.clamp(RATE_MIN, RATE_MAX)),
        }
    }

    pub(super) fn next(&self) -> Next {
        self.next
    }

    /// The best that is known so far, and whether it was confirmed.
    pub(super) fn best(&self) -> Option<(f64, bool)> {
        let confirmed = self.confirmed.map(|rate| (rate, true));
        confirmed.or(self.kept.map(|rate| (rate, false)))
    }

    /// Whether any rate was broken; else the ceiling ended the search.
    pub(super) fn has_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// What came of the rate that was to be tried or confirmed.
    pub(super) fn learn(&mut self, kept: bool) {
        self.next = match self.next {
            Next::Found(_) => return,
            Next::Try(rate) => {
                if kept {
                    self.kept = Some(rate);
                } else {
                    self.broken = Some(rate);
                }
                self.after_short(rate)
            }
            Next::Confirm(rate) => {
                if kept {
                    self.confirmed = Some(rate);
                } else {
                    self.broken = Some(rate);
                }
                self.after_long(rate)
            }
        };
    }

    fn after_short(&self, rate: f64) -> Next {
        match (self.kept, self.broken) {
            (Some(kept), Some(broken)) if self.are_close(kept, broken) => Next::Confirm(kept),
            (Some(kept), Some(broken)) => Next::Try((kept * broken).sqrt()),
            (Some(kept), None) if kept >= RATE_MAX => Next::Confirm(kept),
            (Some(_), None) => Next::Try((rate * 2.0).min(RATE_MAX)),
            (None, _) if rate <= RATE_MIN => Next::Found(None),
            (None, _) => Next::Try((rate / 2.0).max(RATE_MIN)),
        }
    }

    fn after_long(&mut self, rate: f64) -> Next {
        match (self.confirmed, self.broken) {
            (Some(confirmed), Some(broken)) if self.are_close(confirmed, broken) => {
                Next::Found(Some(confirmed))
            }
            (Some(confirmed), Some(broken)) => Next::Confirm((confirmed * broken).sqrt()),
            (Some(confirmed), None) => Next::Found(Some(confirmed)),
            (None, _) if rate <= RATE_MIN => Next::Found(None),
            (None, _) => {
                let lower = rate / (1.0 + self.precision).powi(self.step);
                self.step = self.step.saturating_mul(2);
                Next::Confirm(lower.max(RATE_MIN))
            }
        }
    }

    fn are_close(&self, kept: f64, broken: f64) -> bool {
        broken <= kept * (1.0 + self.precision) * (1.0 + 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where everything up to `most` is kept to, and what is confirmed up to `confirmed`. The outcome, and the loads.
    fn search(from: f64, most: f64, confirmed: f64) -> (Option<f64>, usize) {
        let mut search = Search::new(from, 0.04);
        for loads in 0..1000 {
            match search.next() {
                Next::Try(rate) => search.learn(rate <= most),
                Next::Confirm(rate) => search.learn(rate <= confirmed),
                Next::Found(rate) => return (rate, loads),
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn it_ends_close_below_the_limit_wherever_it_begins() {
        for from in [1.0, 100.0, 3_000.0, 80_000.0] {
            for most in [2.0, 777.0, 3_333.0, 50_000.0] {
                let (found, loads) = search(from, most, most);
                let found = found.expect("there is one");
                assert!(
                    (most / 1.05..=most).contains(&found),
                    "{from} {most} {found}"
                );
                assert!(loads < 40, "{loads}");
            }
        }
    }

    #[test]
    fn what_is_not_confirmed_is_searched_below_down_to_the_lowest() {
        for confirmed in [960.0, 900.0, 700.0, 300.0, 40.0, 1.5] {
            let (found, loads) = search(100.0, 1000.0, confirmed);
            let found = found.expect("there is one, however far below");
            let close = confirmed / 1.05..=confirmed;
            assert!(close.contains(&found), "{confirmed}: {found}");
            assert!(loads < 40, "{loads}");
        }
    }

    #[test]
    fn nothing_is_found_only_where_the_lowest_is_broken() {
        assert_eq!(search(100.0, 0.0, 0.0).0, None);
        assert_eq!(search(100.0, 1000.0, 0.0).0, None);
        assert!(search(100.0, 1.0, 1.0).0.is_some());
    }

    #[test]
    fn without_a_limit_it_ends_at_the_ceiling() {
        let (found, loads) = search(100.0, 1e12, 1e12);
        assert_eq!((found, loads < 30), (Some(RATE_MAX), true));
        // What is known before it is over.
        let mut search = Search::new(100.0, 0.04);
        assert_eq!(search.best(), None);
        search.learn(true);
        assert_eq!(search.best(), Some((100.0, false)));
        assert!(!search.has_broken());
    }
}
