//! Settings that are replaced in the course of a run.
//!
//! Owns: which, by what, and when. Never: touches dice that anything else is thrown from.

use super::{Knobs, UpstreamKnobs, Weather, settings};
use crate::dice::Dice;
use ringpool::Config;
use ringpool::config::UpstreamConfig;
use std::time::Duration;

/// One upstream's settings, replaced.
#[derive(Clone)]
pub struct Reload {
    /// Whose.
    pub upstream: usize,
    /// By these.
    pub settings: UpstreamConfig,
    /// After so many of 1024 parts of the time in which calls are begun.
    pub at: u64,
}

/// What `seed` replaces; nothing in every second one.
pub(super) fn all(
    seed: u64,
    upstreams: &[UpstreamKnobs],
    weather: &Weather,
    config: &Config,
) -> Vec<Reload> {
    let dice = &mut Dice::new(seed, "reloads");
    let sharing = &mut Dice::new(seed, "reloads of sharing");
    let count = if dice.one_in(2) { dice.within(1, 4) } else { 0 };
    let each = (0..count).map(|_| {
        let upstream = dice.below(upstreams.len() as u64) as usize;
        let knobs = &upstreams[upstream];
        let before = &config.upstreams[&knobs.name];
        let mut settings = settings(dice, knobs, weather, config.connections_max);
        // All upstreams' together fit the engine.
        settings.critical_reserved = settings.critical_reserved.min(before.critical_reserved);
        // Sockets made before are of another kind then, and go within a bound.
        settings.user_timeout = *dice.pick(&[before.user_timeout, None, Some(USER_TIMEOUT)]);
        let left = dice.within(1, knobs.addresses.len() as u64) as usize;
        settings.endpoints.truncate(left);
        settings.sharing.steal = match sharing.one_in(3) {
            true => sharing.one_in(2),
            false => before.sharing.steal,
        };
        Reload {
            upstream,
            settings,
            at: dice.below(1024),
        }
    });
    each.collect()
}

const USER_TIMEOUT: Duration = Duration::from_secs(50);

impl Knobs {
    /// Of all settings that an upstream ever has, the largest value.
    pub fn most<T: Ord>(&self, upstream: usize, of: impl Fn(&UpstreamConfig) -> T) -> T {
        let reloads = self.reloads.iter().filter(|one| one.upstream == upstream);
        let later = reloads.map(|reload| of(&reload.settings));
        later.fold(of(self.settings(upstream)), Ord::max)
    }

    /// Of all settings that an upstream ever has, the smallest value.
    pub fn least<T: Ord>(&self, upstream: usize, of: impl Fn(&UpstreamConfig) -> T) -> T {
        self.most(upstream, |settings| std::cmp::Reverse(of(settings)))
            .0
    }
}
