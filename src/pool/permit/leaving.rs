//! How many connections are closing because a cap was lowered below what was open.
//!
//! Owns: the claims, so that shards which look at the same moment, or while descriptors are still being
//! closed, do not close more than is needed. Never: closes, or counts what closes for another reason.

use super::Tier;
use std::sync::atomic::{AtomicU64, Ordering};

/// Claims by tier, in one word: a claim depends on both.
#[derive(Debug, Default)]
pub(super) struct Leaving(AtomicU64);

impl Leaving {
    pub(super) fn of(&self, tier: Tier) -> u32 {
        of(self.0.load(Ordering::Relaxed), tier)
    }

    /// Counts one more of `tier` if that is `needed` beside the claims of all tiers and of this one.
    pub(super) fn claim(&self, tier: Tier, needed: impl Fn(u32, u32) -> bool) -> bool {
        let claim = |claims| {
            let (open, reserved) = (of(claims, Tier::Open), of(claims, Tier::Reserved));
            needed(open + reserved, of(claims, tier)).then_some(claims + one(tier))
        };
        let (done, seen) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(done, seen, claim).is_ok()
    }

    pub(super) fn end(&self, tier: Tier) {
        let before = self.0.fetch_sub(one(tier), Ordering::Relaxed);
        debug_assert!(of(before, tier) > 0, "nothing of it was claimed");
    }
}

fn of(claims: u64, tier: Tier) -> u32 {
    match tier {
        Tier::Open => claims as u32,
        Tier::Reserved => (claims >> 32) as u32,
    }
}

fn one(tier: Tier) -> u64 {
    match tier {
        Tier::Open => 1,
        Tier::Reserved => 1 << 32,
    }
}
