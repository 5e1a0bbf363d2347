//! Rules of the pool's size, and of what it keeps.

use super::{Advice, Facts, advice, time};

/// Connections that serve so few requests on average are used once.
const ONCE: f64 = 1.5;

/// Callers that wait while every connection is in use.
pub(super) fn too_tight(facts: &Facts) -> Option<Advice> {
    let (most, leased) = (facts.connections_max?, facts.leased_most?);
    let checkouts = facts.hits + facts.misses;
    let waited = facts.waits as f64 / checkouts.max(1) as f64;
    let waiting = facts.waiting?;
    if leased < most || (waited < 0.01 && waiting < 0.1) {
        return None;
    }
    advice(
        "too_tight",
        true,
        format!("raise connections_max above {most}, or make the server quicker"),
        format!(
            "{:.1} % of checkouts had to queue, callers waited at the end of {:.0} % of intervals, and all {most} connections were in use",
            waited * 100.0,
            waiting * 100.0
        ),
    )
}

/// Connections that are kept for nobody.
pub(super) fn too_loose(facts: &Facts) -> Option<Advice> {
    let (most, leased) = (facts.connections_max?, facts.leased_most?);
    // In a closed loop there are as many callers as connections: what idles there says nothing.
    facts.rate?;
    if most < 4 || leased * 2 > most || facts.waits > 0 {
        return None;
    }
    let enough = (leased + leased.div_ceil(4)).max(1);
    advice(
        "too_loose",
        true,
        format!("{enough} connections would do instead of {most} (idle_min, connections_max)"),
        format!("no more than {leased} were ever seen in use, and nobody had to wait"),
    )
}

/// Connections that are made for a few requests each, by what ended most of them.
pub(super) fn churn(facts: &Facts) -> Option<Advice> {
    let each = facts.answered as f64 / facts.dials.max(1) as f64;
    if facts.dials < 10 || each >= 100.0 {
        return None;
    }
    let closed = facts.contacts.closed.iter();
    // Those that end with the load are nobody's choice.
    let closed = closed.filter(|(why, _)| why.as_str() != "stopped");
    let most = closed.max_by_key(|(_, count)| **count);
    let says = match most.map(|(why, _)| why.as_str()) {
        _ if !facts.reuse => "let connections be used again (--reuse on)",
        // Whether it is the server's word or its close that comes first is chance.
        Some("discarded" | "going_away" | "peer_closed") if each < ONCE => {
            "see why the server ends each connection with its answer: it says Connection: close, or speaks HTTP/1.0"
        }
        Some("discarded") => {
            "see why connections cannot be used again: answers without a length, or callers that do not read them to their end"
        }
        Some("going_away") => {
            "raise the server's limit of requests or of time for a connection: it announces the end of each"
        }
        Some("peer_closed") => {
            "set idle_timeout below the server's keep-alive limit, or raise that: it closes connections first"
        }
        Some("uses") => "raise uses_max: it ends connections after a few requests",
        Some("age") => "raise age_max: it ends connections after a few requests",
        Some("idle_timeout") => {
            "raise idle_timeout, or idle_min: connections end before they are wanted again"
        }
        Some("surplus" | "capacity") => {
            "raise idle_min to what bursts need: connections are given up between them"
        }
        Some("failed") => "see the errors: connections fail under their requests",
        Some(_) | None => {
            "find out who closes connections: the server's keep-alive limits, uses_max, age_max, or idle_timeout"
        }
    };
    let why = most.map_or(String::new(), |(why, count)| {
        format!("; {count} connections ended by {why}")
    });
    advice(
        "churn",
        true,
        says.to_owned(),
        format!("{} dials served {each:.1} requests each{why}", facts.dials),
    )
}

/// Idle connections that end before they are used again.
pub(super) fn evictions(facts: &Facts) -> Option<Advice> {
    let share = facts.evictions as f64 / facts.opened.max(1) as f64;
    if !facts.reuse || facts.evictions < 5 || share < 0.5 {
        return None;
    }
    advice(
        "evictions",
        true,
        "set idle_timeout a little below the server's own, and idle_min to what is used in quiet times".to_owned(),
        format!(
            "{} idle connections were closed, of {} that were opened",
            facts.evictions, facts.opened
        ),
    )
}

/// What reuse was worth.
pub(super) fn avoided(facts: &Facts) -> Option<Advice> {
    if facts.seconds_avoided <= 0.0 || facts.answered == 0 {
        return None;
    }
    let each = facts.seconds_avoided / facts.answered as f64;
    advice(
        "avoided",
        false,
        format!(
            "reuse and resumption saved {} a request at least",
            time(each)
        ),
        format!(
            "{} connections served {} requests, which {:.1} s of connecting and shaking hands would have come before",
            facts.opened, facts.answered, facts.seconds_avoided
        ),
    )
}
