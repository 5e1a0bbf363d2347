//! What a stage saw of a run: every call, and the engine's counts as they grew.
//!
//! Owns: plain facts. Never: an opinion. All times count from the beginning of the run.

use ringpool::config::Class;
use std::time::Duration;

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shot {
    /// How much it mattered.
    pub class: Class,
    /// When it was meant to begin: what its latency counts from.
    pub intended: Duration,
    /// When it did. The difference is the stage's own lag.
    pub sent: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How.
    pub outcome: Outcome,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a response, after so long a wait for a connection.
    Answered(Duration),
    /// With an error of this kind.
    Failed(&'static str),
}

/// The engine's counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// Dials begun until then.
    pub dials: u64,
    /// Dials in flight.
    pub flying: u64,
    /// Connections open, idle or leased.
    pub open: u64,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Every call, in the order of their beginning.
    pub shots: Vec<Shot>,
    /// The counts, in the order of time.
    pub samples: Vec<Sample>,
    /// Connections that were made in the whole run.
    pub opened: u64,
}

impl Shot {
    /// From when it was meant to begin to its end.
    pub fn latency(&self) -> Duration {
        self.ended.saturating_sub(self.intended)
    }

    /// How late it began.
    pub fn lag(&self) -> Duration {
        self.sent.saturating_sub(self.intended)
    }

    /// Whether there was a response.
    pub fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(_))
    }

    /// Whether it failed in this way.
    pub fn failed_by(&self, kind: &str) -> bool {
        matches!(self.outcome, Outcome::Failed(failed) if failed == kind)
    }

    /// How long it stood in the queue: until it was granted a connection, or sent away.
    pub fn sojourn(&self) -> Duration {
        match self.outcome {
            Outcome::Answered(wait) => wait,
            Outcome::Failed(_) => self.ended.saturating_sub(self.sent),
        }
    }
}

impl Evidence {
    /// The calls that were meant to begin from `from` on and before `to`.
    pub fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Shot> + Clone {
        let within = move |shot: &&Shot| shot.intended >= from && shot.intended < to;
        self.shots.iter().filter(within)
    }

    /// The last counts by `at`.
    pub fn sample(&self, at: Duration) -> Sample {
        let after = self.samples.partition_point(|sample| sample.at <= at);
        let last = after.checked_sub(1).map(|index| self.samples[index]);
        last.unwrap_or_default()
    }

    /// Dials begun after `from` and by `to`.
    pub fn dials(&self, from: Duration, to: Duration) -> u64 {
        self.sample(to).dials - self.sample(from).dials
    }

    /// Dials begun in each of `count` steps from `from` on.
    pub fn dials_by_step(&self, from: Duration, step: Duration, count: u32) -> Vec<f64> {
        let begin = |index: u32| from + step * index;
        let steps = (0..count).map(|index| self.dials(begin(index), begin(index + 1)) as f64);
        steps.collect()
    }

    /// The most dials that were in flight from `from` on and by `to`.
    pub fn flying_max(&self, from: Duration, to: Duration) -> u64 {
        let within = |sample: &&Sample| sample.at >= from && sample.at <= to;
        let flying = self.samples.iter().filter(within);
        flying.map(|sample| sample.flying).max().unwrap_or(0)
    }
}

/// The value below which this share of them lies, 1 being the largest; zero if there are none.
pub fn quantile(values: impl Iterator<Item = Duration>, share: f64) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil() as usize;
    let index = rank.saturating_sub(1).min(values.len().saturating_sub(1));
    values.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values = || (1..=100).map(|n| n * MS);
        assert_eq!(quantile(values(), 0.5), 50 * MS);
        assert_eq!(quantile(values(), 0.99), 99 * MS);
        assert_eq!(quantile(values(), 1.0), 100 * MS);
        assert_eq!(quantile([3 * MS].into_iter(), 0.01), 3 * MS);
        assert_eq!(quantile(std::iter::empty(), 0.99), Duration::ZERO);
    }

    #[test]
    fn dials_are_told_apart_by_when_they_began() {
        let sample = |at, dials, flying| Sample {
            at: at * MS,
            dials,
            flying,
            open: 0,
        };
        let evidence = Evidence {
            samples: vec![sample(10, 1, 1), sample(20, 4, 3), sample(40, 5, 1)],
            ..Evidence::default()
        };
        assert_eq!(evidence.dials(Duration::ZERO, 100 * MS), 5);
        assert_eq!(evidence.dials(10 * MS, 20 * MS), 3);
        let steps = evidence.dials_by_step(Duration::ZERO, 20 * MS, 3);
        assert_eq!(steps, [4.0, 1.0, 0.0]);
        assert_eq!(evidence.flying_max(20 * MS, 50 * MS), 3);
    }

    #[test]
    fn a_wait_ends_with_a_connection_or_with_being_sent_away() {
        let shot = |outcome| Shot {
            class: Class::Sheddable,
            intended: MS,
            sent: 2 * MS,
            ended: 30 * MS,
            outcome,
        };
        let (served, shed) = (
            shot(Outcome::Answered(5 * MS)),
            shot(Outcome::Failed("shed")),
        );
        assert_eq!((served.sojourn(), shed.sojourn()), (5 * MS, 28 * MS));
        assert_eq!((served.latency(), served.lag()), (29 * MS, MS));
        assert!(shed.failed_by("shed") && !shed.failed_by("closed") && !served.failed_by("shed"));
    }
}
