//! What the way to an endpoint is like.
//!
//! Owns: how long things take on it and what pieces they come in. Never: reorders, or loses.

use crate::random::Random;
use std::time::Duration;

/// What the way to an endpoint is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// The least time that anything is on its way.
    pub latency_min: Duration,
    /// The most; between the two chance decides.
    pub latency_max: Duration,
    /// What is sent arrives in pieces of up to this many bytes, of random lengths; 0: in one piece.
    pub piece_max: usize,
}

impl Weather {
    pub(super) fn latency(&self, random: &mut Random) -> Duration {
        let range = self.latency_max.saturating_sub(self.latency_min);
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX);
        if range == 0 {
            return self.latency_min;
        }
        self.latency_min + Duration::from_nanos(random.below(range.saturating_add(1)))
    }

    pub(super) fn piece(&self, len: usize, random: &mut Random) -> usize {
        let longest = match self.piece_max {
            0 => return len,
            max => max.min(len),
        };
        1 + random.below(longest as u64) as usize
    }
}
