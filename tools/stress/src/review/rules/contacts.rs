//! Rules of making connections: names, endpoints, handshakes.

use super::{Advice, Facts, advice, time};

/// A look-up that takes longer is felt by whoever waits for it.
const LOOKUP_LONG: f64 = 0.05;
/// An endpoint with fewer uses is not judged.
const CALLS_MIN: u64 = 100;
/// So many times as slow as the others is slow.
const SLOWER: f64 = 2.0;
/// So many times as much as another is uneven.
const UNEVEN: f64 = 3.0;

/// Full handshakes where tickets could have been used.
pub(super) fn resumption(facts: &Facts) -> Option<Advice> {
    let all = facts.handshakes_full + facts.handshakes_resumed;
    let share = facts.handshakes_resumed as f64 / all.max(1) as f64;
    // The first of each connection that is dialled at the start cannot be resumed.
    let first = facts.connections_max.unwrap_or(0);
    if all < first + 20 || share > 0.5 {
        return None;
    }
    advice(
        "resumption",
        true,
        "see whether the server gives tickets, and all of its processes share the keys".to_owned(),
        format!(
            "{} of {all} TLS handshakes were full, {} resumed",
            facts.handshakes_full, facts.handshakes_resumed
        ),
    )
}

/// Dials that come to nothing.
pub(super) fn dials_failed(facts: &Facts) -> Option<Advice> {
    if facts.dials_failed == 0 {
        return None;
    }
    advice(
        "dials_failed",
        true,
        "see whether the server's backlog, its limit of connections or local ports are used up"
            .to_owned(),
        format!("{} of {} dials failed", facts.dials_failed, facts.dials),
    )
}

/// Names that take long to look up, or are not found.
pub(super) fn names(facts: &Facts) -> Option<Advice> {
    let (lookups, failed) = (facts.contacts.lookups, facts.contacts.lookups_failed);
    let mean = lookups.mean().unwrap_or(0.0);
    if failed == 0 && mean < LOOKUP_LONG {
        return None;
    }
    advice(
        "names",
        true,
        "use a resolver nearby, a longer resolve_ttl, or addresses: the first dial to a name waits for its look-up".to_owned(),
        format!(
            "{} look-ups took {} on average, and {failed} failed",
            lookups.count,
            time(mean)
        ),
    )
}

/// An endpoint that is slower than the others, or cannot be connected to.
pub(super) fn endpoints(facts: &Facts) -> Option<Advice> {
    let endpoints = &facts.contacts.endpoints;
    if endpoints.len() < 2 {
        return None;
    }
    let dead = endpoints
        .iter()
        .find(|(_, one)| one.dials >= 3 && one.dials_failed == one.dials);
    if let Some((address, one)) = dead {
        return advice(
            "endpoints",
            true,
            format!("see why {address} cannot be connected to, or take it out"),
            format!("all of {} dials to it failed", one.dials),
        );
    }
    let known = endpoints
        .iter()
        .filter(|(_, one)| one.held.count >= CALLS_MIN)
        .filter_map(|(address, one)| Some((address, one.held.mean()?)));
    let mut known: Vec<(&String, f64)> = known.collect();
    known.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (address, slowest) = *known.last()?;
    // The middle one of the others; of two the other.
    let (_, usual) = known[..known.len() - 1].get((known.len() - 1) / 2)?;
    if slowest < usual * SLOWER || slowest - usual < 1e-3 {
        return None;
    }
    advice(
        "endpoints",
        true,
        format!("see what slows {address} down, or give it less to do: its callers wait longest"),
        format!(
            "connections to it are held for {} on average, to the others for {}",
            time(slowest),
            time(*usual)
        ),
    )
}

/// What endpoints get, where that differs though they are alike.
pub(super) fn shares(facts: &Facts) -> Option<Advice> {
    let endpoints = &facts.contacts.endpoints;
    let all: u64 = endpoints.values().map(|one| one.held.count).sum();
    let fair = all as f64 / endpoints.len().max(1) as f64;
    if endpoints.len() < 2 || fair < CALLS_MIN as f64 || self::endpoints(facts).is_some() {
        return None;
    }
    let (address, most) = endpoints.iter().max_by_key(|(_, one)| one.held.count)?;
    let least = endpoints.values().map(|one| one.held.count).min()?;
    if (least as f64) * UNEVEN > most.held.count as f64 {
        return None;
    }
    advice(
        "shares",
        false,
        format!(
            "{address} does most of the work: see whether names and weights say so, and whether connections are fewer than endpoints"
        ),
        format!(
            "of {all} uses it got {} and another endpoint {least}",
            most.held.count
        ),
    )
}
