//! What the engine tells of its dealings with servers: names that it looked up, why connections ended, and endpoint by endpoint.
//!
//! Owns the figures, as they are kept in a report under `contacts`. They are of the whole load, warm-up included: most of it happens
//! then. Without the engine's telemetry there are none. Never: judges.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Endpoints that are told one by one, at most.
const ENDPOINTS_MAX: usize = 256;

/// Of all upstreams together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Contacts {
    #[serde(default)]
    pub(crate) lookups: Times,
    #[serde(default)]
    pub(crate) lookups_failed: u64,
    /// Why connections ended, by the engine's own word; those that were met.
    #[serde(default)]
    pub(crate) closed: BTreeMap<String, u64>,
    /// By address.
    #[serde(default)]
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// How many, and how long all of them took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) seconds: f64,
}

/// One endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) dials: u64,
    pub(crate) dials_failed: u64,
    /// How long its connections were held by those who got them.
    pub(crate) held: Times,
}

impl Contacts {
    /// Counts one endpoint's as well, up to a bound.
    pub(crate) fn endpoint(&mut self, address: &str) -> Option<&mut Endpoint> {
        if self.endpoints.len() == ENDPOINTS_MAX && !self.endpoints.contains_key(address) {
            return None;
        }
        Some(self.endpoints.entry(address.to_owned()).or_default())
    }

    /// Connections that ended for this reason.
    pub(crate) fn close(&mut self, why: &str, count: u64) {
        if count > 0 {
            *self.closed.entry(why.to_owned()).or_default() += count;
        }
    }

    /// Adds another engine's.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lookups.add(other.lookups);
        self.lookups_failed += other.lookups_failed;
        for (why, count) in &other.closed {
            self.close(why, *count);
        }
        for (address, more) in &other.endpoints {
            if let Some(sum) = self.endpoint(address) {
                sum.dials += more.dials;
                sum.dials_failed += more.dials_failed;
                sum.held.add(more.held);
            }
        }
    }
}

impl Times {
    pub(crate) fn add(&mut self, other: Self) {
        self.count += other.count;
        self.seconds += other.seconds;
    }

    /// In seconds; `None` of none.
    pub(crate) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.seconds / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_add_up_and_endpoints_are_bounded() {
        let mut one = Contacts::default();
        one.close("uses", 2);
        one.close("age", 0);
        one.endpoint("a").expect("there is room").held = Times {
            count: 2,
            seconds: 1.0,
        };
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.closed["uses"], sum.closed.len()), (4, 1));
        assert_eq!(sum.endpoints["a"].held.mean(), Some(0.5));
        for nth in 0..ENDPOINTS_MAX {
            sum.endpoint(&nth.to_string());
        }
        assert_eq!(sum.endpoints.len(), ENDPOINTS_MAX);
        assert!(sum.endpoint("a").is_some());
        assert_eq!(Times::default().mean(), None);
    }
}
