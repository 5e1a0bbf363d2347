//! Rules of the load itself: what failed, and what the tool or the machine had to do with it.

use super::{Advice, Facts, advice, time};

/// A run that does not count: what else is advised of it may be the tool's doing.
pub(super) fn invalid(facts: &Facts) -> Option<Advice> {
    if facts.invalid.is_empty() {
        return None;
    }
    advice(
        "invalid",
        true,
        "make the run again before any of this is acted on: it is INVALID".to_owned(),
        facts.invalid.join("; "),
    )
}

/// The most frequent kind of error, and what it means.
pub(super) fn errors(facts: &Facts) -> Option<Advice> {
    let (kind, count) = facts.failed.iter().max_by_key(|(_, count)| **count)?;
    let says = match kind.as_str() {
        "timeout_wait" | "timed_out" if facts.has_room() == Some(true) => {
            "raise wait_timeout above what a dial takes, or idle_min: calls gave up waiting although the pool was not full"
        }
        "timeout_wait" | "timed_out" | "refused" | "shed" => {
            "give the pool more connections, or callers more time (wait_timeout): calls ended in the queue"
        }
        "timeout_dial" | "dial" => "see why the server does not take connections",
        "timeout_head" | "timeout_body" => "see why the server is slow, or allow it more time",
        "closed" => {
            "see why the server closes connections under requests: its keep-alive limit may be shorter than idle_timeout"
        }
        "resolve" => "see the name and its resolver: look-ups fail",
        "tls" => "see the certificate, its names and its trust",
        "breaker" => "the breaker had ejected every endpoint: see why they failed first",
        "status_5xx" => "see the server's own log",
        "status_4xx" => "see the request: the server refuses it",
        "not_started" => "more callers or a lower rate: the tool could not begin calls in time",
        _ => "see what the kind of error means, in the documentation of ErrorKind",
    };
    let all: u64 = facts.failed.values().sum();
    let total = (all + facts.answered).max(1) as f64;
    advice(
        "errors",
        true,
        says.to_owned(),
        format!(
            "{all} requests failed ({:.2} %), {count} of them with {kind}",
            100.0 * all as f64 / total
        ),
    )
}

/// Latency that is waiting for a caller, not for the server.
pub(super) fn callers(facts: &Facts) -> Option<Advice> {
    let rate = facts.rate?;
    let [Some(latency), Some(service), lag] = facts.p99 else {
        return None;
    };
    if latency < 2.0 * service || latency - service < 1e-3 {
        return None;
    }
    let of_the_tool = lag.is_some_and(|lag| lag > (latency - service) / 2.0);
    let says = if of_the_tool {
        "give the tool more CPU, or lower the rate: requests were late by its own doing"
    } else {
        "more connections or a lower rate: requests waited for one to be free"
    };
    advice(
        "callers",
        true,
        says.to_owned(),
        format!(
            "p99 is {} from the intended start and {} from the send, at {rate} requests/s",
            time(latency),
            time(service)
        ),
    )
}

/// Shards that have no more to give.
pub(super) fn shards(facts: &Facts) -> Option<Advice> {
    let shards = facts.shards?;
    if shards == 0 || facts.cores_used < 0.9 * shards as f64 {
        return None;
    }
    // In a closed loop without errors that is what it is meant to do.
    facts.rate?;
    advice(
        "shards",
        true,
        format!("more than {shards} shards, on cores of their own"),
        format!("the process used {:.2} cores", facts.cores_used),
    )
}

/// Whole intervals without an answer.
pub(super) fn silence(facts: &Facts) -> Option<Advice> {
    // At a low rate some intervals have nothing to answer.
    let each = facts.answered as f64 * facts.interval / facts.seconds.max(1e-9);
    if facts.silent == 0 || each < 10.0 {
        return None;
    }
    advice(
        "silence",
        true,
        "see what the server did then: the report's throughput over time tells when".to_owned(),
        format!(
            "in {} intervals of {} nothing was answered",
            facts.silent,
            time(facts.interval)
        ),
    )
}

/// Percentiles that rest on a few requests.
pub(super) fn few_samples(facts: &Facts) -> Option<Advice> {
    let beyond = facts.beyond_p999?;
    if facts.answered == 0 || beyond >= 10 {
        return None;
    }
    advice(
        "few_samples",
        false,
        "make it longer before p99.9 is quoted".to_owned(),
        format!(
            "only {beyond} of {} requests lie beyond p99.9",
            facts.answered
        ),
    )
}
