//! Rules of shards that did not tell their figures.
//!
//! A figure of theirs is what they told last: other advice may rest on it. Never: says why a thread is kept, which only its service knows.

use super::{Advice, Facts, advice, time};

/// What keeps a shard from telling.
const KEPT: &str = "see what keeps their threads: a task that blocks (a lock, a file, a long computation), or too few cores";

/// Shards that were lost too often.
pub(super) fn down(facts: &Facts) -> Option<Advice> {
    let down = facts.unseen.down;
    if down == 0 {
        return None;
    }
    advice(
        "down",
        true,
        "see why shards were lost: the engine's log, ShardState::down; and restarts_max".to_owned(),
        format!("{down} at most stayed down, and the others had their work"),
    )
}

/// Shards that did not answer in time when they were asked.
pub(super) fn missing(facts: &Facts) -> Option<Advice> {
    let [missing, intervals] = facts.unseen.missing;
    if missing == 0 {
        return None;
    }
    advice(
        "missing",
        true,
        format!("{KEPT}; until then these figures are older than they look"),
        format!(
            "at the end of {missing} of {intervals} intervals some shards did not tell theirs in time, {} at most",
            facts.unseen.missing_most
        ),
    )
}

/// Shards of a scrape that are not up.
pub(super) fn not_up(facts: &Facts) -> Option<Advice> {
    let not_up = &facts.unseen.not_up;
    if not_up.is_empty() {
        return None;
    }
    let each = not_up.iter().map(|(shard, age)| match *age {
        0.0 => shard.clone(),
        age => format!("{shard} (its figures are {} old)", time(age)),
    });
    advice(
        "not_up",
        true,
        format!("{KEPT}; or why they stay down, lost too often (ringpool_shard_losses_total)"),
        format!(
            "ringpool_shard_up is 0 for shard {}",
            each.collect::<Vec<_>>().join(", ")
        ),
    )
}
