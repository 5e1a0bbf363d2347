//! Which of two endpoints gets the next call.
//!
//! Owns: an endpoint's latency and its slow start, and the comparison of two.
//! Never: knows whether an endpoint may be used, or picks the two.
//!
//! The score is latency × (1 + outstanding work ÷ share), and the lower one wins; `share` is 1 but for an
//! endpoint that starts slowly. An endpoint wins often because it is idle, and a starting one would
//! do so most of all; so a starting winner is refused at random as well, in proportion to its share.

use std::time::Duration;

use crate::config::BalanceConfig;
use crate::random::Random;
use crate::time::Time;

/// What a slow start begins with. Not zero: without calls nothing warms up.
const SHARE_MIN: f64 = 0.1;

#[derive(Debug, Default)]
pub(super) struct Load {
    latency: Option<Latency>,
    start: Option<Start>,
}

/// A moving average that jumps up at once and comes down slowly.
#[derive(Clone, Copy, Debug)]
struct Latency {
    seconds: f64,
    at: Time,
}

#[derive(Debug)]
struct Start {
    since: Time,
    lasts: Duration,
}

impl Load {
    /// From now on it gets less than its share, rising steadily.
    pub(super) fn start_slowly(&mut self, now: Time, config: &BalanceConfig) {
        self.start = config.slow_start.map(|lasts| Start { since: now, lasts });
    }

    /// A call was answered after `latency`. Failures are not observed: a quick one is no merit.
    #[inline]
    pub(super) fn observe(&mut self, now: Time, latency: Duration, config: &BalanceConfig) {
        let sample = latency.as_secs_f64().max(1e-9);
        let seconds = match self.latency {
            Some(past) if sample < past.seconds => {
                sample + (past.seconds - sample) * past.remembered(now, config)
            }
            Some(_) | None => sample,
        };
        self.latency = Some(Latency { seconds, at: now });
    }

    /// The part of an equal share that it is to get, up to 1.
    fn share(&self, now: Time) -> f64 {
        match &self.start {
            Some(start) if now < start.since + start.lasts => {
                let past = now.since(start.since).as_secs_f64() / start.lasts.as_secs_f64();
                past.max(SHARE_MIN)
            }
            Some(_) | None => 1.0,
        }
    }
}

impl Latency {
    /// How much of it is not forgotten yet, 0 to 1.
    #[inline]
    fn remembered(self, now: Time, config: &BalanceConfig) -> f64 {
        let age = now.since(self.at).as_secs_f64();
        let decays = age / config.latency_decay.as_secs_f64().max(1e-9);
        if decays < 1.0 / 64.0 {
            // Two terms of the series: right to one in a million, and much cheaper.
            1.0 - decays + decays * decays / 2.0
        } else {
            (-decays).exp()
        }
    }
}

/// Whether the first of two endpoints, each with its outstanding work, is to be taken.
pub(super) fn prefers_first(
    now: Time,
    first: (&Load, u32),
    second: (&Load, u32),
    config: &BalanceConfig,
    random: &mut Random,
) -> bool {
    let (latency_first, latency_second) = latencies(now, first.0, second.0, config);
    let (share_first, share_second) = (first.0.share(now), second.0.share(now));
    let score_first = latency_first * (1.0 + f64::from(first.1) / share_first);
    let score_second = latency_second * (1.0 + f64::from(second.1) / share_second);
    let first_wins = score_first <= score_second;
    let (winner, loser) = if first_wins {
        (share_first, share_second)
    } else {
        (share_second, share_first)
    };
    if winner < loser && unit(random) >= winner / loser {
        return !first_wins;
    }
    first_wins
}

/// The latencies of two, as far as they matter. What is unknown or forgotten of one is taken to be
/// like the better of the two: never less, or whoever was forgotten would get everything until it answers.
fn latencies(now: Time, first: &Load, second: &Load, config: &BalanceConfig) -> (f64, f64) {
    let (Some(first), Some(second)) = (first.latency, second.latency) else {
        return (1.0, 1.0);
    };
    let better = first.seconds.min(second.seconds);
    let seen = |latency: Latency| {
        if latency.seconds == better {
            return better;
        }
        better + (latency.seconds - better) * latency.remembered(now, config)
    };
    (seen(first), seen(second))
}

/// A number from 0 up to 1, without it.
fn unit(random: &mut Random) -> f64 {
    random.below(1 << 32) as f64 / (1u64 << 32) as f64
}
