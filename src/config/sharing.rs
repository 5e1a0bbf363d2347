//! What shards do for each other.

use super::serial;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What the shards of one engine do for each other, for one upstream.
///
/// Connections never move between shards; permits and calls do. With `steal` and `give_up` both false each
/// shard lives on what it has opened itself: a static split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SharingConfig {
    /// Whether a shard whose callers wait, and that finds no permit left, may ask the others to close
    /// an idle connection for it. Default true: else callers wait beside connections that nobody uses. It costs
    /// a close there and a dial here; without it what a shard has opened stays its own until it idles
    /// out.
    pub give_up: bool,
    /// Whether calls that wait on one shard may run on another one's connections; and whether a task's
    /// call goes to another shard rather than have the only connection there dialled for it. Default true: a
    /// call that has not begun costs less to move than a connection costs to close and dial anew.
    /// Without it calls stay where they came in, and wait there.
    pub steal: bool,
    /// The most shards that calls from outside are spread over. Default `"off"`, as many as demand
    /// asks for: it begins with one and grows only while that one cannot keep up. A smaller number keeps
    /// the upstream's connections in fewer places, and its calls on fewer cores.
    #[serde(with = "serial::count_or_off")]
    pub homes_max: Option<u32>,
    /// A shard whose loop is later than this counts as saturated, whatever connections it has free.
    /// Default 1 ms: some twenty turns of a busy shard, and less than most calls take. Shorter moves calls
    /// away for short bursts; longer lets them wait for a core while others idle.
    #[serde(with = "serial::duration")]
    pub lag_max: Duration,
}

impl Default for SharingConfig {
    fn default() -> SharingConfig {
        SharingConfig {
            give_up: true,
            steal: true,
            homes_max: None,
            lag_max: Duration::from_millis(1),
        }
    }
}
