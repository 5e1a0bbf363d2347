//! What time certificates and tickets are judged by: that of the network, counted from a fixed day.

use crate::driver::sim::Network;
use crate::time::Time;
use crate::time::clock::Clock;
use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use std::sync::Arc;
use std::time::Duration;

/// When a network's time begins, since 1970: with the year 2025.
pub const EPOCH: Duration = Duration::from_secs(1_735_689_600);

/// The wall clock of a network, for both ends of its connections.
pub fn wall_clock(network: &Network) -> Arc<dyn TimeProvider> {
    Arc::new(WallClock(network.clock()))
}

#[derive(Debug)]
struct WallClock(Clock);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since = self.0.now().since(Time::ZERO);
        Some(UnixTime::since_unix_epoch(EPOCH + since))
    }
}
